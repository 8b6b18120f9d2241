"""A node to try things on: a network namespace and a mount namespace of this thread's own, gone when the thread leaves.

Nothing has to be swept up after a run that died: both namespaces, with every interface, mount and BPF pin in them, end
with the process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute
from scapy.packet import Packet

from agent.dataplane.links import Link, read_links
from agent.dataplane.objects import load
from agent.dataplane.tables import Tables
from agent.settings import Settings, TableSizes
from lab.unshare import Kind, own, own_bpffs, own_network
from loader.objects import Object

IFA_F_NODAD = 0x02


class Node:
    """The network namespace that the test runs in: loopback is up, forwarding on, no duplicate address detection."""

    def __init__(self, netlink: IPRoute) -> None:
        self.netlink = netlink
        netlink.link("set", index=1, state="up")
        self.sysctl("ipv4/ip_forward", 1)
        self.sysctl("ipv6/conf/all/forwarding", 1)
        self.sysctl("ipv6/conf/default/accept_dad", 0)

    @staticmethod
    def sysctl(name: str, value: int) -> None:
        Path("/proc/sys/net", name).write_text(str(value))

    def links(self) -> dict[str, Link]:
        return {x.name: x for x in read_links(self.netlink).values()}

    def add_veth(self, name: str, *addresses: str, peer_namespace: int | None = None) -> int:
        """A pair `name`, `name`-peer, up, the peer in another namespace if one is given. The ifindex of `name`."""
        peer: dict[str, object] = {"ifname": f"{name}-peer"}
        if peer_namespace is not None:
            peer["net_ns_fd"] = peer_namespace
        self.netlink.link("add", ifname=name, kind="veth", peer=peer)
        for end in (name, f"{name}-peer"):
            for index in self.netlink.link_lookup(ifname=end):
                self.netlink.link("set", index=index, state="up")
        made: int = self.netlink.link_lookup(ifname=name)[0]
        for address in addresses:
            local, length = address.split("/")
            self.netlink.addr("add", index=made, address=local, prefixlen=int(length), flags=IFA_F_NODAD)
        return made


@pytest.fixture
def node() -> Iterator[Node]:
    """A new, empty network namespace, in which the test runs."""
    with own(Kind.NET), IPRoute(strict_check=True) as netlink:
        yield Node(netlink)


@pytest.fixture
def elsewhere(node: Node) -> Iterator[int]:
    """A second network namespace, such as a pod's: its fd, to move the end of a veth into."""
    there = own_network()
    with contextlib.closing(os.fdopen(there)):
        yield there


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A BPF file system that only this thread sees."""
    place = tmp_path / "bpffs"
    place.mkdir()
    with own_bpffs(place):
        yield place


@pytest.fixture
def settings(bpffs: Path, tmp_path: Path) -> Settings:
    """Settings whose pins and files are this test's own; tables as small as they may be."""
    return Settings(
        uplinks=("eth0",),
        tables=TableSizes(
            tcp_flows=1024,
            half_open=1024,
            udp_flows=1024,
            max_gateways=8,
            max_listeners=8,
            max_pools=8,
            max_policies=8,
            max_source_ranges=8,
            max_backends=64,
            max_interfaces=16,
        ),
        pin_dir=bpffs / "penstock",
        run_dir=tmp_path / "run",
    )


class Loaded:
    """Programs and tables without anything hooked."""

    def __init__(self, programs: Object, tables: Tables) -> None:
        self.programs = programs
        self.tables = tables

    def run(self, program: str, frame: Packet) -> int:
        """Run a program on a frame; what it returned."""
        octets = bytes(frame)
        return self.programs.program(program).test_run(octets.ljust(60, b"\0")).retval


@pytest.fixture
def loaded(node: Node, settings: Settings) -> Iterator[Loaded]:
    """Everything loaded, the gateway's own interface being loopback."""
    programs, ageing = load(settings, 1)
    with programs, ageing, Tables.open(settings.pin_dir, settings.object_dir) as tables:
        yield Loaded(programs, tables)
