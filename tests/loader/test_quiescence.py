"""Waiting for programs to end comes to an end itself."""

from loader.quiescence import wait_for_running_programs


def test_nothing_runs_and_nothing_is_waited_for() -> None:
    for _ in range(3):
        wait_for_running_programs()
