"""The difference between what is held and what is wanted, and the order in which it is written."""

from __future__ import annotations

from dataclasses import fields, replace
from ipaddress import ip_address

import pytest

from agent.compile.image import BackendEntry, BackendState, ListenerEntry, ListenerKey, MapImage, Names
from agent.dataplane.changes import Changes, KernelState, changes
from routes.plan import Protocol

GATEWAY, OTHER = ip_address("10.9.0.1"), ip_address("fd00:9::1")
KEY = ListenerKey(GATEWAY, 80, Protocol.TCP)
LISTENER = ListenerEntry(1, 1)
ACTIVE = BackendEntry(ip_address("10.1.0.5"), 80, 1, BackendState.ACTIVE, 1, 0)
IMAGE = MapImage({GATEWAY: 0}, {KEY: LISTENER}, {1: b"slots"}, {2: ACTIVE}, Names())
HELD = KernelState({GATEWAY: 0}, {KEY: LISTENER}, {1: b"slots"}, {2: ACTIVE})


def test_the_order_of_writing() -> None:
    assert [x.name for x in fields(Changes)] == [
        "fresh_listeners",
        "fresh_backends",
        "policies",
        "backends_up",
        "pools",
        "listeners",
        "gateways",
        "gateways_gone",
        "listeners_gone",
        "policies_gone",
        "backends_down",
    ]


def test_equal_states_need_nothing() -> None:
    assert not changes(HELD, IMAGE)
    assert list(changes(HELD, IMAGE).differences()) == []


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        (
            KernelState({}, {}, {1: b"zeros"}, {}),
            IMAGE,
            {
                "fresh_listeners": {1},
                "fresh_backends": {2},
                "backends_up": {2: ACTIVE},
                "pools": {1: b"slots"},
                "listeners": {KEY: LISTENER},
                "gateways": {GATEWAY: 0},
            },
        ),
        (
            HELD,
            replace(IMAGE, gateways={}, listeners={}, pools={}, backends={}),
            {
                "gateways_gone": {GATEWAY},
                "listeners_gone": {KEY},
                "backends_down": {2: replace(ACTIVE, state=BackendState.FREE)},
            },
        ),
        (HELD, replace(IMAGE, gateways={GATEWAY: 1}), {"gateways": {GATEWAY: 1}}),
        (HELD, replace(IMAGE, pools={1: b"other"}), {"pools": {1: b"other"}}),
        (
            HELD,
            replace(IMAGE, listeners={KEY: ListenerEntry(1, 2)}),
            {"listeners": {KEY: ListenerEntry(1, 2)}},  # same listener, its counters go on
        ),
        *(
            (
                HELD,
                replace(IMAGE, backends={2: replace(ACTIVE, state=state)}),
                {"backends_down": {2: replace(ACTIVE, state=state)}},
            )
            for state in (BackendState.DRAINING, BackendState.ABSENT, BackendState.GONE, BackendState.FREE)
        ),
        (
            replace(HELD, backends={2: replace(ACTIVE, state=BackendState.ABSENT)}),
            IMAGE,
            {"backends_up": {2: ACTIVE}},  # came back: its counters go on
        ),
        (
            replace(HELD, backends={2: replace(ACTIVE, state=BackendState.FREE)}),
            replace(IMAGE, backends={2: replace(ACTIVE, generation=2, port=81)}),
            {"fresh_backends": {2}, "backends_up": {2: replace(ACTIVE, generation=2, port=81)}},
        ),
        (replace(HELD, backends={2: ACTIVE, 3: replace(ACTIVE, state=BackendState.FREE)}), IMAGE, {}),
    ],
)
def test_changes(held: KernelState, wanted: MapImage, expected: dict[str, object]) -> None:
    found = changes(held, wanted)
    assert {x.name: getattr(found, x.name) for x in fields(found) if getattr(found, x.name)} == expected


def test_differences_are_told_by_name() -> None:
    told = list(changes(replace(HELD, listeners={}, gateways={OTHER: 0}), IMAGE).differences())
    assert told == [
        "listener 10.9.0.1 port 80/TCP is missing or points elsewhere",
        "gateway 10.9.0.1 is missing or has other flags",
        "gateway fd00:9::1 is held and not wanted",
    ]
