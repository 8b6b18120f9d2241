"""Reports on the disk.

Decides: who writes them, and how often. A report that is small is written by the caller, at once; a large one by a
thread of its own, the newest only, and not again before it has rested as long as a multiple of what the last one took.
Rules: one that cannot be written is logged, and the next one tried. The thread lets others go first every few pieces.
Must never: hold up the caller for longer than a small report takes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from agent import report
from agent.report import Report

log = logging.getLogger(__name__)

SMALL = 200  # listeners and objects: some milliseconds
RESTS = 9  # times what a report took: so writing takes a tenth of a CPU at most
_PIECES = 20  # until others go first: a fraction of a millisecond


class Publisher:
    """Owns the thread, which begins with the first large report."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._changed = threading.Condition()
        self._next: Report | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def publish(self, told: Report) -> None:
        """Have `told` written, now or soon."""
        if self._thread is None and len(told.listeners) + len(told.objects) <= SMALL:
            self._write(told.pieces())
            return
        with self._changed:
            self._next = told
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None or self._closing.is_set())
                told, self._next = self._next, None
            if told is None:
                return
            began = time.monotonic()
            self._write(_in_turn(told.pieces()))
            took = time.monotonic() - began
            del told  # the next one may come much later
            self._closing.wait(RESTS * took)

    def _write(self, pieces: Iterator[bytes]) -> None:
        try:
            report.save(pieces, self._run_dir)
        except OSError as error:
            log.warning("cannot write the report: %s", error)


def _in_turn(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for number, piece in enumerate(pieces):
        yield piece
        if number % _PIECES == 0:
            time.sleep(0)
