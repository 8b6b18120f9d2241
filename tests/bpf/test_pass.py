"""What the programs leave alone, and what is addressed to a gateway but can be no flow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scapy.layers.inet import IP, IPOption_NOP
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.inet import UDP as UDPHeader
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from .conftest import BOTH_BUILDS
from .exchange import dropped, passed
from .objects import (
    FORWARDED,
    FRAGMENT,
    LOCAL_EGRESS,
    MALFORMED,
    PASS,
    POD_INGRESS,
    PROTOCOL,
    REDIRECTED,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
    Hook,
)
from .rig import Rig
from .services import BACKEND_PORT, CLOSED_PORT, FLOW_TABLES, SERVED
from .story import CLIENT_PORT, REDIRECT_MARK, ip
from .wire import translated
from .world import V4, V6, Net

pytestmark = BOTH_BUILDS

SEGMENT = TCPHeader(sport=CLIENT_PORT, dport=SERVED, flags="S", seq=100)
DATAGRAM = UDPHeader(sport=CLIENT_PORT, dport=SERVED) / Raw(b"hello")
NOBODY = "02:00:00:00:99:99"


def extended(count: int, destination: str = V6.gateway) -> Packet:
    """An IPv6 packet to the gateway with that many extension headers; the transport header is to follow."""
    packet: Packet = IPv6(src=V6.client, dst=destination)
    for number in range(count):
        header = IPv6ExtHdrHopByHop if number == 0 else IPv6ExtHdrDestOpt
        packet /= header(options=[PadN(optdata=bytes(4))])
    return packet


def frame_to(rig: Rig, mac: str, packet: Packet) -> bytes:
    return bytes(Ether(src=rig.device(UPLINK_INGRESS).peer_mac, dst=mac) / packet)


# ---- Not ours


@pytest.mark.parametrize("hook", list(Hook)[:4], ids=lambda x: x.name)
@pytest.mark.parametrize("transport", [SEGMENT, DATAGRAM], ids=["TCP", "UDP"])
@pytest.mark.parametrize("destination", ["node", "pod", "client", "far"])
def test_what_is_for_others_passes(rig: Rig, net: Net, hook: int, transport: Packet, destination: str) -> None:
    header = transport.copy()
    header.dport = CLOSED_PORT
    passed(rig, hook, ip(net, net.client, getattr(net, destination)) / header)


@pytest.mark.parametrize("hook", [UPLINK_EGRESS, POD_INGRESS], ids=lambda x: x.name)
@pytest.mark.parametrize("transport", [SEGMENT, DATAGRAM], ids=["TCP", "UDP"])
def test_flows_begin_only_where_requests_come_in(rig: Rig, net: Net, hook: int, transport: Packet) -> None:
    passed(rig, hook, ip(net, net.client, net.gateway) / transport)
    assert {rig.entries(x) for x in FLOW_TABLES} == {0}


@pytest.mark.parametrize("mac", [NOBODY, "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"], ids=["host", "broadcast", "group"])
@pytest.mark.parametrize("port", [SERVED, CLOSED_PORT])
def test_frames_for_other_hosts_and_for_all_pass(rig: Rig, net: Net, mac: str, port: int) -> None:
    """RFC 1122 section 4.2.3.10 and 3.2.2: a segment or an error is never the answer to a broadcast."""
    header = SEGMENT.copy()
    header.dport = port
    passed(rig, UPLINK_INGRESS, frame_to(rig, mac, ip(net, net.client, net.gateway) / header))


def test_vlan_tagged_frames_pass(rig: Rig, net: Net) -> None:
    device = rig.device(UPLINK_INGRESS)
    tagged = Ether(src=device.peer_mac, dst=device.mac) / Dot1Q(vlan=5) / ip(net, net.client, net.gateway) / SEGMENT
    passed(rig, UPLINK_INGRESS, bytes(tagged))


@pytest.mark.parametrize("ethertype", [0x88CC, 0x0842, 0x8847, 0x0000])
def test_what_is_not_ip_passes(rig: Rig, ethertype: int) -> None:
    device = rig.device(UPLINK_INGRESS)
    packet = Ether(src=device.peer_mac, dst=device.mac, type=ethertype) / Raw(bytes(50))
    passed(rig, UPLINK_INGRESS, bytes(packet))


def test_our_own_redirect_is_known_by_its_mark_and_loses_it(rig: Rig, net: Net) -> None:
    frame = rig.frame(UPLINK_EGRESS, ip(net, net.gateway, net.client) / SEGMENT)
    outcome = rig.run(UPLINK_EGRESS, frame, mark=REDIRECT_MARK)
    assert (outcome.verdict, outcome.action, outcome.packet, outcome.mark) == (REDIRECTED, PASS, frame, 0)


# ---- To a gateway, but no flow

# Those of UDP have a test file of their own.
FRAGMENTS: dict[str, Callable[[str], Packet]] = {
    "first": lambda dst: IP(src=V4.client, dst=dst, flags="MF") / SEGMENT,
    "middle": lambda dst: IP(src=V4.client, dst=dst, flags="MF", frag=100, proto=6) / Raw(b"x" * 64),
    "last": lambda dst: IP(src=V4.client, dst=dst, frag=100, proto=6) / Raw(b"x" * 3),
}
FRAGMENTS6: dict[str, Callable[[str], Packet]] = {
    "first": lambda dst: IPv6(src=V6.client, dst=dst) / IPv6ExtHdrFragment(m=1, id=1) / SEGMENT,
    "last": lambda dst: IPv6(src=V6.client, dst=dst) / IPv6ExtHdrFragment(offset=9, id=1, nh=6) / Raw(b"x" * 3),
    "behind options": lambda dst: extended(1, dst) / IPv6ExtHdrFragment(m=1) / SEGMENT,
}


@pytest.mark.parametrize("case", FRAGMENTS)
def test_fragments_of_segments_to_a_gateway_are_dropped(rig: Rig, case: str) -> None:
    dropped(rig, UPLINK_INGRESS, FRAGMENTS[case](V4.gateway), FRAGMENT)
    dropped(rig, LOCAL_EGRESS, FRAGMENTS[case](V4.gateway), FRAGMENT)
    passed(rig, UPLINK_INGRESS, FRAGMENTS[case](V4.node))
    passed(rig, UPLINK_EGRESS, FRAGMENTS[case](V4.client))


@pytest.mark.parametrize("case", FRAGMENTS6)
def test_ipv6_fragments_of_segments_to_a_gateway_are_dropped(rig: Rig, case: str) -> None:
    dropped(rig, UPLINK_INGRESS, FRAGMENTS6[case](V6.gateway), FRAGMENT)
    passed(rig, UPLINK_INGRESS, FRAGMENTS6[case](V6.node))


@pytest.mark.parametrize("protocol", [2, 4, 41, 47, 50, 51, 89, 132, 136, 255])
def test_other_protocols_to_a_gateway_are_dropped(rig: Rig, net: Net, protocol: int) -> None:
    field = {"proto": protocol} if net is V4 else {"nh": protocol}
    dropped(rig, UPLINK_INGRESS, ip(net, net.client, net.gateway, **field) / Raw(bytes(40)), PROTOCOL)
    passed(rig, UPLINK_INGRESS, ip(net, net.client, net.node, **field) / Raw(bytes(40)))


@pytest.mark.parametrize(
    "packet",
    [
        IP(src=V4.client, dst=V4.gateway) / TCPHeader(dport=SERVED, flags="S", dataofs=4),
        IP(src=V4.client, dst=V4.gateway, ihl=4) / SEGMENT,
        IP(src=V4.client, dst=V4.gateway, version=5) / SEGMENT,
        IPv6(src=V6.client, dst=V6.gateway) / TCPHeader(dport=SERVED, flags="S", dataofs=0),
        IPv6(src=V6.client, dst=V6.gateway, version=4) / SEGMENT,
        extended(7) / SEGMENT,
    ],
    ids=["doff", "ihl", "version", "doff6", "version6", "seven extension headers"],
)
def test_headers_that_contradict_themselves_are_dropped(rig: Rig, packet: Packet) -> None:
    dropped(rig, UPLINK_INGRESS, packet, MALFORMED)


def test_cut_anywhere_a_packet_to_a_gateway_is_dropped(rig: Rig, net: Net) -> None:
    """From the end of the IP header on (the kernel runs nothing shorter) until the transport header is whole."""
    header = 14 + (20 if net is V4 else 40)
    for transport, needed in ((SEGMENT, 20), (DATAGRAM, 8)):
        whole = rig.frame(UPLINK_INGRESS, ip(net, net.client, net.gateway) / transport)
        for length in range(header, header + needed):
            dropped(rig, UPLINK_INGRESS, whole[:length], MALFORMED)
        for length in range(header + needed, len(whole)):
            assert rig.run(UPLINK_INGRESS, whole[:length]).verdict == FORWARDED


def test_cut_anywhere_a_packet_for_others_passes(rig: Rig, net: Net) -> None:
    for transport in (SEGMENT, DATAGRAM):
        header = transport.copy()
        header.dport = CLOSED_PORT
        whole = rig.frame(UPLINK_INGRESS, ip(net, net.client, net.node) / header)
        for length in range(14 + (20 if net is V4 else 40), len(whole)):
            passed(rig, UPLINK_INGRESS, whole[:length])


# ---- Options and extension headers are stepped over

OPTIONS: dict[str, Packet] = {
    "one word of options": IP(src=V4.client, dst=V4.gateway, options=[IPOption_NOP()] * 4),
    "ten words of options": IP(src=V4.client, dst=V4.gateway, options=[IPOption_NOP()] * 40),
    "one extension header": extended(1),
    "five extension headers": extended(5),
    # RFC 6946: a fragment that is the whole packet
    "atomic fragment": IPv6(src=V6.client, dst=V6.gateway) / IPv6ExtHdrFragment(id=1),
    "atomic fragment behind an extension header": extended(1) / IPv6ExtHdrFragment(id=1),
    "routing header": IPv6(src=V6.client, dst=V6.gateway) / IPv6ExtHdrRouting(type=4, addresses=[V6.gateway]),
}


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("transport", [SEGMENT, DATAGRAM], ids=["TCP", "UDP"])
def test_options_are_stepped_over_and_kept(rig: Rig, case: str, transport: Packet) -> None:
    net = V4 if isinstance(OPTIONS[case], IP) else V6
    frame = rig.frame(UPLINK_INGRESS, OPTIONS[case] / transport)
    outcome = rig.run(UPLINK_INGRESS, frame)
    assert outcome.verdict == FORWARDED
    assert outcome.packet == translated(frame, (net.client, CLIENT_PORT), (net.pod, BACKEND_PORT))
