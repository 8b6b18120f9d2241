"""Two readings in, changes out."""

from __future__ import annotations

import pytest

from agent.dataplane.flows import FlowRecord
from agent.flow_changes import Change, changes
from routes.plan import Protocol
from tests.agent.flow_records import end, flow


def reading(*flows: FlowRecord, before: dict[bytes, bytes] | None = None) -> tuple[list[Change], dict[bytes, bytes]]:
    held: dict[bytes, bytes] = {}
    return [change for *_, change in changes([(x, None) for x in flows], held, before)], held


HALF_OPEN = flow(table="half_open4", state="FLOW_SYN", packets=(1, 0), octets=(60, 0))
FINISHED = flow(packets=(6, 5), octets=(900, 5000), state="FLOW_CLOSED")


@pytest.mark.parametrize(
    ("first", "second", "change"),
    [
        (flow(), flow(), Change(False, 0, 0, 0)),
        (flow(), FINISHED, Change(False, 6, 600, 3000)),
        (HALF_OPEN, flow(), Change(True, 4, 240, 2000)),
        (HALF_OPEN, HALF_OPEN, Change(False, 0, 0, 0)),
        (None, HALF_OPEN, Change(False, 1, 60, 0)),
        (None, flow(), Change(True, 5, 300, 2000)),
        (None, FINISHED, Change(True, 11, 900, 5000)),
        (FINISHED, flow(generation=2), Change(True, 5, 300, 2000)),
        (flow(), flow(packets=(2, 4), octets=(200, 4000)), Change(False, 1, 0, 2000)),
        (flow(), flow("198.51.100.1:4001"), Change(True, 5, 300, 2000)),
        (flow(), flow("198.51.100.2:4000"), Change(True, 5, 300, 2000)),
        (flow(), flow(gateway=end("192.0.2.2:80")), Change(True, 5, 300, 2000)),
        (flow(), flow(protocol=Protocol.UDP, table="udp_flows4"), Change(True, 5, 300, 2000)),
    ],
    ids=[
        "nothing",
        "moved",
        "promoted",
        "still half-open",
        "began",
        "began and established",
        "began and ended",
        "tuple used again",
        "lost counts",
        "another port",
        "another client",
        "another address of the gateway",
        "another protocol",
    ],
)
def test_changes(first: FlowRecord | None, second: FlowRecord, change: Change) -> None:
    _, held = reading(*([first] if first else []))
    assert reading(second, before=held)[0] == [change]


def test_nothing_is_known_of_changes_at_the_first_reading() -> None:
    assert reading(flow())[0] == [Change(False, 0, 0, 0)]


def test_a_flow_that_is_met_twice_counts_once() -> None:
    found, held = reading(flow(), HALF_OPEN, before={})
    assert (found, len(held)) == ([Change(True, 5, 300, 2000)], 1)


def test_a_flow_that_is_gone_is_forgotten() -> None:
    _, held = reading(flow(), flow("198.51.100.1:4001"))
    assert len(reading(flow(), before=held)[1]) == 1
