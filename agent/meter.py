"""The kernel's counters for threads that do not share the loop's handle.

Rules: one reading at a time; the loop's Dataplane is never touched from here.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from agent.dataplane.counters import Counters
from agent.dataplane.seen import Seen
from agent.dataplane.usage import TableUse
from agent.dataplane.view import View
from routes.plan import Address


class Meter:
    """Thread-safe. The view stays the caller's to close."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._one_at_a_time = threading.Lock()

    def read(self) -> tuple[Counters, tuple[TableUse, ...]]:
        """Counters and fill of the tables, now. Raises DataplaneError."""
        with self._one_at_a_time:
            return self._view.counters(), self._view.usage()

    def seen(self, backends: Collection[Address]) -> Mapping[Address, Seen]:
        """Whose address each of these backends sees in place of a client's. Raises DataplaneError."""
        with self._one_at_a_time:
            return self._view.seen(backends)
