"""Octets of a map <-> Python values, by BTF. Compiled once per type into a struct format and two generated functions.

Decides what each C type is in Python: integers, enums and pointers are int; an array of one-octet elements is bytes;
any other array a list; a struct a dict by member name; a union, or a struct with bit fields, bytes.
Rules: padding (members named pad*) is written as zero and left out of records; every other member must be given, and no
unknown one, with exactly the length of its array: a wrong record is a LayoutError, never a silent zero.
Functions are generated because a walk of the layout for each of 100,000 flows would take several times as long.
Must never: read the kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from loader.btf_types import Array, BtfType, Enum, Int, Pointer, Struct, is_opaque, is_padding, resolved, size_of
from loader.errors import LayoutError
from loader.layout import fields_of

Value: TypeAlias = Any
"""int, bytes, list or dict: see the rules above."""

_LETTERS = {1: "b", 2: "h", 4: "i", 8: "q"}


class Codec:
    """Packs and unpacks values of one type.

    `size`: octets. `fields`: the layout, flat. `zero`: a value of all zeros. `types`, `type_id`: where the type is
    described; no types for octets.
    """

    __slots__ = ("_build", "_layout", "_pack", "_strided", "fields", "name", "size", "type_id", "types")

    def __init__(
        self,
        name: str,
        layout: str,
        build: Callable[[Sequence[Any]], Value],
        pack: Callable[[Value], tuple[Any, ...]],
        *,
        types: Sequence[BtfType] = (),
        type_id: int = 0,
    ) -> None:
        self.name = name
        self.fields = fields_of(types, type_id) if types else ()
        self.types = types
        self.type_id = type_id
        self._layout = struct.Struct(layout)
        self._build = build
        self._pack = pack
        self._strided: dict[int, struct.Struct] = {}
        self.size = self._layout.size

    @property
    def zero(self) -> Value:
        """The value whose octets are all zero."""
        return self.unpack(bytes(self.size))

    def pack(self, value: Value) -> bytes:
        """`size` octets. LayoutError names what does not fit."""
        try:
            return self._layout.pack(*self._pack(value))
        except (struct.error, TypeError, KeyError, AttributeError) as error:
            raise LayoutError(f"{self.name}: {error!r} in {value!r:.200}") from error

    def unpack(self, octets: bytes | bytearray | memoryview) -> Value:
        """The value in exactly `size` octets."""
        try:
            return self._build(self._layout.unpack(octets))
        except struct.error as error:
            raise LayoutError(f"{self.name}: {error}") from error

    def unpack_many(self, octets: bytes | bytearray | memoryview, stride: int) -> Iterator[Value]:
        """The values of an array whose elements are `stride` octets apart, `stride` >= `size`."""
        layout = self._strided.get(stride)
        if layout is None:
            layout = self._strided[stride] = struct.Struct(f"{self._layout.format}{stride - self.size}x")
        return map(self._build, layout.iter_unpack(octets))


def octets_codec(size: int) -> Codec:
    """For keys and values without BTF: bytes of that length."""
    return Codec(f"octets[{size}]", f"={size}s", lambda x: x[0], lambda x: (_octets(x, size),))


def compile_codec(types: Sequence[BtfType], type_id: int) -> Codec:
    """The codec of a type. LayoutError if it has no size."""
    if not size_of(types, type_id):
        raise LayoutError(f"type {type_id} has no size")
    source = _Source(types)
    build = source.value(type_id, "value")
    name = getattr(resolved(types, type_id), "name", "") or "value"
    code = "\n".join(
        [
            "def build(v):",
            f"    return {build}",
            "def pack(value):",
            *(f"    {line}" for line in source.lines),
            f"    return ({', '.join(source.packed)}{',' if source.packed else ''})",
        ]
    )
    scope: dict[str, Any] = {"octets": _octets, "items": _items, "record": _record, **source.constants}
    exec(compile(code, f"<codec of {name}>", "exec"), scope)  # names in it are C identifiers, quoted
    return Codec(name, "=" + "".join(source.formats), scope["build"], scope["pack"], types=types, type_id=type_id)


class _Source:
    """What is generated for one type: struct format, statements that check, expressions that pack."""

    def __init__(self, types: Sequence[BtfType]) -> None:
        self._types = types
        self._index = 0
        self.formats: list[str] = []
        self.lines: list[str] = []
        self.packed: list[str] = []
        self.constants: dict[str, frozenset[str]] = {}

    def value(self, type_id: int, given: str) -> str:
        """Adds a value of that type, which `pack` finds in expression `given`. Returns what builds it from `v`."""
        found = resolved(self._types, type_id)
        match found:
            case Int(size=size, signed=signed) | Enum(size=size, signed=signed) if size in _LETTERS:
                letter = _LETTERS[size]
                return self._one(letter if signed else letter.upper(), given)
            case Pointer():
                return self._one("Q", given)
            case Array():
                return self._array(found, given)
            case Struct() if not is_opaque(found):
                return self._struct(found, given)
        return self._octets(size_of(self._types, type_id), given)

    def _one(self, form: str, packed: str) -> str:
        self.formats.append(form)
        self.packed.append(packed)
        self._index += 1
        return f"v[{self._index - 1}]"

    def _octets(self, size: int, given: str) -> str:
        return self._one(f"{size}s", f"octets({given}, {size})")

    def _array(self, found: Array, given: str) -> str:
        element = resolved(self._types, found.element)
        match element:
            case Int(size=1):
                return self._octets(found.length, given)
            case Int(size=size, signed=signed) | Enum(size=size, signed=signed) if size in _LETTERS:
                letter = _LETTERS[size] if signed else _LETTERS[size].upper()
                self.formats.append(f"{found.length}{letter}")
                self.packed.append(f"*items({given}, {found.length})")
                self._index += found.length
                return f"list(v[{self._index - found.length}:{self._index}])"
        name = self._local(f"items({given}, {found.length})")
        return f"[{', '.join(self.value(found.element, f'{name}[{i}]') for i in range(found.length))}]"

    def _struct(self, found: Struct, given: str) -> str:
        records = [x for x in found.members if not is_padding(x)]
        known = f"known{len(self.constants)}"
        self.constants[known] = frozenset(x.name for x in records)
        name = self._local(f"record({given}, {known})")
        built, at = [], 0
        for x in records:
            offset = x.bit_offset // 8
            self._pad(offset - at)
            built.append(f"{x.name!r}: {self.value(x.type_id, f'{name}[{x.name!r}]')}")
            at = offset + size_of(self._types, x.type_id)
        self._pad(found.size - at)
        return f"{{{', '.join(built)}}}"

    def _local(self, expression: str) -> str:
        name = f"x{len(self.lines)}"
        self.lines.append(f"{name} = {expression}")
        return name

    def _pad(self, octets: int) -> None:
        if octets:
            self.formats.append(f"{octets}x")


def _octets(given: Any, size: int) -> bytes:
    octets = bytes(memoryview(given))
    if len(octets) != size:
        raise TypeError(f"{len(octets)} octets where {size} are needed")
    return octets


def _items(given: Sequence[Any], length: int) -> Sequence[Any]:
    if len(given) != length:
        raise TypeError(f"{len(given)} elements where {length} are needed")
    return given


def _record(given: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    if given.keys() != known:
        unknown = sorted(x for x in given.keys() - known if not x.startswith("pad"))
        missing = sorted(known - given.keys())
        if unknown or missing:
            raise TypeError(f"missing members {missing}, unknown members {unknown}")
    return given
