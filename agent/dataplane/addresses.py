"""Addresses as the kernel's tables hold them.

Decides: how `struct address` of bpf/abi.h is made and read. It has no family: an IPv4 address is the first four of its
sixteen octets, the rest zero. So an IPv6 address whose last twelve octets are zero cannot be told from an IPv4 one;
`ambiguous` says which those are, and guards.py refuses them (all of them are subnet-router anycast addresses,
RFC 4291 section 2.6.1, which no gateway or pod has).
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from routes.plan import Address

FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
"""IP version -> address family."""

_V4_PADDING = bytes(12)


def to_octets(address: Address) -> bytes:
    """The sixteen octets of `struct address`."""
    return address.packed.ljust(16, b"\0")


def from_octets(octets: bytes) -> Address:
    """The address that `to_octets` was given, unless that was `ambiguous`."""
    if octets.endswith(_V4_PADDING):
        return IPv4Address(octets[:4])
    return IPv6Address(octets)


def ambiguous(address: Address) -> bool:
    """Whether an IPv6 address would read as IPv4 in the kernel's tables."""
    return address.version == 6 and address.packed.endswith(_V4_PADDING)
