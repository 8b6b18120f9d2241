"""Which of the node's ports are taken by a socket.

Rules: read from /proc/net of this thread's network namespace, which every kernel has (sock_diag is a module on many).
TIME_WAIT takes no port. A socket bound to the wildcard takes the port on every address of its family, and one bound to
the IPv6 wildcard on the IPv4 ones as well: /proc does not say whether it is for IPv6 only, so it is taken for both.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from routes.plan import Address, Protocol

_TIME_WAIT = "06"
_TABLES = (("tcp", Protocol.TCP), ("tcp6", Protocol.TCP), ("udp", Protocol.UDP), ("udp6", Protocol.UDP))


@dataclass(frozen=True, slots=True)
class UsedPort:
    """A port that some socket is bound to at `address` (a wildcard: at all of them)."""

    address: Address
    port: int
    protocol: Protocol

    def takes(self, address: Address, port: int, protocol: Protocol) -> bool:
        """Whether a packet to this address and port might be meant for that socket."""
        if (self.port, self.protocol) != (port, protocol):
            return False
        return self.address == address or (self.address.is_unspecified and self.address.version >= address.version)


def used_ports() -> Collection[UsedPort]:
    """Every port that a TCP or UDP socket of this network namespace is bound to."""
    return frozenset(x for name, protocol in _TABLES for x in _table(name, protocol))


def _table(name: str, protocol: Protocol) -> Iterator[UsedPort]:
    try:
        lines = Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]
    except FileNotFoundError:  # no IPv6 in this kernel
        return
    for line in lines:
        _, local, _, state, *_ = line.split()
        address, port = local.split(":")
        if state != _TIME_WAIT:
            yield UsedPort(_address(address), int(port, 16), protocol)


def _address(text: str) -> Address:
    """/proc/net prints addresses as words in the machine's own byte order."""
    octets = b"".join(struct.pack("=I", int(text[i : i + 8], 16)) for i in range(0, len(text), 8))
    if len(octets) == 4:
        return IPv4Address(octets)
    address = IPv6Address(octets)
    return address.ipv4_mapped or address
