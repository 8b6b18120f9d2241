"""How long backends have been absent.

Decides: which backends' absence outlived the grace time; their flows are reset from then on. Rules: the clock starts
when the agent first sees the absence, so a restarted agent gives a whole grace time again; an endpoint that comes back
in time was never away. Must never: read a clock; the time is the caller's, monotonic, in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.compile.image import BackendEntry, BackendState


class GraceClock:
    """Remembers since when each backend has been ABSENT. An id given to another endpoint is another backend."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._since: dict[tuple[int, int], float] = {}
        self._told: frozenset[int] = frozenset()

    def expired(self, backends: Mapping[int, BackendEntry], now: float) -> frozenset[int]:
        """Ids whose absence has lasted for the grace time, given all backends as they are."""
        absent = {(number, x.generation) for number, x in backends.items() if x.state is BackendState.ABSENT}
        self._since = {key: self._since.get(key, now) for key in absent}
        self._told = frozenset(number for (number, _), since in self._since.items() if now - since >= self._grace)
        return self._told

    def due(self) -> float | None:
        """When the next absence expires that `expired` has not told yet; None = there is none."""
        waiting = [since for (number, _), since in self._since.items() if number not in self._told]
        return min(waiting) + self._grace if waiting else None
