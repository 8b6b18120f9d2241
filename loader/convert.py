"""Values written under one layout, made into values of another by the names of their members; many at a time.

Rules: a member of the new layout gets the value of the old member of its name, zero if there was none; what the new
one does not have is dropped. Integers may change their size and sign, arrays their length, as long as the value that is
there fits; members of an enum go by their names, and a number without a name stays what it is. Everything else that
changed its kind is refused, and so is a value that does not fit: Incompatible names the member and both sides.
By numpy's structured types, for a table has millions of values. Pure; must never read the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loader.btf_types import (
    Array,
    BtfType,
    Enum,
    Int,
    Member,
    Pointer,
    Struct,
    is_opaque,
    is_padding,
    resolved,
    size_of,
)
from loader.codec import Codec
from loader.errors import Incompatible
from loader.layout import difference, fields_of

Octets: TypeAlias = NDArray[np.uint8]
"""Of shape (values, octets of one value)."""

_NUMBERS: Final = (1, 2, 4, 8)  # octets of an integer


def converted(values: Octets, old: Codec, new: Codec, name: str, part: str) -> Octets:
    """`values` of `old` as values of `new`. Incompatible, which calls them `part` ("key", "value") of map `name`."""
    if old.size == new.size and difference(old.fields, new.fields) is None:
        return values
    made = np.zeros((len(values), new.size), np.uint8)
    before = np.ascontiguousarray(values).view(dtype_of(old.types, old.type_id) if old.types else f"V{old.size}")[:, 0]
    after = made.view(dtype_of(new.types, new.type_id) if new.types else f"V{new.size}")[:, 0]
    _Conversion(name, old.types, new.types).carry(before, after, old.type_id, new.type_id, part)
    return made


def dtype_of(types: Sequence[BtfType], type_id: int) -> np.dtype[Any]:
    """The type as numpy sees it, its padding left out of the members."""
    found = resolved(types, type_id)
    match found:
        case Int(size=size, signed=signed) | Enum(size=size, signed=signed) if size in _NUMBERS:
            return np.dtype(f"{'i' if signed else 'u'}{size}")
        case Pointer():
            return np.dtype("u8")
        case Array(element=element, length=length):
            return np.dtype((dtype_of(types, element), (length,)))
        case Struct(size=size) if not is_opaque(found):
            members = list(_members(found))
            return np.dtype(
                {
                    "names": [x.name for x in members],
                    "formats": [dtype_of(types, x.type_id) for x in members],
                    "offsets": [x.bit_offset // 8 for x in members],
                    "itemsize": size,
                }
            )
    return np.dtype(f"V{size_of(types, type_id)}")


def _members(found: Struct) -> Iterator[Member]:
    return (x for x in found.members if not is_padding(x))


class _Conversion:
    """Of one map's keys or values; a type is an id in either list of types."""

    def __init__(self, name: str, old: Sequence[BtfType], new: Sequence[BtfType]) -> None:
        self._name = name
        self._old = old
        self._new = new

    def carry(self, before: NDArray[Any], after: NDArray[Any], old: int, new: int, path: str) -> None:
        """Writes `before`, of type `old`, into `after`, of type `new`."""
        a, b = (resolved(types, x) if types else None for types, x in ((self._old, old), (self._new, new)))
        match a, b:
            case Struct(), Struct() if not is_opaque(a) and not is_opaque(b):
                there = {x.name: x for x in _members(a)}
                for x in _members(b):
                    if x.name in there:
                        self.carry(before[x.name], after[x.name], there[x.name].type_id, x.type_id, f"{path}.{x.name}")
            case Array(), Array():
                length = min(a.length, b.length)
                if _octets(before[..., length:]).any():
                    self._refuse(path, f"{a.length} elements, those behind the first {length} not zero", b.length)
                self.carry(before[..., :length], after[..., :length], a.element, b.element, f"{path}[]")
            case (Int() | Enum(), Int() | Enum()) if after.dtype.kind != "V" and before.dtype.kind != "V":
                self._number(before, after, a, b, path)
            case _ if type(a) is type(b) and before.dtype == after.dtype:
                after[...] = before
            case _:
                self._refuse(path, self._described(self._old, old, before), self._described(self._new, new, after))

    def _number(self, before: NDArray[Any], after: NDArray[Any], old: BtfType, new: BtfType, path: str) -> None:
        numbers = before
        if isinstance(old, Enum) and isinstance(new, Enum) and old.values != new.values:
            numbers = self._renumbered(before, old, new, path)
        after[...] = numbers.astype(after.dtype)
        if not (after == numbers).all():
            self._refuse(path, int(numbers[after != numbers].flat[0]), f"a number of {after.dtype.name}")

    def _renumbered(self, before: NDArray[Any], old: Enum, new: Enum, path: str) -> NDArray[Any]:
        names = {number: name for name, number in old.values.items()}
        numbers = before.astype(np.int64)
        for number in np.unique(before).tolist():
            name = names.get(number)
            if name is not None and name not in new.values:
                self._refuse(path, name, f"one of {', '.join(new.values)}")
            numbers[before == number] = number if name is None else new.values[name]
        return numbers

    def _refuse(self, path: str, old: object, new: object) -> NoReturn:
        raise Incompatible(self._name, path, old, new)

    @staticmethod
    def _described(types: Sequence[BtfType], type_id: int, values: NDArray[Any]) -> str:
        fields = fields_of(types, type_id) if types else ()
        return fields[0].kind if len(fields) == 1 and not fields[0].path else f"{values.dtype.itemsize} octets"


def _octets(values: NDArray[Any]) -> Octets:
    return np.frombuffer(values.tobytes(), np.uint8)
