"""Packets whose checksum is left for the NIC (CHECKSUM_PARTIAL), and super-packets cut by it: attached, through taps.

What a test run cannot make: the kernel itself finishes the checksums, on the way out, with what the programs left it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IPOption_NOP
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.inet import UDP as UDPHeader
from scapy.layers.inet6 import ICMPv6DestUnreach
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from loader.objects import Object

from .loading import spec
from .objects import (
    DELIVERY_REDIRECT,
    DELIVERY_STACK,
    FORWARDED,
    NO_FLOW,
    NOT_OURS,
    POD_INGRESS,
    REDIRECTED,
    REPLIED,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
)
from .remote import IN_RANGE, begin, lend
from .rig import Rig, command
from .services import BACKEND_PORT, CLOSED_PORT, FAR, SERVED, TCP, UDP
from .story import CLIENT_PORT, between, ip
from .taps import Tap, TapNode, attached
from .wire import (
    CHECKSUM_AT,
    ETH,
    ip_checksum_is_right,
    l4_checksum_is_right,
    layout,
    ones_sum,
    pseudo_header,
    translated,
    with_checksums,
)
from .wire import ICMP as ICMP_NUMBER
from .wire import ICMPV6 as ICMPV6_NUMBER
from .world import CLIENT_MAC, NETS, V4, Net

PROTOCOLS = pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
READER_FINISHES = pytest.mark.parametrize("reader_finishes", [False, True], ids=["kernel finishes", "reader finishes"])
POD_MAC, POD0_MAC, UPLINK_MAC = "02:00:00:00:03:02", "02:00:00:00:03:01", "02:00:00:00:01:01"


class Bench:
    """A rig whose programs are attached."""

    def __init__(self, node: TapNode, rig: Rig) -> None:
        self.node, self.rig = node, rig
        self.uplink: Tap = node.taps["uplink"]
        self.pod: Tap = node.taps["pod0"]


@pytest.fixture(scope="module")
def node() -> Iterator[TapNode]:
    made = TapNode()
    yield made
    made.close()


@pytest.fixture(scope="module")
def loaded(request: pytest.FixtureRequest, node: TapNode, bpffs: Path) -> Iterator[Bench]:
    """Loaded and attached once for all tests of a delivery; delivery through the stack unless a test says otherwise."""
    settings = {"delivery": getattr(request, "param", DELIVERY_STACK)}
    pins = bpffs / f"taps{settings['delivery']}"
    with contextlib.ExitStack() as owned:
        with node.node.inside():
            rig = Rig(node, owned.enter_context(Object.load(spec(node, settings, {}), pins)), settings, pins)
            owned.enter_context(attached(node, rig.object, pins))
        yield Bench(node, rig)


@pytest.fixture
def bench(loaded: Bench) -> Iterator[Bench]:
    with loaded.node.node.inside():
        loaded.rig.reset()
        for tap in loaded.node.taps.values():
            tap.drain()
            tap.reader_finishes_checksums(on=False)
        yield loaded


def to_ports(net: Net, protocol: int, sport: int, dport: int) -> Callable[[bytes], bool]:
    """Is it a frame of the family and protocol with these ports?"""

    def wanted(frame: bytes) -> bool:
        at = layout(frame)
        if at is None or at.family != net.family or at.protocol != protocol:
            return False
        return frame[at.l4 : at.l4 + 4] == sport.to_bytes(2) + dport.to_bytes(2)

    return wanted


def through_the_stack(frame: bytes, dmac: str, smac: str, hops: int = 1) -> bytes:
    """The frame after the kernel has forwarded it: one hop less, other MAC addresses."""
    net = V4 if frame[14] >> 4 == 4 else NETS[1]
    at = 22 if net is V4 else 21
    macs = bytes.fromhex((dmac + smac).replace(":", ""))
    return with_checksums(macs + frame[12:at] + bytes([frame[at] - hops]) + frame[at + 1 :])


def is_right(frame: bytes, csum_start: int | None) -> bool:
    """Every checksum holds, or the one that its reader is to finish holds the pseudo header's sum."""
    at = layout(frame)
    assert at is not None
    if not ip_checksum_is_right(frame, at):
        return False
    if csum_start is None:
        return l4_checksum_is_right(frame, at)
    field = at.l4 + CHECKSUM_AT[at.protocol]
    return csum_start == at.l4 and int.from_bytes(frame[field : field + 2]) == ones_sum(pseudo_header(frame, at))


