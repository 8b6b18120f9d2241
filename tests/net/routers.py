"""Routers that spread clients over two nodes (ECMP), as Linux does it."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Final

from lab.netns import Namespace
from lab.topology import FAMILIES, Address

NODES: Final = (1, 2)

Addresses = Mapping[int, Address]
"""By family."""


class Spread(enum.Enum):
    """How a router picks a next hop (`ip nexthop`): by the hash alone, or so that whoever is busy stays where it is."""

    PLAIN = "mpath"
    RESILIENT = "resilient buckets 128 idle_timer 300"


class Hash(enum.Enum):
    """What a router hashes: `fib_multipath_hash_policy` and `_fields`.

    A packet and its answer have the client's address and port in common and nothing else: the gateway's stand in the
    one, the backend's in the other.
    All name fields (policy 3): policy 1 takes the hash that a packet has already, which in a laboratory is its
    sender's own, and another one after a timeout (Linux 6.18). Off a wire it is the NIC's, or none.
    """

    BOTH_ENDS = (3, 0x01 | 0x02 | 0x04 | 0x10 | 0x20)
    SOURCE = (3, 0x01 | 0x04 | 0x10)
    DESTINATION = (3, 0x02 | 0x04 | 0x20)


def _ids(family: int, node: int) -> tuple[str, str]:
    """Of the next hops that lead to a node: two, for a group of one does not note who is busy (Linux 6.18)."""
    return f"{family}1{node}", f"{family}2{node}"


class Router:
    """A machine with a way to `destination` through each node.

    `hops`: by node; `device`: where they are, but for the node's number.
    """

    def __init__(
        self, namespace: Namespace, destination: Mapping[int, object], hops: Mapping[int, Addresses], device: str
    ) -> None:
        self.namespace = namespace
        self._device = device
        self._to = destination
        self._hops = hops

    def build(self, hashed: Hash) -> None:
        """Make it one that spreads."""
        policy, fields = hashed.value
        for version in ("ipv4", "ipv6"):
            self.namespace.sysctl(
                {f"net.{version}.fib_multipath_hash_policy": policy, f"net.{version}.fib_multipath_hash_fields": fields}
            )
        for node in NODES:
            self.know(node)

    def know(self, node: int) -> None:
        """That there is a next hop; the kernel forgets it when its link goes down."""
        for family in FAMILIES:
            hop = f"via {self._hops[node][family]} dev {self._device}{node}"
            self.namespace.ip(*(f"nexthop replace id {x} {hop}" for x in _ids(family, node)))

    def lead(self, nodes: Iterable[int], spread: Spread) -> None:
        """From now on the way is through these nodes."""
        for family in FAMILIES:
            group = f"{family}0{list(Spread).index(spread)}"
            legs = "/".join(x for node in nodes for x in _ids(family, node))
            self.namespace.ip(
                f"nexthop replace id {group} group {legs} type {spread.value}",
                f"route replace {self._to[family]} nhid {group}",
            )
