"""Interfaces and addresses as the kernel tells them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from agent.dataplane.links import link_of, node_addresses


def test_addresses_of_the_node(node) -> None:
    node.add_veth("eth0", "10.220.0.1/24", "fd00:220::1/64")
    assert {ip_address(x) for x in ("127.0.0.1", "::1", "10.220.0.1", "fd00:220::1")} <= node_addresses(node.netlink)


@pytest.mark.parametrize(
    ("kind", "elsewhere", "vlan_of"),
    [("vlan", (), 2), ("vlan", (("IFLA_LINK_NETNSID", 0),), 0), ("veth", (), 0), ("macvlan", (), 0)],
)
def test_a_vlan_tells_whose_frames_it_has(kind: str, elsewhere: tuple[tuple[str, int], ...], vlan_of: int) -> None:
    """What an index in another network namespace says is nothing here. (From octets: not every kernel has VLANs.)"""
    kind_of = {"attrs": [("IFLA_INFO_KIND", kind)]}
    told = ifinfmsg()
    told["index"] = 3
    told["attrs"] = [("IFLA_IFNAME", "eth0.7"), ("IFLA_LINK", 2), ("IFLA_LINKINFO", kind_of), *elsewhere]
    told.encode()
    message = ifinfmsg(told.data)
    message.decode()
    link = link_of(message)
    assert (link.index, link.name, link.kind, link.vlan_of) == (3, "eth0.7", kind, vlan_of)
