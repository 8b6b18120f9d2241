"""XDP links: in the driver, pinned, replaced in place, handed over; strangers are left alone, who refuses is heard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from loader import xdp
from loader.errors import DriverRefused, HookTaken, InterfaceGone
from loader.objects import Object
from loader.program import Program
from loader.spec import ObjectSpec
from tests.loader.hooks import ADDED, LOOPBACK, add_interface
from tests.loader.objects import FRAMES, compiled

pytestmark = pytest.mark.usefixtures("netlink")

_DRIVER = "xdp"  # as pyroute2 calls XDP_ATTACHED_DRV


@pytest.fixture
def frames(pin_dir: Path) -> Iterator[Object]:
    with Object.load(ObjectSpec(compiled(FRAMES)), pin_dir) as loaded:
        yield loaded


@pytest.fixture
def wire(netlink: IPRoute) -> int:
    add_interface(netlink)
    return ADDED


def running(netlink: IPRoute, ifindex: int) -> tuple[str | None, int]:
    """How a program is attached, and which."""
    (link,) = netlink.link("get", index=ifindex)
    about = link.get_attr("IFLA_XDP")
    return about.get_attr("IFLA_XDP_ATTACHED"), about.get_attr("IFLA_XDP_PROG_ID") or 0


def test_it_is_in_the_driver_and_pinned(frames: Object, netlink: IPRoute, wire: int, pin_dir: Path) -> None:
    program = frames.program("pass_frames")
    xdp.attach(program, wire, pin_dir)
    assert running(netlink, wire) == (_DRIVER, program.id)
    assert os.listdir(pin_dir / "xdp") == [f"pass_frames-{wire}"]
    assert list(xdp.attachments(pin_dir)) == [xdp.XdpAttachment("pass_frames", wire, program.id, alive=True)]


def test_it_outlives_us_and_is_replaced_in_place(frames: Object, netlink: IPRoute, wire: int, pin_dir: Path) -> None:
    xdp.attach(frames.program("pass_frames"), wire, pin_dir)
    later = Program(frames.program("drop_frames").fd, "pass_frames")  # as the next version of it is called
    for program in (later, later):
        xdp.attach(program, wire, pin_dir)
        assert running(netlink, wire) == (_DRIVER, program.id)
    frames.close()
    assert running(netlink, wire)[0] == _DRIVER


def test_it_goes_when_it_is_told_to(frames: Object, netlink: IPRoute, wire: int, pin_dir: Path) -> None:
    xdp.attach(frames.program("pass_frames"), wire, pin_dir)
    (attached,) = xdp.attachments(pin_dir)
    for _ in range(2):
        xdp.detach(attached, pin_dir)
        assert running(netlink, wire) == (None, 0)
    assert list(xdp.attachments(pin_dir)) == []


def test_the_next_set_has_it_without_a_gap(frames: Object, netlink: IPRoute, wire: int, pin_dir: Path) -> None:
    program = frames.program("pass_frames")
    xdp.attach(program, wire, pin_dir)
    later = pin_dir.with_name("v2")
    for _ in range(2):
        xdp.inherit(later, pin_dir)
        assert list(xdp.attachments(pin_dir)) == []
        assert [x.program_id for x in xdp.attachments(later)] == [program.id]
        assert running(netlink, wire) == (_DRIVER, program.id)


@pytest.mark.parametrize("by_link", [True, False])
def test_a_strangers_program_is_left_alone(
    frames: Object, netlink: IPRoute, wire: int, pin_dir: Path, by_link: bool
) -> None:
    stranger = frames.program("drop_frames")
    if by_link:
        xdp.attach(stranger, wire, pin_dir.with_name("strangers"))
    else:
        netlink.link("set", index=wire, xdp_fd=stranger.fd)
    before = running(netlink, wire)
    with pytest.raises(HookTaken, match="another XDP program"):
        xdp.attach(frames.program("pass_frames"), wire, pin_dir)
    assert running(netlink, wire) == before
    assert list(xdp.attachments(pin_dir)) == []


def test_who_refuses_says_why(frames: Object, netlink: IPRoute, wire: int, pin_dir: Path) -> None:
    (peer,) = netlink.link_lookup(ifname="pt-loader1")
    netlink.link("set", index=peer, mtu=9000)
    with pytest.raises(DriverRefused, match="MTU"):
        xdp.attach(frames.program("pass_frames"), wire, pin_dir)
    with pytest.raises(DriverRefused, match=r"native mode|not supported"):
        xdp.attach(frames.program("pass_frames"), LOOPBACK, pin_dir)
    assert running(netlink, wire) == (None, 0)


def test_an_interface_that_is_not_there(frames: Object, pin_dir: Path) -> None:
    with pytest.raises(InterfaceGone):
        xdp.attach(frames.program("pass_frames"), 12345, pin_dir)


def test_a_dead_link_is_listed_and_replaced(frames: Object, netlink: IPRoute, wire: int, pin_dir: Path) -> None:
    program = frames.program("pass_frames")
    xdp.attach(program, wire, pin_dir)
    netlink.link("del", index=wire)
    (dead,) = xdp.attachments(pin_dir)
    assert not dead.alive
    add_interface(netlink)
    xdp.attach(program, wire, pin_dir)
    assert running(netlink, wire) == (_DRIVER, program.id)
    netlink.link("del", index=wire)
    xdp.detach(dead, pin_dir)
    assert os.listdir(pin_dir / "xdp") == []
