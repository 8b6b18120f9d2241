"""What may become of a packet: a small model of the programs, told by bpf/abi.h and the headers' rules.

`allowed(hook, frame, ...)` gives every verdict that would be right. It knows addresses, listeners and which flows are
there; of a known flow's states it knows only that a request may also be treated as if there were no flow.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from . import objects as o
from .services import FAR, HAIRPIN, HOLE, REJECTED, SERVICES
from .wire import (
    DESTINATION_OPTIONS,
    ETH,
    FRAGMENT,
    HOP_OPTIONS,
    ICMP,
    ICMPV6,
    IPV4,
    IPV6,
    ROUTING,
    TCP,
    UDP,
    is_atomic,
)
from .world import NETS, V4, V6, Net

_ARP = 0x0806
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_ANSWERS = frozenset(
    {
        o.REJECTED_RST,
        o.REJECTED_ICMP,
        o.REFUSED_TABLE_FULL,
        o.REFUSED_COLLISION,
        o.REFUSED_MIDSTREAM,
        o.REFUSED_DENIED,
        o.REFUSED_LIMITED,
        o.NEIGHBOUR,
        o.PING,
    }
)
_CARRIED = frozenset({o.FORWARDED, o.REPLIED, o.RESET_LIMITED, o.RELATED})
_ICMP_ERRORS = {V4: (3, 11, 12), V6: (1, 2, 3, 4)}
_EXTENSIONS_MAX = 6
_PULLED_MAX = 256  # transport headers further in are not looked for

_LISTENERS = {(net, port, protocol) for net, port, protocol in SERVICES}
_GATEWAYS = {net.octets(net.gateway): net for net in NETS}
_NODES = {net.octets(net.node): net for net in NETS}


class Kind(Enum):
    """What the headers say."""

    FLOW = 0  # TCP or UDP, with ports
    ICMP = 1
    FRAGMENT = 2
    OTHER = 3
    MALFORMED = 4


@dataclass(frozen=True, slots=True)
class Parsed:
    net: Net
    source: bytes
    destination: bytes
    kind: Kind
    protocol: int
    l4: int
    sport: int = 0
    dport: int = 0
    flags: int = 0
    icmp_type: int = 0


Lookup = Callable[[Parsed], int | None]
"""The flags (enum flow_flag) of the entry that stands under the packet's own tuple, None if there is none."""


def parse(frame: bytes) -> Parsed | None:
    """None for what is no IP, or ends within its IP header."""
    ethertype = int.from_bytes(frame[12:14])
    if ethertype == IPV4 and len(frame) >= ETH + 20:
        return _parse4(frame)
    if ethertype == IPV6 and len(frame) >= ETH + 40:
        return _parse6(frame)
    return None


def _parse4(frame: bytes) -> Parsed:
    source, destination, protocol = frame[26:30], frame[30:34], frame[23]
    l4 = ETH + (frame[14] & 15) * 4
    if frame[14] >> 4 != 4 or l4 < ETH + 20:
        return Parsed(V4, source, destination, Kind.MALFORMED, protocol, l4)
    if int.from_bytes(frame[20:22]) & 0x3FFF:
        return Parsed(V4, source, destination, Kind.FRAGMENT, protocol, l4)
    return _parse_transport(frame, Parsed(V4, source, destination, Kind.OTHER, protocol, l4), ICMP)


def _parse6(frame: bytes) -> Parsed:
    source, destination, protocol, l4 = frame[22:38], frame[38:54], frame[20], ETH + 40
    kind: Kind | None = Kind.MALFORMED if frame[14] >> 4 != 6 else None
    for _ in range(_EXTENSIONS_MAX) if kind is None else ():
        if protocol not in (HOP_OPTIONS, ROUTING, DESTINATION_OPTIONS, FRAGMENT):
            return _parse_transport(frame, Parsed(V6, source, destination, Kind.OTHER, protocol, l4), ICMPV6)
        if l4 > _PULLED_MAX or l4 + 8 > len(frame):
            break
        if protocol == FRAGMENT and not is_atomic(protocol, frame, l4):
            kind, protocol, l4 = Kind.FRAGMENT, frame[l4], l4 + 8
            break
        protocol, l4 = frame[l4], l4 + (8 if protocol == FRAGMENT else (frame[l4 + 1] + 1) * 8)
    return Parsed(V6, source, destination, kind or Kind.MALFORMED, protocol, l4)


