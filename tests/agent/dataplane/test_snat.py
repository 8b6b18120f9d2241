"""Which addresses of the node uplinks lend, and what the kernel's tables hold of it."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from agent.dataplane.snat import Held, declare_symmetric, lend, missing, read_held, sources, take_back

from .conftest import Loaded, Node

OWN4, OTHER4, OWN6, OTHER6 = map(ip_address, ("10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"))
SECONDARY4 = ip_address("10.0.0.3")
HELD = (
    Held(2, SECONDARY4, lesser=True),
    Held(2, OWN4),
    Held(2, ip_address("10.0.0.7")),
    Held(2, ip_address("fd00::7")),
    Held(2, OWN6),
    Held(3, OTHER4),
    Held(3, OTHER6),
)


@pytest.mark.parametrize(
    ("wanted", "interface", "lent", "notes"),
    [
        ((), 2, (OWN4, OWN6), 0),
        ((), 3, (OTHER4, OTHER6), 0),
        ((), 4, (), 0),
        ((OTHER4,), 2, (OTHER4,), 0),
        ((OTHER4, OWN4, OWN6), 4, (OTHER4, OWN4, OWN6), 0),
        ((ip_address("192.0.2.1"), OWN4), 2, (OWN4,), 1),
        ((SECONDARY4, OWN4), 2, (SECONDARY4, OWN4), 0),
    ],
)
def test_sources(wanted: tuple, interface: int, lent: tuple, notes: int) -> None:
    assert sources(wanted, interface, HELD) == lent
    assert len(missing(wanted, HELD)) == notes


def test_what_the_node_holds(node: Node) -> None:
    index = node.add_veth("eth0", "10.220.0.1/24", "10.220.0.2/24", "fd00:220::1/64", "fd00:220::2/64")
    held = read_held(node.netlink)
    assert sources((), index, held) == (ip_address("10.220.0.1"), ip_address("fd00:220::1"))
    assert sources((ip_address("10.220.0.2"),), index, held) == (ip_address("10.220.0.2"),)
    assert not any(x.address.is_link_local for x in held)


def lent(loaded: Loaded) -> dict[tuple[int, int, int], bytes]:
    entries = loaded.tables.snat_sources.items()
    return {(k["ifindex"], k["family"], k["number"]): v["octets"] for k, v in entries}


def test_sources_come_and_go(loaded: Loaded) -> None:
    lend(loaded.tables, 2, (OWN4, OTHER4, OWN6))
    lend(loaded.tables, 3, (OTHER4,))
    everything = lent(loaded)
    assert everything == {
        (2, socket.AF_INET, 0): OWN4.packed.ljust(16, b"\0"),
        (2, socket.AF_INET, 1): OTHER4.packed.ljust(16, b"\0"),
        (2, socket.AF_INET6, 0): OWN6.packed,
        (3, socket.AF_INET, 0): OTHER4.packed.ljust(16, b"\0"),
    }
    take_back(loaded.tables, {2: (OWN4, OTHER4, OWN6), 3: (OTHER4,)})
    assert lent(loaded) == everything
    take_back(loaded.tables, {2: (OWN4,)})
    assert lent(loaded) == {(2, socket.AF_INET, 0): OWN4.packed.ljust(16, b"\0")}


def test_symmetric_networks_come_and_go(loaded: Loaded) -> None:
    for networks in (("10.0.0.0/8", "fd00::/16"), ("10.0.0.0/8", "0.0.0.0/0"), ("::/0",), ()):
        declare_symmetric(loaded.tables, networks)
        held = {(k["prefix"] - 32, k["family"]) for k, _ in loaded.tables.symmetric.items()}
        lengths = {(int(x.split("/")[1]), socket.AF_INET6 if ":" in x else socket.AF_INET) for x in networks}
        assert held == lengths
