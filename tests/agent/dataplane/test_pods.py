"""Which pods may be redirected to."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest

from agent.dataplane.fib import Route
from agent.dataplane.links import Link
from agent.dataplane.pods import choose


def route(network: str, interface: int) -> Route:
    parsed: IPv4Network | IPv6Network = ip_network(network)
    return Route(parsed.version, int(parsed.network_address), parsed.prefixlen, interface)


def veth(index: int, *, kind: str = "veth", master: int = 0, peer_elsewhere: bool = True) -> Link:
    return Link(index, f"if{index}", kind, bytes(6), 1500, True, master, peer_elsewhere)


@pytest.mark.parametrize(
    ("why", "interface", "routes", "backend", "found"),
    [
        ("host route to a pod", veth(7), ["10.1.0.5/32"], "10.1.0.5", True),
        ("host route to a pod, IPv6", veth(7), ["fd00:1::5/128"], "fd00:1::5", True),
        ("a subnet on the pod's interface", veth(7), ["10.1.0.0/24"], "10.1.0.5", True),
        ("another pod's address", veth(7), ["10.1.0.5/32"], "10.1.0.6", False),
        ("other family", veth(7), ["10.1.0.5/32"], "::a01:5", False),
        ("default route", veth(7), ["0.0.0.0/0"], "10.1.0.5", False),
        ("bridge port", veth(7, master=3), ["10.1.0.5/32"], "10.1.0.5", False),
        ("both ends on the node", veth(7, peer_elsewhere=False), ["10.1.0.5/32"], "10.1.0.5", False),
        ("no veth", veth(7, kind="bridge"), ["10.1.0.0/24"], "10.1.0.5", False),
    ],
)
def test_pods(why: str, interface: Link, routes: list[str], backend: str, found: bool) -> None:
    chosen = choose([ip_address(backend)], {7: interface}, [route(x, 7) for x in routes])
    assert (chosen == {7: interface}) is found, why
