"""What routes say of the longest packet: table `route_mtus`.

The stack keeps to a route's own MTU when it forwards; bpf_fib_lookup tells the programs of it only if it is locked.
Rules: a route with an MTU has an entry, and so has one without that is more specific than such a route: 0. Of routes to
the same network the first in the dump counts, which the kernel prefers. If there are more than the table has room for,
the most specific are left out. Must never: hold an entry that no route of the main table asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from agent.dataplane.addresses import FAMILIES
from agent.dataplane.fib import Route
from agent.dataplane.tables import Tables

_BITS = {4: 32, 6: 128}


class Network(NamedTuple):
    """IP version, first address and length of the prefix."""

    version: int
    first: int
    length: int


def wanted(routes: Iterable[Route]) -> Mapping[Network, int]:
    """Each network that has an entry, the least specific first, and its MTU."""
    found: dict[Network, int] = {}
    lengths: dict[int, set[int]] = {4: set(), 6: set()}
    for route in sorted(routes, key=lambda x: x.length):
        network = Network(route.version, route.network, route.length)
        if network in found:
            continue
        if route.mtu or _covering_mtu(network, found, lengths[route.version]):
            found[network] = route.mtu
            lengths[route.version].add(route.length)
    return found


def declare(tables: Tables, routes: Iterable[Route]) -> tuple[str, ...]:
    """Make table `route_mtus` hold what these routes ask for. A note if it has no room for all."""
    table = tables.route_mtus
    asked = wanted(routes)
    due = dict(islice(((_key(x), mtu) for x, mtu in asked.items()), table.max_entries))
    gone = []
    for key, mtu in table.items():
        found = (key["prefix"], key["family"], key["address"]["octets"])
        if found not in due:
            gone.append(key)
        elif due[found] == mtu:
            del due[found]
    table.delete_many(gone)
    for (prefix, family, octets), mtu in due.items():
        table.set({"prefix": prefix, "family": family, "address": {"octets": octets}}, mtu)
    if len(asked) <= table.max_entries:
        return ()
    return (
        f"{len(asked)} routes have or inherit an MTU of their own: those beyond {table.max_entries} count as without",
    )


def _key(network: Network) -> tuple[int, int, bytes]:
    """Prefix, family and address of `struct network`."""
    octets = network.first.to_bytes(_BITS[network.version] // 8).ljust(16, b"\0")
    return 32 + network.length, FAMILIES[network.version], octets


def _covering_mtu(network: Network, found: Mapping[Network, int], lengths: Iterable[int]) -> int:
    """What a packet to that network would meet without an entry of its own."""
    bits = _BITS[network.version]
    for length in sorted(lengths, reverse=True):
        covering = Network(network.version, network.first >> (bits - length) << (bits - length), length)
        if length < network.length and covering in found:
            return found[covering]
    return 0
