"""Which interfaces lead to pods that a packet may be redirected to, past the stack. Pure.

Rules: the node's end of a veth whose other end is in another network namespace, in no bridge (behind a bridge the
redirect would skip its forwarding and its filters), and to which the main table routes a backend's address. A pod that
is not found here is served up the stack, which is always right: so this may miss one, and finding one too many costs a
hook that passes everything on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from agent.dataplane.fib import Route
from agent.dataplane.links import Link
from routes.plan import Address


def choose(backends: Iterable[Address], links: Mapping[int, Link], routes: Collection[Route]) -> Mapping[int, Link]:
    """Interfaces of pods that hold some address of `backends`."""
    eligible = {x.index: x for x in links.values() if x.kind == "veth" and x.peer_elsewhere and not x.master}
    tables: dict[tuple[int, int], dict[int, int]] = {}
    for route in routes:
        if route.interface in eligible and route.length:
            tables.setdefault((route.version, route.length), {})[route.network] = route.interface
    found = {
        table[network]
        for address in set(backends)
        for (version, length), table in tables.items()
        if version == address.version
        and (network := int(address) >> (shift := address.max_prefixlen - length) << shift) in table
    }
    return {index: eligible[index] for index in found}
