"""clsact filters: the qdisc that we made goes, what is somebody else's stays."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from loader import clsact
from loader.attach import Direction, attachments, detach
from loader.errors import HookTaken
from loader.objects import Object
from tests.loader.hooks import LOOPBACK, PARENT, counted, place, send

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS


def test_a_qdisc_of_our_own_goes_with_our_last_filter(sample: Object, netlink: IPRoute, pin_dir: Path) -> None:
    made = [clsact.attach(sample.program("count_first"), LOOPBACK, x, pin_dir) for x in Direction]
    detach(made[0], pin_dir)
    assert "clsact" in {x.get("kind") for x in netlink.get_qdiscs(LOOPBACK)}
    detach(made[1], pin_dir)
    assert "clsact" not in {x.get("kind") for x in netlink.get_qdiscs(LOOPBACK)}
    assert os.listdir(pin_dir / "qdiscs") == []


def test_a_qdisc_of_somebody_else_stays(sample: Object, netlink: IPRoute, pin_dir: Path) -> None:
    netlink.tc("add", "clsact", index=LOOPBACK)
    detach(clsact.attach(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir), pin_dir)
    assert "clsact" in {x.get("kind") for x in netlink.get_qdiscs(LOOPBACK)}


def test_a_qdisc_with_a_filter_of_somebody_else_stays(sample: Object, netlink: IPRoute, pin_dir: Path) -> None:
    ours = clsact.attach(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir)
    theirs = {**place(LOOPBACK, EGRESS), "prio": 1, "handle": 1}
    netlink.tc("add-filter", "bpf", fd=sample.program("count_second").fd, name="cni", **theirs, direct_action=True)
    detach(ours, pin_dir)
    assert send(2) == 2
    assert counted(sample) == [0, 2]


def test_a_stranger_under_our_handle_is_left_alone(sample: Object, netlink: IPRoute, pin_dir: Path) -> None:
    netlink.tc("add", "clsact", index=LOOPBACK)
    stranger = {**place(LOOPBACK, INGRESS), "handle": clsact.HANDLE, "direct_action": True}
    netlink.tc("add-filter", "bpf", fd=sample.program("count_second").fd, name="stranger", **stranger)
    with pytest.raises(HookTaken, match="stranger"):
        clsact.attach(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir)
    assert attachments(pin_dir) == ()
    assert send(2) == 2
    assert counted(sample) == [0, 2]


def test_a_filter_of_another_kind_at_our_priority_is_left_alone(
    sample: Object, netlink: IPRoute, pin_dir: Path
) -> None:
    netlink.tc("add", "clsact", index=LOOPBACK)
    netlink.tc("add-filter", "u32", **place(LOOPBACK, INGRESS), target=0x10001, keys=["0x0/0x0+0"])
    with pytest.raises(HookTaken, match="u32"):
        clsact.attach(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir)


def test_an_ingress_qdisc_of_somebody_else_is_left_alone(sample: Object, netlink: IPRoute, pin_dir: Path) -> None:
    netlink.tc("add", "ingress", index=LOOPBACK)
    with pytest.raises(HookTaken, match="ingress qdisc"):
        clsact.attach(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir)


def test_two_sets_are_on_one_hook_until_one_of_them_goes(sample: Object, netlink: IPRoute, pin_dir: Path) -> None:
    first, second = (pin_dir.with_name(x) for x in ("v1", "v2"))
    old = clsact.attach(sample.program("count_first"), LOOPBACK, INGRESS, first)
    clsact.inherit(second, first)
    new = clsact.attach(sample.program("count_second"), LOOPBACK, INGRESS, second)
    assert (attachments(first), attachments(second)) == ((old,), (new,))
    assert send(2) == 2
    both = counted(sample)
    assert both[0] == both[1] > 0
    detach(old, first)
    assert (attachments(first), attachments(second)) == ((), (new,))
    assert set(attachments(first.parent)) == {new}
    detach(new, second)
    assert "clsact" not in {x.get("kind") for x in netlink.get_qdiscs(LOOPBACK)}


def test_of_two_sets_the_later_stands_behind_the_earlier(sample: Object, netlink: IPRoute, pin_dir: Path) -> None:
    """Whichever of the two places the earlier one has."""
    sets = [pin_dir.with_name(f"v{number}") for number in (1, 2, 3)]
    passes, drops = sample.program("count_first"), sample.program("drop_all")
    clsact.attach(passes, LOOPBACK, INGRESS, sets[0])
    for earlier, later in pairwise(sets):
        seen, _ = counted(sample)
        clsact.attach(drops, LOOPBACK, INGRESS, later, behind=earlier)
        assert send(2) == 0
        assert counted(sample)[0] > seen
        (old,) = attachments(earlier)
        detach(old, earlier)
        new = clsact.attach(passes, LOOPBACK, INGRESS, later)
        assert attachments(later) == attachments(pin_dir.parent) == (new,)


def test_without_an_earlier_one_it_stands_where_it_always_does(sample: Object, netlink: IPRoute, pin_dir: Path) -> None:
    clsact.attach(sample.program("count_first"), LOOPBACK, EGRESS, pin_dir)
    clsact.attach(sample.program("drop_all"), LOOPBACK, INGRESS, pin_dir.with_name("v2"), behind=pin_dir)
    (found,) = (x for x in netlink.get_filters(index=LOOPBACK, parent=PARENT[INGRESS]) if x["handle"])
    assert found["info"] >> 16 == clsact.PRIORITY
