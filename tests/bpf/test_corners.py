"""Corners of a flow's life where it is easily lost, mixed up or kept for ever."""

from __future__ import annotations

import pytest
from scapy.layers.inet import UDP as UDPHeader
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.packet import Raw

from . import objects as o
from .clients import Client
from .conftest import BOTH_BUILDS
from .kernel import Checksums
from .objects import (
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FORWARDED,
    LOCAL_EGRESS,
    NOT_OURS,
    REPLIED,
    SYN,
    SYN_ACK,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
)
from .rig import Rig
from .services import BACKEND_PORT, SERVED, SPLIT, TCP, UDP
from .story import CLIENT_PORT, HANDSHAKE, After, backend, backend_is, between, client, ip, repool, tell
from .world import V6, Net

pytestmark = BOTH_BUILDS

MARTIAN = o.Verdict["DROP_MARTIAN"]

STORIES = {
    # connect() with quick ACKs off, then close(): the ACK of the handshake carries the FIN.
    "a FIN in the third segment is remembered": (
        (
            *HANDSHAKE[:2],
            (client("FA", seq=101, ack=501), FORWARDED, CLOSING),
            (backend("FA", seq=501, ack=102), REPLIED, CLOSED),
            (client("A", seq=102, ack=502), FORWARDED, CLOSED),
        ),
        After(connections=1, established=1),
        SERVED,
    ),
    # RFC 7413: the SYN carries data, the SYN-ACK acknowledges it, and more comes before the client's ACK.
    "TCP Fast Open is established": (
        (
            (client("S", seq=100, data=b"hello"), FORWARDED, SYN),
            (backend("SA", seq=500, ack=106), REPLIED, SYN_ACK),
            (backend("PA", seq=501, ack=106, data=b"early"), REPLIED, SYN_ACK),
            (client("A", seq=106, ack=506), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
        SERVED,
    ),
    # A pod dies while a SYN is on its way to it: nothing was agreed with anybody yet.
    "a SYN is sent again to another backend when the first is absent": (
        (
            (repool(0),),
            (client("S", seq=100), FORWARDED, SYN),
            (backend_is(o.BACKEND_ABSENT, number=0),),
            (repool(1),),
            (client("S", seq=100, to=1), FORWARDED, SYN),
        ),
        After(half_open=1),
        SPLIT,
    ),
    # The client rebooted, the pod is gone, the client's port comes round: a backend is there for it.
    "a new connection on a tuple whose backend is gone is served": (
        (
            (repool(0),),
            *HANDSHAKE,
            (backend_is(o.BACKEND_GONE, number=0),),
            (repool(1),),
            (client("S", seq=9000, to=1), FORWARDED, SYN),
        ),
        After(connections=1, half_open=1),
        SPLIT,
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_life(rig: Rig, net: Net, story: str) -> None:
    rows, after, port = STORIES[story]
    tell(rig, net, TCP, rows, after, port=port)


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
@pytest.mark.parametrize("hook", [UPLINK_INGRESS, LOCAL_EGRESS], ids=["from outside", "on the node"])
def test_a_gateway_address_is_nobodys_source(rig: Rig, net: Net, hook: int, protocol: int) -> None:
    """Two listeners, or one with itself, would answer each other for ever."""
    outcome = rig.run(hook, rig.frame(hook, between(net, protocol, (net.gateway, SERVED), (net.gateway, SERVED))))
    assert outcome.verdict == MARTIAN


def test_a_request_that_leaves_by_the_uplink_is_left_alone(rig: Rig, net: Net) -> None:
    """The gateway's address was removed from the node: it is somebody else's now."""
    near, gateway = (net.node, CLIENT_PORT), (net.gateway, SERVED)
    begun = rig.run(LOCAL_EGRESS, rig.frame(LOCAL_EGRESS, between(net, UDP, near, gateway)))
    assert begun.verdict == FORWARDED
    assert rig.run(UPLINK_EGRESS, rig.frame(UPLINK_EGRESS, between(net, UDP, near, gateway))).verdict == NOT_OURS


def test_nobody_outside_speaks_for_the_backend_of_a_client_on_the_node(rig: Rig, net: Net) -> None:
    near, gateway = (net.node, CLIENT_PORT), (net.gateway, SERVED)
    assert rig.run(LOCAL_EGRESS, rig.frame(LOCAL_EGRESS, between(net, TCP, near, gateway))).verdict == FORWARDED
    forged = between(net, TCP, (net.pod, BACKEND_PORT), (net.gateway, CLIENT_PORT), "SA", seq=500, ack=1)
    assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, forged)).verdict not in (REPLIED, FORWARDED)


def test_a_whole_packet_with_a_fragment_header_is_no_fragment(rig: Rig) -> None:
    """RFC 6946: an atomic fragment."""
    packet = ip(V6, V6.client, V6.gateway) / IPv6ExtHdrFragment() / UDPHeader(sport=CLIENT_PORT, dport=SERVED)
    assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, packet / Raw(b"q"))).verdict == FORWARDED


