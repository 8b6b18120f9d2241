"""An array of programs that a program of the laboratory's calls, filled.

Rules: a loaded object does not hold such an array (loader/objects.py), so whoever fills it does, and it is empty again
when he lets go. The kernel empties it by a worker, some time after the loader let go: that is waited for, and what the
worker took is put back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final

from loader.program import Program
from loader.running import program_array

_LATE: Final = 0.1  # seconds within which the worker has come, if it has not yet


class LineUp:
    """A context manager: fds of programs, by number, in array `name` of `caller`."""

    def __init__(self, caller: Program, name: str, programs: Mapping[int, int]) -> None:
        array = program_array(caller.id, name)
        assert array is not None, f"{caller.name} calls nobody in {name}"
        self._array = array
        self._programs = programs

    def __enter__(self) -> LineUp:
        self.fill()
        until = time.monotonic() + _LATE
        while time.monotonic() < until and all(self._array.get(x) for x in self._programs):
            time.sleep(0.005)
        self.fill()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._array.close()

    def fill(self) -> None:
        """Once more, in case that the worker came very late."""
        for number, fd in self._programs.items():
            self._array.set(number, fd)
