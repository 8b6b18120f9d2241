"""Where XDP is put, and what is said where it is not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from agent.dataplane.fib import Route
from agent.dataplane.links import Link
from agent.dataplane.nic import Nic, read_nic
from agent.dataplane.objects import load_xdp
from agent.dataplane.xdp import LARGEST_MTU, XDP_PROGRAM, Accelerator, any_behind, unfit
from agent.settings import Settings, Xdp
from loader import xdp
from loader.objects import Object
from tests.agent.dataplane.conftest import Loaded, Node

LINK = Link(2, "eth0", "", bytes(6), 1500, ethernet=True, master=0, peer_elsewhere=False)
NIC = Nic("virtio_net", gro_hw=True, queues=2, most_queues=4)


def test_a_nic_is_fit() -> None:
    assert unfit(LINK, NIC) == ""
    assert unfit(replace(LINK, mtu=LARGEST_MTU), NIC) == ""
    assert unfit(LINK, replace(NIC, queues=0, most_queues=0)) == ""


@pytest.mark.parametrize(
    ("link", "nic", "said"),
    [
        *((replace(LINK, kind=x), NIC, f"eth0 is a {x} and no NIC") for x in ("veth", "bridge", "bond", "vlan", "tun")),
        (LINK, replace(NIC, driver=""), "does not tell its driver"),
        (LINK, replace(NIC, lro=True), "ethtool -K eth0 lro off"),
        (LINK, replace(NIC, gro_hw_fixed=True), "rx-gro-hw"),
        (replace(LINK, mtu=9000), NIC, "MTU 9000"),
    ],
)
def test_whatever_is_not_says_why(link: Link, nic: Nic, said: str) -> None:
    assert said in unfit(link, nic)


def test_a_vlans_frames_are_not_the_interfaces_own() -> None:
    """A NIC that takes the tags off shows XDP both alike."""
    strips = replace(NIC, strips_tags=True)
    assert unfit(LINK, strips, has_vlans=True).endswith("ethtool -K eth0 rxvlan off")
    assert unfit(LINK, strips) == unfit(LINK, NIC, has_vlans=True) == ""


def route(network: str, interface: int) -> Route:
    x = ip_network(network)
    return Route(x.version, int(x.network_address), x.prefixlen, interface)


UPLINK, POD = 2, 7
ROUTES = (
    route("0.0.0.0/0", UPLINK),
    route("10.0.0.0/16", POD),
    route("10.0.9.0/24", UPLINK),
    route("::/0", UPLINK),
    route("fd00:1::/64", POD),
)


@pytest.mark.parametrize(
    ("backends", "is_behind"),
    [
        ((), False),
        (("10.0.1.1", "fd00:1::9"), False),
        (("10.0.1.1", "192.0.2.1"), True),
        (("10.0.9.1",), True),
        (("fd00:2::1",), True),
    ],
)
def test_the_longest_prefix_leads_to_a_backend(backends: tuple[str, ...], is_behind: bool) -> None:
    assert any_behind({UPLINK}, map(ip_address, backends), ROUTES) == is_behind
    assert not any_behind({99}, map(ip_address, backends), ROUTES)
    assert not any_behind({UPLINK}, map(ip_address, backends), ())


def test_what_the_driver_says_is_read(node: Node) -> None:
    node.add_veth("eth0")
    nic = read_nic("eth0")
    assert (nic.driver, nic.lro) == ("veth", False)
    assert 1 <= nic.queues <= nic.most_queues
    assert read_nic("gone0") == Nic()
    assert nic.strips_tags
    subprocess.run(["ethtool", "-K", "eth0", "rxvlan", "off"], check=True)
    assert not read_nic("eth0").strips_tags


class OnVeth:
    """An accelerator whose uplink is a veth with a router behind it."""

    def __init__(self, node: Node, loaded: Loaded, program: Object) -> None:
        self.node, self.index = node, node.add_veth("eth0", "10.1.0.1/24")
        self.pins = loaded.tables.pins
        self.program = program.program(XDP_PROGRAM)
        self.is_target = False

    def put_on(self, mode: Xdp, *, without: str = "", kind: str = "veth") -> tuple[bool, str, tuple[str, ...]]:
        """Is it on afterwards, what is said of eth0, and the faults."""
        accelerator = Accelerator(mode, None if without else self.program, self.pins, without)
        link = replace(self.node.links()["eth0"], kind=kind)
        found = accelerator.put_on({link.index: link}, [ip_address("10.1.0.9")], [route("10.1.0.0/24", link.index)])
        accelerator.take_off(found.on)
        self.is_target = bool(found.targets)
        (said,) = found.says.values()
        assert bool(found.on) == said.startswith("on")
        assert bool(found.on) == any(x.alive for x in xdp.attachments(self.pins))
        return bool(found.on), said, found.faults


@pytest.fixture
def on_veth(node: Node, settings: Settings, loaded: Loaded) -> Iterator[OnVeth]:
    with load_xdp(settings, 1) as program:
        yield OnVeth(node, loaded, program)


def test_on_a_veth_only_if_it_is_forced(on_veth: OnVeth) -> None:
    assert on_veth.put_on(Xdp.AUTO) == (False, "off: eth0 is a veth and no NIC", ())
    for _ in range(2):
        is_on, said, faults = on_veth.put_on(Xdp.FORCE)
        assert (is_on, faults) == (True, ())
        assert said.startswith("on, veth")
    assert on_veth.put_on(Xdp.OFF) == (False, "off: --xdp off", ())


def test_whether_it_takes_frames_from_others_is_the_drivers_to_say(on_veth: OnVeth) -> None:
    """A veth does while its other end has NAPI: with XDP or with GRO."""
    for gro, is_target in (("off", False), ("on", True), ("off", False)):
        subprocess.run(["ethtool", "-K", "eth0-peer", "gro", gro], check=True)
        is_on, said, faults = on_veth.put_on(Xdp.FORCE)
        assert (is_on, on_veth.is_target, faults) == (True, is_target, ())
        assert ("so they go by TC: ethtool -K IFACE gro on" in said) is not is_target


def test_what_was_forced_and_cannot_be_is_a_fault(on_veth: OnVeth) -> None:
    node = on_veth.node
    (peer,) = node.netlink.link_lookup(ifname="eth0-peer")
    node.netlink.link("set", index=peer, mtu=9000)
    is_on, said, (fault,) = on_veth.put_on(Xdp.FORCE)
    assert not is_on
    assert "the driver refuses: " in said
    assert "MTU 1500" in said
    assert fault == f"--xdp force: it is not on eth0: {said.removeprefix('off: ')}"
    _, said, (fault,) = on_veth.put_on(Xdp.FORCE, without="its program cannot be loaded: no")
    assert said == "off: its program cannot be loaded: no"


def test_not_on_a_bond_where_it_would_do_nothing(on_veth: OnVeth) -> None:
    """Its driver takes the program, and runs it with the member's index: to the program that is no uplink."""
    is_on, said, (fault,) = on_veth.put_on(Xdp.FORCE, kind="bond")
    assert not is_on
    assert said.startswith("off: a bond takes the program, but its members run it")
    assert fault == f"--xdp force: it is not on eth0: {said.removeprefix('off: ')}"


def test_too_few_queues_are_told_in_the_drivers_words(on_veth: OnVeth) -> None:
    subprocess.run(["ethtool", "-L", "eth0-peer", "tx", "2"], check=True)
    is_on, said, (fault,) = on_veth.put_on(Xdp.FORCE)
    assert not is_on
    assert said.startswith(
        "off: the driver refuses: veth: XDP expects number of rx queues not less than peer tx queues"
    )
    assert said.endswith(f"(MTU 1500, veth, 1 of {read_nic('eth0').most_queues} queues)")
    assert fault.startswith("--xdp force: it is not on eth0: the driver refuses: ")


def test_a_strangers_program_is_told_of_and_left_alone(on_veth: OnVeth) -> None:
    on_veth.node.netlink.link("set", index=on_veth.index, xdp_fd=on_veth.program.fd)
    is_on, said, faults = on_veth.put_on(Xdp.FORCE)
    assert not is_on
    assert "another XDP program is on it" in said
    assert len(faults) == 1
    (link,) = on_veth.node.netlink.link("get", index=on_veth.index)
    assert link.get_attr("IFLA_XDP").get_attr("IFLA_XDP_PROG_ID") == on_veth.program.id
