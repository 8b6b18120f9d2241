"""Entries of each kind of map, one at a time and many at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loader.errors import EntryExists, LayoutError, LoaderError, MapFull
from loader.maps import Map, MapType, possible_cpus
from loader.objects import Object
from loader.spec import ObjectSpec
from tests.loader.objects import SAMPLE, compiled

INNER = {"mac": b"\2\0\0\0\0\1", "mtu": 1500}


def record(count: int) -> dict[str, Any]:
    return {"count": count, "colour": 2, "delta": -5, "inner": INNER, "list": [1, 2, 3], "flag": 1}


@pytest.fixture
def table(sample: Object) -> Map:
    """A hash with room for four records."""
    return sample.map("table")


@pytest.fixture
def large(pin_dir: Path) -> Any:
    """A hash with room for 20,000 records: more than one batch."""
    with Object.load(ObjectSpec(compiled(SAMPLE), max_entries={"table": 20_000}), pin_dir) as loaded:
        yield loaded.map("table")


def test_an_entry_is_stored_read_and_removed(table: Map) -> None:
    assert table.get(1) is None
    table.set(1, record(10))
    assert table.get(1) == record(10)
    table.set(1, record(11))
    assert dict(table.items()) == {1: record(11)}
    assert table.delete(1) is True
    assert table.delete(1) is False
    assert list(table.items()) == []


def test_create_only_refuses_a_key_that_is_there(table: Map) -> None:
    table.set(1, record(10), create_only=True)
    with pytest.raises(EntryExists):
        table.set(1, record(11), create_only=True)
    assert table.get(1) == record(10)


def test_a_full_map_says_so_and_keeps_what_it_has(table: Map) -> None:
    with pytest.raises(MapFull) as full:
        table.set_many((i, record(i)) for i in range(6))
    assert (full.value.map, full.value.max_entries, full.value.written) == ("table", 4, 4)
    with pytest.raises(MapFull):
        table.set(9, record(9))
    assert sorted(k for k, _ in table.items()) == [0, 1, 2, 3]


def test_many_entries_go_and_come_in_batches(large: Map) -> None:
    wanted = {i: record(i) for i in range(20_000)}
    large.set_many(wanted.items())
    assert dict(large.items()) == wanted
    assert dict(large.raw_items()) == {large.key.pack(k): large.value.pack(v) for k, v in wanted.items()}
    assert large.delete_many(range(10_000, 30_000)) == 10_000
    assert large.delete_many([5, 5, 50_000, 7]) == 2
    assert {k for k, _ in large.items()} == set(range(10_000)) - {5, 7}


def test_of_nothing_nothing_comes(table: Map) -> None:
    table.set_many([])
    assert table.delete_many([]) == 0


def test_an_array_has_all_its_elements_and_no_more(sample: Object) -> None:
    pairs = sample.map("pairs")
    pairs.set(2, {"ends": [INNER, INNER]})
    empty = {"ends": [{"mac": bytes(6), "mtu": 0}] * 2}
    assert list(pairs.items()) == [(0, empty), (1, empty), (2, {"ends": [INNER, INNER]})]
    assert pairs.get(3) is None
    with pytest.raises(MapFull):
        pairs.set(3, empty)


def test_a_per_cpu_map_has_a_value_for_each_cpu(sample: Object) -> None:
    counts = sample.map("counts")
    mine = list(range(possible_cpus()))
    counts.set(1, mine)
    assert counts.get(1) == mine
    assert list(counts.items()) == [(0, [0] * possible_cpus()), (1, mine)]
    counts.set_many([(0, mine), (1, mine)])
    assert dict(counts.items()) == {0: mine, 1: mine}
    with pytest.raises(LoaderError):
        counts.set(1, [1] * (possible_cpus() + 1))


def test_a_queue_is_pushed_and_popped(sample: Object) -> None:
    waiting = sample.map("waiting")
    other = {"mac": bytes(6), "mtu": 9}
    waiting.push(INNER)
    waiting.push(other)
    with pytest.raises(MapFull):
        waiting.push(other)
    assert [waiting.pop(), waiting.pop(), waiting.pop()] == [INNER, other, None]


@pytest.mark.usefixtures("netlink")
def test_a_kind_without_batch_operations_reads_and_writes_the_same(sample: Object) -> None:
    devices = sample.map("devices")
    loopback = (1).to_bytes(4, "little")
    keys = [i.to_bytes(4, "little") for i in range(5)]
    devices.set_many((k, loopback) for k in keys)
    assert dict(devices.items()) == dict.fromkeys(keys, loopback)
    with pytest.raises(MapFull) as full:
        devices.set_many((i.to_bytes(4, "little"), loopback) for i in range(10))
    assert full.value.written == 8
    assert devices.delete_many([*keys[:2], b"none"]) == 2


def test_raw_access_is_by_octets_of_the_maps_sizes(table: Map) -> None:
    key, value = table.key.pack(3), table.value.pack(record(3))
    assert table.get_raw(key) is None
    table.set_raw(key, value)
    assert table.get_raw(key) == value
    for wrong_key, wrong_value in ((b"", value), (key, value[1:])):
        with pytest.raises(LoaderError):
            table.set_raw(wrong_key, wrong_value)
        with pytest.raises(LoaderError):
            table.set_many_raw([(wrong_key, wrong_value)])


def test_a_wrong_value_never_reaches_the_kernel(table: Map) -> None:
    with pytest.raises(LayoutError):
        table.set(1, record(1) | {"unknown": 1})
    assert table.get(1) is None


def test_a_pinned_map_describes_itself(table: Map, pin_dir: Path) -> None:
    table.set(1, record(10))
    with Map.open_pinned(pin_dir / "table") as pinned:
        assert (pinned.name, pinned.type, pinned.max_entries) == ("table", MapType.HASH, 4)
        assert dict(pinned.items()) == {1: record(10)}
        assert pinned.memory_bytes > 4 * pinned.value.size
        assert pinned.value.fields == table.value.fields


def test_a_pin_that_is_not_there_is_named(pin_dir: Path) -> None:
    with pytest.raises(LoaderError, match="nothing_here"):
        Map.open_pinned(pin_dir / "nothing_here")
