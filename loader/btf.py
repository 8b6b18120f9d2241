"""BTF, the kernel's own description of types: from an object file, or from a map in the kernel.

Decides: what of BTF this project reads (everything a map or rodata can be made of; function types are skipped over).
Rules: the format is that of Documentation/bpf/btf.rst; types are numbered from 1, 0 is void.
Must never: interpret a value (that is codec.py's), compare layouts (layout.py's).
"""

from __future__ import annotations

import enum
import functools
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from loader.btf_types import Alias, Array, BtfType, Enum, Int, Member, Other, Pointer, Section, SectionVariable, Struct
from loader.codec import Codec, compile_codec
from loader.errors import LayoutError, LoaderError, UnknownName
from loader.libbpf import checked, ffi, info, lib

_MAGIC = 0xEB9F
_HEADER = struct.Struct("=HBBIIIII")
_TYPE = struct.Struct("=III")

Types: TypeAlias = list[BtfType]


class Btf:
    """All types of one object. Codecs and enums are made once, when asked for."""

    def __init__(self, raw: bytes) -> None:
        self.types = _parse(raw)
        self._codecs: dict[int, Codec] = {}

    @classmethod
    def from_object_file(cls, path: Path) -> Btf:
        """The types of a compiled BPF object; needs no privilege. LoaderError if the file has none."""
        btf = lib().btf__parse(os.fsencode(path), ffi.NULL)
        if btf == ffi.NULL:
            raise LoaderError(f"{path} holds no readable BTF: {os.strerror(ffi.errno)}")
        try:
            return cls(raw_data(btf))
        finally:
            lib().btf__free(btf)

    @classmethod
    def from_kernel(cls, btf_id: int) -> Btf:
        """The types that a map or program in the kernel was made with."""
        fd = checked(lib().bpf_btf_get_fd_by_id(btf_id), f"opening BTF {btf_id}")
        try:
            size = info("btf_info", fd).btf_size
            buffer = ffi.new("char[]", size)
            info("btf_info", fd, btf=int(ffi.cast("uint64_t", buffer)), btf_size=size)
            return cls(bytes(ffi.buffer(buffer, size)))
        finally:
            os.close(fd)

    def codec(self, type_id: int) -> Codec:
        """The codec of type `type_id`. LayoutError for a type without a size."""
        if type_id not in self._codecs:
            self._codecs[type_id] = compile_codec(self.types, type_id)
        return self._codecs[type_id]

    def struct(self, name: str) -> Codec:
        """The codec of `struct name`."""
        return self.codec(self._find(name, Struct))

    def enum(self, name: str) -> type[enum.IntEnum]:
        """`enum name` as a Python enum: same names, same numbers."""
        found = self.types[self._find(name, Enum)]
        if not isinstance(found, Enum):
            raise LayoutError(f"{name} is no enum")
        make: Any = enum.IntEnum  # the functional form, which mypy knows only for literals
        made: type[enum.IntEnum] = make(name, dict(found.values))
        return made

    def section(self, name: str) -> Mapping[str, SectionVariable]:
        """The variables of a data section (".rodata"), by name; empty if there is no such section."""
        for found in self.types:
            if isinstance(found, Section) and found.name == name:
                return {x.name: x for x in found.variables}
        return {}

    def _find(self, name: str, kind: type[BtfType]) -> int:
        for number, found in enumerate(self.types):
            if isinstance(found, kind) and found.name == name:
                return number
        raise UnknownName(f"no {kind.__name__.lower()} {name} in the object's types")


@functools.lru_cache(maxsize=64)
def kernel_btf(btf_id: int) -> Btf:
    """`Btf.from_kernel`, remembered: ids are not used again, and all maps of an object share one."""
    return Btf.from_kernel(btf_id)


def raw_data(btf: object) -> bytes:
    """The octets of a `struct btf` of libbpf."""
    size = ffi.new("uint32_t *")
    data = lib().btf__raw_data(btf, size)
    return bytes(ffi.buffer(data, size[0]))


def _parse(raw: bytes) -> Types:
    magic, _version, _flags, header_size, type_off, type_len, str_off, str_len = _HEADER.unpack_from(raw)
    if magic != _MAGIC:
        raise LayoutError("these octets are not BTF of this machine's byte order")
    strings = raw[header_size + str_off : header_size + str_off + str_len]
    reader = _Reader(raw[header_size + type_off : header_size + type_off + type_len], strings)
    types: Types = [Other("void")]
    while reader.more():
        types.append(reader.next_type())
    # A variable's name is in the type that its section refers to, which may come later.
    return [_named(x, types) if isinstance(x, Section) else x for x in types]


def _named(section: Section, types: Types) -> Section:
    variables = []
    for x in section.variables:
        target = types[x.type_id]
        if isinstance(target, Alias):
            variables.append(SectionVariable(target.name, target.target, x.offset, x.size))
    return Section(section.name, tuple(variables))


class _Reader:
    """A cursor over the type section."""

    def __init__(self, data: bytes, strings: bytes) -> None:
        self._data = data
        self._strings = strings
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._data)

    def next_type(self) -> BtfType:  # noqa: PLR0911 - one for each kind
        name_off, information, size = _TYPE.unpack_from(self._data, self._at)
        self._at += _TYPE.size
        name, count, flag = self._text(name_off), information & 0xFFFF, bool(information >> 31)
        match (information >> 24) & 0x1F:
            case 1:
                ((encoding,),) = self._records("I", 1)
                return Int(name, size, bool((encoding >> 24) & 1), encoding & 0xFF)
            case 2:
                return Pointer(name)
            case 3:
                ((element, _index, length),) = self._records("III", 1)
                return Array(element, length)
            case 4 | 5 as kind:
                members = tuple(self._member(x, flag) for x in self._records("III", count))
                return Struct(name, size, members, union=kind == 5)
            case 6:
                form = "Ii" if flag else "II"
                return Enum(name, size, flag, {self._text(n): v for n, v in self._records(form, count)})
            case 8 | 9 | 10 | 11 | 18:  # typedef, volatile, const, restrict, type tag
                return Alias(name, size)
            case 13:
                self._records("II", count)
            case 14:
                self._records("I", 1)
                return Alias(name, size)
            case 15:
                found = self._records("III", count)
                return Section(name, tuple(SectionVariable("", t, off, n) for t, off, n in found))
            case 17:
                self._records("I", 1)
            case 19:
                values = {self._text(n): low | high << 32 for n, low, high in self._records("III", count)}
                return Enum(name, size, flag, {k: _signed64(v) if flag else v for k, v in values.items()})
        return Other(name)  # forward declarations, functions, floats: nothing a map is made of

    def _member(self, record: tuple[int, ...], has_bitfields: bool) -> Member:
        name_off, type_id, offset = record
        bits = offset >> 24 if has_bitfields else 0
        return Member(self._text(name_off), type_id, offset & 0xFFFFFF if has_bitfields else offset, bits)

    def _records(self, form: str, count: int) -> list[tuple[int, ...]]:
        layout = struct.Struct("=" + form)
        end = self._at + count * layout.size
        found: Iterator[tuple[int, ...]] = layout.iter_unpack(self._data[self._at : end])
        self._at = end
        return list(found)

    def _text(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(0, offset)].decode()


def _signed64(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