def test_padding_is_no_data_that_came_with_a_syn(rig: Rig, net: Net) -> None:
    """A SYN-ACK of more than was sent is not the backend's."""
    source = (net.client, CLIENT_PORT)
    frame = rig.frame(UPLINK_INGRESS, between(net, TCP, source, (net.gateway, SERVED), "S", seq=100))
    assert rig.run(UPLINK_INGRESS, frame + bytes(6), checksums=Checksums.NONE).verdict == FORWARDED
    for acknowledged, state in ((104, SYN), (101, SYN_ACK)):
        reply = between(net, TCP, (net.pod, BACKEND_PORT), source, "SA", seq=500, ack=acknowledged)
        assert rig.run(UPLINK_EGRESS, rig.frame(UPLINK_EGRESS, reply)).verdict == REPLIED
        found = rig.entry(net, rig.key(net, TCP, source, (net.gateway, SERVED)))
        assert found is not None
        assert found[1]["state"] == state


def give_up(flow: Client, halves: int) -> None:
    """What the CPU leaves there for a moment that takes them out, or for ever if it cannot: generation 0."""
    found = flow.rig.entry(flow.net, flow.key)
    assert found is not None
    table = flow.rig.map(found[0])
    for key in (flow.key, flow.rig.twin(flow.net, flow.key, found[1]))[:halves]:
        table.set(key, {**table.get(key), "generation": 0})


def established(rig: Rig) -> tuple[int, int]:
    """Halves of connections, and whole ones as they are counted."""
    return rig.entries("tcp_flows4") + rig.entries("tcp_flows6"), rig.usage()["tcp4"] + rig.usage()["tcp6"]


@pytest.mark.parametrize(("seconds", "left"), [(0, (2, 1)), (3, (0, 0))], ids=["just-now", "left-behind"])
@pytest.mark.parametrize("halves", [1, 2], ids=["request", "both"])
@pytest.mark.parametrize("flags", ["FA", "S"], ids=["FIN", "SYN"])
def test_who_takes_a_half_out_is_not_overtaken(
    rig: Rig, net: Net, *, flags: str, halves: int, seconds: int, left: tuple[int, int]
) -> None:
    """Else two would delete what stands at its key, and the second one what came there in between. No packet waits for
    that; and what nobody takes out, the next one does."""
    flow = Client(rig, net, TCP, CLIENT_PORT)
    flow.connect()
    give_up(flow, halves)
    rig.age(net, TCP, seconds)
    flow.says(flags, seq=9000)
    assert established(rig) == left


@pytest.mark.parametrize("halves", [1, 2], ids=["request", "both"])
def test_a_datagram_does_not_keep_what_was_left_behind(rig: Rig, net: Net, halves: int) -> None:
    flow = Client(rig, net, UDP, CLIENT_PORT)
    flow.says()
    give_up(flow, halves)
    flow.says()
    rig.age(net, UDP, 3)
    flow.says()
    found = rig.entry(net, flow.key)
    assert found is not None
    assert (found[1]["generation"] != 0, flow.halves()) == (True, 2)
