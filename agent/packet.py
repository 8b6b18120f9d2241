"""Packets as octets, and what the data plane reads in them. Pure.

Decides: how a frame is read (as bpf/parse.h does it), how one is made of a tuple, and which octets in hex are a frame
and which an IP packet. Rules: ports and lengths are host order; a tuple without ports has zeros there; what contradicts
itself has no tuple with ports, and the packet says why. Must never: raise for octets that are odd, only for text that
is no hex.
"""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from routes.plan import Address

ETHERNET = 14
"""Octets of an Ethernet header."""

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
VLANS = frozenset({0x8100, 0x88A8})
HOPS = 64
"""TTL, or hop limit, of a packet that is made here."""

_FLAGS = "FSRPAUEW"  # by bit, from the lowest
_EXTENSIONS = frozenset({0, 43, 60})  # hop-by-hop options, routing, destination options: RFC 8200
_FRAGMENT = 44
_MAX_EXTENSIONS = 6  # bpf/parse.h
_ERRORS = {ICMP: frozenset({3, 11, 12}), ICMPV6: frozenset({1, 2, 3, 4})}  # bpf/icmp.h
_ECHO = {ICMP: 8, ICMPV6: 128}
SOLICITATION = 135
_MAC = bytes.fromhex("027073746b02")  # whom a frame made here comes from


class Part(enum.Enum):
    """What of a datagram a packet holds. Only the first fragment has ports."""

    WHOLE = "whole"
    FIRST = "first"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Tuple:
    """Addresses, ports and protocol number of a packet; `sport` and `dport` are 0 where it has none."""

    protocol: int
    source: Address
    sport: int
    destination: Address
    dport: int

    @property
    def name(self) -> str:
        """Of the protocol."""
        return {TCP: "TCP", UDP: "UDP", ICMP: "ICMP", ICMPV6: "ICMPv6"}.get(self.protocol, f"protocol {self.protocol}")

    def turned(self) -> Tuple:
        """That of a packet that goes the other way."""
        return Tuple(self.protocol, self.destination, self.dport, self.source, self.sport)

    def __str__(self) -> str:
        ports = self.protocol in (TCP, UDP)
        ends = ((self.source, self.sport), (self.destination, self.dport))
        source, destination = (place(x, port) if ports else str(x) for x, port in ends)
        return f"{self.name} {source} -> {destination}"


@dataclass(frozen=True, slots=True)
class Packet:
    """What a frame says.

    `tuple` is None if it is not IP. `hops`: TTL or hop limit. `has_ports`: TCP or UDP, and the ports are there.
    `flags`: TCP's, as `S`, `SA`. `icmp`: the ICMP message's type. `about`: of an ICMP error, the tuple of a packet that
    goes the error's own way, that is the quoted one's turned round. `fault`: what contradicts itself, "" = nothing.
    """

    frame: bytes
    ethertype: int
    tuple: Tuple | None = None
    hops: int = 0
    has_ports: bool = False
    part: Part = Part.WHOLE
    flags: str = ""
    icmp: int | None = None
    about: Tuple | None = None
    fault: str = ""

    @property
    def flow(self) -> Tuple | None:
        """The tuple under which the flow stands that this packet belongs to, or that it is about."""
        return self.about or (self.tuple if self.has_ports else None)

    @property
    def to_mac(self) -> bytes:
        """Six octets."""
        return self.frame[:6]

    @property
    def is_error(self) -> bool:
        """An ICMP error."""
        return self.tuple is not None and self.icmp in _ERRORS.get(self.tuple.protocol, ())

    def __str__(self) -> str:
        if self.tuple is None:
            return {ARP: "ARP"}.get(self.ethertype, f"a frame of type {self.ethertype:#06x}")
        words = [f"flags {self.flags or 'none'}"] if self.tuple.protocol == TCP and self.has_ports else []
        words += [f"type {self.icmp}"] if self.icmp is not None else []
        words += [f"{self.part.value} fragment"] if self.part is not Part.WHOLE else []
        return ", ".join((str(self.tuple), *words, f"{'TTL' if self.ethertype == IPV4 else 'hop limit'} {self.hops}"))


