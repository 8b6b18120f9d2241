"""Which interfaces routes leave by."""

from __future__ import annotations

from agent.dataplane.fib import read_routes


def test_every_next_hop_of_a_default_route_is_seen(node) -> None:
    eth0, eth1 = node.add_veth("eth0", "fd00:221::1/64"), node.add_veth("eth1", "fd00:222::1/64")
    hops = [{"gateway": "fd00:221::2", "oif": eth0}, {"gateway": "fd00:222::2", "oif": eth1}]
    node.netlink.route("add", dst="::/0", multipath=hops)
    assert {x.interface for x in read_routes(node.netlink) if x.length == 0} == {eth0, eth1}
