"""What the kernel holds, read back in the image's words.

Rules: the tables are read afresh each time, so that a difference is found whoever made it; pools are read only where an
image names them (16 kB each), backends only where they were ever used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from agent.compile.image import BackendEntry, ListenerEntry, ListenerKey, Room
from agent.dataplane import records
from agent.dataplane.changes import KernelState
from agent.dataplane.tables import Tables


def read_state(tables: Tables, pools: Collection[int]) -> KernelState:
    """Everything that an image can name; `pools` are the ids to read."""
    return KernelState(
        gateways={records.address_of(key): value["flags"] for key, value in tables.gateways.items()},
        listeners=read_listeners(tables),
        pools=_read_pools(tables, pools),
        backends=read_backends(tables),
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
    )


def _read_pools(tables: Tables, pools: Collection[int]) -> Mapping[int, bytes]:
    table = tables.pools
    found = {x: table.get_raw(table.key.pack(x)) for x in pools}
    return {x: slots for x, slots in found.items() if slots is not None}
