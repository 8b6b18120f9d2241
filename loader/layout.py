"""A type flattened into its fields, and the first difference between two such layouts.

Rules: a field is its path, offset, size and kind; enums also carry their numbers, for a renumbered state reads wrong
though its octets fit. A renamed field is a difference: names are what readers go by. New enumerators are none.
Pure; must never read the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from loader.btf_types import Array, BtfType, Enum, Int, Pointer, Struct, is_opaque, resolved, size_of


@dataclass(frozen=True, slots=True)
class Field:
    """One leaf of a layout: `path` such as `nexthop.dmac` ("" for a scalar), `offset` and `size` in octets."""

    path: str
    offset: int
    size: int
    kind: str
    numbers: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind} at {self.offset}"


def fields_of(types: Sequence[BtfType], type_id: int) -> tuple[Field, ...]:
    """The fields of a type, by offset."""
    return tuple(_walk(types, type_id, "", 0))


def difference(pinned: Sequence[Field], wanted: Sequence[Field]) -> tuple[str, str, str] | None:
    """(path, pinned, wanted) of the first field that differs; None if a value of one may be read as the other."""
    old, new = {x.path: x for x in pinned}, {x.path: x for x in wanted}
    for path in [*new, *(x for x in old if x not in new)]:
        a, b = old.get(path), new.get(path)
        if a is None or b is None or (a.offset, a.size, a.kind) != (b.offset, b.size, b.kind):
            return path, str(a or "absent"), str(b or "absent")
        for name in a.numbers.keys() & b.numbers.keys():
            if a.numbers[name] != b.numbers[name]:
                return path, f"{name} = {a.numbers[name]}", f"{name} = {b.numbers[name]}"
    return None


def _walk(types: Sequence[BtfType], type_id: int, path: str, at: int) -> Iterator[Field]:
    found = resolved(types, type_id)
    match found:
        case Int(size=size, signed=signed):
            yield Field(path, at, size, f"{'s' if signed else 'u'}{8 * size}")
        case Enum(size=size, values=values):
            yield Field(path, at, size, f"enum {found.name}", values)
        case Pointer():
            yield Field(path, at, 8, "pointer")
        case Array(element=element, length=length):
            size = size_of(types, element)
            # Of an array of structs: path[].member, at its place in the first; the count is part of the kind.
            of_structs = isinstance(resolved(types, element), Struct)
            for x in _walk(types, element, f"{path}[]" if of_structs else path, 0):
                yield Field(x.path, at + x.offset, length * size, f"{x.kind}[{length}]", x.numbers)
        case Struct(members=members) if not is_opaque(found):
            for m in members:
                yield from _walk(types, m.type_id, f"{path}.{m.name}".lstrip("."), at + m.bit_offset // 8)
        case _:
            yield Field(path, at, size_of(types, type_id), f"octets of {getattr(found, 'name', 'unknown')}")