def place(address: Address, port: int) -> str:
    """`10.0.0.1:80`, `[fd00::1]:80`."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


# ---- octets -> packet


def octets_of(text: str) -> bytes:
    """The octets in hex digits, as `tcpdump -x` prints them (of one packet, with its line of words or without) or in a
    row. Raises ValueError that says what is wrong."""
    digits = " ".join(re.findall(r"(?m)^\s*0x[0-9a-fA-F]+:(.*)$", text)) or text
    digits = re.sub(r"[\s:,]|\\x", "", digits).removeprefix("0x")
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        wrong = sorted({x for x in digits if x not in "0123456789abcdefABCDEF"})
        raise ValueError(f"{wrong[0]!r} is no hex digit" if wrong else "an odd number of hex digits") from None
    if not found:
        raise ValueError("no octets")
    return found


def is_ip(octets: bytes) -> bool:
    """Whether octets begin with an IP header; else they are an Ethernet frame."""
    if len(octets) >= 20 and octets[0] >> 4 == 4 and (octets[0] & 15) >= 5 and not checksum(octets[: _ihl(octets)]):
        return True
    if len(octets) >= ETHERNET and (found := _u16(octets, 12)) in {IPV4, IPV6, ARP} | VLANS:
        version = {IPV4: 4, IPV6: 6}.get(found)
        if version is None or len(octets) == ETHERNET or octets[ETHERNET] >> 4 == version:
            return False
    return octets[0] >> 4 in (4, 6)


def framed(packet: bytes, to: bytes) -> bytes:
    """An IP packet in a frame to that MAC."""
    return to + _MAC + (IPV6 if packet[0] >> 4 == 6 else IPV4).to_bytes(2, "big") + packet


def addressed(packet: Packet, to: bytes) -> Packet:
    """The same packet in a frame to another MAC."""
    return replace(packet, frame=to + packet.frame[6:])


def read(frame: bytes) -> Packet:
    """A frame, from its Ethernet header on, which is there."""
    ethertype = _u16(frame, 12)
    if ethertype == IPV4:
        return _read4(frame)
    if ethertype == IPV6:
        return _read6(frame)
    return Packet(frame, ethertype)


def _read4(frame: bytes) -> Packet:
    ip = frame[ETHERNET:]
    if len(ip) < 20:
        return Packet(frame, IPV4, fault="it ends within the IP header")
    addresses = Tuple(ip[9], IPv4Address(ip[12:16]), 0, IPv4Address(ip[16:20]), 0)
    packet = Packet(frame, IPV4, addresses, ip[8])
    if ip[0] >> 4 != 4 or (ip[0] & 15) < 5:
        return replace(packet, fault="its IP header contradicts itself")
    placed = _u16(ip, 6)
    if placed & 0x3FFF:
        packet = replace(packet, part=Part.LATER if placed & 0x1FFF else Part.FIRST)
    return _transport(packet, addresses, ip[_ihl(ip) :])


def _read6(frame: bytes) -> Packet:
    ip = frame[ETHERNET:]
    if len(ip) < 40:
        return Packet(frame, IPV6, fault="it ends within the IP header")
    protocol, at = ip[6], 40
    addresses = Tuple(protocol, IPv6Address(ip[8:24]), 0, IPv6Address(ip[24:40]), 0)
    packet = Packet(frame, IPV6, addresses, ip[7])
    for _ in range(_MAX_EXTENSIONS):
        if protocol not in _EXTENSIONS and protocol != _FRAGMENT:
            break
        if len(ip) < at + 8:
            return replace(packet, fault="it ends within an extension header")
        if protocol == _FRAGMENT and (placed := _u16(ip, at + 2) & 0xFFF9):
            packet = replace(packet, part=Part.LATER if placed & 0xFFF8 else Part.FIRST)
        at, protocol = at + (8 if protocol == _FRAGMENT else (ip[at + 1] + 1) * 8), ip[at]
        if packet.part is not Part.WHOLE:
            break
    else:
        if protocol in _EXTENSIONS or protocol == _FRAGMENT:
            return replace(packet, fault=f"it has more than {_MAX_EXTENSIONS} extension headers")
    return _transport(packet, replace(addresses, protocol=protocol), ip[at:])


def _transport(packet: Packet, addresses: Tuple, l4: bytes) -> Packet:
    packet = replace(packet, tuple=addresses)
    protocol = addresses.protocol
    if packet.part is Part.LATER or protocol not in (TCP, UDP, ICMP if packet.ethertype == IPV4 else ICMPV6):
        return packet
    if len(l4) < (20 if protocol == TCP else 8):
        return replace(packet, fault=f"it ends within the {addresses.name} header")
    if protocol in (TCP, UDP):
        return _ports(packet, addresses, l4)
    packet = replace(packet, icmp=l4[0])
    return replace(packet, about=_quoted(l4[8:], packet.ethertype)) if packet.is_error else packet


def _ports(packet: Packet, addresses: Tuple, l4: bytes) -> Packet:
    if addresses.protocol == TCP and l4[12] >> 4 < 5:
        return replace(packet, fault="its TCP header contradicts itself")
    return replace(
        packet,
        tuple=replace(addresses, sport=_u16(l4, 0), dport=_u16(l4, 2)),
        has_ports=True,
        flags=flags_of(l4[13]) if addresses.protocol == TCP else "",
    )


def _quoted(ip: bytes, ethertype: int) -> Tuple | None:
    """The tuple of a packet that goes the way of an error with this quotation; None if it shows no ports."""
    width, first, l4 = (4, 12, _ihl(ip)) if ethertype == IPV4 and ip else (16, 8, 40)
    if len(ip) < l4 + 4 or ip[0] >> 4 != (4 if ethertype == IPV4 else 6):
        return None
    protocol = ip[9] if ethertype == IPV4 else ip[6]
    if protocol not in (TCP, UDP) or (ethertype == IPV4 and _u16(ip, 6) & 0x1FFF):
        return None
    source, destination = ip_address(ip[first : first + width]), ip_address(ip[first + width : first + 2 * width])
    return Tuple(protocol, source, _u16(ip, l4), destination, _u16(ip, l4 + 2)).turned()


# ---- tuple -> octets


def flags_of(bits: int) -> str:
    """TCP's flags as people write them: `S`, `SA`."""
    return "".join(sorted((x for i, x in enumerate(_FLAGS) if bits & 1 << i), key="SFRPUEWA".index))


