"""When a value written under one layout may be read under another."""

from __future__ import annotations

import pytest

from loader.layout import Field, difference

BASE = (Field("a", 0, 4, "u32"), Field("state", 4, 4, "enum state", {"UP": 1, "DOWN": 2}))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (BASE, None),
        ((BASE[0], Field("state", 4, 4, "enum state", {"UP": 1, "DOWN": 2, "LOST": 3})), None),
        ((BASE[0], Field("state", 4, 4, "enum state", {"UP": 1, "DOWN": 3})), ("state", "DOWN = 2", "DOWN = 3")),
        ((Field("b", 0, 4, "u32"), BASE[1]), ("b", "absent", "u32 at 0")),
        ((Field("a", 0, 4, "s32"), BASE[1]), ("a", "u32 at 0", "s32 at 0")),
        ((Field("a", 4, 4, "u32"), BASE[1]), ("a", "u32 at 0", "u32 at 4")),
        (BASE[:1], ("state", "enum state at 4", "absent")),
        ((*BASE, Field("c", 8, 1, "u8")), ("c", "absent", "u8 at 8")),
    ],
    ids=["same", "enumerator added", "renumbered", "renamed", "sign", "moved", "removed", "added"],
)
def test_the_first_difference_is_named(wanted: tuple[Field, ...], found: tuple[str, str, str] | None) -> None:
    assert difference(BASE, wanted) == found
