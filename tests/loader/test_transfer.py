"""What one map holds, carried over into another of the kernel's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loader.errors import Incompatible
from loader.maps import Map, possible_cpus
from loader.objects import Object
from loader.spec import ObjectSpec
from loader.transfer import carry_over
from tests.loader.objects import SAMPLE, compiled

CPUS = possible_cpus()


class Two:
    """The sample loaded twice, the second time otherwise."""

    def __init__(self, pin_dir: Path) -> None:
        self._stack = ExitStack()
        self._pin_dir = pin_dir
        self.old = self._stack.enter_context(Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir))

    def new(self, *variant: str, **sizes: int) -> Object:
        spec = ObjectSpec(compiled(SAMPLE, *variant), max_entries=sizes)
        return self._stack.enter_context(Object.load(spec, self._pin_dir.with_name("v2")))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def two(pin_dir: Path) -> Iterator[Two]:
    made = Two(pin_dir)
    yield made
    made.close()


def record(number: int, colour: int = 2, delta: int = 5, **more: Any) -> dict[str, Any]:
    inner = {"mac": b"abcdef", "mtu": 1500}
    return {"count": number, "colour": colour, "delta": delta, "inner": inner, "list": [1, 2, 3], "flag": 1, **more}


def filled(table: Map, numbers: range) -> None:
    table.set_many((x, record(x)) for x in numbers)


@pytest.mark.parametrize(
    ("variant", "changed"),
    [("GROWN", {"extra": 0}), ("RENUMBERED", {"colour": 3}), ("UNSIGNED", {}), ("HASH_TO_LRU", {})],
)
def test_a_hash_of_another_layout(two: Two, variant: str, changed: dict[str, int]) -> None:
    filled(two.old.map("table"), range(3))
    new = two.new(variant).map("table")
    assert carry_over(two.old.map("table"), new) == 3
    assert dict(new.items()) == {x: {**record(x), **changed} for x in range(3)}
    assert len(dict(two.old.map("table").items())) == 3


def test_a_larger_one_and_one_that_is_small_and_large_enough(two: Two) -> None:
    filled(two.old.map("table"), range(2))
    for entries in (1000, 2):
        with Object.load(ObjectSpec(compiled(SAMPLE), max_entries={"table": entries}), Path(two._pin_dir, "v")) as new:
            carry_over(two.old.map("table"), new.map("table"))
            assert sorted(x for x, _ in new.map("table").items()) == [0, 1]
        for pin in Path(two._pin_dir, "v").iterdir():
            pin.unlink()


def test_one_that_is_too_small_is_refused_with_both_figures(two: Two) -> None:
    filled(two.old.map("table"), range(3))
    new = two.new(table=2).map("table")
    with pytest.raises(Incompatible, match="table: max_entries is 4 and holds 3 entries, wanted 2"):
        carry_over(two.old.map("table"), new)


def test_a_value_that_does_not_fit_is_refused_with_its_field(two: Two) -> None:
    two.old.map("table").set(1, record(1, delta=-1))
    with pytest.raises(Incompatible, match=r"table: value\.delta is -1, wanted a number of uint32"):
        carry_over(two.old.map("table"), two.new("UNSIGNED").map("table"))


def test_an_array_goes_by_its_index(two: Two) -> None:
    pairs = {"ends": [{"mac": b"abcdef", "mtu": 1}, {"mac": b"ghijkl", "mtu": 2}]}
    two.old.map("pairs").set(1, pairs)
    new = two.new("RENAMED", pairs=2).map("pairs")
    carry_over(two.old.map("pairs"), new)
    assert new.get(1) == {"ends": [{"mac": b"abcdef", "size": 0}, {"mac": b"ghijkl", "size": 0}]}
    two.old.map("pairs").set(2, pairs)
    with pytest.raises(Incompatible, match="pairs: max_entries is 3 and holds 3 entries, wanted 2"):
        carry_over(two.old.map("pairs"), new)


def test_counters_go_by_their_cpu_and_what_is_behind_the_end_is_left(two: Two) -> None:
    for index in range(2):
        two.old.map("counts").set(index, [10 * index + cpu for cpu in range(CPUS)])
    new = two.new(counts=1).map("counts")
    carry_over(two.old.map("counts"), new)
    assert dict(new.items()) == {0: list(range(CPUS))}


def test_a_queue_cannot_be_carried_over(two: Two) -> None:
    with pytest.raises(Incompatible, match="waiting: type is QUEUE, wanted QUEUE"):
        carry_over(two.old.map("waiting"), two.new(waiting=9).map("waiting"))


def test_a_queue_is_filled_in_order(two: Two) -> None:
    waiting = two.old.map("waiting")
    rows = np.frombuffer(b"firstsixsecond66", np.uint8).reshape(2, 8)
    waiting.push_chunk(rows)
    assert [waiting.pop() for _ in range(3)] == [
        {"mac": b"firsts", "mtu": 30825},
        {"mac": b"second", "mtu": 13878},
        None,
    ]


def test_what_is_new_is_called_for_after_each_part(two: Two) -> None:
    called = []
    filled(two.old.map("table"), range(3))
    carry_over(two.old.map("table"), two.new("GROWN").map("table"), after_each=lambda: called.append(1))
    assert called
