"""Programs of the laboratory: what is said of those that fail."""

from __future__ import annotations

import pytest

from lab.process import CommandFailed, run


def test_input_and_output() -> None:
    assert run("cat", stdin="a\nb\n").stdout == "a\nb\n"


def test_a_status_is_told_or_raised() -> None:
    command = ("sh", "-c", "echo why >&2; exit 3")
    assert run(*command, check=False).returncode == 3
    with pytest.raises(CommandFailed, match="status 3\nwhy"):
        run(*command)


def test_what_hangs_is_ended_and_said_to_hang_where() -> None:
    with pytest.raises(CommandFailed, match=r"(?s)sleep 60: not done after 0 s\n\d+ sleep S\n.*nanosleep"):
        run("sleep", "60", patience=0.3)


def test_a_program_that_has_ended_is_done_though_another_holds_its_output() -> None:
    assert run("sh", "-c", "echo said; sleep 5 & exit 0", patience=1).stdout == "said\n"
