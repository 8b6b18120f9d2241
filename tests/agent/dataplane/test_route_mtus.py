"""Which routes' MTUs the programs are told of, and what the kernel's table holds of it."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest

from agent.dataplane.fib import Route, read_routes
from agent.dataplane.route_mtus import Network, declare, wanted

from .conftest import Loaded, Node


def route(text: str, mtu: int = 0, interface: int = 2) -> Route:
    parsed = ip_network(text)
    return Route(parsed.version, int(parsed.network_address), parsed.prefixlen, interface, mtu)


def network(text: str) -> Network:
    parsed = ip_network(text)
    return Network(parsed.version, int(parsed.network_address), parsed.prefixlen)


@pytest.mark.parametrize(
    ("routes", "entries"),
    [
        ([route("0.0.0.0/0"), route("10.0.0.0/8"), route("::/0")], {}),
        ([route("10.0.0.0/8", 1400), route("::/0"), route("fd00::/8", 1300)], {"10.0.0.0/8": 1400, "fd00::/8": 1300}),
        # More specific than one with an MTU, and next to it.
        (
            [route("10.1.0.0/16"), route("0.0.0.0/0", 1400), route("fd00::/8")],
            {"0.0.0.0/0": 1400, "10.1.0.0/16": 0},
        ),
        # ... and again below that.
        (
            [route("0.0.0.0/0", 1400), route("10.0.0.0/8"), route("10.1.0.0/16"), route("10.1.1.0/24", 1300)],
            {"0.0.0.0/0": 1400, "10.0.0.0/8": 0, "10.1.1.0/24": 1300},
        ),
        # Two to the same network, one of several hops.
        ([route("10.0.0.0/8", 1400), route("10.0.0.0/8", 1300, 3)], {"10.0.0.0/8": 1400}),
        (
            [route("fd00:1::/32", 1400), route("fd00:1:2::/48"), route("fd00:2::/32")],
            {"fd00:1::/32": 1400, "fd00:1:2::/48": 0},
        ),
    ],
)
def test_wanted(routes: list[Route], entries: dict[str, int]) -> None:
    assert wanted(routes) == {network(x): mtu for x, mtu in entries.items()}


def test_read_from_the_kernel(node: Node) -> None:
    """Locked or not, next to a route without."""
    index = node.add_veth("eth0", "10.220.0.1/24", "fd00:220::1/64")
    for number, words in enumerate(({"mtu": 1400}, {"mtu": 1300, "lock": 1 << 2}, {"hoplimit": 7})):
        node.netlink.route("add", dst=f"10.{number}.0.0/16", oif=index, metrics=words)
    node.netlink.route("add", dst="fd00:9::/64", oif=index, metrics={"mtu": 1350})
    found = wanted(read_routes(node.netlink))
    assert found == {network("10.0.0.0/16"): 1400, network("10.1.0.0/16"): 1300, network("fd00:9::/64"): 1350}


def held(loaded: Loaded) -> dict[tuple[int, bytes], int]:
    entries = loaded.tables.route_mtus.items()
    return {
        (k["prefix"] - 32, k["address"]["octets"][: 4 if k["family"] == socket.AF_INET else 16]): v for k, v in entries
    }


def test_entries_come_change_and_go(loaded: Loaded) -> None:
    ten, v6 = ip_address("10.0.0.0").packed, ip_address("fd00::").packed
    for routes, entries in (
        ([route("10.0.0.0/8", 1400), route("fd00::/8", 1300)], {(8, ten): 1400, (8, v6): 1300}),
        ([route("10.0.0.0/8", 1350), route("10.0.0.0/16")], {(8, ten): 1350, (16, ten): 0}),
        ([route("10.0.0.0/8")], {}),
    ):
        assert declare(loaded.tables, routes) == ()
        assert held(loaded) == entries


def test_more_than_there_is_room_for(loaded: Loaded) -> None:
    room = loaded.tables.route_mtus.max_entries
    routes = [Route(4, 10 << 24 | number << 8, 24, 2, 1400) for number in range(room + 1)]
    (note,) = declare(loaded.tables, [route("0.0.0.0/0", 1300), *routes])
    assert str(room) in note
    assert len(held(loaded)) == room
    assert held(loaded)[0, bytes(4)] == 1300
    declare(loaded.tables, [])
