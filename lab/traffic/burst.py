"""Datagrams of one size that a program hands to its kernel at once (UDP_SEGMENT), and takes from it at once (UDP_GRO).

Rules: where no interface on the way cuts or joins, they travel as one super-packet; who receives is told its size.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from typing import Final

# linux/udp.h; the socket module does not have them
_UDP_SEGMENT: Final = 103
_UDP_GRO: Final = 104
_LARGEST: Final = 65_535


def takes_joined(endpoint: socket.socket) -> socket.socket:
    """The socket, which from now on may be given several datagrams at once."""
    endpoint.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
    return endpoint


def send_joined(endpoint: socket.socket, datagrams: Sequence[bytes]) -> None:
    """Over a connected socket; all of one size."""
    size = struct.pack("=H", len(datagrams[0]))
    try:
        endpoint.sendmsg([b"".join(datagrams)], [(socket.IPPROTO_UDP, _UDP_SEGMENT, size)])
    except OSError as error:
        if error.errno != errno.EIO:  # before 6.11: the interface makes no checksums
            raise
        for datagram in datagrams:
            endpoint.send(datagram)


def receive(endpoint: socket.socket, count: int) -> tuple[list[bytes], bool]:
    """So many datagrams, and whether any of them came joined; raises TimeoutError when no more come.

    Whoever sends first becomes the peer of a socket that has none.
    """
    found: list[bytes] = []
    joined = False
    while len(found) < count:
        octets, said, _, peer = endpoint.recvmsg(_LARGEST, socket.CMSG_SPACE(4))
        if not found and peer:
            endpoint.connect(peer)
        size = next((struct.unpack("=i", x[:4])[0] for _, kind, x in said if kind == _UDP_GRO), len(octets))
        found += [octets[i : i + size] for i in range(0, len(octets), size)]
        joined = joined or len(octets) > size
    return found, joined
