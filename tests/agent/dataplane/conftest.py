"""A node to try things on: a network namespace and a mount namespace of this thread's own, gone when the thread leaves.

Nothing has to be swept up after a run that died: both namespaces, with every interface, mount and BPF pin in them, end
with the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute
from scapy.packet import Packet

from agent.dataplane.links import Link, read_links
from agent.dataplane.objects import load
from agent.dataplane.tables import Tables
from agent.settings import Settings, TableSizes
from loader.objects import Object

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC_PRIVATE = 0x4000 | 0x40000
IFA_F_NODAD = 0x02

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _enter_mounts(fd: int) -> None:
    """setns(2) wants a file-system context of one thread only; one that was joined lets go of it a moment later."""
    deadline = time.monotonic() + 5
    while _libc.setns(fd, CLONE_NEWNS) != 0:
        if ctypes.get_errno() != errno.EINVAL or time.monotonic() > deadline:
            _checked(-1)


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
    with open("/proc/thread-self/ns/net") as home:
        _checked(_libc.unshare(CLONE_NEWNET))
        try:
            with IPRoute(strict_check=True) as netlink:
                yield Node(netlink)
        finally:
            _checked(_libc.setns(home.fileno(), CLONE_NEWNET))


@pytest.fixture
def elsewhere(node: Node) -> Iterator[int]:
    """A second network namespace, such as a pod's: its fd, to move the end of a veth into."""
    with open("/proc/thread-self/ns/net") as home:
        _checked(_libc.unshare(CLONE_NEWNET))
        there = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _checked(_libc.setns(home.fileno(), CLONE_NEWNET))
    with contextlib.closing(os.fdopen(there)):
        yield there


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A BPF file system that only this thread sees."""
    place = tmp_path / "bpffs"
    place.mkdir()
    here = os.getcwd()
    with open("/proc/thread-self/ns/mnt") as home:
        _checked(_libc.unshare(CLONE_NEWNS))
        try:
            _checked(_libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None))
            _checked(_libc.mount(b"bpf", os.fsencode(place), b"bpf", 0, None))
            yield place
        finally:
            _enter_mounts(home.fileno())
            os.chdir(here)


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
