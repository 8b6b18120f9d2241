"""Several kernels: one that has no verdict does not keep the next from its turn, and the whole has failed."""

import signal
from pathlib import Path

import pytest
from vmtest.__main__ import main

UNKNOWN = ("4.19", "/nowhere/vmlinuz:/nowhere/5.15.0-91-generic")
LABELS = ("4.19", "5.15.0-91-generic")
LOGS = Path("build/vm")


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path, monkeypatch):
    """A cache of our own; what the command sets for its process is set back, and its logs go."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    for label in LABELS:
        (LOGS / f"{label}.log").unlink(missing_ok=True)


def test_kernels_that_are_not_there_have_no_verdict_each(tmp_path, capsys):
    written = tmp_path / "kernels.md"
    assert main(["--table", str(written), " ".join(UNKNOWN), "tests/none"]) == 2
    said = capsys.readouterr().out
    for label in LABELS:
        assert f"{label}: no verdict: " in said
        assert f"## Failed on {label}\n" in written.read_text()
        assert (LOGS / f"{label}.log").read_bytes() == b""
    assert "| **no verdict** | **no verdict** |" in written.read_text()


def test_one_kernel_that_is_not_there_is_an_error_in_one_line(capsys):
    assert main([UNKNOWN[0], "tests/none"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: 4.19: ")


def test_no_kernel_at_all_is_a_wrong_command_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main([" ", "tests/none"])
    assert ended.value.code == 2
    assert "no kernel" in capsys.readouterr().err