def flag_bits(text: str) -> int:
    """TCP's flags of `S`, `SA`, `S.` (tcpdump's way to write ACK), "" = none. Raises ValueError."""
    bits = 0
    for x in text.upper().replace(".", "A"):
        if x not in _FLAGS:
            raise ValueError(f"{x!r} is no TCP flag: there are S, A, F, R, P, U, E, W")
        bits |= 1 << _FLAGS.index(x)
    return bits


def made(wanted: Tuple, flags: int = 0, seq: int = 1, ack: int = 0) -> bytes:
    """An IP packet with that tuple and no payload: a segment, a datagram, or an echo request; checksums are right."""
    source, destination = wanted.source.packed, wanted.destination.packed
    match wanted.protocol:
        case 6:
            l4 = struct.pack("!HHIIBBHHH", wanted.sport, wanted.dport, seq, ack, 5 << 4, flags, 0xFFFF, 0, 0)
            check_at = 16
        case 17:
            l4, check_at = struct.pack("!HHHH", wanted.sport, wanted.dport, 8, 0), 6
        case _:
            l4, check_at = struct.pack("!BBHHH", _ECHO[wanted.protocol], 0, 0, 1, 1), 2
    pseudo = source + destination + struct.pack("!II", len(l4), wanted.protocol)
    check = checksum(l4 if wanted.protocol == ICMP else pseudo + l4)
    l4 = l4[:check_at] + (check or 0xFFFF).to_bytes(2, "big") + l4[check_at + 2 :]
    if wanted.source.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(l4), wanted.protocol, HOPS) + source + destination + l4
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(l4), 0, 0x4000, HOPS, wanted.protocol, 0) + source + destination
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + l4


def checksum(octets: bytes) -> int:
    """RFC 1071's; 0 over octets that hold their own, right, checksum."""
    total: int = sum(struct.unpack(f"!{(len(octets) + 1) // 2}H", octets + bytes(len(octets) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ihl(ip: bytes) -> int:
    return (ip[0] & 15) * 4


def _u16(octets: bytes, at: int) -> int:
    return int.from_bytes(octets[at : at + 2], "big")
