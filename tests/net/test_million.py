"""A million established connections, no agent, and traffic that must not notice either.

Half a million in each family, made by their own handshakes through the hooked programs (lab/flood.bpf.c), until no more
are let in. Limits are short, so that ageing has to take them all out again while nobody looks after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.flood import handshakes
from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.servers.witness import PORT, STREAM_PORT, witness
from lab.topology import FAMILIES, GATEWAY, Lab, Shape
from lab.traffic.ask import REFUSED, outcomes
from lab.traffic.transfer import Transfer
from lab.wait import until
from tests.net.tables import Tables
from tests.net.world import PODS

ROOM = 1 << 19
"""Connections of one family."""

IDLE, UDP_IDLE, CLOSED = 25, 2, 2
TO_A = 7010
TRANSFERS = 4
"""Connections of each family that are in use all the time."""

WORLD = World(
    listeners=(
        *(Listener(protocol, PORT, {"a": 1, "b": 1}) for protocol in ("TCP", "UDP")),
        Listener("TCP", STREAM_PORT, {"a": 1, "b": 1}, target=STREAM_PORT),
        Listener("TCP", TO_A, {"a": 1}),
    ),
    services={"a": (Pod(PODS["a"]),), "b": (Pod(PODS["b"]),)},
)
OPTIONS = {
    "--tcp-flows": ROOM,
    "--limit-tcp-established": IDLE,
    "--limit-udp": UDP_IDLE,
    "--limit-closed": CLOSED,
    "--limit-reset": 1,
    "--limit-half-open": 5,
}


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("million", Shape(PODS)))
        write(WORLD, lab.directory / "manifests")
        options = tuple(str(word) for option in OPTIONS.items() for word in option)
        yield stack.enter_context(Gateway(lab, lab.directory / "manifests", options=options))


def all_move(transfers: list[Transfer]) -> None:
    """Each moves on, in both directions."""
    for transfer in transfers:
        transfer.until_moved(500_000)


def test_a_million_connections_come_and_go_without_an_agent(gateway: Gateway) -> None:
    lab, tables = gateway.lab, Tables(gateway)
    with ExitStack() as stack:
        for pod in PODS:
            stack.enter_context(witness(lab, pod))
        transfers = [
            stack.enter_context(Transfer(lab.client, GATEWAY[family], STREAM_PORT, octets_per_second=500_000))
            for family in FAMILIES
            for _ in range(TRANSFERS)
        ]
        gateway.kill()
        before = tables.usage()
        for family in FAMILIES:
            handshakes(gateway, tables.pins, TO_A, (lab.address("a", family), PORT), ROOM + 1_000)
        assert tables.live() == dict.fromkeys(FAMILIES, ROOM)
        # No room: nobody new is let in, and nobody of before notices.
        for family in FAMILIES:
            assert outcomes(lab.client, GATEWAY[family], PORT, "TCP", 5) == {REFUSED: 5}
            assert outcomes(lab.client, GATEWAY[family], PORT, "UDP", 20).keys() == {"a", "b"}
        all_move(transfers)
        assert tables.live() == dict.fromkeys(FAMILIES, ROOM)
        # Time goes by: what is idle goes, what is in use stays, and there is room again.
        in_use = dict.fromkeys(FAMILIES, TRANSFERS)
        until(lambda: tables.live() == in_use, "the idle are gone", patience=120, every=0.5, seen=tables.live)
        assert tables.usage()["expired"] - before["expired"] >= 2 * (ROOM - TRANSFERS)
        for family in FAMILIES:
            assert outcomes(lab.client, GATEWAY[family], PORT, "TCP", 20).keys() == {"a", "b"}
        all_move(transfers)
        gateway.start()
        assert all(x.finish().whole for x in transfers)
    until(lambda: not tables.left(), "no entry is left", seen=tables.left)
    assert tables.live() == dict.fromkeys(FAMILIES, 0)
    until(lambda: not tables.waiting(), "nobody waits to be looked at", every=1, seen=tables.waiting)
