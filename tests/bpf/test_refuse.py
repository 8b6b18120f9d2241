"""What is refused, and with which words: RST with the numbers of RFC 9293 section 3.10.7.1, ICMP port unreachable."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.inet import UDP as UDPHeader
from scapy.layers.inet import IPOption_NOP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, PadN
from scapy.packet import Packet, Raw

from .answers import ask, rst, unreachable
from .conftest import BOTH_BUILDS, OpenRig
from .exchange import answered, dropped, passed
from .loading import now
from .objects import (
    ESTABLISHED,
    FORWARDED,
    LOCAL_EGRESS,
    NO_BACKEND,
    NO_FLOW,
    RATE_LIMITED,
    REFUSED_TABLE_FULL,
    REJECT_SHARE,
    REJECTED_ICMP,
    REJECTED_RST,
    REPLIED,
    UPLINK_INGRESS,
    Verdict,
)
from .rig import Rig
from .services import CLOSED_PORT, FLOW_TABLES, HOLE, REJECTED, SERVED, SERVICES, TCP, UNHOOKED
from .services import UDP as UDP_PROTOCOL
from .story import CLIENT_PORT, After, Story, backend, client, ip
from .world import V4, V6, Net

pytestmark = BOTH_BUILDS

OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)]

# What the client sends; flags, seq and ack of the answer.
RESETS: dict[str, tuple[dict[str, Any], bytes, tuple[str, int, int]]] = {
    "SYN": ({"flags": "S", "seq": 100}, b"", ("RA", 0, 101)),
    "SYN at the end of the numbers": ({"flags": "S", "seq": 0xFFFFFFFF}, b"", ("RA", 0, 0)),
    "SYN with options": ({"flags": "S", "seq": 100, "options": OPTIONS}, b"", ("RA", 0, 101)),
    "SYN with data": ({"flags": "S", "seq": 100}, b"0123456789", ("RA", 0, 111)),
    "SYN with options and data": ({"flags": "S", "seq": 100, "options": OPTIONS}, b"odd", ("RA", 0, 104)),
    "SYN and FIN": ({"flags": "SF", "seq": 100}, b"", ("RA", 0, 102)),
    "ECN SYN": ({"flags": "SEC", "seq": 100}, b"", ("RA", 0, 101)),
    "ACK": ({"flags": "A", "seq": 100, "ack": 7000}, b"", ("R", 7000, 0)),
    "data": ({"flags": "PA", "seq": 100, "ack": 7000}, b"x" * 1400, ("R", 7000, 0)),
    "FIN": ({"flags": "FA", "seq": 100, "ack": 7000}, b"", ("R", 7000, 0)),
    "FIN without ACK": ({"flags": "F", "seq": 100}, b"", ("RA", 0, 101)),
    "no flags": ({"flags": "", "seq": 100, "ack": 7000}, b"abc", ("RA", 0, 103)),
}


@pytest.mark.parametrize("port", [CLOSED_PORT, REJECTED], ids=["no listener", "share of REJECT"])
@pytest.mark.parametrize("case", RESETS)
@pytest.mark.parametrize("hook", [UPLINK_INGRESS, LOCAL_EGRESS], ids=lambda x: x.name)
def test_tcp_is_answered_with_an_rst(rig: Rig, net: Net, case: str, port: int, hook: int) -> None:
    header, data, numbers = RESETS[case]
    sent = ask(net, TCPHeader(sport=CLIENT_PORT, dport=port, **header), data)
    answered(rig, hook, sent, REJECTED_RST, rst(net, port, numbers))
    rejected = {"connections": 0, "rejected": 1, "refused": 0, "denied": 0, "limited": 0, "uncounted": 0}
    listener = SERVICES[net, REJECTED, TCP].listener_id
    assert rig.counted("listener_counts") == ({listener: rejected} if port == REJECTED else {})
    assert {rig.entries(x) for x in FLOW_TABLES} == {0}


@pytest.mark.parametrize("padding", [1, 2, 6])
def test_ethernet_padding_is_no_data(rig: Rig, net: Net, padding: int) -> None:
    frame = rig.frame(UPLINK_INGRESS, ask(net, TCPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT, flags="S", seq=100)))
    answered_frame = rig.frame(UPLINK_INGRESS, rst(net, CLOSED_PORT, ("RA", 0, 101)))
    swapped = answered_frame[6:12] + answered_frame[0:6] + answered_frame[12:]
    answered(rig, UPLINK_INGRESS, frame + bytes(padding), REJECTED_RST, swapped)


def test_an_rst_behind_ip_options_counts_no_option_as_data(rig: Rig) -> None:
    header = TCPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT, flags="S", seq=100)
    sent = ask(V4, header, b"four", options=[IPOption_NOP()] * 4)
    answered(rig, UPLINK_INGRESS, sent, REJECTED_RST, rst(V4, CLOSED_PORT, ("RA", 0, 105)))


def test_an_rst_behind_extension_headers_counts_them_not(rig: Rig, net: Net) -> None:
    header = TCPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT, flags="S", seq=100) / Raw(b"four")
    if net is V4:
        sent = ask(net, header)
    else:
        sent = ip(net, net.client, net.gateway) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / header
    answered(rig, UPLINK_INGRESS, sent, REJECTED_RST, rst(net, CLOSED_PORT, ("RA", 0, 105)))


@pytest.mark.parametrize("data", [b"", b"x", b"y" * 1400], ids=len)
@pytest.mark.parametrize("check", [None, 0], ids=["checksum", "no checksum"])
@pytest.mark.parametrize("hook", [UPLINK_INGRESS, LOCAL_EGRESS], ids=lambda x: x.name)
def test_udp_without_a_listener_is_answered_with_an_error(
    rig: Rig, net: Net, data: bytes, check: int | None, hook: int
) -> None:
    sent = ask(net, UDPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT, chksum=check), data)
    answered(rig, hook, sent, REJECTED_ICMP, unreachable(net, sent))


def test_udp_behind_ip_options_is_dropped_for_the_error_would_not_hold_the_ports(rig: Rig, net: Net) -> None:
    header = UDPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT)
    if net is V4:
        sent = ask(net, header, options=[IPOption_NOP()] * 4)
    else:
        sent = ip(net, net.client, net.gateway) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / header
    dropped(rig, UPLINK_INGRESS, sent, NO_FLOW)


def test_the_share_of_reject_drops_udp_and_counts_it(rig: Rig, net: Net) -> None:
    dropped(rig, UPLINK_INGRESS, ask(net, UDPHeader(sport=CLIENT_PORT, dport=REJECTED)), REJECT_SHARE)
    listener = SERVICES[net, REJECTED, UDP_PROTOCOL].listener_id
    assert rig.counted("listener_counts") == {
        listener: {"connections": 0, "rejected": 1, "refused": 0, "denied": 0, "limited": 0, "uncounted": 0}
    }


@pytest.mark.parametrize("transport", [TCPHeader(flags="S"), UDPHeader()], ids=["TCP", "UDP"])
def test_an_empty_slot_is_a_defect_and_counted_as_one(rig: Rig, net: Net, transport: Packet) -> None:
    header = transport.copy()
    header.sport, header.dport = CLIENT_PORT, HOLE
    dropped(rig, UPLINK_INGRESS, ask(net, header), NO_BACKEND)


@pytest.mark.parametrize("port", [CLOSED_PORT, REJECTED, SERVED])
@pytest.mark.parametrize("flags", ["R", "RA", "SA"])
def test_an_rst_and_a_late_syn_ack_are_never_answered(rig: Rig, net: Net, port: int, flags: str) -> None:
    sent = ask(net, TCPHeader(sport=CLIENT_PORT, dport=port, flags=flags, seq=1, ack=1))
    dropped(rig, UPLINK_INGRESS, sent, NO_FLOW)
    assert {rig.entries(x) for x in FLOW_TABLES} == {0}


@pytest.mark.parametrize(
    "transport", [TCPHeader(flags="S"), TCPHeader(flags="SA"), UDPHeader()], ids=["S", "SA", "UDP"]
)
def test_ports_of_the_nodes_own_address_without_a_listener_are_the_kernels(
    rig: Rig, net: Net, transport: Packet
) -> None:
    header = transport.copy()
    header.sport, header.dport = CLIENT_PORT, CLOSED_PORT
    passed(rig, UPLINK_INGRESS, ip(net, net.client, net.node) / header)


def test_own_answers_are_limited_per_second(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(reply_rate_limit=3)
    sent = rig.frame(UPLINK_INGRESS, ask(net, TCPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT, flags="S")))
    second = -1
    while second != now():  # again, if a new second began among the eight
        second = now()
        rig.reset()
        verdicts = [Verdict(rig.run(UPLINK_INGRESS, sent).verdict) for _ in range(8)]
    assert verdicts == [REJECTED_RST] * 3 + [RATE_LIMITED] * 5


def test_a_full_table_refuses_new_connections_cleanly_and_carries_the_old_ones(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(tcp_flows_max=1)
    story = Story(rig, net, TCP)
    story.play(client("S", seq=100), FORWARDED)
    story.play(backend("SA", seq=500, ack=101), REPLIED)
    story.play(client("A", seq=101, ack=501), FORWARDED)
    sent = ask(net, TCPHeader(sport=CLIENT_PORT + 1, dport=SERVED, flags="S", seq=100))
    answered(rig, UPLINK_INGRESS, sent, REFUSED_TABLE_FULL, rst(net, SERVED, ("RA", 0, 101), CLIENT_PORT + 1))
    story.play(client("PA", seq=101, ack=501, data=b"still here"), FORWARDED)
    story.check(After(connections=1, refused=1, established=1))
    # Another family's table is another's: it has room.
    other = Story(rig, V6 if net is V4 else V4, TCP)
    other.play(client("S", seq=100), FORWARDED)


def test_a_handshake_that_was_let_in_may_finish_in_a_full_table(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(tcp_flows_max=1)
    stories = [Story(rig, net, TCP, port) for port in (SERVED, UNHOOKED)]
    for story in stories:
        story.play(client("S", seq=100), FORWARDED)
        story.play(backend("SA", seq=500, ack=101), REPLIED)
    for story in stories:
        story.play(client("A", seq=101, ack=501), FORWARDED)
    assert [x.state() for x in stories] == [ESTABLISHED, ESTABLISHED]
