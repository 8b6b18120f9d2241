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

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC_PRIVATE = 0x4000 | 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def other_network() -> Iterator[int]:
    """A second network namespace; its fd, to move the end of a veth into."""
    with open("/proc/thread-self/ns/net") as home:
        _checked(_libc.unshare(CLONE_NEWNET))
        there = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _checked(_libc.setns(home.fileno(), CLONE_NEWNET))
    try:
        yield there
    finally:
        os.close(there)


@pytest.fixture
def netlink() -> Iterator[IPRoute]:
    """rtnetlink of a new, empty network namespace, in which the test runs. Loopback is up, forwarding on."""
    with open("/proc/thread-self/ns/net") as home:
        _checked(_libc.unshare(CLONE_NEWNET))
        try:
            with IPRoute(strict_check=True) as opened:
                opened.link("set", index=1, state="up")
                Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
                Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
                Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
                yield opened
        finally:
            _checked(_libc.setns(home.fileno(), CLONE_NEWNET))


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


def add_veth(netlink: IPRoute, name: str, address: str = "", peer_namespace: int | None = None) -> int:
    """A veth pair `name`, `name`-peer, both up; the ifindex of the first. `address` is "10.0.0.1/24" or IPv6."""
    peer: dict[str, object] = {"ifname": f"{name}-peer"}
    if peer_namespace is not None:
        peer["net_ns_fd"] = peer_namespace
    netlink.link("add", ifname=name, kind="veth", peer=peer)
    index: int = netlink.link_lookup(ifname=name)[0]
    netlink.link("set", index=index, state="up")
    for other in netlink.link_lookup(ifname=f"{name}-peer"):
        netlink.link("set", index=other, state="up")
    if address:
        local, length = address.split("/")
        netlink.addr("add", index=index, address=local, prefixlen=int(length))
    return index
