"""Where nothing can be redrawn, a kernel's way is told in lines, one for each thing that is new."""

import io

from rich.console import Console
from vmtest import progress
from vmtest.follow import Follower
from vmtest.progress import Lane, shown

from lab.wait import until


def test_lines_tell_phases_tenths_and_the_verdict(monkeypatch):
    monkeypatch.setattr(progress, "EVERY_S", 0.005)
    written = io.StringIO()
    lanes = [Lane("6.1"), Lane("newest")]
    with shown(lanes, Console(file=written)):
        lanes[0].enter("starting")
        wait_for(written, "6.1: starting")
        lanes[0].follower = Follower(io.BytesIO())
        lanes[0].follower.write(b"tests/a.py::test_a PASSED [ 33%]\ntests/a.py::test_b FAILED [ 34%]\n")
        wait_for(written, "34 %")
        lanes[0].finish("1 passed, 1 failed")
    assert [line.partition(" (")[0] for line in written.getvalue().splitlines()] == [
        "6.1: starting",
        "6.1: starting: 34 %, 1 passed, 1 failed",
        "6.1: 1 passed, 1 failed",
    ]


def test_a_terminal_shows_every_kernel_at_once():
    written = io.StringIO()
    lanes = [Lane("6.1"), Lane("newest")]
    with shown(lanes, Console(file=written, force_terminal=True, width=120)):
        lanes[0].finish("16 passed, 0 failed")
    last = written.getvalue()
    assert "16 passed, 0 failed" in last
    assert "newest" in last
    assert "waiting" in last


def wait_for(written: io.StringIO, text: str) -> None:
    until(lambda: text in written.getvalue(), f"{text!r} is written", seen=written.getvalue)