def _parse_transport(frame: bytes, p: Parsed, icmp: int) -> Parsed:
    needed = {TCP: 20, UDP: 8, icmp: 8}.get(p.protocol, 0)
    kind, sport, dport, flags, icmp_type = Kind.OTHER, 0, 0, 0, 0
    if p.l4 > _PULLED_MAX or (needed and p.l4 + needed > len(frame)):
        kind = Kind.MALFORMED
    elif p.protocol in (TCP, UDP):
        kind = Kind.MALFORMED if p.protocol == TCP and frame[p.l4 + 12] >> 4 < 5 else Kind.FLOW
        sport, dport = int.from_bytes(frame[p.l4 : p.l4 + 2]), int.from_bytes(frame[p.l4 + 2 : p.l4 + 4])
        flags = frame[p.l4 + 13] if p.protocol == TCP else 0
    elif needed:
        kind, icmp_type = Kind.ICMP, frame[p.l4]
    return Parsed(p.net, p.source, p.destination, kind, p.protocol, p.l4, sport, dport, flags, icmp_type)


def allowed(hook: int, frame: bytes, own_mac: bytes, lookup: Lookup) -> frozenset[int]:
    """Every verdict that would be right for the frame at that hook."""
    if frame[0:6] != own_mac and not frame[0] & 1:
        return frozenset({o.NOT_OURS})  # another host's
    p = parse(frame)
    if p is None:
        return frozenset({_arp(hook, frame)})
    for_us = frame[0:6] == own_mac
    if p.kind is Kind.FLOW:
        right = _flow(hook, p, lookup) if for_us else frozenset({o.NOT_OURS})
        left = _is_spent(hook, frame, p) and p.dport in (HAIRPIN, FAR)
        return right | {o.NOT_OURS} if left else right
    if p.kind is Kind.ICMP and p.icmp_type in _ICMP_ERRORS[p.net]:
        right = _icmp_error(hook, frame, p, lookup, for_us=for_us)
        return right | {o.NOT_OURS} if _is_spent(hook, frame, p) else right
    if p.kind is Kind.FRAGMENT and p.protocol == UDP and for_us:
        return _udp_fragment(hook, p)
    return frozenset({_other(hook, frame, p, for_us=for_us)})


def _is_spent(hook: int, frame: bytes, p: Parsed) -> bool:
    """A request to a backend out there is left to the stack then."""
    return hook == o.UPLINK_INGRESS and p.destination in _GATEWAYS and frame[22 if p.net is V4 else 21] <= 1


def _udp_fragment(hook: int, p: Parsed) -> frozenset[int]:
    """Whose it is depends on the fragments before it: anything that can become of a datagram, and what becomes of those
    without one. Test_fragments knows better."""
    alone = {o.HELD, o.FRAGMENT, o.MALFORMED}
    if not _takes_requests(hook):
        return frozenset({o.NOT_OURS, o.REPLIED, o.FRAGMENT})
    if p.destination in _GATEWAYS:
        begun = {o.FORWARDED, o.REJECTED_ICMP, o.NO_FLOW, o.REJECT_SHARE, o.NO_BACKEND, o.COLLISION}
        return frozenset({*alone, *begun, o.REPLIED, o.MARTIAN})
    is_node = p.destination in _NODES
    begun = {o.FORWARDED, o.REJECT_SHARE, o.NO_BACKEND, o.COLLISION, o.MARTIAN} if is_node else set()
    return frozenset({o.NOT_OURS, o.FRAGMENT, o.REPLIED, *begun})


def _arp(hook: int, frame: bytes) -> int:
    request = b"\x00\x01\x08\x00\x06\x04\x00\x01"
    is_request = int.from_bytes(frame[12:14]) == _ARP and len(frame) >= 42 and frame[14:22] == request
    asked_for_gateway = is_request and frame[38:42] == V4.octets(V4.gateway)
    return o.NEIGHBOUR if hook == o.UPLINK_INGRESS and asked_for_gateway else o.NOT_OURS


def _takes_requests(hook: int) -> bool:
    return hook in (o.UPLINK_INGRESS, o.LOCAL_EGRESS)


def _other(hook: int, frame: bytes, p: Parsed, *, for_us: bool) -> int:
    if not _takes_requests(hook):
        return o.NOT_OURS
    if p.kind is Kind.ICMP and p.net is V6 and p.icmp_type == 135:
        target = frame[p.l4 + 8 : p.l4 + 24]
        is_valid = frame[21] == 255 and frame[p.l4 + 1] == 0
        return o.NEIGHBOUR if hook == o.UPLINK_INGRESS and is_valid and target in _GATEWAYS else o.NOT_OURS
    if p.destination not in _GATEWAYS or not for_us:
        return o.NOT_OURS
    if p.kind is Kind.FRAGMENT:
        return o.FRAGMENT
    if p.kind is Kind.ICMP:
        return o.PING if p.icmp_type == (8 if p.net is V4 else 128) else o.PROTOCOL
    return o.PROTOCOL if p.kind is Kind.OTHER else o.MALFORMED


