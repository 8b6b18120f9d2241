"""Octets and tuples; scapy makes the frames, and judges those that are made here."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from scapy.layers.inet import ICMP as Icmp4
from scapy.layers.inet import IP
from scapy.layers.inet import TCP as Tcp
from scapy.layers.inet import UDP as Udp
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet as Scapy
from scapy.packet import Raw

from agent.packet import ICMP, ICMPV6, TCP, UDP, Part, Tuple, flag_bits, framed, is_ip, made, octets_of, read

MAC = bytes.fromhex("020000000001")
ENDS = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fd00::1", "fd00::2")}


def tuple_(family: int, protocol: int, sport: int = 4000, dport: int = 80) -> Tuple:
    source, destination = map(ip_address, ENDS[family])
    return Tuple(protocol, source, sport, destination, dport)


def ip(family: int) -> Scapy:
    source, destination = ENDS[family]
    return IP(src=source, dst=destination) if family == 4 else IPv6(src=source, dst=destination)


def frame(packet: Scapy) -> bytes:
    return bytes(Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / packet)


# ---- made here, read by scapy and by ourselves


@pytest.mark.parametrize(
    ("wanted", "layer"),
    [
        (tuple_(4, TCP), Tcp),
        (tuple_(6, TCP), Tcp),
        (tuple_(4, UDP), Udp),
        (tuple_(6, UDP), Udp),
        (tuple_(4, ICMP, 0, 0), Icmp4),
        (tuple_(6, ICMPV6, 0, 0), ICMPv6EchoRequest),
    ],
    ids=str,
)
def test_a_packet_that_is_made(wanted: Tuple, layer: type[Scapy]) -> None:
    octets = made(wanted, flag_bits("SA"), seq=7, ack=9)
    packet = read(framed(octets, MAC))
    assert (packet.tuple, packet.hops, packet.fault, packet.to_mac) == (wanted, 64, "", MAC)
    assert is_ip(octets)
    again = (IP if wanted.source.version == 4 else IPv6)(octets)
    assert again.haslayer(layer)
    for x in again.iterpayloads():
        for field in ("chksum", "cksum", "len", "plen"):
            if field in x.fields:
                delattr(x, field)
    assert bytes(again) == octets, "lengths and checksums are those that scapy finds"


@pytest.mark.parametrize(
    ("text", "shown"), [("S", "S"), ("as", "SA"), ("S.", "SA"), ("fa", "FA"), ("", ""), ("EW", "EW")]
)
def test_flags(text: str, shown: str) -> None:
    assert read(framed(made(tuple_(4, TCP), flag_bits(text)), MAC)).flags == shown


def test_a_letter_that_is_no_flag() -> None:
    with pytest.raises(ValueError, match="'X' is no TCP flag"):
        flag_bits("SX")


# ---- made by scapy


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (ip(4) / Tcp(sport=1, dport=2, flags="SA"), "TCP 10.0.0.1:1 -> 10.0.0.2:2, flags SA, TTL 64"),
        (ip(6) / Udp(sport=1, dport=2), "UDP [fd00::1]:1 -> [fd00::2]:2, hop limit 64"),
        (ip(4) / Icmp4(type=8), "ICMP 10.0.0.1 -> 10.0.0.2, type 8, TTL 64"),
        (IP(src="10.0.0.1", dst="10.0.0.2", proto=47), "protocol 47 10.0.0.1 -> 10.0.0.2, TTL 64"),
        (
            IP(src="10.0.0.1", dst="10.0.0.2", options=b"\1" * 8) / Udp(sport=1, dport=2),
            "UDP 10.0.0.1:1 -> 10.0.0.2:2, TTL 64",
        ),
        (
            ip(6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / Udp(sport=1, dport=2),
            "UDP [fd00::1]:1 -> [fd00::2]:2, hop limit 64",
        ),
        (ARP(pdst="10.0.0.2"), "ARP"),
        (Dot1Q(vlan=5) / ip(4) / Tcp(), "a frame of type 0x8100"),
    ],
)
def test_what_a_frame_says(packet: Scapy, says: str) -> None:
    found = read(frame(packet))
    assert (str(found), found.fault) == (says, "")


@pytest.mark.parametrize(
    ("packet", "part", "has_ports"),
    [
        (IP(flags="MF") / Udp(sport=1, dport=2), Part.FIRST, True),
        (IP(frag=3, proto=17) / Raw(b"12345678"), Part.LATER, False),
        (IP(flags="DF") / Udp(sport=1, dport=2), Part.WHOLE, True),
        (IPv6() / IPv6ExtHdrFragment(m=1, nh=17) / Udp(sport=1, dport=2), Part.FIRST, True),
        (IPv6() / IPv6ExtHdrFragment(offset=3, nh=17) / Raw(b"12345678"), Part.LATER, False),
        (IPv6() / IPv6ExtHdrFragment(nh=17) / Udp(sport=1, dport=2), Part.WHOLE, True),
    ],
)
def test_fragments(packet: Scapy, part: Part, has_ports: bool) -> None:
    found = read(frame(packet))
    assert (found.part, found.has_ports) == (part, has_ports)
    assert (found.flow is None) is not has_ports


@pytest.mark.parametrize(
    "packet",
    [
        ip(4) / Icmp4(type=3, code=4) / IP(src="10.0.0.2", dst="10.0.0.9") / Tcp(sport=80, dport=4000),
        ip(6) / ICMPv6DestUnreach() / IPv6(src="fd00::2", dst="fd00::9") / Tcp(sport=80, dport=4000),
    ],
    ids=["IPv4", "IPv6"],
)
def test_an_error_is_about_the_flow_that_goes_its_own_way(packet: Scapy) -> None:
    found = read(frame(packet))
    assert found.is_error
    assert found.flow is not None
    assert (found.flow.sport, found.flow.dport) == (4000, 80)
    assert str(found.flow.source).endswith("9")
    assert str(found.flow.destination).endswith("2")


@pytest.mark.parametrize(
    ("octets", "fault"),
    [
        (bytes(ip(4))[:12], "it ends within the IP header"),
        (bytes(ip(6))[:39], "it ends within the IP header"),
        (b"\x44" + bytes(ip(4) / Tcp())[1:], "its IP header contradicts itself"),
        (bytes(ip(4) / Tcp())[:39], "it ends within the TCP header"),
        (bytes(ip(6) / Udp())[:47], "it ends within the UDP header"),
        (bytes(ip(4) / Tcp(dataofs=4)), "its TCP header contradicts itself"),
        (bytes(IPv6(nh=0) / Raw(b"\x11\0")), "it ends within an extension header"),
        (bytes(IPv6(nh=60) / Raw(bytes([60, 0, *bytes(6)]) * 7)), "it has more than 6 extension headers"),
    ],
)
def test_what_contradicts_itself(octets: bytes, fault: str) -> None:
    found = read(framed(octets, MAC))
    assert (found.fault, found.has_ports, found.flow) == (fault, False, None)


@pytest.mark.parametrize("length", range(80))
def test_octets_that_are_cut_anywhere_are_read(length: int) -> None:
    for family in (4, 6):
        read((frame(ip(family) / Icmp4(type=3) / ip(family) / Tcp()))[:length].ljust(14, b"\0"))


# ---- hex


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("4500 003c", b"\x45\0\0\x3c"),
        ("45:00:00:3c", b"\x45\0\0\x3c"),
        ("0x4500003C", b"\x45\0\0\x3c"),
        ("\t0x0000:  4500 003c\n\t0x0010:  0a0b", b"\x45\0\0\x3c\x0a\x0b"),
        (
            "14:55:50.044183 IP 10.200.0.2.41318 > 10.200.0.10.80: Flags [S], length 0\n\t0x0000:  4500 003c\n",
            b"\x45\0\0\x3c",
        ),
    ],
)
def test_hex(text: str, octets: bytes) -> None:
    assert octets_of(text) == octets


@pytest.mark.parametrize(
    ("text", "says"), [("45zz", "'z' is no hex digit"), ("450", "an odd number of hex digits"), (" ", "no octets")]
)
def test_no_hex(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        octets_of(text)


@pytest.mark.parametrize(
    ("octets", "begins_with_ip"),
    [
        (bytes(ip(4) / Tcp()), True),
        (bytes(ip(6) / Tcp()), True),
        (bytes(IP(src="8.0.71.1", dst="10.0.0.1") / Tcp()), True),  # octets 12 to 14 could be Ethernet's
        (frame(ip(4) / Tcp()), False),
        (bytes(Ether(dst="45:00:00:00:00:01") / ip(4) / Tcp()), False),
        (bytes(Ether(dst="62:00:00:00:00:01") / ip(6) / Tcp()), False),
        (bytes(Ether(dst="45:00:00:00:00:01") / ARP()), False),
        (bytes(Ether() / Dot1Q() / ip(4)), False),
    ],
)
def test_where_the_octets_begin(octets: bytes, begins_with_ip: bool) -> None:
    assert is_ip(octets) is begins_with_ip
