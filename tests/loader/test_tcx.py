"""TCX links: where we stand among others, what is pinned, links whose interface has gone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from lab.unshare import Kind, own
from loader import tcx
from loader.attach import Direction, attachments, detach
from loader.objects import Object
from loader.program import Program
from tests.loader.hooks import ADDED, LOOPBACK, add_interface, counted, send

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS
pytestmark = pytest.mark.usefixtures("netlink")


@pytest.mark.parametrize(("direction", "seen"), [(INGRESS, 5), (EGRESS, 0)])
def test_we_are_first_at_ingress_and_last_at_egress(
    sample: Object, pin_dir: Path, direction: Direction, seen: int
) -> None:
    attached = tcx.attach(sample.program("drop_all"), LOOPBACK, direction, pin_dir)
    tcx.attach(sample.program("count_first"), LOOPBACK, direction, pin_dir)
    send(5)
    assert counted(sample) == [seen, 0]
    detach(attached, pin_dir)
    assert send(5) == 5
    assert counted(sample) == [seen + 5, 0]


@pytest.mark.parametrize("direction", Direction)
def test_of_two_sets_the_later_stands_behind_the_earlier(sample: Object, pin_dir: Path, direction: Direction) -> None:
    later = Program(sample.program("drop_all").fd, "count_first")  # as the next version of it is called
    tcx.attach(sample.program("count_first"), LOOPBACK, direction, pin_dir)
    tcx.attach(later, LOOPBACK, direction, pin_dir.with_name("v2"), behind=pin_dir)
    assert send(5) == 0
    assert counted(sample) == [5, 0]


def test_without_an_earlier_one_it_stands_where_it_always_does(sample: Object, pin_dir: Path) -> None:
    tcx.attach(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir)
    tcx.attach(sample.program("drop_all"), LOOPBACK, INGRESS, pin_dir.with_name("v2"), behind=pin_dir)
    assert send(5) == 0
    assert counted(sample) == [0, 0]


def test_links_are_pinned_by_program_and_interface(sample: Object, pin_dir: Path) -> None:
    tcx.attach(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir)
    tcx.attach(sample.program("count_second"), LOOPBACK, EGRESS, pin_dir)
    assert sorted(os.listdir(pin_dir / "links")) == ["count_first-1", "count_second-1"]


def test_a_dead_link_is_listed_and_can_be_removed(sample: Object, netlink: IPRoute, pin_dir: Path) -> None:
    add_interface(netlink)
    tcx.attach(sample.program("count_first"), ADDED, INGRESS, pin_dir)
    netlink.link("del", index=ADDED)
    (dead,) = attachments(pin_dir)
    assert (dead.ifindex, dead.alive) == (ADDED, False)
    detach(dead, pin_dir)
    assert os.listdir(pin_dir / "links") == []


def test_a_program_that_changes_direction_leaves_the_old_one(sample: Object, pin_dir: Path) -> None:
    tcx.attach(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir)
    tcx.attach(sample.program("count_first"), LOOPBACK, EGRESS, pin_dir)
    assert send(4) == 4
    assert counted(sample) == [4, 0]


def test_whether_a_hook_is_in_this_network_namespace(sample: Object, pin_dir: Path) -> None:
    attached = tcx.attach(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir)
    assert tcx.is_here(attached)
    with own(Kind.NET):
        assert not tcx.is_here(attached)
        assert not tcx.is_here(replace(attached, ifindex=ADDED))
