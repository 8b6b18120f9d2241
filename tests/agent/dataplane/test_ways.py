"""By which interface addresses are reached: the kernel's answers, many at once."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from agent.dataplane.ways import ways

from .conftest import Node


@pytest.fixture
def interfaces(node: Node) -> tuple[int, int]:
    """Of a node with two of them, and rules and routes of every kind."""
    eth0, eth1 = node.add_veth("eth0", "10.220.0.1/24", "fd00:220::1/64"), node.add_veth("eth1", "10.221.0.1/24")
    node.netlink.route("add", dst="10.230.0.0/16", gateway="10.220.0.2")
    node.netlink.route("add", dst="10.230.7.0/24", oif=eth1)
    node.netlink.route("add", dst="10.230.8.0/24", type="unreachable")
    node.netlink.route("add", dst="10.230.9.0/24", oif=eth1, table=100)
    node.netlink.rule("add", dst="10.230.9.0/24", table=100, priority=10)
    node.netlink.route("add", dst="fd00:230::/32", oif=eth0, family=socket.AF_INET6)
    node.netlink.route("add", dst="fd00:230:8::/48", type="blackhole", family=socket.AF_INET6)
    return eth0, eth1


@pytest.mark.parametrize(
    ("address", "way"),
    [
        ("10.220.0.7", 0),
        ("10.230.1.1", 0),
        ("10.230.7.1", 1),
        ("10.230.9.1", 1),  # by a rule
        ("fd00:220::7", 0),
        ("fd00:230::1", 0),
        ("10.230.8.1", None),  # unreachable
        ("10.240.0.1", None),  # no route
        ("10.220.0.1", None),  # the node's own
        ("fd00:220::1", None),
        ("fd00:230:8::1", None),
        ("fd00:240::1", None),
    ],
)
def test_way(interfaces: tuple[int, int], address: str, way: int | None) -> None:
    assert ways([ip_address(address)]) == {ip_address(address): 0 if way is None else interfaces[way]}


def test_many_at_once(interfaces: tuple[int, int]) -> None:
    asked = {ip_address("10.230.0.0") + number: interfaces[number >> 8 == 7] for number in range(0, 2048, 5)}
    asked |= {ip_address("fd00:230::") + number: interfaces[0] for number in range(300)}
    assert ways(asked.keys()) == asked


def test_of_none() -> None:
    assert ways([]) == {}
