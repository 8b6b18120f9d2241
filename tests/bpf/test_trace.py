"""What a tracer finds when a packet has ended, and that it is asked at all; packets in, this CPU's packet out."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import ICMP
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.inet import UDP as UDPHeader
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from loader.maps import Map, possible_cpus
from loader.objects import Object
from loader.running import program_array
from loader.spec import ObjectSpec
from tests.loader.objects import SAMPLE, compiled

from .objects import (
    FORWARDED,
    NOT_OURS,
    PASS,
    PING,
    REDIRECT,
    REJECTED_RST,
    REPLIED,
    SHOT,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
)
from .rig import Outcome, Rig
from .services import BACKEND_PORT, CLOSED_PORT, SERVED, SERVICES, UDP
from .story import CLIENT_PORT, ip
from .world import CLIENT_MAC, V4, Net

ETHERNET = 14


@pytest.fixture
def tracers(rig: Rig) -> Iterator[Map]:
    """The slot for a tracer."""
    array = program_array(rig.object.program("uplink_ingress").id, "tracers")
    assert array is not None
    with array:
        yield array


def run(rig: Rig, hook: int, frame: bytes) -> tuple[Outcome, dict[str, Any]]:
    """The packet's end, and what the programs left of it in the memory of the CPU that it was on."""
    scratch = rig.map("packet_scratch")
    scratch.set(0, [scratch.value.zero] * possible_cpus())
    outcome = rig.run(hook, frame)
    (packet,) = (x for x in scratch.get(0) if x["packets"])
    return outcome, packet


def request(rig: Rig, net: Net, payload: bytes = b"question") -> bytes:
    packet = ip(net, net.client, net.gateway) / UDPHeader(sport=CLIENT_PORT, dport=SERVED) / Raw(payload)
    return rig.frame(UPLINK_INGRESS, packet)


def reply(rig: Rig, net: Net) -> bytes:
    packet = ip(net, net.pod, net.client) / UDPHeader(sport=BACKEND_PORT, dport=CLIENT_PORT) / Raw(b"answer")
    return rig.frame(UPLINK_EGRESS, packet)


def test_a_packet_of_a_flow_ends_with_its_backend(rig: Rig, net: Net) -> None:
    service = SERVICES[net, SERVED, UDP]
    said = []
    for hook, frame in (
        (UPLINK_INGRESS, request(rig, net)),
        (UPLINK_INGRESS, request(rig, net)),
        (UPLINK_EGRESS, reply(rig, net)),
    ):
        outcome, packet = run(rig, hook, frame)
        assert (packet["verdict"], packet["hook"]) == (outcome.verdict, hook)
        assert (packet["packets"], packet["bytes"]) == (1, len(frame) - ETHERNET)
        assert packet["action"] == outcome.action
        said.append((packet["verdict"], packet["listener_id"], packet["backend_id"]))
    assert said == [
        (FORWARDED, service.listener_id, service.backends[0]),
        (FORWARDED, 0, service.backends[0]),
        (REPLIED, 0, service.backends[0]),
    ]


def test_the_tuple_is_the_packets_own(rig: Rig, net: Net) -> None:
    _, packet = run(rig, UPLINK_INGRESS, request(rig, net))
    key = rig.object.btf.struct(f"tuple{4 if net is V4 else 6}")
    tuple_ = key.unpack(packet["tuple"][: key.size])
    assert tuple_ == rig.key(net, UDP, (net.client, CLIENT_PORT), (net.gateway, SERVED)) | {"protocol": UDP}
    assert packet["to"]["dport"] == BACKEND_PORT


def test_nothing_is_left_of_the_packet_before(rig: Rig, net: Net) -> None:
    run(rig, UPLINK_INGRESS, request(rig, net))
    refused = ip(net, net.client, net.gateway) / TCPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT, flags="S")
    outcome, packet = run(rig, UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, refused))
    assert (packet["verdict"], packet["action"], outcome.action) == (REJECTED_RST, REDIRECT, REDIRECT)
    assert (packet["protocol"], packet["tcp_flags"]) == (socket.IPPROTO_TCP, 2)
    assert (packet["listener_id"], packet["backend_id"]) == (0, 0)


def test_what_is_not_ip_has_no_tuple(rig: Rig) -> None:
    run(rig, UPLINK_INGRESS, request(rig, V4))
    question = Ether(src=CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, psrc=V4.client, pdst=V4.client)
    _, packet = run(rig, UPLINK_INGRESS, bytes(question))
    assert (packet["verdict"], packet["l4"]) == (NOT_OURS, 0)


def test_a_tracer_is_called_when_the_packet_has_ended(rig: Rig, tracers: Map, bpffs: Any) -> None:
    """What it returns is what the program returns: so it must return what was decided."""
    echo = rig.frame(UPLINK_INGRESS, ip(V4, V4.client, V4.gateway) / ICMP() / Raw(b"ping"))
    stranger = rig.frame(UPLINK_INGRESS, ip(V4, V4.client, V4.pod) / UDPHeader(sport=1, dport=2))
    assert [run(rig, UPLINK_INGRESS, x)[0].action for x in (echo, stranger)] == [REDIRECT, PASS]
    with Object.load(ObjectSpec(compiled(SAMPLE), {}, {}), bpffs / "tracer") as loaded:
        tracers.set(0, loaded.program("drop_all").fd)
        outcomes = [run(rig, UPLINK_INGRESS, x) for x in (echo, stranger)]
        tracers.delete(0)
    assert [x.verdict for x, _ in outcomes] == [PING, NOT_OURS]
    assert [x.action for x, _ in outcomes] == [SHOT, SHOT]
    assert [x["action"] for _, x in outcomes] == [REDIRECT, PASS]
