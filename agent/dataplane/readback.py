"""What the kernel holds, read back in the image's words.

Rules: the tables are read afresh each time, so that a difference is found whoever made it; pools are read only where an
image names them (16 kB each), one by one and never kept, backends only where they were ever used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from agent.compile.image import BackendEntry, ListenerEntry, ListenerKey, Room
from agent.dataplane import records
from agent.dataplane.changes import KernelState
from agent.dataplane.policies import read_policies
from agent.dataplane.tables import Tables
from loader.maps import Map


class HeldPools(Mapping[int, bytes]):
    """Table `pools`, as far as it has room for the ids given: each is read whenever it is looked at."""

    def __init__(self, table: Map, ids: Collection[int]) -> None:
        self._table = table
        self._ids = ids

    def __getitem__(self, number: int) -> bytes:
        octets = self._table.get_raw(self._table.key.pack(number)) if number in self._ids else None
        if octets is None:
            raise KeyError(number)
        return octets

    def __iter__(self) -> Iterator[int]:
        return (x for x in self._ids if x < self._table.max_entries)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read_part(tables: Tables, pools: Collection[int], backends: Collection[int]) -> KernelState:
    """Some pools and backends, and nothing else."""
    found = {x: tables.backends.get(x) for x in backends}
    entries = {x: records.backend_of(record) for x, record in found.items() if record is not None}
    return KernelState({}, {}, HeldPools(tables.pools, pools), entries)


def read_state(tables: Tables, pools: Collection[int]) -> KernelState:
    """Everything that an image can name; `pools` are the ids to read."""
    return KernelState(
        gateways={records.address_of(key): value["flags"] for key, value in tables.gateways.items()},
        listeners=read_listeners(tables),
        pools=HeldPools(tables.pools, pools),
        backends=read_backends(tables),
        policies=read_policies(tables),
    )


def read_listeners(tables: Tables) -> Mapping[ListenerKey, ListenerEntry]:
    """Table `listeners`."""
    return {records.listener_key_of(key): records.listener_of(value) for key, value in tables.listeners.items()}


def read_backends(tables: Tables) -> Mapping[int, BackendEntry]:
    """Table `backends`, without the ids that were never used: those are all zeros and not worth decoding."""
    table = tables.backends
    unused = bytes(table.value.size)
    return {
        table.key.unpack(number): records.backend_of(table.value.unpack(octets))
        for number, octets in table.raw_items()
        if octets != unused
    }


def room(tables: Tables) -> Room:
    """The sizes of the tables."""
    return Room(
        gateways=tables.gateways.max_entries,
        listeners=tables.listeners.max_entries,
        listener_ids=tables.listener_counts.max_entries,
        pools=tables.pools.max_entries,
        backends=tables.backends.max_entries,
        policies=tables.policies.max_entries,
        source_ranges=tables.source_ranges.max_entries,
    )
