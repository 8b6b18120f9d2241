"""Something changed, or nothing did."""

from __future__ import annotations

import select

from agent.dataplane.watch import InterfaceWatch


def test_links_addresses_and_routes_are_told_once(node) -> None:
    with InterfaceWatch() as watch:
        assert not watch.changed()
        index = node.add_veth("eth0")
        assert select.select([watch], [], [], 5)[0] == [watch]
        assert watch.changed()
        for change in (
            lambda: node.netlink.addr("add", index=index, address="10.220.0.1", prefixlen=24),
            lambda: node.netlink.addr("add", index=index, address="fd00:220::1", prefixlen=64),
            lambda: node.netlink.route("add", dst="10.230.0.0/16", oif=index),
            lambda: node.netlink.route("add", dst="fd00:230::/64", oif=index),
            lambda: node.netlink.link("set", index=index, address="02:00:00:00:00:07"),
            lambda: node.netlink.link("del", index=index),
        ):
            while watch.changed():  # the kernel's own doings after the last change
                pass
            change()
            assert select.select([watch], [], [], 5)[0] == [watch]
