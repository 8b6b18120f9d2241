"""Interfaces and addresses as the kernel tells them."""

from __future__ import annotations

from ipaddress import ip_address

from agent.dataplane.links import node_addresses


def test_addresses_of_the_node(node) -> None:
    node.add_veth("eth0", "10.220.0.1/24", "fd00:220::1/64")
    assert {ip_address(x) for x in ("127.0.0.1", "::1", "10.220.0.1", "fd00:220::1")} <= node_addresses(node.netlink)
