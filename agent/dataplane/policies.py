"""Policies in the kernel's tables: `policies`, and the ranges of each in `source_ranges`.

Decides: the order within a policy: what is written has its ranges before itself, what goes has itself taken out first,
so that a packet never meets a part. Rules: what a died agent left of one is an entry like others, which nobody wants.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from ipaddress import ip_network

from agent.compile.image import PolicyEntry
from agent.dataplane.addresses import FAMILIES, to_octets
from agent.dataplane.records import Record
from agent.dataplane.tables import Tables
from loader.maps import Map
from routes.plan import Address, SourceRange

_FIELDS = tuple(x.name for x in fields(PolicyEntry) if x.name != "sources")

_NOTHING = PolicyEntry(0)
_FIXED = 64  # bits of policy id and family, which always count


def read_policies(tables: Tables) -> Mapping[int, PolicyEntry]:
    """Every policy that is not all zeros, or that has ranges."""
    ranges: dict[int, list[SourceRange]] = {}
    for key, value in tables.source_ranges.items():
        ranges.setdefault(key["policy_id"], []).append(_range(tables, key, value))
    found = {number: _entry(value, ()) for number, value in tables.policies.items()}
    return {
        number: replace(entry, sources=_ordered(ranges.get(number, ())))
        for number, entry in found.items()
        if number in ranges or entry != _NOTHING
    }


def read_policy(tables: Tables, number: int, ranges: Iterable[SourceRange]) -> PolicyEntry | None:
    """One policy with those of the ranges that it has, whatever else it has; None if there is nothing of it."""
    found = tables.policies.get(number)
    held = []
    for x in ranges:
        key = _key(number, x)
        value = tables.source_ranges.get(key)
        if value is not None:
            held.append(_range(tables, key, value))
    entry = _entry(found, held) if found is not None else _NOTHING
    return entry if entry != _NOTHING else None


def deciding(tables: Tables, number: int, source: Address) -> SourceRange | None:
    """The range of a policy that decides for a client, None if it is in none. Goes through all that are held."""
    ranges = (_range(tables, key, value) for key, value in tables.source_ranges.items() if key["policy_id"] == number)
    within = (x for x in ranges if source in x.network)
    return max(within, key=lambda x: x.network.prefixlen, default=None)


def write_policies(tables: Tables, wanted: Mapping[int, PolicyEntry], held: Mapping[int, PolicyEntry]) -> None:
    """Make each of `wanted` say what it should, given what is held."""
    for number, entry in wanted.items():
        before = set(held[number].sources) if number in held else set()
        networks = {x.network for x in entry.sources}
        _delete(tables.source_ranges, number, [x for x in before if x.network not in networks])
        tables.source_ranges.set_many((_key(number, x), _rule(tables, x)) for x in entry.sources if x not in before)
        tables.policies.set(number, _record(entry))


def remove_policies(tables: Tables, numbers: Collection[int], held: Mapping[int, PolicyEntry]) -> None:
    """Take policies out that no listener leads to."""
    for number in numbers:
        tables.policies.set(number, tables.policies.value.zero)
        _delete(tables.source_ranges, number, held[number].sources)


def _delete(table: Map, number: int, ranges: Iterable[SourceRange]) -> None:
    table.delete_many(_key(number, x) for x in ranges)


def _key(number: int, range_: SourceRange) -> Record:
    network = range_.network
    return {
        "prefix": _FIXED + network.prefixlen,
        "policy_id": number,
        "family": FAMILIES[network.version],
        "address": {"octets": to_octets(network.network_address)},
    }


def _record(entry: PolicyEntry) -> Record:
    """`struct policy`."""
    return {x: getattr(entry, x) for x in _FIELDS}


def _entry(record: Record, sources: Iterable[SourceRange]) -> PolicyEntry:
    return PolicyEntry(sources=tuple(sources), **{x: record[x] for x in _FIELDS})


def _rule(tables: Tables, range_: SourceRange) -> Record:
    return {"rule": int(tables.btf.enum("source_rule")["SOURCE_ALLOWED" if range_.allowed else "SOURCE_DENIED"])}


def _range(tables: Tables, key: Record, value: Record) -> SourceRange:
    octets = key["address"]["octets"]
    packed = octets[:4] if key["family"] == FAMILIES[4] else octets
    return SourceRange(
        ip_network((packed, key["prefix"] - _FIXED)),
        value["rule"] == int(tables.btf.enum("source_rule")["SOURCE_ALLOWED"]),
    )


def _ordered(ranges: Iterable[SourceRange]) -> tuple[SourceRange, ...]:
    return tuple(sorted(ranges, key=lambda x: (x.network.version, int(x.network.network_address), x.network.prefixlen)))


def slices(policies: Mapping[int, PolicyEntry], size: int) -> Iterator[dict[int, PolicyEntry]]:
    """The policies in parts of so many ranges at most; a policy without ranges is a part as well."""
    part: dict[int, PolicyEntry] = {}
    for number, entry in policies.items():
        left = entry.sources
        while True:
            room = size - sum(len(x.sources) for x in part.values())
            part[number] = replace(entry, sources=left[:room])
            left = left[room:]
            if not left:
                break
            yield part
            part = {}
    if part:
        yield part
