"""Reading everything back a little at a time.

Decides the slices: some milliseconds each, so that what changes meanwhile need not wait. Rules: a slice is compared
with the image as it is wanted at that moment. If everything read at once would show a difference, some slice does (not
each difference is told: a listener too many goes unnoticed beside one that is missing), unless it came about behind the
walk's back and the next walk sees it. Must never: write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from agent.compile.image import BACKEND_FIRST, MapImage
from agent.compile.pool_table import PoolTable
from agent.dataplane import records
from agent.dataplane.changes import KernelState, changes
from agent.dataplane.policies import read_policies, read_policy, slices
from agent.dataplane.readback import HeldPools, read_listeners
from agent.dataplane.tables import Tables

_LISTENERS, _RANGES, _POOLS, _BACKENDS = 256, 256, 128, 512  # of a slice

_T = TypeVar("_T")


def differences(tables: Tables, image: Callable[[], MapImage]) -> Iterator[tuple[str, ...]]:
    """For each slice, one line for each thing found that the kernel holds otherwise than `image()` at that moment."""
    yield _gateways(tables, image())
    for keys in _slices(image().listeners, _LISTENERS):
        records_ = {key: tables.listeners.get(records.listener_key_record(key)) for key in keys}
        found = {key: records.listener_of(x) for key, x in records_.items() if x is not None}
        wanted = {key: entry for key in keys if (entry := image().listeners.get(key)) is not None}
        yield _told(KernelState({}, found, {}, {}), replace(_nothing(image()), listeners=wanted))
    if sum(1 for _ in tables.listeners.raw_items()) != len(image().listeners):
        yield _told(
            KernelState({}, read_listeners(tables), {}, {}), replace(_nothing(image()), listeners=image().listeners)
        )
    for part in slices(image().policies, _RANGES):
        wanted_part = {x: entry for x, entry in part.items() if x in image().policies}
        found_part = {x: held for x, e in wanted_part.items() if (held := read_policy(tables, x, e.sources))}
        yield _told(KernelState({}, {}, {}, {}, found_part), replace(_nothing(image()), policies=wanted_part))
    if sum(1 for _ in tables.source_ranges.raw_items()) != sum(len(x.sources) for x in image().policies.values()):
        held_policies = read_policies(tables)
        yield _told(KernelState({}, {}, {}, {}, held_policies), replace(_nothing(image()), policies=image().policies))
    for ids in _slices(image().pools, _POOLS):
        now = image().pools
        known = [x for x in ids if x in now]
        pools = now.only(known) if isinstance(now, PoolTable) else {x: now[x] for x in known}
        yield _told(KernelState({}, {}, HeldPools(tables.pools, known), {}), replace(_nothing(image()), pools=pools))
    for numbers in _slices(range(BACKEND_FIRST, tables.backends.max_entries), _BACKENDS):
        yield _backends(tables, numbers, image())


def _gateways(tables: Tables, image: MapImage) -> tuple[str, ...]:
    held = {records.address_of(key): value["flags"] for key, value in tables.gateways.items()}
    return _told(KernelState(held, {}, {}, {}), replace(_nothing(image), gateways=image.gateways))


def _backends(tables: Tables, numbers: Sequence[int], image: MapImage) -> tuple[str, ...]:
    table = tables.backends
    unused = bytes(table.value.size)
    octets = {x: table.get_raw(table.key.pack(x)) for x in numbers}
    held = {
        x: records.backend_of(table.value.unpack(found))
        for x, found in octets.items()
        if found is not None and found != unused
    }
    wanted = {x: image.backends[x] for x in numbers if x in image.backends}
    return _told(KernelState({}, {}, {}, held), replace(_nothing(image), backends=wanted))


def _told(held: KernelState, image: MapImage) -> tuple[str, ...]:
    return tuple(changes(held, image).differences())


def _nothing(image: MapImage) -> MapImage:
    return replace(image, gateways={}, listeners={}, policies={}, pools={}, backends={})


def _slices(things: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Of the things as they are now."""
    left = iter(list(things))
    while some := list(islice(left, size)):
        yield some
