"""Endpoints come and go: what a flow meets when its backend is not what it was (abi.h, enum backend_state)."""

from __future__ import annotations

import pytest

from .clients import Client
from .conftest import BOTH_BUILDS, OpenRig
from .objects import (
    BACKEND_ABSENT,
    BACKEND_ACTIVE,
    BACKEND_DRAINING,
    BACKEND_FREE,
    BACKEND_GONE,
    DELIVERY_REDIRECT,
    ESTABLISHED,
    FORWARDED,
    NO_FLOW,
    REJECTED_RST,
    REPLIED,
    RESET,
    SYN,
    SYN_ACK,
    UDP_FLOW,
    UPLINK_INGRESS,
)
from .rig import Rig
from .services import SERVED, SERVICES, SPLIT
from .story import HANDSHAKE, TCP, UDP, After, Row, Rst, backend, backend_is, between, client, repool, tell
from .world import Net

pytestmark = BOTH_BUILDS

STAYS = {"active": (BACKEND_ACTIVE, 1), "draining": (BACKEND_DRAINING, 1), "absent": (BACKEND_ABSENT, 1)}
LEAVES = {"gone": (BACKEND_GONE, 1), "free": (BACKEND_FREE, 1), "given to another endpoint": (BACKEND_ACTIVE, 2)}


@pytest.mark.parametrize("state", STAYS)
def test_tcp_goes_on(rig: Rig, net: Net, state: str) -> None:
    number, generation = STAYS[state]
    rows: tuple[Row, ...] = (
        *HANDSHAKE,
        (repool(1),),
        (backend_is(number, generation=generation),),
        (client("PA", seq=101, ack=501, data=b"ping"), FORWARDED, ESTABLISHED),
        (backend("PA", seq=501, ack=105, data=b"pong"), REPLIED, ESTABLISHED),
    )
    tell(rig, net, TCP, rows, After(connections=1, established=1), port=SPLIT)


@pytest.mark.parametrize("state", LEAVES)
@pytest.mark.parametrize(
    ("segment", "answer"),
    [
        (client("PA", seq=101, ack=501, data=b"anybody?"), Rst("R", seq=501, ack=0)),
        (client("FA", seq=101, ack=501), Rst("R", seq=501, ack=0)),
    ],
    ids=["data", "FIN"],
)
def test_tcp_is_reset_at_the_clients_next_packet(rig: Rig, net: Net, state: str, segment: object, answer: Rst) -> None:
    number, generation = LEAVES[state]
    rows: tuple[Row, ...] = (
        *HANDSHAKE,
        (repool(1),),
        (backend_is(number, generation=generation),),
        (backend("PA", seq=501, ack=101, data=b"last words"), REPLIED, ESTABLISHED),
        (segment, REJECTED_RST, RESET, answer),
        (client("S", seq=5000, to=1), FORWARDED, SYN),
    )
    tell(rig, net, TCP, rows, After(connections=1, half_open=1), port=SPLIT)


def test_an_rst_to_a_backend_that_is_gone_goes_on_for_connection_tracking_to_see(rig: Rig, net: Net) -> None:
    rows: tuple[Row, ...] = (*HANDSHAKE, (backend_is(BACKEND_GONE),), (client("R", seq=101), FORWARDED, RESET))
    tell(rig, net, TCP, rows, After(connections=1, established=1), port=SPLIT)


@pytest.mark.parametrize(("flags", "verdict"), [("A", REJECTED_RST), ("R", NO_FLOW)])
def test_past_the_stack_a_flow_whose_backend_is_gone_is_forgotten_at_once(
    open_rig: OpenRig, net: Net, flags: str, verdict: int
) -> None:
    rig = open_rig(delivery=DELIVERY_REDIRECT)
    Client(rig, net, TCP, 1001).connect()
    rig.set_backend(SERVICES[net, SERVED, TCP], state=BACKEND_GONE)
    sent = between(net, TCP, (net.client, 1001), (net.gateway, SERVED), flags, seq=101, ack=501)
    assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, sent)).verdict == verdict
    assert not rig.entries(rig.tables(TCP, net)[0])


def test_a_reset_flow_is_not_revived_towards_a_backend_that_is_gone(rig: Rig, net: Net) -> None:
    rows: tuple[Row, ...] = (
        *HANDSHAKE,
        (backend("RA", seq=501, ack=101), REPLIED, RESET),
        (backend_is(BACKEND_GONE),),
        (client("A", seq=101, ack=501), REJECTED_RST, RESET, Rst("R", seq=501, ack=0)),
    )
    tell(rig, net, TCP, rows, After(connections=1, established=1), port=SPLIT)


@pytest.mark.parametrize("state", ["active", "draining"])
def test_udp_goes_on(rig: Rig, net: Net, state: str) -> None:
    number, generation = STAYS[state]
    rows: tuple[Row, ...] = (
        (client(data=b"1"), FORWARDED, UDP_FLOW),
        (repool(1),),
        (backend_is(number, generation=generation),),
        (client(data=b"2"), FORWARDED, UDP_FLOW),
    )
    tell(rig, net, UDP, rows, After(connections=1, udp=1), port=SPLIT)


@pytest.mark.parametrize("state", ["absent", *LEAVES])
def test_udp_chooses_again(rig: Rig, net: Net, state: str) -> None:
    number, generation = (STAYS | LEAVES)[state]
    rows: tuple[Row, ...] = (
        (client(data=b"1"), FORWARDED, UDP_FLOW),
        (repool(1),),
        (backend_is(number, generation=generation),),
        (backend(data=b"last words"), REPLIED, UDP_FLOW),
        (client(data=b"2", to=1), FORWARDED, UDP_FLOW),
        (backend(data=b"3", by=1), REPLIED, UDP_FLOW),
    )
    tell(rig, net, UDP, rows, After(connections=2, udp=1), port=SPLIT)


@pytest.mark.parametrize("state", LEAVES)
def test_a_handshake_with_a_backend_that_is_gone_begins_anew(rig: Rig, net: Net, state: str) -> None:
    number, generation = LEAVES[state]
    rows: tuple[Row, ...] = (
        (client("S", seq=100), FORWARDED, SYN),
        (repool(1),),
        (backend_is(number, generation=generation),),
        (client("S", seq=100, to=1), FORWARDED, SYN),
        (backend("SA", seq=500, ack=101, by=1), REPLIED, SYN_ACK),
    )
    tell(rig, net, TCP, rows, After(half_open=1), port=SPLIT)
