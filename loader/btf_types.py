"""The types that BTF describes, as plain values. A `type_id` is an index into the object's list of types; 0 is void."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Int:
    """An integer, bool or char of `size` octets; `bits` is smaller only in old-style bit fields."""

    name: str
    size: int
    signed: bool
    bits: int


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer: eight octets whose value means nothing to user space."""

    name: str


@dataclass(frozen=True, slots=True)
class Array:
    """`length` elements of type `element`."""

    element: int
    length: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct: where it begins, in bits, and its width if it is a bit field (else 0)."""

    name: str
    type_id: int
    bit_offset: int
    bitfield: int


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct or union of `size` octets."""

    name: str
    size: int
    members: tuple[Member, ...]
    union: bool


@dataclass(frozen=True, slots=True)
class Enum:
    """An enum of `size` octets; `values` by name."""

    name: str
    size: int
    signed: bool
    values: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name for `target`: typedef, const, volatile, restrict, or a variable."""

    name: str
    target: int


@dataclass(frozen=True, slots=True)
class SectionVariable:
    """A global variable: its type, its offset in the section and its size, in octets."""

    name: str
    type_id: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Section:
    """A data section of the object: .rodata, .bss, .maps."""

    name: str
    variables: tuple[SectionVariable, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """Anything that no value is made of: void, functions, forward declarations."""

    name: str


BtfType: TypeAlias = Int | Pointer | Array | Struct | Enum | Alias | Section | Other


def resolved(types: Sequence[BtfType], type_id: int) -> BtfType:
    """The type behind all aliases."""
    found = types[type_id]
    while isinstance(found, Alias):
        found = types[found.target]
    return found


def size_of(types: Sequence[BtfType], type_id: int) -> int:
    """Octets of a value of that type; 0 for what has no size."""
    match resolved(types, type_id):
        case Int(size=size) | Struct(size=size) | Enum(size=size):
            return size
        case Pointer():
            return 8
        case Array(element=element, length=length):
            return length * size_of(types, element)
    return 0


def is_opaque(found: Struct) -> bool:
    """Unions and structs with bit fields (struct bpf_timer is one) have no fields for us: they are octets."""
    return found.union or any(x.bitfield for x in found.members)


def is_padding(member: Member) -> bool:
    """Explicit padding, by its name (`pad`, `pad1`, ...): always zero, part of no record."""
    return member.name.rstrip("0123456789_").lstrip("_") == "pad"
