"""What the person who waits for several kernels, or machines, sees: a line for each, alive on a terminal.

Rules: in a pipe or a file nothing is redrawn; there a line is written when a kernel's phase changes, and at each tenth
of its tests. Must never: know what the tests are.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from .follow import Follower

EVERY_S = 1.0
_BAR = 20


class Lane:
    """One kernel's, or machine's, way from waiting to its verdict."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.phase = "waiting"
        self.follower: Follower | None = None
        self._began: float | None = None
        self._took: float | None = None

    def enter(self, phase: str) -> None:
        """A new phase; the first one starts the clock."""
        self._began = self._began or time.monotonic()
        self.phase = phase

    def finish(self, verdict: str) -> None:
        """The last one."""
        self.enter(verdict)
        self._took = self.seconds

    @property
    def finished(self) -> bool:
        """Is there a verdict?"""
        return self._took is not None

    @property
    def seconds(self) -> float:
        """Since the first phase began."""
        if self._took is not None:
            return self._took
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def percent(self) -> int:
        """Of its tests."""
        return self.follower.percent if self.follower else 0

    def tally(self) -> str:
        """Tests so far."""
        if self.follower is None or not (self.follower.passed or self.follower.failed):
            return ""
        failed = f", {self.follower.failed} failed" if self.follower.failed else ""
        return f"{self.follower.passed} passed{failed}"

    def line(self) -> str:
        """All of it, for a file."""
        tally = "" if self.finished else self.tally()
        share = f": {self.percent} %, {tally}" if tally else ""
        return f"{self.label}: {self.phase}{share} ({self.seconds:.0f} s)"


@contextmanager
def shown(lanes: Sequence[Lane], console: Console) -> Iterator[None]:
    """While inside, the lanes are on the console."""
    if console.is_terminal:
        with Live(console=console, get_renderable=lambda: _drawn(lanes), refresh_per_second=2):
            yield
        return
    ended = threading.Event()
    writer = threading.Thread(target=_write_lines, args=(lanes, console, ended))
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def _drawn(lanes: Sequence[Lane]) -> Table:
    table = Table.grid(padding=(0, 2))
    for lane in lanes:
        done = lane.percent * _BAR // 100
        running = lane.follower.running if lane.follower and not lane.finished else ""
        table.add_row(
            lane.label,
            f"{lane.seconds // 60:3.0f}:{lane.seconds % 60:02.0f}",
            "━" * done + "─" * (_BAR - done),
            lane.phase,
            "" if lane.finished else lane.tally(),
            running.rsplit("/", 1)[-1],
        )
    return table


def _write_lines(lanes: Sequence[Lane], console: Console, ended: threading.Event) -> None:
    written: dict[str, tuple[str, int]] = {lane.label: ("waiting", 0) for lane in lanes}
    last = False
    while not last:
        last = ended.wait(EVERY_S)
        for lane in lanes:
            now = (lane.phase, lane.percent // 10)
            if written[lane.label] != now:
                written[lane.label] = now
                console.print(lane.line(), highlight=False, markup=False, soft_wrap=True)
