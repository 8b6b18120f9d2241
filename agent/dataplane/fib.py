"""The main routing table, trimmed to which prefix leaves by which interface, and our own routes in it.

Decides: that gateway addresses are routed into the gateway's own interface, under a protocol number that is nobody
else's, so that every route of ours can be found again by it alone.
Rules: only the main table is read; unicast routes only; every next hop of a multipath route counts. A route of
somebody else for the same prefix is left alone and said. Which addresses are routed is the caller's to say. Must never:
touch a route of another protocol number.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from routes.plan import Address

PROTOCOL = 112
"""Protocol number of our routes. Not in iproute2's rt_protos, nor used by bird, FRR, Calico (80), Cilium or systemd."""

_MAIN_TABLE = 254
_UNICAST = 1
_SCOPE_LINK = 253
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
# Gone already, or never possible while the interface is down: the next pass puts it right.
_PASSING = (errno.ESRCH, errno.ENODEV, errno.ENETDOWN, errno.ENETUNREACH)


@dataclass(frozen=True, slots=True)
class Route:
    """A prefix and an interface it leaves by."""

    version: int
    network: int
    length: int
    interface: int


def read_routes(netlink: IPRoute) -> tuple[Route, ...]:
    """All unicast routes of the main table, one for each next hop. About 0.15 ms a route."""
    return tuple(
        Route(4 if family == socket.AF_INET else 6, _number(message), message["dst_len"], interface)
        for family in _FAMILIES
        for message in netlink.route("dump", family=family, table=_MAIN_TABLE, type=_UNICAST)
        for interface in _interfaces(message)
    )


def reconcile_gateway_routes(netlink: IPRoute, interface: int, wanted: Collection[Address]) -> Iterator[str]:
    """Route exactly `wanted` into `interface`. Yields a note for each address whose route is somebody else's."""
    held = {(ipaddress.ip_address(_destination(x)), next(_interfaces(x), 0)) for x in _ours(netlink)}
    targets = {(address, interface) for address in wanted}
    for address, old in held - targets:
        _change(netlink, "del", address, old)
    for address, _ in sorted(targets - held, key=lambda x: (x[0].version, int(x[0]))):
        if not _change(netlink, "add", address, interface):
            yield f"{address}: the node has a route of its own for this gateway address; clients on the node use that"


def remove_gateway_routes(netlink: IPRoute) -> int:
    """Remove every route of ours; how many there were."""
    ours = list(_ours(netlink))
    for message in ours:
        _change(netlink, "del", ipaddress.ip_address(_destination(message)), next(_interfaces(message), 0))
    return len(ours)


def _ours(netlink: IPRoute) -> Iterator[Any]:
    for family in _FAMILIES:
        yield from netlink.route("dump", family=family, table=_MAIN_TABLE, proto=PROTOCOL)


def _change(netlink: IPRoute, verb: str, address: Address, interface: int) -> bool:
    """False when the route to add is there already, by somebody else."""
    request = {"dst": f"{address}/{address.max_prefixlen}", "oif": interface, "proto": PROTOCOL, "table": _MAIN_TABLE}
    if address.version == 4:
        request["scope"] = _SCOPE_LINK
    try:
        netlink.route(verb, **request)
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            return False
        if error.code not in _PASSING:
            raise
    return True


def _interfaces(message: Any) -> Iterator[int]:
    single = message.get_attr("RTA_OIF")
    if single:
        yield single
    for hop in message.get_attr("RTA_MULTIPATH") or ():
        yield hop["oif"]


def _destination(message: Any) -> str:
    return message.get_attr("RTA_DST") or ("0.0.0.0" if message["family"] == socket.AF_INET else "::")


def _number(message: Any) -> int:
    return int(ipaddress.ip_address(_destination(message)))
