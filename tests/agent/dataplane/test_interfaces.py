"""Interfaces come, go and change; hooks, the table of interfaces, routes and memberships follow."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.dataplane import Dataplane, View
from agent.dataplane.errors import NodeUnfit
from agent.dataplane.tables import Tables
from agent.settings import Delivery, Settings
from loader import tcx
from loader.attach import Direction, attachments, detach

from .images import BACKEND, BACKEND6, GATEWAY, GATEWAY6, backend, make_image, pool

IMAGE = make_image(gateways={GATEWAY: 0, GATEWAY6: 0})
UPLINK, LOCAL, POD = 1, 2, 3


@pytest.fixture
def eth0(node) -> int:
    """The uplink, with a default route."""
    index = node.add_veth("eth0", "10.220.0.1/24", "fd00:220::1/64")
    node.netlink.route("add", dst="0.0.0.0/0", gateway="10.220.0.2")
    return index


@pytest.fixture
def dataplane(eth0: int, settings: Settings) -> Iterator[Dataplane]:
    with Dataplane.open(settings) as opened:
        yield opened


def hooks(settings: Settings) -> set[tuple[str, int]]:
    return {(x.program, x.ifindex) for x in attachments(settings.pin_dir / "v1")}


def entries(settings: Settings) -> dict[int, tuple[int, bytes]]:
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        return {index: (x["role"], x["mac"]) for index, x in tables.interfaces.items()}


def uplink_hooks(*indexes: int) -> set[tuple[str, int]]:
    return {(program, x) for program in ("uplink_egress", "uplink_ingress") for x in indexes}


def idle_program() -> int:
    """The fd of a new program that passes every packet: r0 = 0; exit."""
    code = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
    fd = ctypes.CDLL("libbpf.so.1").bpf_prog_load(3, b"stranger", b"GPL", code, 2, None)  # BPF_PROG_TYPE_SCHED_CLS
    assert fd >= 0, fd
    return int(fd)


def joined() -> set[tuple[str, str]]:
    """Multicast MACs that somebody asked an interface to accept."""
    lines = (x.split() for x in Path("/proc/thread-self/net/dev_mcast").read_text().splitlines())
    return {(name, mac) for _, name, _, by_request, mac in lines if by_request != "0"}


def test_a_node_is_wired(dataplane: Dataplane, node, settings: Settings, eth0: int) -> None:
    wiring = dataplane.reconcile_interfaces(IMAGE)
    links = node.links()
    own = links["penstock0"]
    assert (wiring.uplinks, wiring.pods, wiring.notes) == (("eth0",), (), ())
    assert hooks(settings) == uplink_hooks(eth0) | {("local_egress", own.index)}
    assert entries(settings) == {eth0: (UPLINK, links["eth0"].mac), own.index: (LOCAL, own.mac)}
    assert joined() == {("eth0", "3333ff000099")}


def test_a_pass_that_finds_nothing_new_is_silent(dataplane: Dataplane, settings: Settings) -> None:
    first = dataplane.reconcile_interfaces(IMAGE)
    attached = attachments(settings.pin_dir / "v1")
    while dataplane.watch.changed():
        pass
    assert dataplane.reconcile_interfaces(IMAGE) == first
    assert not dataplane.watch.changed()
    assert attachments(settings.pin_dir / "v1") == attached


def test_an_uplink_vanishes_and_comes_back(dataplane: Dataplane, node, settings: Settings, eth0: int) -> None:
    dataplane.reconcile_interfaces(IMAGE)
    node.netlink.link("del", index=eth0)
    wiring = dataplane.reconcile_interfaces(IMAGE)
    assert wiring.uplinks == ()
    assert wiring.notes == ("uplink eth0 does not exist (yet)",)
    assert eth0 not in entries(settings)
    assert uplink_hooks(eth0).isdisjoint(hooks(settings))
    back = node.add_veth("eth0")
    assert dataplane.reconcile_interfaces(IMAGE).uplinks == ("eth0",)
    assert uplink_hooks(back) <= hooks(settings)
    assert entries(settings)[back][0] == UPLINK


def test_a_new_mac_is_told_to_the_programs(dataplane: Dataplane, node, settings: Settings, eth0: int) -> None:
    dataplane.reconcile_interfaces(IMAGE)
    node.netlink.link("set", index=eth0, address="02:00:00:00:00:07")
    dataplane.reconcile_interfaces(IMAGE)
    assert entries(settings)[eth0] == (UPLINK, bytes.fromhex("020000000007"))


def test_a_hook_that_somebody_took_off_is_put_on_again(dataplane: Dataplane, settings: Settings, eth0: int) -> None:
    dataplane.reconcile_interfaces(IMAGE)
    pins = settings.pin_dir / "v1"
    detach(next(x for x in attachments(pins) if x.program == "uplink_ingress"), pins)
    assert ("uplink_ingress", eth0) not in hooks(settings)
    wiring = dataplane.reconcile_interfaces(IMAGE)
    assert ("uplink_ingress", eth0) in hooks(settings)
    assert (wiring.faults, wiring.notes) == ((), ("uplink_ingress had gone from eth0 and was put back",))
    assert dataplane.reconcile_interfaces(IMAGE).notes == ()


def test_an_entry_that_somebody_removed_is_put_back(dataplane: Dataplane, settings: Settings, eth0: int) -> None:
    dataplane.reconcile_interfaces(IMAGE)
    before = entries(settings)
    with Tables.open(settings.pin_dir, settings.object_dir) as tables:
        assert tables.interfaces.delete(eth0)
    assert dataplane.reconcile_interfaces(IMAGE).faults == ()
    assert entries(settings) == before


def test_a_hook_that_cannot_be_put_on_is_a_fault_until_it_can(
    dataplane: Dataplane, settings: Settings, eth0: int
) -> None:
    """A hook has place for 63 programs (BPF_MPROG_MAX - 1), and strangers have them all."""
    pins = settings.pin_dir / "v1"
    dataplane.reconcile_interfaces(IMAGE)
    detach(next(x for x in attachments(pins) if x.program == "uplink_egress"), pins)
    with contextlib.ExitStack() as strangers:
        for _ in range(63):
            program = strangers.enter_context(os.fdopen(idle_program(), "rb"))
            strangers.callback(os.close, tcx.create(program.fileno(), eth0, Direction.EGRESS))
        wiring = dataplane.reconcile_interfaces(IMAGE)
        assert wiring.faults == ("uplink_egress is not hooked to eth0",)
        assert wiring.notes[0].startswith("eth0 is not (fully) hooked: ")
    assert dataplane.reconcile_interfaces(IMAGE).faults == ()
    assert uplink_hooks(eth0) <= hooks(settings)


def test_our_own_interface_comes_back_under_its_index(dataplane: Dataplane, node, settings: Settings) -> None:
    dataplane.reconcile_interfaces(IMAGE)
    lost = node.links()["penstock0"]
    node.netlink.link("del", index=lost.index)
    dataplane.reconcile_interfaces(IMAGE)
    found = node.links()["penstock0"]
    assert found.index == lost.index
    assert ("local_egress", found.index) in hooks(settings)
    assert entries(settings)[found.index] == (LOCAL, found.mac)
    assert len(list(node.netlink.route("dump", oif=found.index, proto=112))) == 2


def test_an_index_that_is_lost_asks_for_a_restart(dataplane: Dataplane, node) -> None:
    lost = node.links()["penstock0"].index
    node.netlink.link("del", index=lost)
    node.netlink.link("add", ifname="thief", kind="veth", peer={"ifname": "thief-peer"}, index=lost)
    with pytest.raises(NodeUnfit, match="restart the agent"):
        dataplane.reconcile_interfaces(IMAGE)


def test_gateways_that_go_take_their_routes_and_groups_along(dataplane: Dataplane, node) -> None:
    dataplane.reconcile_interfaces(IMAGE)
    dataplane.reconcile_interfaces(make_image(gateways={}, ports=()))
    own = node.links()["penstock0"].index
    assert list(node.netlink.route("dump", oif=own, proto=112)) == []
    assert joined() == set()


def test_the_nodes_own_address_is_not_routed(dataplane: Dataplane, node) -> None:
    address = next(x for x in dataplane.node_addresses() if str(x) == "10.220.0.1")
    dataplane.reconcile_interfaces(make_image(gateways={address: 1}, ports=()))
    own = node.links()["penstock0"].index
    assert list(node.netlink.route("dump", oif=own, proto=112)) == []


def test_another_agent_with_other_uplinks(eth0: int, node, settings: Settings) -> None:
    eth1 = node.add_veth("eth1")
    for names, hooked in ((("eth0",), [eth0]), (("eth1", "eth0"), [eth0, eth1]), (("eth1",), [eth1])):
        with Dataplane.open(replace(settings, uplinks=names)) as opened:
            opened.reconcile_interfaces(IMAGE)
        own = node.links()["penstock0"].index
        assert hooks(settings) == uplink_hooks(*hooked) | {("local_egress", own)}
        assert set(entries(settings)) == {*hooked, own}


def test_an_automatic_uplink_keeps_its_hooks_when_the_default_route_moves(eth0: int, node, settings: Settings) -> None:
    eth1 = node.add_veth("eth1", "10.221.0.1/24")
    settings = replace(settings, uplinks=("auto",))
    with Dataplane.open(settings) as opened:
        assert opened.reconcile_interfaces(IMAGE).uplinks == ("eth0",)
        node.netlink.route("del", dst="0.0.0.0/0", gateway="10.220.0.2")
        assert opened.reconcile_interfaces(IMAGE).uplinks == ("eth0",)
        node.netlink.route("add", dst="0.0.0.0/0", gateway="10.221.0.2")
        assert opened.reconcile_interfaces(IMAGE).uplinks == ("eth0", "eth1")
    with Dataplane.open(settings) as opened:
        assert opened.reconcile_interfaces(IMAGE).uplinks == ("eth0", "eth1")
        assert uplink_hooks(eth0, eth1) <= hooks(settings)


class TestPods:
    """Interfaces of pods, in redirect delivery."""

    @pytest.fixture
    def pod(self, node, elsewhere: int) -> int:
        index = node.add_veth("pod1", peer_namespace=elsewhere)
        node.netlink.route("add", dst=f"{BACKEND}/32", oif=index, scope=253)
        return index

    def image(self, **states: object):
        return make_image(backends={2: backend(**states)})

    def test_a_pod_is_hooked_while_a_backend_is_there(self, eth0: int, pod: int, settings: Settings) -> None:
        with Dataplane.open(replace(settings, delivery=Delivery.REDIRECT)) as opened:
            assert opened.reconcile_interfaces(self.image()).pods == ("pod1",)
            assert ("pod_ingress", pod) in hooks(settings)
            assert entries(settings)[pod][0] == POD
            assert opened.reconcile_interfaces(make_image(pools={1: pool(1)}, backends={})).pods == ()
            assert ("pod_ingress", pod) not in hooks(settings)
            assert pod not in entries(settings)

    def test_a_backend_that_takes_no_new_flows_keeps_the_hook(self, eth0: int, pod: int, settings: Settings) -> None:
        with Dataplane.open(replace(settings, delivery=Delivery.REDIRECT)) as opened:
            for state, hooked in ((1, True), (2, True), (3, True), (4, True), (0, False)):
                opened.reconcile_interfaces(self.image(state=state))
                assert (pod in entries(settings)) is hooked, state

    def test_a_pod_over_ipv6(self, eth0: int, node, pod: int, settings: Settings) -> None:
        node.netlink.route("add", dst=f"{BACKEND6}/128", oif=pod)
        with Dataplane.open(replace(settings, delivery=Delivery.REDIRECT)) as opened:
            assert opened.reconcile_interfaces(self.image(address=BACKEND6)).pods == ("pod1",)

    def test_a_pod_that_vanishes_is_swept_up(self, eth0: int, node, pod: int, settings: Settings) -> None:
        with Dataplane.open(replace(settings, delivery=Delivery.REDIRECT)) as opened:
            opened.reconcile_interfaces(self.image())
            node.netlink.link("del", index=pod)
            assert opened.reconcile_interfaces(self.image()).pods == ()
            assert pod not in entries(settings)
            assert ("pod_ingress", pod) not in hooks(settings)

    def test_stack_delivery_takes_the_hooks_off_again(self, eth0: int, pod: int, settings: Settings) -> None:
        for delivery, hooked in ((Delivery.REDIRECT, True), (Delivery.STACK, False)):
            with Dataplane.open(replace(settings, delivery=delivery)) as opened:
                opened.reconcile_interfaces(self.image())
                assert (("pod_ingress", pod) in hooks(settings)) is hooked
                assert (pod in entries(settings)) is hooked


def test_without_ipv6_its_gateways_are_skipped_and_said(eth0: int, node, settings: Settings) -> None:
    node.sysctl("ipv6/conf/all/disable_ipv6", 1)
    with Dataplane.open(settings) as opened:
        admitted = opened.admit(IMAGE, opened.held())
        opened.apply(admitted.image)
        wiring = opened.reconcile_interfaces(admitted.image)
        assert {x.address for x in opened.held().listeners} == {GATEWAY}
    assert admitted.refused.gateways == {GATEWAY6: "IPv6 is disabled on this node"}
    assert wiring.notes == ("IPv6 is disabled on this node: IPv6 gateway addresses are skipped",)


def test_looking_needs_no_agent_and_no_lock(dataplane: Dataplane, settings: Settings) -> None:
    with View.open(settings.pin_dir, settings.run_dir, settings.object_dir) as view:
        assert list(view.flows()) == []
        assert {x.name for x in view.usage()} >= {"tcp_flows4", "udp_flows6", "listeners", "backends"}
