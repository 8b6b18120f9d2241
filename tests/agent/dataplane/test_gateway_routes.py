"""Gateway addresses are routed into penstock0, and only they."""

from __future__ import annotations

from ipaddress import ip_address

from agent.dataplane import own_interface
from agent.dataplane.fib import read_routes
from agent.dataplane.gateway_routes import PROTOCOL, reconcile_gateway_routes, remove_gateway_routes

V4, OTHER_V4, V6 = (ip_address(x) for x in ("10.220.0.1", "10.220.0.2", "fd00:220::1"))


def routes_to(node, index: int) -> set[str]:
    return {
        f"{x.network:x}/{x.length}" for x in read_routes(node.netlink) if x.interface == index and x.length in (32, 128)
    }


def text(*addresses) -> set[str]:
    return {f"{int(x):x}/{x.max_prefixlen}" for x in addresses}


def test_the_routes_are_those_of_the_gateways(node) -> None:
    index = own_interface.ensure(node.netlink).index
    for wanted in ([V4, V6], [V4, V6], [OTHER_V4, V6], [], [V4]):
        assert list(reconcile_gateway_routes(node.netlink, index, wanted)) == []
        assert routes_to(node, index) == text(*wanted)
    assert remove_gateway_routes(node.netlink) == 1
    assert routes_to(node, index) == set()


def test_routes_come_back_with_the_interface(node) -> None:
    first = own_interface.ensure(node.netlink).index
    list(reconcile_gateway_routes(node.netlink, first, [V4, V6]))
    own_interface.remove(node.netlink)
    second = own_interface.ensure(node.netlink).index
    list(reconcile_gateway_routes(node.netlink, second, [V4, V6]))
    assert routes_to(node, second) == text(V4, V6)


def test_a_route_of_somebody_else_is_said_and_left_alone(node) -> None:
    eth0 = node.add_veth("eth0", "10.221.0.1/24")
    node.netlink.route("add", dst=f"{V4}/32", oif=eth0, proto=4, scope=253)
    index = own_interface.ensure(node.netlink).index
    (note,) = reconcile_gateway_routes(node.netlink, index, [V4])
    assert note.startswith(f"{V4}: the node has a route of its own")
    assert remove_gateway_routes(node.netlink) == 0
    assert text(V4) <= routes_to(node, eth0)


def test_our_protocol_number_is_visible(node) -> None:
    index = own_interface.ensure(node.netlink).index
    list(reconcile_gateway_routes(node.netlink, index, [V4]))
    assert [x["proto"] for x in node.netlink.route("dump", oif=index, proto=PROTOCOL)] == [PROTOCOL]