@PROTOCOLS
@READER_FINISHES
@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_request_and_its_reply(bench: Bench, net: Net, protocol: int, size: int, reader_finishes: bool) -> None:
    for tap in (bench.uplink, bench.pod):
        tap.reader_finishes_checksums(on=reader_finishes)
    far, near, pod = (net.client, CLIENT_PORT), (net.gateway, SERVED), (net.pod, BACKEND_PORT)
    data = bytes(range(size))
    request = bench.rig.frame(UPLINK_INGRESS, between(net, protocol, far, near, seq=100, data=data))
    bench.uplink.send_unfinished(request)
    seen = bench.pod.receive(to_ports(net, protocol, CLIENT_PORT, BACKEND_PORT))
    assert is_right(seen.frame, seen.csum_start), command(seen.frame)
    assert (seen.csum_start is not None) == reader_finishes
    assert with_checksums(seen.frame) == through_the_stack(translated(request, far, pod), POD_MAC, POD0_MAC)

    answer = between(net, protocol, pod, far, "SA", seq=500, ack=101, data=data)
    reply = bytes(Ether(src=POD_MAC, dst=POD0_MAC) / answer)
    bench.pod.send_unfinished(reply)
    heard = bench.uplink.receive(to_ports(net, protocol, SERVED, CLIENT_PORT))
    assert is_right(heard.frame, heard.csum_start), command(heard.frame)
    assert with_checksums(heard.frame) == through_the_stack(translated(reply, near, far), CLIENT_MAC, UPLINK_MAC)


@PROTOCOLS
@pytest.mark.parametrize(
    "loaded", [DELIVERY_STACK, DELIVERY_REDIRECT], ids=["stack", "redirect"], indirect=True, scope="module"
)
def test_a_reply_in_either_delivery(bench: Bench, net: Net, protocol: int) -> None:
    far, near, pod = (net.client, CLIENT_PORT), (net.gateway, SERVED), (net.pod, BACKEND_PORT)
    request = bench.rig.frame(UPLINK_INGRESS, between(net, protocol, far, near, seq=100))
    assert bench.rig.run(UPLINK_INGRESS, request).verdict == FORWARDED
    answer = between(net, protocol, pod, far, "SA", seq=500, ack=101, data=b"unfinished")
    reply = bytes(Ether(src=POD_MAC, dst=POD0_MAC) / answer)
    before = bench.rig.verdicts()
    bench.pod.send_unfinished(reply)
    heard = bench.uplink.receive(to_ports(net, protocol, SERVED, CLIENT_PORT))
    assert heard.frame == through_the_stack(translated(reply, near, far), CLIENT_MAC, UPLINK_MAC)
    past_the_stack = bench.rig.settings["delivery"] == DELIVERY_REDIRECT
    counted = {(POD_INGRESS, REPLIED): 1, (UPLINK_EGRESS, REDIRECTED): 1}
    if not past_the_stack:
        counted = {(POD_INGRESS, NOT_OURS): 1, (UPLINK_EGRESS, REPLIED): 1}
    after = bench.rig.verdicts()
    assert {x: after[x] - before[x] for x in counted} == counted


