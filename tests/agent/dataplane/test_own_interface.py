"""penstock0 and penstock1 are made, kept, and never taken from somebody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.dataplane import own_interface
from agent.dataplane.errors import NodeUnfit
from agent.dataplane.links import read_links

SCOPE_HOST = 254
IFF_UP, IFF_NOARP = 1, 1 << 7


def test_the_pair_is_as_the_programs_need_it(node) -> None:
    node.sysctl("ipv4/conf/all/rp_filter", 1)
    own_interface.ensure(node.netlink)
    flags = {x.get_attr("IFLA_IFNAME"): x["flags"] for x in node.netlink.link("dump")}
    assert all(flags[name] & (IFF_UP | IFF_NOARP) == IFF_UP | IFF_NOARP for name in ("penstock0", "penstock1"))
    (address,) = (x for x in node.netlink.addr("dump") if x["index"] != 1)
    assert (address.get_attr("IFA_ADDRESS"), address["prefixlen"], address["scope"]) == ("192.0.0.8", 32, SCOPE_HOST)
    assert Path("/proc/sys/net/ipv4/conf/penstock0/accept_local").read_text() == "1\n"
    assert Path("/proc/sys/net/ipv6/conf/penstock1/disable_ipv6").read_text() == "1\n"
    assert Path("/proc/sys/net/ipv6/conf/penstock0/disable_ipv6").read_text() == "0\n"
    assert Path("/proc/sys/net/ipv4/conf/penstock0/rp_filter").read_text() == "2\n"


def test_twice_is_once(node) -> None:
    assert own_interface.ensure(node.netlink) == own_interface.ensure(node.netlink)


def test_a_pair_that_was_lost_comes_back_under_the_same_index(node) -> None:
    before = own_interface.ensure(node.netlink)
    node.netlink.link("del", index=before.index)
    node.add_veth("eth0")
    assert own_interface.ensure(node.netlink, before.index).index == before.index


def test_an_index_that_is_taken_is_not_insisted_on(node) -> None:
    taken = node.add_veth("eth0")
    assert own_interface.ensure(node.netlink, taken).index != taken


def macs(node) -> list[str]:
    return [node.links()[name].mac.hex(":") for name in ("penstock0", "penstock1")]


def test_its_addresses_are_always_the_same_since_flows_remember_them(node) -> None:
    first = own_interface.ensure(node.netlink)
    assert macs(node) == ["02:70:73:74:6b:00", "02:70:73:74:6b:01"]
    node.netlink.link("del", index=first.index)
    assert own_interface.ensure(node.netlink).mac == first.mac


@pytest.mark.parametrize("name", ["penstock0", "penstock1"])
def test_an_address_that_somebody_changed_is_put_back(node, name: str) -> None:
    own_interface.ensure(node.netlink)
    before = macs(node)
    node.netlink.link("set", index=node.links()[name].index, address="02:00:00:00:00:07")
    assert own_interface.ensure(node.netlink).mac.hex(":") == before[0]
    assert macs(node) == before


@pytest.mark.parametrize("name", ["penstock0", "penstock1"])
def test_a_strangers_interface_of_that_name_is_left_alone(node, name: str) -> None:
    node.add_veth(name)
    with pytest.raises(NodeUnfit, match=f"interface {name} exists and is not half of the pair"):
        own_interface.ensure(node.netlink)
    assert not own_interface.remove(node.netlink)
    assert name in node.links()


def test_it_has_the_smallest_mtu_of_the_uplinks(node) -> None:
    link = own_interface.ensure(node.netlink)
    uplinks = {}
    for name, mtu, expected in (("eth0", 9000, 1500), ("eth1", 1400, 1400), ("eth2", 1000, 1280)):
        index = node.add_veth(name)
        node.netlink.link("set", index=index, mtu=mtu)
        links = read_links(node.netlink)
        uplinks[index] = links[index]
        own_interface.fit_mtu(node.netlink, links[link.index], uplinks)
        assert node.links()["penstock0"].mtu == expected


def test_removing_takes_both_halves_and_is_no_error_without_them(node) -> None:
    own_interface.ensure(node.netlink)
    assert own_interface.remove(node.netlink)
    assert set(node.links()) == {"lo"}
    assert not own_interface.remove(node.netlink)
