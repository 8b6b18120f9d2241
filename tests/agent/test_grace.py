"""Observations in (when, which backends are absent), expired ids and the next due time out."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from agent.compile.image import BackendEntry, BackendState
from agent.grace import GraceClock

GRACE = 30.0


def backends(**states: str) -> dict[int, BackendEntry]:
    """`b2="ABSENT"` -> id 2; `b2="ABSENT:7"` has generation 7."""
    found = {}
    for name, text in states.items():
        state, _, generation = text.partition(":")
        entry = BackendEntry(ip_address("192.0.2.9"), 80, int(generation or 1), BackendState[state], 1, 0)
        found[int(name[1:])] = entry
    return found


@pytest.mark.parametrize(
    "steps",
    [
        # (time, backends, expired, due)
        [(0, {}, set(), None), (100, {"b2": "ACTIVE", "b3": "DRAINING", "b4": "GONE"}, set(), None)],
        [
            (0, {"b2": "ABSENT"}, set(), 30),
            (29.9, {"b2": "ABSENT"}, set(), 30),
            (30, {"b2": "ABSENT"}, {2}, None),
            (31, {"b2": "ABSENT"}, {2}, None),  # told again until somebody acts on it
            (32, {"b2": "GONE"}, set(), None),
        ],
        [(0, {"b2": "ABSENT"}, set(), 30), (20, {"b2": "ACTIVE"}, set(), None), (40, {"b2": "ABSENT"}, set(), 70)],
        [
            (0, {"b2": "ABSENT:1"}, set(), 30),
            (20, {"b2": "ABSENT:2"}, set(), 50),  # the id has a new life
            (40, {"b2": "ABSENT:2"}, set(), 50),
        ],
        [
            (0, {"b2": "ABSENT"}, set(), 30),
            (10, {"b2": "ABSENT", "b3": "ABSENT"}, set(), 30),
            (35, {"b2": "ABSENT", "b3": "ABSENT"}, {2}, 40),
            (45, {"b3": "ABSENT"}, {3}, None),
        ],
    ],
    ids=["others do not count", "expires once", "came back", "id reused", "two"],
)
def test_absences_expire(steps: list[tuple[float, dict[str, str], set[int], float | None]]) -> None:
    clock = GraceClock(GRACE)
    for now, states, expired, due in steps:
        assert clock.expired(backends(**states), now) == expired, now
        assert clock.due() == due, now


def test_no_grace_expires_at_once() -> None:
    assert GraceClock(0).expired(backends(b2="ABSENT"), 5.0) == {2}
