"""A value written under one layout, under another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from loader.btf_types import Array, BtfType, Enum, Int, Member, Other, Pointer, Struct
from loader.codec import Codec, compile_codec, octets_codec
from loader.convert import converted
from loader.errors import Incompatible

U8, S16, U32, U64, S32, MAC, LIST, LONGER, POINTER = range(1, 10)
TYPES: tuple[BtfType, ...] = (
    Other("void"),
    Int("__u8", 1, False, 8),
    Int("short", 2, True, 16),
    Int("__u32", 4, False, 32),
    Int("__u64", 8, False, 64),
    Int("int", 4, True, 32),
    Array(U8, 6),
    Array(U32, 2),
    Array(U32, 3),
    Pointer("p"),
)
LAST = len(TYPES)

Members = Sequence[tuple[str, int, int]]
"""Name, type, offset."""


def struct(size: int, members: Members, *, union: bool = False, more: tuple[BtfType, ...] = ()) -> Codec:
    """A struct of that layout; `more`: types of its own, from LAST on."""
    made = Struct("record", size, tuple(Member(name, kind, 8 * at, 0) for name, kind, at in members), union)
    return compile_codec([*TYPES, *more, made], LAST + len(more))


def inner(*members: str) -> tuple[BtfType, ...]:
    """LAST: a struct of u32s; LAST + 1: two of it."""
    size = 4 * len(members)
    made = Struct("inner", size, tuple(Member(x, U32, 32 * i, 0) for i, x in enumerate(members)), False)
    return made, Array(LAST, 2)


BASE = struct(12, (("a", U32, 0), ("b", S16, 4), ("c", MAC, 6)))
RECORD = {"a": 70_000, "b": -2, "c": b"abcdef"}
UP = struct(4, (("state", LAST, 0),), more=(Enum("state", 4, False, {"UP": 1, "DOWN": 2}),))
SWAPPED = struct(4, (("state", LAST, 0),), more=(Enum("state", 4, False, {"UP": 2, "DOWN": 1}),))
NO_UP = struct(1, (("state", LAST, 0),), more=(Enum("state", 1, False, {"DOWN": 7}),))

CARRIED = {
    "the same": (BASE, BASE, RECORD, RECORD),
    "moved": (BASE, struct(16, (("c", MAC, 0), ("a", U32, 8), ("b", S16, 12))), RECORD, RECORD),
    "added": (BASE, struct(24, (("a", U32, 0), ("new", U64, 8), ("b", S16, 16), ("c", MAC, 18))), RECORD, {"new": 0}),
    "removed": (BASE, struct(4, (("a", U32, 0),)), RECORD, {"a": 70_000}),
    "renamed is another": (BASE, struct(4, (("A", U32, 0),)), RECORD, {"A": 0}),
    "widened": (BASE, struct(8, (("a", U64, 0),)), RECORD, {"a": 70_000}),
    "widened with its sign": (BASE, struct(4, (("b", S32, 0),)), RECORD, {"b": -2}),
    "narrowed, and it fits": (BASE, struct(2, (("a", S16, 0),)), {**RECORD, "a": 7}, {"a": 7}),
    "padding is nobody's": (struct(8, (("a", U32, 0), ("pad", U32, 4))), BASE, {"a": 1}, {"a": 1, "b": 0}),
    "renumbered": (UP, SWAPPED, {"state": 1}, {"state": 2}),
    "renumbered and narrowed": (UP, NO_UP, {"state": 2}, {"state": 7}),
    "a number without a name": (UP, SWAPPED, {"state": 9}, {"state": 9}),
    "a longer array": (
        struct(8, (("l", LIST, 0),)),
        struct(12, (("l", LONGER, 0),)),
        {"l": [1, 2]},
        {"l": [1, 2, 0]},
    ),
    "a shorter array": (
        struct(12, (("l", LONGER, 0),)),
        struct(8, (("l", LIST, 0),)),
        {"l": [1, 2, 0]},
        {"l": [1, 2]},
    ),
    "members of members": (
        struct(16, (("x", LAST + 1, 0),), more=inner("p", "q")),
        struct(24, (("x", LAST + 1, 0),), more=inner("r", "q", "p")),
        {"x": [{"p": 1, "q": 2}, {"p": 3, "q": 4}]},
        {"x": [{"p": 1, "q": 2, "r": 0}, {"p": 3, "q": 4, "r": 0}]},
    ),
    "a union": (
        struct(8, (("u", LAST, 0),), more=(Struct("u", 8, (Member("a", U64, 0, 0),), True),)),
        struct(16, (("n", U64, 0), ("u", LAST, 8)), more=(Struct("u", 8, (Member("a", U64, 0, 0),), True),)),
        {"u": b"12345678"},
        {"n": 0, "u": b"12345678"},
    ),
}

REFUSED: dict[str, tuple[Codec, Codec, Any, str]] = {
    "a number that is too large": (BASE, struct(2, (("a", S16, 0),)), RECORD, "value.a is 70000, wanted a number of"),
    "a sign that is lost": (BASE, struct(4, (("b", U32, 0),)), RECORD, "value.b is -2, wanted a number of uint32"),
    "an enumerator that has gone": (UP, NO_UP, {"state": 1}, "value.state is UP, wanted one of DOWN"),
    "another kind": (BASE, struct(4, (("c", U32, 0),)), RECORD, r"value.c is u8\[6\], wanted u32"),
    "a pointer": (struct(8, (("a", POINTER, 0),)), struct(8, (("a", U64, 0),)), {"a": 1}, "value.a is pointer, wanted"),
    "elements that do not fit": (
        struct(12, (("l", LONGER, 0),)),
        struct(8, (("l", LIST, 0),)),
        {"l": [1, 2, 3]},
        "value.l is 3 elements, those behind the first 2 not zero",
    ),
    "octets without a layout": (octets_codec(12), struct(8, (("a", U64, 0),)), bytes(12), "value is 12 octets"),
}


def many(codec: Codec, *values: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(b"".join(map(codec.pack, values)), np.uint8).reshape(len(values), codec.size)


@pytest.mark.parametrize(("old", "new", "given", "made"), CARRIED.values(), ids=CARRIED)
def test_values_go_by_the_names_of_their_members(old: Codec, new: Codec, given: Any, made: dict[str, Any]) -> None:
    found = converted(many(old, given, old.zero, given), old, new, "table", "value")
    records = list(new.unpack_many(found.tobytes(), new.size))
    assert [{x: record[x] for x in made} for record in records[::2]] == [made, made]
    assert records[1] == new.zero


@pytest.mark.parametrize(("old", "new", "given", "said"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_named(old: Codec, new: Codec, given: Any, said: str) -> None:
    with pytest.raises(Incompatible, match=f"pinned map table: {said}"):
        converted(many(old, given), old, new, "table", "value")
