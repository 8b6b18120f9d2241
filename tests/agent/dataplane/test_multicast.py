"""Uplinks accept frames for the solicited-node groups of gateway addresses."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

from agent.dataplane.multicast import reconcile_memberships, solicited_node_mac

FIRST, SECOND, SAME_GROUP = (IPv6Address(x) for x in ("fd00:220::a1:b2c3", "fd00:220::2", "fd00:999::a1:b2c3"))


def joined_by_request() -> set[tuple[str, str]]:
    lines = (x.split() for x in Path("/proc/thread-self/net/dev_mcast").read_text().splitlines())
    return {(name, mac) for _, name, _, by_request, mac in lines if by_request != "0"}


def test_the_group_is_33_33_ff_and_the_last_three_octets() -> None:
    assert solicited_node_mac(FIRST).hex(":") == "33:33:ff:a1:b2:c3"


def test_memberships_follow_addresses_and_uplinks(node) -> None:
    node.add_veth("eth0")
    node.add_veth("eth1")
    memory: frozenset[tuple[str, bytes]] = frozenset()
    for uplinks, addresses, expected in (
        (["eth0"], [FIRST], {("eth0", "3333ffa1b2c3")}),
        (["eth0"], [FIRST, SAME_GROUP], {("eth0", "3333ffa1b2c3")}),
        (["eth0", "eth1"], [SAME_GROUP], {("eth0", "3333ffa1b2c3"), ("eth1", "3333ffa1b2c3")}),
        (["eth1"], [SECOND], {("eth1", "3333ff000002")}),
        (["eth1", "gone"], [SECOND], {("eth1", "3333ff000002")}),
        ([], [SECOND], set()),
    ):
        memory = reconcile_memberships(uplinks, addresses, memory)
        assert joined_by_request() == expected


def test_what_somebody_else_joined_stays(node) -> None:
    node.add_veth("eth0")
    reconcile_memberships(["eth0"], [SECOND], frozenset())
    reconcile_memberships([], [], frozenset())
    assert joined_by_request() == {("eth0", "3333ff000002")}
