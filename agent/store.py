"""The objects as they are now, between the sources that put and the loop that takes.

Decides: when enough has been put for the loop to look: at once when nothing more comes for a moment, at the latest
after a bound, so that a storm of changes costs one pass and a steady trickle does not starve it.
Rules: the loop takes everything or nothing, never a state half way through an update.
Must never: judge an object, or keep what is gone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from agent.sources.base import SourceError, Update
from routes.objects import Object, ObjectKey

QUIET = 0.05  # seconds without a change after which what there is is taken
AT_LATEST = 1.0  # seconds after which it is taken although changes still come


@dataclass(frozen=True, slots=True)
class State:
    """All objects, with what changed since the state before.

    `synced`: the source was read in full once. `changed_at` is seconds since the epoch.
    """

    objects: Mapping[ObjectKey, Object]
    changed: frozenset[ObjectKey]
    errors: tuple[SourceError, ...]
    notes: tuple[SourceError, ...]
    synced: bool
    changed_at: float


class Store:
    """Thread-safe: one source puts, one loop takes."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._objects: dict[ObjectKey, Object] = {}
        self._changed: set[ObjectKey] = set()
        self._errors: tuple[SourceError, ...] = ()
        self._notes: tuple[SourceError, ...] = ()
        self._synced = False
        self._changed_at = time.time()
        self._first_put: float | None = None
        self._last_put = 0.0
        self._woken = False

    def put(self, update: Update) -> None:
        """Take over an update of the source."""
        with self._condition:
            for key, decoded in update.upserts:
                self._objects[key] = decoded
                self._changed.add(key)
            for key in update.removed:
                self._objects.pop(key, None)
                self._changed.add(key)
            self._errors, self._notes, self._synced = update.errors, update.notes, update.synced
            self._changed_at = time.time()
            self._last_put = time.monotonic()
            self._first_put = self._first_put or self._last_put
            self._condition.notify_all()

    def wake(self) -> None:
        """End a `take` that waits: something else than the objects needs the loop."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def take(self, timeout: float) -> State | None:
        """Wait up to `timeout` seconds for a change and return the state; None = no change, or `wake` was called."""
        deadline = time.monotonic() + timeout
        with self._condition:
            while True:
                now = time.monotonic()
                if self._first_put is not None:
                    due = min(self._last_put + QUIET, self._first_put + AT_LATEST)
                    if now >= due:
                        return self._snapshot()
                    self._condition.wait(due - now)
                elif self._woken or now >= deadline:
                    self._woken = False
                    return None
                else:
                    self._condition.wait(deadline - now)

    def _snapshot(self) -> State:
        state = State(
            objects=dict(self._objects),
            changed=frozenset(self._changed),
            errors=self._errors,
            notes=self._notes,
            synced=self._synced,
            changed_at=self._changed_at,
        )
        self._changed.clear()
        self._first_put = None
        return state
