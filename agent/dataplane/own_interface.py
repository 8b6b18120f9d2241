"""The gateway's own interface: the veth pair penstock0, penstock1 in the node's network namespace.

Decides: how the pair is made and kept. Gateway addresses are routed to penstock0, so that clients on the node and in
its pods reach our hook at its egress; what the hook sends back enters the stack at its ingress. penstock1 only has to
exist and be up: nothing arrives there that our hook has not let fall.
Rules: each half has a fixed MAC, the same on every node; no ARP (every address behind it is ours), no address that
anybody would use, no link-local address, IPv6 off on penstock1. rp_filter is loose on penstock0, whatever `all` says,
since a client's address may be routed anywhere; and it takes packets whose source is the node's own address
(accept_local), which SNAT for backends on other nodes makes. For that the kernel wants it to have some IPv4 address
(__fib_validate_source, 6.18: without one, all is dropped that its own routes do not lead back to): it has the dummy
address of RFC 7600, in a scope in which it is nobody's source. A pair that is lost is made again under the same
ifindex, because the programs have that number as a constant.
Must never: take over an interface of that name that is not such a pair.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agent.dataplane import sysctl
from agent.dataplane.errors import NodeUnfit
from agent.dataplane.links import Link, read_links

NAME = "penstock0"
PEER = "penstock1"
# Locally administered (IEEE 802 section 8.4: second-lowest bit of the first octet), and never on any wire.
_MAC = {NAME: "02:70:73:74:6b:00", PEER: "02:70:73:74:6b:01"}

_UP_AND_NOARP = 1 << 0 | 1 << 7  # linux/if.h: IFF_UP, IFF_NOARP
_LARGEST_MTU = 1500
_SMALLEST_MTU = 1280  # RFC 8200 section 5
_LOOSE = 2
_DUMMY_ADDRESS = "192.0.0.8"  # RFC 7600 section 4.8
_SCOPE_HOST = 254  # linux/rtnetlink.h
_ADDR_GEN_NONE = 1  # linux/if_link.h: IN6_ADDR_GEN_MODE_NONE


def find(links: Mapping[int, Link]) -> Link | None:
    """penstock0, None when it is not there. Raises NodeUnfit when that name is somebody else's."""
    by_name = {x.name: x for x in links.values() if x.name in (NAME, PEER)}
    for x in by_name.values():
        if x.kind != "veth" or x.peer_elsewhere or len(by_name) != 2:
            raise NodeUnfit(
                (f"interface {x.name} exists and is not half of the pair {NAME}/{PEER}; rename it or delete it",)
            )
    return by_name.get(NAME)


def ensure(netlink: IPRoute, index: int | None = None) -> Link:
    """penstock0 as it should be, made if it is not there, with that ifindex if one is given and it is free."""
    if find(read_links(netlink)) is None:
        _create(netlink, index)
    halves = [x for x in read_links(netlink).values() if x.name in _MAC]
    for half in halves:
        _configure(half.name)
        netlink.link("set", index=half.index, flags=_UP_AND_NOARP, change=_UP_AND_NOARP)
        if half.mac.hex(":") != _MAC[half.name]:
            netlink.link("set", index=half.index, address=_MAC[half.name])
    link = find(read_links(netlink))
    if link is not None and not any(
        x.get_attr("IFA_LOCAL") == _DUMMY_ADDRESS for x in netlink.addr("dump", index=link.index)
    ):
        netlink.addr("add", index=link.index, address=_DUMMY_ADDRESS, prefixlen=32, scope=_SCOPE_HOST)
    if link is None:
        raise NodeUnfit((f"interface {NAME} was removed while it was being made",))
    return link


def fit_mtu(netlink: IPRoute, link: Link, uplinks: Mapping[int, Link]) -> None:
    """Give penstock0 the smallest MTU of the uplinks, so that clients on the node choose segments that fit there."""
    mtu = max(min((x.mtu for x in uplinks.values()), default=_LARGEST_MTU), _SMALLEST_MTU)
    if link.mtu != min(mtu, _LARGEST_MTU):
        netlink.link("set", index=link.index, mtu=min(mtu, _LARGEST_MTU))


def remove(netlink: IPRoute) -> bool:
    """Remove the pair (one half takes the other along); whether it was there."""
    try:
        link = find(read_links(netlink))
    except NodeUnfit:
        return False
    if link is not None:
        netlink.link("del", index=link.index)
    return link is not None


def _create(netlink: IPRoute, index: int | None) -> None:
    peer = {"ifname": PEER, "address": _MAC[PEER]}
    request = {"ifname": NAME, "kind": "veth", "address": _MAC[NAME], "peer": peer}
    try:
        netlink.link("add", **request, **({"index": index} if index else {}))
    except NetlinkError as error:
        if index is None or error.code not in (errno.EEXIST, errno.EBUSY):
            raise
        netlink.link("add", **request)


def _configure(name: str) -> None:
    sysctl.write(f"ipv4/conf/{name}/forwarding", 1)
    sysctl.write(f"ipv4/conf/{name}/rp_filter", _LOOSE)
    sysctl.write(f"ipv4/conf/{name}/accept_local", 1)
    sysctl.write(f"ipv6/conf/{name}/addr_gen_mode", _ADDR_GEN_NONE)
    sysctl.write(f"ipv6/conf/{name}/accept_ra", 0)
    if sysctl.ipv6_enabled():
        sysctl.write(f"ipv6/conf/{name}/disable_ipv6", int(name == PEER))
