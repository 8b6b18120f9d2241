"""The node's interfaces and addresses as rtnetlink shows them, trimmed to what the data plane asks of one.

Rules: one dump is one consistent picture; statistics are left out of it (they are most of a dump's bytes).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from pyroute2 import IPRoute

from routes.plan import Address

_ARPHRD_ETHER = 1
# linux/rtnetlink.h: RTEXT_FILTER_SKIP_STATS, kernel 4.4.
_SKIP_STATISTICS = 1 << 3


@dataclass(frozen=True, slots=True)
class Link:
    """An interface of this network namespace.

    `mac` is six octets (zero where there is none), `master` the ifindex of the bridge or bond it belongs to or 0,
    `peer_elsewhere` whether its other end is in another network namespace (a container's interface), `vlan_of` the
    ifindex of the interface whose tagged frames are its, or 0.
    """

    index: int
    name: str
    kind: str
    mac: bytes
    mtu: int
    ethernet: bool
    master: int
    peer_elsewhere: bool
    vlan_of: int = 0


def read_links(netlink: IPRoute) -> Mapping[int, Link]:
    """Every interface by its ifindex."""
    return {link.index: link for link in map(link_of, netlink.link("dump", ext_mask=_SKIP_STATISTICS))}


def node_addresses(netlink: IPRoute) -> frozenset[Address]:
    """Every address configured on an interface of this network namespace."""
    texts = (x.get_attr("IFA_LOCAL") or x.get_attr("IFA_ADDRESS") for x in netlink.addr("dump"))
    return frozenset(ip_address(x) for x in texts if x)


def name_of(index: int) -> str:
    """Of an interface, "" for 0."""
    if not index:
        return ""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"interface {index}"


def link_of(message: Any) -> Link:
    """Of one message of rtnetlink."""
    get = message.get_attr
    info = get("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") or "") if info else ""
    is_elsewhere = get("IFLA_LINK_NETNSID") is not None
    return Link(
        index=message["index"],
        name=get("IFLA_IFNAME"),
        kind=kind,
        mac=bytes.fromhex((get("IFLA_ADDRESS") or "").replace(":", ""))[:6].ljust(6, b"\0"),
        mtu=get("IFLA_MTU") or 0,
        ethernet=message["ifi_type"] == _ARPHRD_ETHER,
        master=get("IFLA_MASTER") or 0,
        peer_elsewhere=is_elsewhere,
        vlan_of=(get("IFLA_LINK") or 0) if kind == "vlan" and not is_elsewhere else 0,
    )