@READER_FINISHES
@pytest.mark.parametrize("data", [b"", b"and data"])
def test_an_rst(bench: Bench, net: Net, data: bytes, reader_finishes: bool) -> None:
    bench.uplink.reader_finishes_checksums(on=reader_finishes)
    header = TCPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT, flags="S", seq=100, options=[("MSS", 1460)])
    packet = ip(net, net.client, net.gateway) / header
    bench.uplink.send_unfinished(bench.rig.frame(UPLINK_INGRESS, packet / Raw(data) if data else packet))
    heard = bench.uplink.receive(to_ports(net, TCP, CLOSED_PORT, CLIENT_PORT))
    assert is_right(heard.frame, heard.csum_start), command(heard.frame)
    answer = Ether(heard.frame)[TCPHeader]
    assert (answer.flags, answer.seq, answer.ack) == ("RA", 0, 101 + len(data))


def test_an_rst_behind_ip_options_is_not_possible(bench: Bench) -> None:
    """The place where the checksum will be written lies behind the end of an RST."""
    before = bench.rig.verdicts()[UPLINK_INGRESS, NO_FLOW]
    header = TCPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT, flags="S", seq=100)
    packet = ip(V4, V4.client, V4.gateway, options=[IPOption_NOP()] * 4) / header
    bench.uplink.send_unfinished(bench.rig.frame(UPLINK_INGRESS, packet))
    assert bench.rig.verdicts()[UPLINK_INGRESS, NO_FLOW] == before + 1


@READER_FINISHES
@pytest.mark.parametrize("size", [0, 1, 700])
def test_an_icmp_error(bench: Bench, net: Net, size: int, reader_finishes: bool) -> None:
    bench.uplink.reader_finishes_checksums(on=reader_finishes)
    packet = ip(net, net.client, net.gateway) / UDPHeader(sport=CLIENT_PORT, dport=CLOSED_PORT) / Raw(b"u" * size)
    bench.uplink.send_unfinished(bench.rig.frame(UPLINK_INGRESS, packet))
    error = ICMP if net is V4 else ICMPv6DestUnreach

    def wanted(frame: bytes) -> bool:
        return error in Ether(frame) and Ether(frame)[error].type == (3 if net is V4 else 1)

    heard = bench.uplink.receive(wanted)
    frame = finished(heard.frame, heard.csum_start, CHECKSUM_AT[UDP])
    at = layout(frame)
    assert at is not None
    assert ip_checksum_is_right(frame, at)
    assert l4_checksum_is_right(frame, at), command(frame)


@READER_FINISHES
@pytest.mark.parametrize(("protocol", "gso_size"), [(TCP, 0), (TCP, 1480), (UDP, 0)])
def test_too_big(bench: Bench, net: Net, protocol: int, gso_size: int, reader_finishes: bool) -> None:
    """The sender finds the very segment that it sent, in the quotation."""
    bench.uplink.reader_finishes_checksums(on=reader_finishes)
    lend(bench.rig, net, [net.node])
    begin(bench.rig, net, (net.client, IN_RANGE), protocol=protocol)
    sent = between(net, protocol, (net.client, IN_RANGE), (net.gateway, FAR), "A", seq=101, data=bytes(3000))
    if net is V4:
        sent.flags = "DF"
    frame = bench.rig.frame(UPLINK_INGRESS, sent)
    bench.uplink.send_unfinished(frame, gso_size=gso_size)
    type_, header = (3, 20) if net is V4 else (2, 40)

    def wanted(frame: bytes) -> bool:
        at = layout(frame)
        return at is not None and at.protocol in (ICMP_NUMBER, ICMPV6_NUMBER) and frame[at.l4] == type_

    heard = bench.uplink.receive(wanted)
    answer = finished(heard.frame, heard.csum_start, CHECKSUM_AT[protocol])
    at = layout(answer)
    assert at is not None
    assert ip_checksum_is_right(answer, at)
    assert l4_checksum_is_right(answer, at), command(answer)
    assert answer[at.l4 + 4 : at.l4 + 8] == (1500).to_bytes(4)
    before_its_checksum = header + (8 if protocol == TCP else 6)
    assert answer[at.l4 + 8 :][:before_its_checksum] == frame[ETH:][:before_its_checksum]


