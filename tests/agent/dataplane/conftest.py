"""A node to try things on: a network namespace and a mount namespace of this thread's own, gone when the thread leaves.

Nothing has to be swept up after a run that died: both namespaces, with every interface, mount and BPF pin in them, end
with the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from agent.dataplane.links import Link, read_links

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC_PRIVATE = 0x4000 | 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


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
            self.netlink.addr("add", index=made, address=local, prefixlen=int(length))
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
            _checked(_libc.setns(home.fileno(), CLONE_NEWNS))
            os.chdir(here)
