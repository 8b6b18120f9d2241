"""Everything that a map holds, into a map of another size or layout.

Rules: hashes and tries go by key, arrays by index; keys and values are converted by the names of their members
(convert.py). What the new map cannot hold is refused, naming both sizes; only of a per-CPU array, where there are
counters, what is behind the end of a shorter one is left behind. Queues cannot be read without being emptied, and a
timer belongs to the map that it is in: of such maps nothing can be carried over. The old map is only read.
Must never: take anything out of the old map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from loader.convert import Octets, converted
from loader.errors import Incompatible
from loader.maps import Map, MapType

Mask: TypeAlias = np.ndarray[tuple[int], np.dtype[np.bool_]]

ByKey: Final = frozenset({MapType.HASH, MapType.LRU_HASH, MapType.LPM_TRIE})
ByIndex: Final = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY})


def can_carry(old: Map, new: Map) -> bool:
    """Whether there is a way from one to the other."""
    kinds = {old.type, new.type}
    return kinds <= ByKey or (old.type == new.type and kinds <= ByIndex)


def carry_over(
    old: Map, new: Map, after_each: Callable[[], object] = int, only: Callable[[Octets], Mask] | None = None
) -> int:
    """Put all that `old` holds into `new`; how many entries. `after_each` is called after some thousand each; `only`
    tells of rows of `old`'s values which are wanted (not of a per-CPU map).

    Incompatible (a type, a value, the size), naming what.
    """
    if not can_carry(old, new):
        raise Incompatible(new.name, "type", _kind(old), _kind(new))
    carried = 0
    for old_keys, old_values in old.chunks():
        if only is not None:
            wanted = only(old_values)
            old_keys, old_values = old_keys[wanted], old_values[wanted]  # noqa: PLW2901
        values = _widened(converted(_narrowed(old, old_values), old.value, new.value, new.name, "value"), new)
        keys = converted(old_keys, old.key, new.key, new.name, "key")
        carried += len(keys)
        if new.type in ByIndex:
            new.set_chunk(*_within(old, new, keys, values))
        elif carried > new.max_entries:
            raise _too_many(old, new)
        else:
            new.set_chunk(keys, values)
        after_each()
    return carried


def entries(table: Map) -> int:
    """How many entries a map has; of an array, up to the last that is not empty."""
    if table.type not in ByIndex:
        return sum(len(keys) for keys, _ in table.chunks())
    last = 0
    for keys, values in table.chunks():
        is_used = values.any(axis=1).reshape(-1, table.values_per_key).any(axis=1)
        last = max(last, int(_indices(keys)[is_used].max(initial=-1)) + 1)
    return last


def _narrowed(table: Map, values: Octets) -> Octets:
    return values[:, : table.value.size]


def _widened(values: Octets, table: Map) -> Octets:
    """As the kernel wants them: of a per-CPU map padded to eight octets."""
    padding = -values.shape[1] % 8 if table.values_per_key > 1 or table.type == MapType.PERCPU_ARRAY else 0
    return np.pad(values, ((0, 0), (0, padding))) if padding else values


def _within(old: Map, new: Map, keys: Octets, values: Octets) -> tuple[Octets, Octets]:
    """Of an array: those whose index the new one has."""
    fits = _indices(keys) < new.max_entries
    if fits.all():
        return keys, values
    kept = np.repeat(fits, new.values_per_key)
    if new.type == MapType.ARRAY and values[~kept].any():
        raise _too_many(old, new)
    return keys[fits], values[kept]


def _indices(keys: Octets) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.ascontiguousarray(keys).view(np.uint32)[:, 0].astype(np.int64)


def _too_many(old: Map, new: Map) -> Incompatible:
    held = f"{old.max_entries} and holds {entries(old)} entries"
    return Incompatible(new.name, "max_entries", held, new.max_entries)


def _kind(table: Map) -> str:
    return MapType(table.type).name if table.type in set(MapType) else str(table.type)
