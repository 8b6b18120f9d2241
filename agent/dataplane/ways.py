"""By which interface the node reaches addresses: the kernel's own answer, asked for many at once.

Decides nothing. Rules: rtnetlink(7)'s RTM_GETROUTE, made by hand: pyroute2 takes 0.7 ms for each, and there may be ten
thousand; this takes some microseconds. All routing rules count, but those that look at a packet's source or way in.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Collection, Iterator, Mapping
from itertools import islice

from routes.plan import Address

_GETROUTE, _NEWROUTE = 26, 24  # linux/rtnetlink.h
_REQUEST = 1  # linux/netlink.h: NLM_F_REQUEST
_DST, _OIF = 1, 4  # RTA_*
_UNICAST = 1  # RTN_*
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, destination's bits, six that are 0 in a question or ours
_ATTRIBUTE = struct.Struct("=HH")
_AT_ONCE = 64  # answers that the socket has room for


def ways(addresses: Collection[Address]) -> Mapping[Address, int]:
    """Ifindex for each address; 0 if no route leads there, or it is on this node. Raises OSError."""
    found: dict[Address, int] = {}
    left = iter(addresses)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        while asked := list(islice(left, _AT_ONCE)):
            netlink.send(b"".join(_question(number, x) for number, x in enumerate(asked)))
            answers: dict[int, int] = {}
            while len(answers) < len(asked):
                answers.update(_answers(netlink.recv(1 << 16)))
            found |= {x: answers[number] for number, x in enumerate(asked)}
    return found


def _question(number: int, address: Address) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    route = _ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    wanted = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address.packed), _DST) + address.packed
    return _HEADER.pack(_HEADER.size + len(route) + len(wanted), _GETROUTE, _REQUEST, number, 0) + route + wanted


def _answers(octets: bytes) -> Iterator[tuple[int, int]]:
    """Number of the question and ifindex. What is no route is an error: there is none."""
    at = 0
    while at < len(octets):
        length, kind, _, number, _ = _HEADER.unpack_from(octets, at)
        yield number, _interface(octets[at + _HEADER.size : at + length]) if kind == _NEWROUTE else 0
        at += _aligned(length)


def _interface(message: bytes) -> int:
    if _ROUTE.unpack_from(message)[7] != _UNICAST:
        return 0
    at = _ROUTE.size
    while at < len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if kind == _OIF:
            return int.from_bytes(message[at + _ATTRIBUTE.size : at + length], sys.byteorder)
        at += _aligned(length)
    return 0


def _aligned(length: int) -> int:
    return (length + 3) & ~3
