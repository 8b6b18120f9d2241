"""May a pinned map be used as the map an object declares? Asked before anything of the object reaches the kernel.

Rules: type, key and value size, number of entries, flags, then both layouts field by field by BTF. Queues, stacks and
ring buffers carry no BTF in the kernel: of those only the sizes can be compared. A difference is Incompatible and names
it; nothing is ever removed, resized or migrated here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loader.codec import Codec
from loader.errors import Incompatible
from loader.layout import difference
from loader.maps import Map, MapType

# Flags that the kernel adds by itself: BPF_F_RDONLY_PROG on device maps.
_ADDED: Mapping[int, int] = {MapType.DEVMAP: 1 << 7, MapType.DEVMAP_HASH: 1 << 7}


@dataclass(frozen=True, slots=True)
class MapShape:
    """What an object declares of a map, or the kernel tells of one. Sizes in octets."""

    type: int
    key: Codec
    value: Codec
    max_entries: int
    flags: int

    def numbers(self) -> Iterator[tuple[str, object]]:
        """What must be equal, and how a person calls it."""
        yield "type", MapType(self.type).name if self.type in set(MapType) else self.type
        yield "key size", self.key.size
        yield "value size", self.value.size
        yield "max_entries", self.max_entries
        yield "flags", self.flags & ~_ADDED.get(self.type, 0)


def require_compatible(pinned: Map, wanted: MapShape) -> None:
    """Raises Incompatible naming the first difference."""
    found = MapShape(pinned.type, pinned.key, pinned.value, pinned.max_entries, pinned.flags)
    for (name, old), (_, new) in zip(found.numbers(), wanted.numbers(), strict=True):
        if old != new:
            # A layout says more than a size does.
            _require_same_fields(pinned.name, found, wanted)
            raise Incompatible(pinned.name, name, old, new)
    _require_same_fields(pinned.name, found, wanted)


def _require_same_fields(name: str, found: MapShape, wanted: MapShape) -> None:
    for part, old, new in (("key", found.key, wanted.key), ("value", found.value, wanted.value)):
        if old.fields and new.fields:
            differs = difference(old.fields, new.fields)
            if differs:
                path, a, b = differs
                raise Incompatible(name, f"{part}.{path}".rstrip("."), a, b)
