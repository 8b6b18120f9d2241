"""Packets as octets: where the headers are, and every checksum computed from scratch.

Written apart from the programs under test, on purpose: nothing here is incremental, nothing is shared with bpf/.
Rules: IPv4 (RFC 791), IPv6 with extension headers (RFC 8200), TCP, UDP, ICMP, ICMPv6; lengths come from the IP header.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

ETH = 14
IPV4 = 0x0800
IPV6 = 0x86DD
ICMP, TCP, UDP, FRAGMENT, ICMPV6 = 1, 6, 17, 44, 58
HOP_OPTIONS, ROUTING, DESTINATION_OPTIONS = 0, 43, 60
CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}


def ones_sum(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071), not complemented."""
    if len(data) & 1:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a frame. `l4` is 0 when there is no whole transport header to be found."""

    family: int
    protocol: int
    l4: int
    end: int  # where the IP packet ends; what follows is Ethernet padding
    is_fragment: bool


def layout(frame: bytes) -> Layout | None:
    """The layout of an IP frame; None for anything else, and where the IP header is not whole or contradicts itself."""
    if len(frame) < ETH + 20:
        return None
    ethertype = int.from_bytes(frame[12:14])
    if ethertype == IPV4:
        return _layout4(frame)
    return _layout6(frame) if ethertype == IPV6 and len(frame) >= ETH + 40 else None


def _layout4(frame: bytes) -> Layout | None:
    header = (frame[ETH] & 15) * 4
    end = ETH + int.from_bytes(frame[ETH + 2 : ETH + 4])
    if frame[ETH] >> 4 != 4 or header < 20 or end > len(frame) or ETH + header > end:
        return None
    is_fragment = bool(int.from_bytes(frame[ETH + 6 : ETH + 8]) & 0x3FFF)
    return Layout(socket.AF_INET, frame[ETH + 9], ETH + header, end, is_fragment)


def _layout6(frame: bytes) -> Layout | None:
    end = ETH + 40 + int.from_bytes(frame[ETH + 4 : ETH + 6])
    if frame[ETH] >> 4 != 6 or end > len(frame):
        return None
    protocol, at = frame[ETH + 6], ETH + 40
    while protocol in (HOP_OPTIONS, ROUTING, DESTINATION_OPTIONS) or is_atomic(protocol, frame, at):
        if at + 8 > end:
            return None
        length = 8 if protocol == FRAGMENT else (frame[at + 1] + 1) * 8
        protocol, at = frame[at], at + length
    return Layout(socket.AF_INET6, protocol, at, end, protocol == FRAGMENT)


def is_atomic(protocol: int, frame: bytes, at: int) -> bool:
    """A fragment header that says that there are no other fragments (RFC 6946)."""
    return protocol == FRAGMENT and at + 4 <= len(frame) and not int.from_bytes(frame[at + 2 : at + 4]) & 0xFFF9


def pseudo_header(frame: bytes, at: Layout) -> bytes:
    length, protocol = at.end - at.l4, at.protocol
    if at.family == socket.AF_INET:
        return frame[ETH + 12 : ETH + 20] + struct.pack(">HH", protocol, length)
    return frame[ETH + 8 : ETH + 40] + struct.pack(">II", length, protocol)


def ip_checksum_is_right(frame: bytes, at: Layout) -> bool:
    return at.family == socket.AF_INET6 or ones_sum(frame[ETH : ETH + (frame[ETH] & 15) * 4]) == 0xFFFF


def l4_checksum_is_right(frame: bytes, at: Layout) -> bool:
    """Whether the transport checksum holds; a UDP checksum of 0 over IPv4 holds (RFC 768: none was made)."""
    field = CHECKSUM_AT.get(at.protocol)
    if field is None or at.is_fragment or at.l4 + field + 2 > at.end:
        return True
    if at.protocol == UDP and frame[at.l4 + 6 : at.l4 + 8] == b"\0\0":
        return at.family == socket.AF_INET
    pseudo = b"" if at.protocol == ICMP else pseudo_header(frame, at)
    return ones_sum(pseudo + frame[at.l4 : at.end]) == 0xFFFF


def with_checksums(frame: bytes) -> bytes:
    """The frame with its IP and transport checksums computed anew; a UDP checksum of 0 stays 0."""
    at = layout(frame)
    if at is None:
        raise ValueError("not a whole IP packet")
    made = bytearray(frame)
    if at.family == socket.AF_INET:
        made[ETH + 10 : ETH + 12] = b"\0\0"
        made[ETH + 10 : ETH + 12] = (0xFFFF - ones_sum(bytes(made[ETH : at.l4]))).to_bytes(2)
    field = CHECKSUM_AT[at.protocol]
    place = slice(at.l4 + field, at.l4 + field + 2)
    if at.protocol == UDP and made[place] == b"\0\0":
        return bytes(made)
    made[place] = b"\0\0"
    pseudo = b"" if at.protocol == ICMP else pseudo_header(bytes(made), at)
    check = 0xFFFF - ones_sum(pseudo + bytes(made[at.l4 : at.end]))
    made[place] = (check or (0xFFFF if at.protocol == UDP else 0)).to_bytes(2)
    return bytes(made)


def translated(
    frame: bytes,
    source: tuple[str, int],
    destination: tuple[str, int],
    *,
    hops: int = 0,
    macs: tuple[str, str] | None = None,
) -> bytes:
    """The TCP or UDP frame with other ends, every checksum computed anew. `macs`: destination, source."""
    at = layout(frame)
    if at is None:
        raise ValueError("not a whole IP packet")
    made = bytearray(frame)
    if macs:
        made[0:12] = b"".join(bytes.fromhex(x.replace(":", "")) for x in macs)
    addresses = b"".join(socket.inet_pton(at.family, x) for x, _ in (source, destination))
    first = ETH + (12 if at.family == socket.AF_INET else 8)
    made[first : first + len(addresses)] = addresses
    made[ETH + (8 if at.family == socket.AF_INET else 7)] -= hops
    made[at.l4 : at.l4 + 4] = struct.pack(">HH", source[1], destination[1])
    return with_checksums(bytes(made))
