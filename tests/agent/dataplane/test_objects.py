"""Loading, adopting what is pinned, and refusing what is not ours to adopt."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.dataplane.errors import PinsOfAnother
from agent.dataplane.objects import load, max_entries, start_ageing
from agent.dataplane.tables import PROGRAMS, Tables
from agent.settings import Delivery, Settings, TableSizes
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


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"tcp_flows": 2048}, ["v1/tcp_flows4", "max_entries 4096", "wants 6144", "set tcp_flows and half_open"]),
        ({"udp_flows": 2048}, ["v1/udp_flows4", "max_entries 2048", "wants 4096", "set udp_flows"]),
        ({"max_listeners": 9}, ["v1/listeners", "max_entries 8", "wants 9", "set max_listeners"]),
    ],
)
def test_tables_of_another_size_are_named_with_their_setting(
    settings: Settings, sizes: dict[str, int], said: list[str]
) -> None:
    for programs in load(settings, 1):
        programs.close()
    before = pins(settings)
    with pytest.raises(PinsOfAnother) as caught:
        load(replace(settings, tables=replace(settings.tables, **sizes)), 1)
    assert all(x in str(caught.value) for x in [*said, "penstock down"]), str(caught.value)
    assert pins(settings) == before


def test_a_table_of_another_layout_is_named_with_its_field(settings: Settings) -> None:
    for programs in load(settings, 1):
        programs.close()
    place = settings.pin_dir / "v1"
    (place / "listeners").unlink()
    (place / "gateways").rename(place / "listeners")
    with pytest.raises(PinsOfAnother) as caught:
        load(settings, 1)
    assert "v1/listeners is pinned with key" in str(caught.value)
    assert "run the version of Penstock that made it" in str(caught.value)
    assert (place / "listeners").exists()


def test_another_layout_beside_ours_stops_the_start(settings: Settings) -> None:
    (settings.pin_dir / "v2").mkdir(parents=True)
    with pytest.raises(PinsOfAnother, match=r"v2 is pinned by a version of Penstock with another layout"):
        load(settings, 1)
    assert [x.name for x in settings.pin_dir.iterdir()] == ["v2"]


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