def _icmp_error(hook: int, frame: bytes, p: Parsed, lookup: Lookup, *, for_us: bool) -> frozenset[int]:
    about_none = o.NO_FLOW if _takes_requests(hook) and for_us and p.destination in _GATEWAYS else o.NOT_OURS
    quoted = _quoted(frame, p) if for_us else None
    flags = lookup(quoted) if quoted else None
    if flags is None:
        return frozenset({about_none})
    is_reply = bool(flags & o.FLOW_REPLY)
    if hook == o.UPLINK_INGRESS and is_reply:
        return frozenset({about_none} | ({o.RELATED} if flags & o.FLOW_SNAT else set()))
    if not is_reply and not _takes_requests(hook):
        return frozenset({o.NOT_OURS})
    # From a pod, past the stack: what has no hop left, or no way out, is left to the stack.
    return frozenset({o.RELATED} | ({o.NOT_OURS} if hook == o.POD_INGRESS else set()))


def _quoted(frame: bytes, p: Parsed) -> Parsed | None:
    """The tuple of the packet that the error is about, turned round."""
    end = ETH + int.from_bytes(frame[16:18]) if p.net is V4 else ETH + 40 + int.from_bytes(frame[18:20])
    is_big = end == ETH + (0 if p.net is V4 else 40)  # BIG TCP says no length
    ip = frame[p.l4 + 8 :] if is_big else frame[p.l4 + 8 : end]
    if p.net is V4:
        if len(ip) < 20 or ip[0] >> 4 != 4 or ip[0] & 15 < 5 or int.from_bytes(ip[6:8]) & 0x1FFF:
            return None
        source, destination, protocol, l4 = ip[12:16], ip[16:20], ip[9], (ip[0] & 15) * 4
    else:
        if len(ip) < 40 or ip[0] >> 4 != 6:
            return None
        source, destination, protocol, l4 = ip[8:24], ip[24:40], ip[6], 40
        if protocol == FRAGMENT:
            if len(ip) < 44 or int.from_bytes(ip[42:44]) & 0xFFF8:
                return None
            protocol, l4 = ip[40], 48
    if protocol not in (TCP, UDP) or len(ip) < l4 + 4:
        return None
    if source != p.destination:
        return None
    sport, dport = int.from_bytes(ip[l4 : l4 + 2]), int.from_bytes(ip[l4 + 2 : l4 + 4])
    return Parsed(p.net, destination, source, Kind.FLOW, protocol, p.l4, dport, sport)


def _flow(hook: int, p: Parsed, lookup: Lookup) -> frozenset[int]:
    flags = lookup(p)
    begin = _begin(p) if _takes_requests(hook) else frozenset({o.NOT_OURS})
    if flags is None:
        return begin
    if not flags & o.FLOW_REPLY:
        return begin | {o.FORWARDED} if _takes_requests(hook) else begin
    if hook == o.UPLINK_INGRESS and not flags & o.FLOW_SNAT:
        return begin  # nobody outside speaks for a backend
    return begin | {o.REPLIED}


def _begin(p: Parsed) -> frozenset[int]:
    is_node = p.destination in _NODES
    if p.source in _GATEWAYS and (is_node or p.destination in _GATEWAYS):
        return frozenset({o.MARTIAN})
    if p.destination not in _GATEWAYS and not is_node:
        return frozenset({o.NOT_OURS})
    if p.flags & (_SYN | _ACK) == _SYN | _ACK:
        return frozenset({o.NOT_OURS if is_node else o.NO_FLOW})
    if (p.net, p.dport, p.protocol) not in _LISTENERS:
        return frozenset({o.NOT_OURS}) if is_node else _refusal(p)
    return _offer(p)


def _offer(p: Parsed) -> frozenset[int]:
    if p.flags & _RST:
        return frozenset({o.NO_FLOW})
    if p.dport == HOLE:
        return frozenset({o.NO_BACKEND})
    if p.dport == REJECTED:
        return _refusal(p) if p.protocol == TCP else frozenset({o.REJECT_SHARE})
    return frozenset({o.FORWARDED, o.REFUSED_COLLISION, o.COLLISION, o.REFUSED_MIDSTREAM, o.MIDSTREAM})


def _refusal(p: Parsed) -> frozenset[int]:
    if p.protocol == TCP:
        return frozenset({o.NO_FLOW if p.flags & _RST else o.REJECTED_RST})
    has_options = p.l4 != ETH + (20 if p.net.family == socket.AF_INET else 40)
    return frozenset({o.NO_FLOW if has_options else o.REJECTED_ICMP})


def is_answer(verdict: int) -> bool:
    return verdict in _ANSWERS


def is_carried(verdict: int) -> bool:
    return verdict in _CARRIED