def finished(frame: bytes, csum_start: int | None, field: int) -> bytes:
    """What a NIC makes of it: the complement of the sum from there on, into the field so many octets behind."""
    if csum_start is None:
        return frame
    check = 0xFFFF - ones_sum(frame[csum_start:])
    return frame[: csum_start + field] + check.to_bytes(2) + frame[csum_start + field + 2 :]


def test_a_super_packet_is_cut_into_segments_that_are_all_right(bench: Bench, net: Net) -> None:
    far, near = (net.client, CLIENT_PORT), (net.gateway, SERVED)
    payload = bytes(i % 251 for i in range(3 * 1000 + 1))
    frame = bench.rig.frame(UPLINK_INGRESS, between(net, TCP, far, near, "PA", seq=100, ack=1, data=payload))
    bench.uplink.send_unfinished(frame, gso_size=1000)
    wanted = to_ports(net, TCP, CLIENT_PORT, BACKEND_PORT)
    segments = [bench.pod.receive(wanted) for _ in range(4)]
    assert all(is_right(x.frame, x.csum_start) for x in segments)
    headers = [Ether(x.frame)[TCPHeader] for x in segments]
    assert [x.seq for x in headers] == [100, 1100, 2100, 3100]
    assert b"".join(bytes(x.payload) for x in headers) == payload


def test_vlan_tagged_frames_pass(bench: Bench, net: Net) -> None:
    """The kernel takes the tag off before the program sees the packet."""
    before = bench.rig.verdicts()[UPLINK_INGRESS, NOT_OURS]
    segment = between(net, TCP, (net.client, CLIENT_PORT), (net.gateway, SERVED))
    bench.uplink.send(bytes(Ether(src=CLIENT_MAC, dst=UPLINK_MAC) / Dot1Q(vlan=7) / segment))
    assert bench.rig.verdicts()[UPLINK_INGRESS, NOT_OURS] == before + 1


@pytest.mark.parametrize("size", range(14, 34))
def test_frames_too_short_for_a_test_run_pass(bench: Bench, net: Net, size: int) -> None:
    before = bench.rig.verdicts()[UPLINK_INGRESS, NOT_OURS]
    whole = bench.rig.frame(UPLINK_INGRESS, between(net, TCP, (net.client, CLIENT_PORT), (net.gateway, SERVED)))
    bench.uplink.send(whole[:size])
    assert bench.rig.verdicts()[UPLINK_INGRESS, NOT_OURS] == before + 1


# ---- The node itself as a client: its sockets leave every checksum to the interface


def client_socket(net: Net, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(net.family, kind)
    made.settimeout(5)
    return made


def test_a_socket_of_the_node_asks_and_is_answered(bench: Bench, net: Net) -> None:
    with client_socket(net, socket.SOCK_DGRAM) as near:
        near.connect((net.gateway, SERVED))
        near.send(b"question")
        port = near.getsockname()[1]
        asked = bench.pod.receive(to_ports(net, UDP, port, BACKEND_PORT))
        assert is_right(asked.frame, asked.csum_start), command(asked.frame)
        answer = between(net, UDP, (net.pod, BACKEND_PORT), (net.gateway, port), data=b"answer")
        bench.pod.send_unfinished(bytes(Ether(src=POD_MAC, dst=POD0_MAC) / answer))
        assert near.recv(100) == b"answer"


def test_a_socket_of_the_node_is_refused_at_once(bench: Bench, net: Net) -> None:
    with client_socket(net, socket.SOCK_STREAM) as near, pytest.raises(ConnectionRefusedError):
        near.connect((net.gateway, CLOSED_PORT))
    with client_socket(net, socket.SOCK_DGRAM) as near:
        near.connect((net.gateway, CLOSED_PORT))
        near.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            near.recv(100)
