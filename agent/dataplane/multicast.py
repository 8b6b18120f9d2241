"""Frames for the solicited-node groups of IPv6 gateway addresses, let through by the uplinks.

Decides: which multicast MAC addresses each uplink must accept. NDP asks for an address at its solicited-node group
(RFC 4291 section 2.7.1), and an adapter drops groups that nobody joined; IPv4's ARP is broadcast and needs nothing.
Rules: the MAC filter only (SIOCADDMULTI), no MLD: the gateway's NDP is answered in BPF and the stack knows none of it.
The kernel keeps one such membership per MAC however often it is asked, so joining twice is joining once. What was
joined is recorded by the caller: the kernel does not say whose a membership is.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from collections.abc import Collection
from ipaddress import IPv6Address

# linux/sockios.h
_SIOCADDMULTI = 0x8931
_SIOCDELMULTI = 0x8932
# struct ifreq: name, then a sockaddr of family AF_UNSPEC with the MAC in its data.
_IFREQ = struct.Struct("16sH14s8x")
# Not there any more, never joined, or an interface without a filter (a tunnel): nothing is closed that must be opened.
_HARMLESS = (errno.ENODEV, errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP)

Membership = tuple[str, bytes]
"""Interface name and multicast MAC."""


def solicited_node_mac(address: IPv6Address) -> bytes:
    """33:33:ff and the last three octets of the address (RFC 2464 section 7)."""
    return b"\x33\x33\xff" + address.packed[-3:]


def reconcile_memberships(
    uplinks: Collection[str], addresses: Collection[IPv6Address], joined: Collection[Membership]
) -> frozenset[Membership]:
    """Join what is missing, leave what was `joined` and is not wanted any more; what is joined now."""
    wanted = frozenset((name, solicited_node_mac(x)) for name in uplinks for x in addresses)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name, mac in frozenset(joined) - wanted:
            _request(control, _SIOCDELMULTI, name, mac)
        for name, mac in wanted:
            _request(control, _SIOCADDMULTI, name, mac)
    return wanted


def _request(control: socket.socket, number: int, name: str, mac: bytes) -> None:
    try:
        fcntl.ioctl(control, number, _IFREQ.pack(name.encode(), socket.AF_UNSPEC, mac))
    except OSError as error:
        if error.errno not in _HARMLESS:
            raise
