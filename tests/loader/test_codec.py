"""Octets <-> values, by type."""

from __future__ import annotations

import struct
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.btf_types import Alias, Array, BtfType, Enum, Int, Member, Other, Pointer, Struct
from loader.codec import compile_codec
from loader.errors import LayoutError

U8, S16, U32, U64 = 1, 2, 3, 4
TYPES: list[BtfType] = [
    Other("void"),
    Int("__u8", 1, False, 8),
    Int("short", 2, True, 16),
    Int("__u32", 4, False, 32),
    Int("__u64", 8, False, 64),
    Array(U8, 4),  # 5
    Array(S16, 3),  # 6
    Enum("state", 4, False, {"UP": 1}),  # 7
    Pointer("p"),  # 8
    Struct("inner", 8, (Member("mac", 5, 0, 0), Member("mtu", S16, 32, 0)), False),  # 9: two octets at its end
    Array(9, 2),  # 10
    Struct("bits", 4, (Member("a", U32, 0, 3),), False),  # 11
    Struct("either", 8, (Member("a", U32, 0, 0), Member("b", U64, 0, 0)), True),  # 12
    Alias("be32", U32),  # 13
    Struct("holey", 16, (Member("a", U8, 0, 0), Member("b", 13, 32, 0), Member("pad", U64, 64, 0)), False),  # 14
    Struct("empty", 8, (Member("pad", U64, 0, 0),), False),  # 15
]

MAC = b"\1\2\3\4"
CASES = {
    "integer": (U32, 7, "=I", (7,)),
    "negative integer": (S16, -7, "=h", (-7,)),
    "octets": (5, MAC, "=4s", (MAC,)),
    "array": (6, [1, -2, 3], "=3h", (1, -2, 3)),
    "enum": (7, 1, "=I", (1,)),
    "pointer": (8, 1 << 40, "=Q", (1 << 40,)),
    "struct with a tail": (9, {"mac": MAC, "mtu": -1}, "=4sh2x", (MAC, -1)),
    "array of structs": (
        10,
        [{"mac": MAC, "mtu": 1}, {"mac": bytes(4), "mtu": 2}],
        "=4sh2x4sh2x",
        (MAC, 1, bytes(4), 2),
    ),
    "bit fields": (11, b"\5\0\0\0", "=4s", (b"\5\0\0\0",)),
    "union": (12, bytes(range(8)), "=8s", (bytes(range(8)),)),
    "typedef": (13, 9, "=I", (9,)),
    "struct with a hole and padding": (14, {"a": 1, "b": 2}, "=B3xI8x", (1, 2)),
    "struct of padding": (15, {}, "=8x", ()),
}


@pytest.mark.parametrize(("type_id", "value", "layout", "parts"), CASES.values(), ids=CASES.keys())
def test_value_and_octets(type_id: int, value: Any, layout: str, parts: tuple[Any, ...]) -> None:
    codec = compile_codec(TYPES, type_id)
    octets = struct.pack(layout, *parts)
    assert codec.size == len(octets)
    assert codec.pack(value) == octets
    assert codec.unpack(octets) == value
    assert codec.pack(codec.zero) == bytes(codec.size)
    assert list(codec.unpack_many((octets + b"\xff\xff") * 2, codec.size + 2)) == [value, value]


WRONG = {
    "too large": (U8, 256),
    "negative": (U32, -1),
    "no number": (U32, "7"),
    "octets too short": (5, b"\1"),
    "octets too long": (5, bytes(16)),
    "array too short": (6, [1]),
    "array too long": (6, [1, 2, 3, 4]),
    "array of structs too long": (10, [{"mac": MAC, "mtu": 1}] * 3),
    "member missing": (9, {"mac": MAC}),
    "member unknown": (9, {"mac": MAC, "mtu": 1, "mut": 1}),
    "no record": (9, 5),
    "wrong inside": (10, [{"mac": MAC, "mtu": 1}, {"mac": MAC}]),
}


@pytest.mark.parametrize(("type_id", "value"), WRONG.values(), ids=WRONG.keys())
def test_a_value_that_does_not_fit_is_refused(type_id: int, value: Any) -> None:
    with pytest.raises(LayoutError):
        compile_codec(TYPES, type_id).pack(value)


def test_octets_of_another_length_are_refused() -> None:
    with pytest.raises(LayoutError):
        compile_codec(TYPES, 9).unpack(bytes(7))


def test_a_type_without_size_is_refused() -> None:
    with pytest.raises(LayoutError):
        compile_codec(TYPES, 0)


def test_padding_may_be_given_and_is_written_as_zero() -> None:
    assert compile_codec(TYPES, 14).pack({"a": 1, "b": 2, "pad": 7})[8:] == bytes(8)


@given(st.binary(min_size=8, max_size=8))
def test_what_was_read_is_written_back_unchanged(octets: bytes) -> None:
    codec = compile_codec(TYPES, 9)
    assert codec.pack(codec.unpack(octets))[:6] == octets[:6]


def test_numbers_are_of_this_machines_byte_order() -> None:
    assert compile_codec(TYPES, U32).pack(1) == (1).to_bytes(4, sys.byteorder)
