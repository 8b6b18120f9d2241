"""Whose address a backend sees in place of a client behind an uplink, and why: as bpf/admit.h decides for a new flow.

Rules: the way to the backend decides, as the node's routes are now, and the tables that the programs read (interfaces,
snat_sources, symmetric); a backend that two flows of one client port compete for, and one that is its own client, may
see another for some flows. Clients on the node and in its pods: the sentences say it. Must never: cost anything while
nobody asks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from agent.dataplane.addresses import FAMILIES
from agent.dataplane.hooks import Role
from agent.dataplane.links import name_of
from agent.dataplane.records import address_of
from agent.dataplane.tables import Tables
from agent.dataplane.ways import ways
from routes.plan import Address


@dataclass(frozen=True, slots=True)
class Seen:
    """`whom`: client, node (one of `addresses`), gateway (the address that the client asked) or nobody. `uplink`: that
    the backend is behind, "" for one on this node; `addresses`: those that it lends to flows to there."""

    whom: str
    uplink: str
    addresses: tuple[str, ...]
    why: str

    @property
    def label(self) -> str:
        """In a word or two; those that differ otherwise have different ones."""
        return f"{self.whom} ({self.uplink})" if self.uplink else self.whom


_ON_NODE = Seen(
    "client",
    "",
    (),
    "on this node, so its replies pass a hook of ours; of clients on this node it sees the gateway's address",
)
_NOBODY = Seen("nobody", "", (), "no route of this node leads to it")


def seen(tables: Tables, backends: Collection[Address]) -> Mapping[Address, Seen]:
    """For each distinct address, now. Raises OSError, LoaderError."""
    uplink = int(tables.btf.enum("interface_role")[f"INTERFACE_{Role.UPLINK.name}"])
    uplinks = {index for index, x in tables.interfaces.items() if x["role"] == uplink}
    lent: dict[tuple[int, int], list[str]] = {}
    for key, record in tables.snat_sources.items():
        address = address_of(record)
        lent.setdefault((key["ifindex"], key["family"]), []).append(str(address))
    networks = tuple(_symmetric(tables))
    told: dict[tuple[int, int, bool], Seen] = {}
    found = {}
    for address, way in ways(backends).items():
        if way not in uplinks:
            found[address] = _ON_NODE if way else _NOBODY
            continue
        place = (way, FAMILIES[address.version], any(address in x for x in networks))
        if place not in told:
            told[place] = _behind(name_of(way), tuple(sorted(lent.get(place[:2], ()))), symmetric=place[2])
        found[address] = told[place]
    return found


def _behind(uplink: str, lent: tuple[str, ...], *, symmetric: bool) -> Seen:
    ours = " or ".join(lent) if lent else "the gateway's address"
    if symmetric:
        why = f"behind {uplink} in a network declared symmetric; of clients on this node, and of itself, it sees {ours}"
        return Seen("client", uplink, lent, why)
    if lent:
        return Seen("node", uplink, lent, f"behind {uplink}, so its replies must find this node; it sees {ours}")
    return Seen("gateway", uplink, (), f"behind {uplink}, which has no address of this family to lend")


def _symmetric(tables: Tables) -> Iterator[IPv4Network | IPv6Network]:
    versions = {family: version for version, family in FAMILIES.items()}
    for key, _ in tables.symmetric.items():
        octets = key["address"]["octets"][: 4 if versions[key["family"]] == 4 else 16]
        yield ip_network((octets, key["prefix"] - 32))
