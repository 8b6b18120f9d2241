"""How far the tests in a guest have come, read from what `pytest -v` writes while it runs.

Rules: everything is passed on to a file as it comes; a line counts when it is whole, the unfinished last one names the
test that runs. Must never: judge; the result does.
"""

import re
from typing import BinaryIO

_DONE = re.compile(r"^(?P<test>\S.*?) (?P<outcome>PASSED|FAILED|ERROR|SKIPPED) +(?:\(.*\) +)?\[ *(?P<percent>\d+)%\]$")
_RUNNING = re.compile(r"^(?P<test>\S+\.py::.*?) ?$")


class Follower:
    """Takes the output (`machine.Output`)."""

    def __init__(self, log: BinaryIO) -> None:
        self.percent = 0
        self.passed = 0
        self.failed = 0
        self.running = ""
        self._log = log
        self._line = b""

    def write(self, chunk: bytes) -> None:
        """More of it."""
        self._log.write(chunk)
        *whole, self._line = (self._line + chunk).split(b"\n")
        for line in whole:
            self._read(line.decode(errors="replace").rstrip("\r"))
        if found := _RUNNING.match(self._line.decode(errors="replace")):
            self.running = found["test"]

    def flush(self) -> None:
        """The file as far as the output."""
        self._log.flush()

    def _read(self, line: str) -> None:
        found = _DONE.match(line)
        if found is None:
            return
        self.percent = int(found["percent"])
        self.passed += found["outcome"] == "PASSED"
        self.failed += found["outcome"] in ("FAILED", "ERROR")
