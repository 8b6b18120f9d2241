"""Which addresses of the node's own backends out there may see: table `snat_sources`; and who sees the client all the
same: table `symmetric`.

Decides: the sources that each uplink lends, by family and number. Rules: with addresses in the settings, those of them
that the node holds, to every uplink; else each uplink's own oldest address that the kernel would prefer (not secondary,
not deprecated). Never a link-local or a tentative one. Sources are written before the interface says how many there
are, and removed after. Must never: lend an address that the node does not hold, for nobody would answer for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from pyroute2 import IPRoute

from agent.dataplane.addresses import FAMILIES
from agent.dataplane.records import Record, address_record
from agent.dataplane.tables import Tables
from routes.plan import Address

# linux/if_addr.h: IFA_F_SECONDARY (IPv6: TEMPORARY), DADFAILED, DEPRECATED, TENTATIVE
_UNUSABLE = 0x08 | 0x40
_LESSER = 0x01 | 0x20
_GLOBAL = 0  # linux/rtnetlink.h: RT_SCOPE_UNIVERSE


@dataclass(frozen=True, slots=True)
class Held:
    """An address that may be a source, and the interface that has it. `lesser`: only if somebody asks for it."""

    interface: int
    address: Address
    lesser: bool = False


def read_held(netlink: IPRoute) -> tuple[Held, ...]:
    """Those of this network namespace, as the kernel lists them: IPv4 the oldest first, IPv6 the newest."""
    return tuple(
        Held(x["index"], ip_address(text), bool(flags & _LESSER))
        for x in netlink.addr("dump")
        if (text := x.get_attr("IFA_LOCAL") or x.get_attr("IFA_ADDRESS"))
        if x["scope"] == _GLOBAL and not (flags := x.get_attr("IFA_FLAGS") or x["flags"]) & _UNUSABLE
    )


def sources(wanted: Sequence[Address], interface: int, held: Iterable[Held]) -> tuple[Address, ...]:
    """What an uplink lends: `wanted` as far as the node holds it; if nothing is wanted, its own, one for a family."""
    held = tuple(held)
    if wanted:
        return tuple(x for x in wanted if any(y.address == x for y in held))
    own = [x.address for x in held if x.interface == interface and not x.lesser]
    return (*[x for x in own if x.version == 4][:1], *[x for x in own if x.version == 6][-1:])


def missing(wanted: Sequence[Address], held: Iterable[Held]) -> tuple[str, ...]:
    """A note for each wanted address that the node does not hold."""
    there = {x.address for x in held}
    return tuple(f"snat address {x} is not (yet) an address of this node" for x in wanted if x not in there)


def records(interface: int, lent: Sequence[Address]) -> Mapping[tuple[int, int, int], Record]:
    """(ifindex, family, number) -> `struct address`."""
    found: dict[tuple[int, int, int], Record] = {}
    for version, family in FAMILIES.items():
        for number, address in enumerate(x for x in lent if x.version == version):
            found[interface, family, number] = address_record(address)
    return found


def lend(tables: Tables, interface: int, lent: Sequence[Address]) -> None:
    """Write the sources of an uplink; those it no longer has stay until `take_back`."""
    for (index, family, number), record in records(interface, lent).items():
        tables.snat_sources.set({"ifindex": index, "family": family, "number": number}, record)


def take_back(tables: Tables, lent: Mapping[int, Sequence[Address]]) -> None:
    """Remove every source that is not one of these, by ifindex."""
    kept = {key for interface, addresses in lent.items() for key in records(interface, addresses)}
    for key, _ in list(tables.snat_sources.items()):
        if (key["ifindex"], key["family"], key["number"]) not in kept:
            tables.snat_sources.delete(key)


def declare_symmetric(tables: Tables, networks: Iterable[str]) -> None:
    """Make table `symmetric` hold exactly these networks."""
    wanted = {}
    for text in networks:
        network = ip_network(text)
        family = FAMILIES[network.version]
        key = {"prefix": 32 + network.prefixlen, "family": family, "address": address_record(network.network_address)}
        wanted[key["prefix"], family, network.network_address.packed.ljust(16, b"\0")] = key
    for key, _ in list(tables.symmetric.items()):
        if wanted.pop((key["prefix"], key["family"], key["address"]["octets"]), None) is None:
            tables.symmetric.delete(key)
    for key in wanted.values():
        tables.symmetric.set(key, 1)
