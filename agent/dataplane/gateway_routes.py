"""Our own routes: gateway addresses lead into the gateway's own interface.

Decides: that they stand in the main table under a protocol number that is nobody else's, so that every route of ours
can be found again by it alone. Rules: a route of somebody else for the same prefix is left alone and said; which
addresses are routed is the caller's to say. Must never: touch a route of another protocol number.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Collection, Iterator
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agent.dataplane.fib import FAMILIES, MAIN_TABLE, destination_of, interfaces_of
from routes.plan import Address

PROTOCOL = 112
"""Protocol number of our routes. Not in iproute2's rt_protos, nor used by bird, FRR, Calico (80), Cilium or systemd."""

_SCOPE_LINK = 253
# Gone already, or never possible while the interface is down: the next pass puts it right.
_PASSING = (errno.ESRCH, errno.ENODEV, errno.ENETDOWN, errno.ENETUNREACH)


def reconcile_gateway_routes(netlink: IPRoute, interface: int, wanted: Collection[Address]) -> Iterator[str]:
    """Route exactly `wanted` into `interface`. Yields a note for each address whose route is somebody else's."""
    held = {(ipaddress.ip_address(destination_of(x)), next(interfaces_of(x), 0)) for x in _ours(netlink)}
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
        _change(netlink, "del", ipaddress.ip_address(destination_of(message)), next(interfaces_of(message), 0))
    return len(ours)


def _ours(netlink: IPRoute) -> Iterator[Any]:
    for family in FAMILIES:
        yield from netlink.route("dump", family=family, table=MAIN_TABLE, proto=PROTOCOL)


def _change(netlink: IPRoute, verb: str, address: Address, interface: int) -> bool:
    """False when the route to add is there already, by somebody else."""
    request = {"dst": f"{address}/{address.max_prefixlen}", "oif": interface, "proto": PROTOCOL, "table": MAIN_TABLE}
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
