"""Programs on interfaces: attached, replaced in place, listed, adopted, detached; by both mechanisms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from loader import clsact, tcx
from loader.attach import Attachment, Direction, Mechanism, attach, attachments, detach
from loader.errors import InterfaceGone, NoBpffs
from loader.objects import Object
from loader.spec import ObjectSpec
from tests.loader.hooks import ADDED, HAS_TCX, LOOPBACK, add_interface, counted, send
from tests.loader.objects import SAMPLE, compiled

INGRESS, EGRESS = Direction.INGRESS, Direction.EGRESS

Attach = Callable[..., Attachment]
BY = [x for x in (tcx.attach, clsact.attach) if x is clsact.attach or HAS_TCX]
both = pytest.mark.parametrize("attach_by", BY, ids=[x.__module__ for x in BY])
pytestmark = pytest.mark.usefixtures("netlink")


@both
@pytest.mark.parametrize("direction", Direction)
def test_an_attached_program_sees_the_packets_of_its_direction(
    sample: Object, pin_dir: Path, attach_by: Attach, direction: Direction
) -> None:
    attached = attach_by(sample.program("count_first"), LOOPBACK, direction, pin_dir)
    assert attached.direction is direction
    assert attached.program_id == sample.program("count_first").id
    assert attachments(pin_dir) == (attached,)
    assert send(10) == 10
    assert counted(sample) == [10, 0]
    detach(attached, pin_dir)
    assert attachments(pin_dir) == ()
    assert send(10) == 10
    assert counted(sample) == [10, 0]


@both
def test_attaching_again_replaces_the_program_in_place(sample: Object, pin_dir: Path, attach_by: Attach) -> None:
    attach_by(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir)
    with Object.load(ObjectSpec(compiled(SAMPLE, "MORE_COLOURS")), pin_dir) as newer:
        replaced = attach_by(newer.program("count_first"), LOOPBACK, INGRESS, pin_dir)
        assert replaced.program_id == newer.program("count_first").id != sample.program("count_first").id
        assert attachments(pin_dir) == (replaced,)
    assert send(10) == 10
    assert counted(sample) == [10, 0]


@both
def test_what_is_attached_outlives_who_attached_it(pin_dir: Path, attach_by: Attach) -> None:
    with Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir) as first:
        attach_by(first.program("drop_all"), LOOPBACK, INGRESS, pin_dir)
    assert send(3) == 0


@both
def test_detaching_twice_is_no_error(sample: Object, pin_dir: Path, attach_by: Attach) -> None:
    attached = attach_by(sample.program("count_first"), LOOPBACK, EGRESS, pin_dir)
    detach(attached, pin_dir)
    detach(attached, pin_dir)


@both
def test_an_interface_that_is_not_there_is_said_to_be_gone(sample: Object, pin_dir: Path, attach_by: Attach) -> None:
    with pytest.raises(InterfaceGone):
        attach_by(sample.program("count_first"), 4711, INGRESS, pin_dir)
    assert attachments(pin_dir) == ()


@both
def test_pins_need_a_bpffs(sample: Object, tmp_path: Path, attach_by: Attach) -> None:
    with pytest.raises(NoBpffs):
        attach_by(sample.program("count_first"), LOOPBACK, INGRESS, tmp_path / "v1")


@both
def test_an_interface_that_went_and_came_back_is_attached_again(
    sample: Object, netlink: IPRoute, pin_dir: Path, attach_by: Attach
) -> None:
    add_interface(netlink)
    attached = attach_by(sample.program("count_first"), ADDED, EGRESS, pin_dir)
    netlink.link("del", index=ADDED)
    assert [x for x in attachments(pin_dir) if x.alive] == []
    add_interface(netlink)
    attach_by(sample.program("count_first"), ADDED, EGRESS, pin_dir)
    assert attachments(pin_dir) == (attached,)


def test_the_mechanism_is_tcx_where_the_kernel_has_it(sample: Object, pin_dir: Path) -> None:
    attached = attach(sample.program("count_first"), LOOPBACK, INGRESS, pin_dir)
    assert attached.mechanism is (Mechanism.TCX if HAS_TCX else Mechanism.CLSACT)
