"""Whose address backends see: the node's routes and what the tables hold, in; the words of it, out.

That it is what backends really see: tests/net/test_remote.py and test_hairpin.py.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from agent.dataplane import Dataplane
from agent.dataplane.seen import Seen
from agent.dataplane.view import View
from agent.settings import Settings

from .conftest import Node
from .images import make_image


@pytest.fixture
def view(node: Node, settings: Settings):
    """Of a node with two uplinks, of which eth1 has no IPv6 address, and a pod."""
    node.add_veth("eth0", "10.220.0.1/24", "fd00:220::1/64")
    eth1, pod = node.add_veth("eth1", "10.221.0.1/24"), node.add_veth("pod0", "10.1.0.1/24")
    node.netlink.route("add", dst="fd00:221::/64", oif=eth1)
    node.netlink.route("add", dst="fd00:1::/64", oif=pod)
    settings = replace(settings, uplinks=("eth0", "eth1"), symmetric=("10.221.0.128/25", "fd00:220::/80"))
    with Dataplane.open(settings) as opened:
        image = make_image()
        opened.apply(image)
        opened.reconcile_interfaces(image)
        with View.open(settings.pin_dir, settings.run_dir, settings.object_dir) as view:
            yield view


@pytest.mark.parametrize(
    ("backend", "label", "addresses", "why"),
    [
        ("10.1.0.5", "client", (), "on this node"),
        ("fd00:1::5", "client", (), "on this node"),
        ("10.220.0.5", "node (eth0)", ("10.220.0.1",), "so its replies must find this node; it sees 10.220.0.1"),
        ("10.221.0.5", "node (eth1)", ("10.221.0.1",), "behind eth1"),
        ("10.221.0.200", "client (eth1)", ("10.221.0.1",), "in a network declared symmetric"),
        ("fd00:220::5", "client (eth0)", ("fd00:220::1",), "of itself, it sees fd00:220::1"),
        ("fd00:220::1:0:0:5", "node (eth0)", ("fd00:220::1",), "behind eth0"),
        ("fd00:221::5", "gateway (eth1)", (), "no address of this family to lend"),
        ("10.240.0.5", "nobody", (), "no route of this node leads to it"),
    ],
)
def test_seen(view: View, backend: str, label: str, addresses: tuple[str, ...], why: str) -> None:
    (found,) = view.seen([ip_address(backend)]).values()
    assert (found.label, found.addresses) == (label, addresses)
    assert why in found.why


def test_what_is_equal_is_told_in_the_same_words(view: View) -> None:
    backends = [ip_address("10.220.0.10") + number for number in range(200)]
    found = view.seen(backends)
    assert found.keys() == set(backends)
    assert len({*map(id, found.values())}) == 1
    assert isinstance(found[backends[0]], Seen)
