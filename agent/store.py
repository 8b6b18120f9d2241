"""What changed, between the source that puts and the loop that takes.

Decides: when enough has been put for the loop to look. What comes after a calm is taken at once; what follows soon,
when nothing more came for a moment, at the latest after a bound: so a single change does not wait, a storm of changes
costs few passes, and a steady trickle does not starve.
Rules: the loop takes everything or nothing, never a state half way through an update.
Must never: judge an object, or keep what is gone.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agent.sources.base import SourceError, Update
from routes.objects.base import Object, ObjectKey

QUIET = 0.05  # seconds without a change after which what there is is taken
CALM = 0.2  # seconds without a change after which the next one is taken at once
AT_LATEST = 1.0  # seconds after which it is taken although changes still come


@dataclass(frozen=True, slots=True)
class State:
    """What changed since the state before, None for an object that is gone.

    `synced`: the source was read in full once. `changed_at` is seconds since the epoch. `absent`: what has errors and
    no last good state, so that none of its objects is there.
    """

    changes: Mapping[ObjectKey, Object | None]
    errors: tuple[SourceError, ...]
    notes: tuple[SourceError, ...]
    synced: bool
    changed_at: float
    absent: tuple[str, ...] = ()


class Store:
    """Thread-safe: one source puts, one loop takes. Owns an eventfd that is readable after a `put`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._changes: dict[ObjectKey, Object | None] = {}
        self._last: Update | None = None
        self._changed_at = 0.0
        self._first_put: float | None = None
        self._last_put = float("-inf")
        self._calm = True  # before what was put and is not taken yet

    def fileno(self) -> int:
        """For select and poll."""
        return self._event

    def put(self, update: Update) -> None:
        """Take over an update of the source."""
        with self._lock:
            self._changes.update(update.upserts)
            self._changes.update(dict.fromkeys(update.removed))
            self._last = replace(update, upserts=(), removed=())
            self._changed_at = time.time()
            now = time.monotonic()
            if self._first_put is None:
                self._first_put, self._calm = now, now - self._last_put >= CALM
            self._last_put = now
        os.eventfd_write(self._event, 1)

    def due(self) -> float | None:
        """The monotonic time from which `take` returns a state; None = nothing was put."""
        with self._lock:
            return self._due()

    def take(self) -> State | None:
        """The state, once what was put is `due`; else None. Either way the descriptor is quiet until the next `put`."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event)
        with self._lock:
            due = self._due()
            if due is None or self._last is None or time.monotonic() < due:
                return None
            state = State(
                changes=self._changes,
                errors=self._last.errors,
                notes=self._last.notes,
                synced=self._last.synced,
                changed_at=self._changed_at,
                absent=self._last.absent,
            )
            self._changes = {}
            self._first_put = None
        return state

    def close(self) -> None:
        """Give the eventfd back. Nothing may be put any more."""
        os.close(self._event)

    def _due(self) -> float | None:
        if self._first_put is None:
            return None
        return self._first_put if self._calm else min(self._last_put + QUIET, self._first_put + AT_LATEST)
