"""Loading, adopting what is pinned, and refusing what is not ours to adopt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.dataplane.errors import PinsOfAnother
from agent.dataplane.objects import load, start_ageing
from agent.dataplane.sizes import max_entries
from agent.dataplane.tables import PROGRAMS, Tables
from agent.settings import Delivery, Settings, TableSizes
from lab.process import run
from loader.maps import Map, possible_cpus
from loader.objects import Object
from loader.spec import ObjectSpec


def sweeps(tables: Tables) -> int:
    ((_, usage),) = tables.flow_usage.items()
    return usage["last_sweep"]


def wait_for_a_sweep(tables: Tables) -> None:
    before, deadline = sweeps(tables), time.monotonic() + 10
    while sweeps(tables) == before:
        assert time.monotonic() < deadline, "ageing stands still"
        time.sleep(0.02)


def pins(settings: Settings) -> set[str]:
    return {x.name for x in (settings.pin_dir / "v1").iterdir() if x.is_file()}


@pytest.mark.parametrize("delivery", Delivery)
def test_both_objects_load_with_any_settings(settings: Settings, delivery: Delivery) -> None:
    for programs in load(replace(settings, delivery=delivery, reply_rate_limit=0), 1):
        programs.close()
    assert {"tcp_flows4", "listeners", "ageing"} <= pins(settings)


def test_the_default_sizes_are_those_of_the_programs(settings: Settings) -> None:
    with Object.load(ObjectSpec(settings.object_dir / PROGRAMS), settings.pin_dir / "v1") as programs:
        declared = {name: programs.map(name).max_entries for name in max_entries(TableSizes())}
    assert declared == max_entries(TableSizes())


def test_a_second_load_adopts_what_the_tables_hold(settings: Settings) -> None:
    for content in ([], [({"octets": bytes(range(16))}, {"flags": 1})]):
        for programs in load(settings, 1):
            programs.close()
        with Tables.open(settings.pin_dir, settings.object_dir) as tables:
            assert list(tables.gateways.items()) == content
            tables.gateways.set({"octets": bytes(range(16))}, {"flags": 1})


def flow(number: int, *, seen: int, reply: bool = False) -> tuple[dict[str, object], dict[str, object]]:
    """Key and value of a half, as far as they matter here."""
    key = {"saddr": bytes(4), "daddr": bytes(4), "sport": number, "dport": 80, "protocol": 17, "zone": 0}
    return key, {"generation": number, "flags": int(reply), "state": 9, "packets": 7, "seen": seen}


def now() -> int:
    return int(time.clock_gettime(time.CLOCK_MONOTONIC))


def fill(settings: Settings, halves: int, *, seen: int) -> None:
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        table = tables.flows["udp_flows4"]
        made = (flow(1 + x, seen=seen, reply=x % 2 == 0) for x in range(halves))
        table.set_many((key, {**table.value.zero, **value}) for key, value in made)
        tables.gateways.set({"octets": bytes(range(16))}, {"flags": 1})
        tables.verdicts.set(3, [{"hook": 0, "verdict": 3, "packets": 5, "bytes": 6}] * possible_cpus())


def held(settings: Settings) -> dict[str, object]:
    """What `fill` made, as it is in the tables in force."""
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        halves = sorted((k["sport"], v["generation"], v["packets"]) for k, v in tables.flows["udp_flows4"].items())
        return {"halves": halves, "gateways": dict_of(tables.gateways), "verdict": tables.verdicts.get(3)}


def dict_of(table: Map) -> list[object]:
    return list(table.items())


def load_and_close(settings: Settings) -> None:
    for loaded in load(settings, 1):
        loaded.close()


def larger(settings: Settings, **sizes: int) -> Settings:
    return replace(settings, tables=replace(settings.tables, **sizes))


def folders_of(settings: Settings) -> list[str]:
    return sorted(x.name for x in settings.pin_dir.iterdir())


@pytest.mark.parametrize(
    "sizes",
    [{"udp_flows": 2048}, {"tcp_flows": 4096}, {"half_open": 2048}, {"max_gateways": 9}, {"max_pools": 9}],
    ids=str,
)
def test_tables_of_another_size_take_over_what_there_is(settings: Settings, sizes: dict[str, int]) -> None:
    load_and_close(settings)
    fill(settings, 500, seen=now())
    before = held(settings)
    load_and_close(larger(settings, **sizes))
    assert held(settings) == before
    assert folders_of(settings) == ["v2"]
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        wait_for_a_sweep(tables)
    load_and_close(settings)  # and back: they are small enough
    assert held(settings) == before
    assert folders_of(settings) == ["v3"]


def test_every_flow_is_put_where_ageing_finds_it(settings: Settings) -> None:
    load_and_close(settings)
    fill(settings, 500, seen=0)
    programs, ageing = load(larger(settings, udp_flows=2048), 1)
    with programs, ageing, Tables.open(settings.pin_dir, settings.object_dir) as tables:
        deadline = time.monotonic() + 30  # none has had a packet for as long as the machine runs: all requests go
        while any(not x["flags"] & 1 for _, x in tables.flows["udp_flows4"].items()):
            assert time.monotonic() < deadline, "ageing does not know the flows"
            time.sleep(0.05)


@pytest.mark.parametrize("sizes", [{"tcp_flows": 2048}, {"max_listeners": 9}], ids=str)
def test_flows_are_counted_as_they_are_carried_over(settings: Settings, sizes: dict[str, int]) -> None:
    load_and_close(settings)
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        table = tables.flows["tcp_flows4"]
        for number in range(6):
            key, value = flow(number + 1, seen=now(), reply=number % 2 == 1)
            wanted = {**table.value.zero, **value, "state": 5, "counted_at": 2 if number < 4 else 0}
            table.set({**key, "protocol": 6}, wanted)
        tables.listener_connections.set(3, {"open": 9})  # lost count
    load_and_close(larger(settings, **sizes))
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        assert tables.flow_usage.get(0)["tcp4"] == 3
        assert {k: v["open"] for k, v in tables.listener_connections.items() if v["open"]} == {2: 2}


SLOTS, COUNT_BITS = 16, 24  # bpf/abi.h: of a bucket; of a slot


def bucket_of(mark: int, buckets: int) -> int:
    return mark * buckets >> 64 - COUNT_BITS


def count_sources(settings: Settings, slots: dict[int, tuple[int, int]], flows: dict[int, int]) -> None:
    """Puts marks and what they count into slots of source_connections, and flows, by their ports, at the slots."""
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        for slot, (mark, held) in slots.items():
            bucket = tables.source_connections.get(slot // SLOTS)
            assert slot // SLOTS == bucket_of(mark, tables.source_connections.max_entries)
            bucket["slots"][slot % SLOTS] = mark << COUNT_BITS | held
            tables.source_connections.set(slot // SLOTS, bucket)
        for port, slot in flows.items():
            for reply in (False, True):
                key, value = flow(2 * port + reply, seen=now(), reply=reply)
                place = 0 if reply else slot + 1
                table = tables.flows["tcp_flows4" if port % 2 else "tcp_flows6"]
                key = {**key, "protocol": 6, **({} if port % 2 else {"saddr": bytes(16), "daddr": bytes(16)})}
                table.set(key, {**table.value.zero, **value, "state": 5, "packets": 9, "source_place": place})


def sources(settings: Settings) -> tuple[dict[int, int], dict[int, int]]:
    """Connections by mark, and the mark at which each flow is counted, 0: at none."""
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        buckets, held = tables.source_connections.max_entries, dict[int, int]()
        marks = {0: 0}
        for at, bucket in tables.source_connections.items():
            for i, word in enumerate(bucket["slots"]):
                if word:
                    mark = marks[1 + at * SLOTS + i] = word >> COUNT_BITS
                    assert bucket_of(mark, buckets) == at, "where no program looks for it"
                    held[mark] = held.get(mark, 0) + word % (1 << COUNT_BITS)
        found = {
            key["sport"] // 2: marks[value["source_place"]]
            for name in ("tcp_flows4", "tcp_flows6")
            for key, value in tables.flows[name].items()
            if not value["flags"] & 1
        }
        assert all(x["packets"] == 9 for name in ("tcp_flows4", "tcp_flows6") for _, x in tables.flows[name].items())
        return held, found


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"tcp_flows": 3072}), ({"tcp_flows": 3072}, {}), ({}, {"half_open": 2000}), ({}, {"max_listeners": 9})],
    ids=str,
)
def test_sources_are_counted_where_they_are_looked_for(
    settings: Settings, before: dict[str, int], after: dict[str, int]
) -> None:
    load_and_close(larger(settings, **before))
    buckets = max_entries(larger(settings, **before).tables)["source_connections"]
    first, twice, lost = (x << 37 | x for x in (1, 3, 5))
    at = {mark: bucket_of(mark, buckets) * SLOTS for mark in (first, twice, lost)}
    slots = {at[first]: (first, 9), at[twice] + 2: (twice, 1), at[twice] + 7: (twice, 1), at[lost]: (lost, 5)}
    flows = {1: at[first], 2: at[first], 3: at[first], 4: at[twice] + 2, 5: at[twice] + 7}
    count_sources(larger(settings, **before), slots, flows)
    load_and_close(larger(settings, **after))
    assert sources(settings) == ({first: 3, twice: 2}, {1: first, 2: first, 3: first, 4: twice, 5: twice})


def test_a_source_that_finds_no_room_in_another_set_is_not_counted_any_more(settings: Settings) -> None:
    roomy = larger(settings, tcp_flows=3072)
    load_and_close(roomy)
    slots = {x: ((x // SLOTS << 30) + 1 + x, 1) for x in range(17)}
    count_sources(roomy, slots, {1 + x: x for x in slots})
    load_and_close(settings)
    held, found = sources(settings)
    assert (len(held), set(held.values())) == (16, {1})
    assert sorted(found.values()) == [0, *sorted(held)]


def test_there_is_room_for_twice_as_many_sources_as_flows(settings: Settings) -> None:
    load_and_close(settings)
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        room = tables.source_connections.max_entries * len(tables.source_connections.get(0)["slots"])
    assert room == 2 * 2 * (settings.tables.tcp_flows + settings.tables.half_open)


def test_a_set_that_counts_no_sources_has_a_successor_that_does(settings: Settings) -> None:
    load_and_close(settings)
    for name in ("source_connections", "source_seed"):
        (settings.pin_dir / "v1" / name).unlink()
    load_and_close(larger(settings, tcp_flows=2048))
    assert sources(settings) == ({}, {})


def test_places_do_not_change_under_flows_that_stay_in_their_tables(settings: Settings) -> None:
    load_and_close(settings)
    pin = settings.pin_dir / "v1" / "source_connections"
    pin.unlink()
    of = ("type", "array", "key", 4, "value", 8 * SLOTS, "entries", 7, "name", "source_connecti")
    run("bpftool", "map", "create", pin, *of)
    with pytest.raises(PinsOfAnother, match="source_connections cannot be carried over: the number of buckets is 7"):
        load(settings, 1)
    assert folders_of(settings) == ["v1"]


def listen(settings: Settings, pools: int) -> None:
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        for number in range(pools):
            tables.pools.set(number, {"slots": [1] * len(tables.pools.get(0)["slots"])})


def connect(settings: Settings, flows: int) -> None:
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        tables.flow_usage.set(0, {**tables.flow_usage.get(0), "tcp6": flows})


@pytest.mark.parametrize(
    ("before", "use", "after", "says"),
    [
        (
            {"udp_flows": 4096},
            lambda x: fill(x, 3000, seen=now()),
            {"udp_flows": 1024},
            "--udp-flows 1,024 is too small: 1,500 UDP flows of a family are live; say --udp-flows 1,500 or more "
            "(it is 4,096 now)",
        ),
        (
            {"tcp_flows": 4096, "half_open": 4096},
            lambda x: connect(x, 1025),
            {"tcp_flows": 1024, "half_open": 4096},
            "--tcp-flows 1,024 is too small: 1,025 established TCP flows of a family are live",
        ),
        (
            {"max_pools": 8},
            lambda x: listen(x, 5),
            {"max_pools": 4},
            "--max-pools 4 is too small: 5 pools (by their highest number, and one that is none) are live",
        ),
    ],
    ids=["UDP flows", "TCP flows", "pools"],
)
def test_a_size_that_is_too_small_for_what_is_live_is_refused(
    settings: Settings,
    before: dict[str, int],
    use: Callable[[Settings], None],
    after: dict[str, int],
    says: str,
) -> None:
    load_and_close(larger(settings, **before))
    use(larger(settings, **before))
    there = held(settings)
    with pytest.raises(PinsOfAnother) as caught:
        load(larger(settings, **after), 1)
    assert says in str(caught.value)
    assert "penstock down" in str(caught.value)
    assert held(settings) == there
    assert folders_of(settings) == ["v1"]


def test_handshakes_whose_time_is_up_need_no_room(settings: Settings) -> None:
    """A flood leaves a table full of them, for their places are not needed afterwards."""
    load_and_close(larger(settings, half_open=4096))
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        table = tables.flows["half_open4"]
        made = (flow(1 + x, seen=now() if x < 10 else 0, reply=x % 2 == 0) for x in range(3000))
        table.set_many(({**key, "protocol": 6}, {**table.value.zero, **value, "state": 1}) for key, value in made)
    load_and_close(larger(settings, half_open=1024))
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        left = sorted(x["sport"] for x, _ in tables.flows["half_open4"].items())
    assert left == list(range(1, 11))


def test_another_size_is_told_in_one_line(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    load_and_close(settings)
    load_and_close(larger(settings, udp_flows=2048, max_pools=9))
    (line,) = (x.getMessage() for x in caplog.records)
    assert "--udp-flows 1,024 -> 2,048, --max-pools 8 -> 9; open connections are carried over" in line


def test_what_somebody_left_who_died_is_removed(settings: Settings) -> None:
    (settings.pin_dir / "v1").mkdir(parents=True)  # died at his very first start
    load_and_close(settings)
    fill(settings, 10, seen=now())
    before = held(settings)
    with Object.load_after(
        ObjectSpec(settings.object_dir / PROGRAMS, {"set_number": 2}), settings.pin_dir / "v2", settings.pin_dir / "v1"
    ):
        pass  # died before it was in force
    load_and_close(settings)
    assert (held(settings), folders_of(settings)) == (before, ["v1"])
    load_and_close(larger(settings, udp_flows=2048))
    (settings.pin_dir / "v1" / "links").mkdir(parents=True)  # died while he took the old one apart
    load_and_close(larger(settings, udp_flows=2048))
    assert (held(settings), folders_of(settings)) == (before, ["v2"])


def test_ageing_goes_on_without_anybody(settings: Settings) -> None:
    programs, ageing = load(settings, 1)
    start_ageing(ageing)
    start_ageing(ageing)  # the next agent: the timer is there already
    ageing.close()
    programs.close()
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        wait_for_a_sweep(tables)


def test_an_object_file_that_is_missing_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=str(tmp_path / PROGRAMS)):
        load(replace(settings, object_dir=tmp_path), 1)
