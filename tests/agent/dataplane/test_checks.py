"""What stops an agent, and what it only says."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.dataplane import checks
from agent.settings import Delivery

NOBODY = 65534
UNAME26 = 0x0020000  # linux/personality.h

PORTS = (10_000, 29_999)


@contextmanager
def unprivileged() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_fit_node_has_no_faults_and_no_notes(node) -> None:
    assert list(checks.faults()) == []
    assert list(checks.notes(Delivery.STACK, (), PORTS)) == []


@contextmanager
def old_kernel() -> Iterator[None]:
    """`uname -r` says 2.6 meanwhile (personality(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = libc.personality(UNAME26)
    try:
        yield
    finally:
        libc.personality(before)


def test_a_kernel_that_is_older_than_what_is_tested_is_told_of_and_not_refused(node) -> None:
    with old_kernel():
        assert list(checks.faults()) == []
        (said,) = checks.notes(Delivery.STACK, (), PORTS)
    assert said.startswith("kernel 2.6.")
    assert f"is older than {checks.OLDEST}, the oldest that Penstock is tested on" in said


def test_only_what_the_gateway_makes_use_of_is_told() -> None:
    assert checks.features().keys() == {"kernel", "tcx", "batch"}


def test_without_root(node) -> None:
    with unprivileged():
        (fault,) = checks.faults()
    assert fault.startswith("not root")


@pytest.mark.parametrize(
    ("v4", "v6", "fault", "note"),
    [
        (1, 1, None, None),
        (0, 0, "forwarding is off", "net.ipv4.ip_forward is 0"),
        (0, 1, None, "net.ipv4.ip_forward is 0"),
        (1, 0, None, "net.ipv6.conf.all.forwarding is 0"),
    ],
)
def test_forwarding(node, v4: int, v6: int, fault: str | None, note: str | None) -> None:
    node.sysctl("ipv4/ip_forward", v4)
    node.sysctl("ipv6/conf/all/forwarding", v6)
    assert [fault in x for x in checks.faults()] == ([True] if fault else [])
    said = list(checks.notes(Delivery.STACK, (), PORTS))
    assert any(note in x for x in said) if note else said == []


def test_ipv6_switched_off(node) -> None:
    node.sysctl("ipv6/conf/all/disable_ipv6", 1)
    assert list(checks.faults()) == []
    (said,) = checks.notes(Delivery.STACK, (), PORTS)
    assert said == "IPv6 is disabled on this node: IPv6 gateway addresses are skipped"


@pytest.mark.parametrize(
    ("everywhere", "here", "delivery", "said"),
    [
        (0, 0, Delivery.STACK, False),
        (0, 1, Delivery.STACK, True),
        (1, 0, Delivery.STACK, True),
        (1, 2, Delivery.STACK, False),  # the larger of the two counts, and 2 is loose
        (2, 1, Delivery.STACK, False),
        (1, 1, Delivery.REDIRECT, False),
    ],
)
def test_strict_reverse_path(node, everywhere: int, here: int, delivery: Delivery, said: bool) -> None:
    node.add_veth("eth0")
    node.sysctl("ipv4/conf/all/rp_filter", everywhere)
    node.sysctl("ipv4/conf/eth0/rp_filter", here)
    notes = list(checks.notes(delivery, ("eth0",), PORTS))
    assert [x.startswith("rp_filter is strict on eth0") for x in notes] == ([True] if said else [])


@pytest.mark.parametrize(
    ("ports", "overlaps"),
    [((10_000, 29_999), False), ((10_000, 32_768), True), ((40_000, 41_000), True), ((61_000, 65_535), False)],
)
def test_ports_that_the_nodes_own_connections_take(node, ports: tuple[int, int], overlaps: bool) -> None:
    node.sysctl("ipv4/ip_local_port_range", "32768 60999")
    notes = [x for x in checks.notes(Delivery.STACK, (), ports) if "ip_local_port_range" in x]
    assert bool(notes) == overlaps
