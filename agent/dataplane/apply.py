"""Writing an image into the tables.

Decides: the order, which is that of changes.py. Rules: whether it fits is asked before anything is written; a table
that would overflow on the way, because new entries come before old ones go, lets the old ones go first. Writing is in
batches. Must never: leave a listener that points at an unwritten pool, or a pool at an inactive backend.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.compile.image import MapImage, Touched
from agent.dataplane import records
from agent.dataplane.changes import Changes, KernelState, changes, narrowed
from agent.dataplane.counters import start_at_zero
from agent.dataplane.errors import TableFull
from agent.dataplane.policies import remove_policies, write_policies
from agent.dataplane.readback import read_state
from agent.dataplane.tables import Tables
from loader.maps import Map


def write_image(tables: Tables, image: MapImage) -> Changes:
    """Make the tables hold `image`; what that took. Raises TableFull (nothing written), LoaderError."""
    return _write_over(tables, image, read_state(tables, image.pools))


def write_touched(tables: Tables, image: MapImage, touched: Touched, before: MapImage) -> Changes:
    """The same where the tables hold `before` and nothing but what was touched differs: nothing is read."""
    held = {x: before.backends[x] for x in touched.backends if x in before.backends}
    return _write_over(tables, narrowed(image, touched), KernelState({}, {}, {}, held))


def _write_over(tables: Tables, image: MapImage, held: KernelState) -> Changes:
    for fault in _lack_of_room(tables, image):
        raise fault
    wanted = changes(held, image)
    _write(tables, held, wanted)
    return wanted


def _write(tables: Tables, held: KernelState, wanted: Changes) -> None:
    start_at_zero(tables.listener_counts, wanted.fresh_listeners)
    start_at_zero(tables.backend_counts, wanted.fresh_backends)
    write_policies(tables, wanted.policies, held.policies)
    tables.backends.set_many((number, records.backend_record(x)) for number, x in wanted.backends_up.items())
    tables.pools.set_many_raw((tables.pools.key.pack(number), slots) for number, slots in wanted.pools.items())
    if _overflows(tables.listeners, len(held.listeners), len(wanted.listeners)):
        _remove_listeners(tables, wanted)
    if _overflows(tables.gateways, len(held.gateways), len(wanted.gateways)):
        _remove_gateways(tables, wanted)
    tables.listeners.set_many(
        (records.listener_key_record(key), records.listener_record(x)) for key, x in wanted.listeners.items()
    )
    tables.gateways.set_many(
        (records.address_record(address), records.gateway_record(flags)) for address, flags in wanted.gateways.items()
    )
    _remove_gateways(tables, wanted)
    _remove_listeners(tables, wanted)
    remove_policies(tables, wanted.policies_gone, held.policies)
    tables.backends.set_many((number, records.backend_record(x)) for number, x in wanted.backends_down.items())


def _remove_gateways(tables: Tables, wanted: Changes) -> None:
    tables.gateways.delete_many(records.address_record(x) for x in wanted.gateways_gone)


def _remove_listeners(tables: Tables, wanted: Changes) -> None:
    tables.listeners.delete_many(records.listener_key_record(x) for x in wanted.listeners_gone)


def _overflows(table: Map, held: int, added: int) -> bool:
    return held + added > table.max_entries


def _lack_of_room(tables: Tables, image: MapImage) -> Iterator[TableFull]:
    """Hashes are full by their number of entries, arrays by their highest index."""
    highest_listener = max((x.listener_id for x in image.listeners.values()), default=0)
    for table, wanted, setting in (
        (tables.gateways, len(image.gateways), "--max-gateways"),
        (tables.listeners, len(image.listeners), "--max-listeners"),
        (tables.listener_counts, highest_listener + 1, "--max-listeners"),
        (tables.pools, max(image.pools, default=0) + 1, "--max-pools"),
        (tables.policies, max(image.policies, default=0) + 1, "--max-policies"),
        (tables.source_ranges, sum(len(x.sources) for x in image.policies.values()), "--max-source-ranges"),
        (tables.backends, max(image.backends, default=0) + 1, "--max-backends"),
    ):
        if wanted > table.max_entries:
            yield TableFull(table.name, wanted, table.max_entries, setting)
