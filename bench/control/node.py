"""A node of this process's own: a network namespace, and a mount namespace with a BPF file system.

Rules: nothing has to be swept up: both namespaces, with every interface, mount and pin in them, end with the process
and those that it started.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

from pyroute2 import IPRoute

UPLINK: Final = "uplink0"
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWNET: Final = 0x40000000
_MS_REC_PRIVATE: Final = 0x4000 | 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def enter(directory: Path) -> Path:
    """Make the node and go there; where its BPF file system is, under `directory`. Before any thread is started."""
    _checked(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET))
    _checked(_libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None))
    place = directory / "bpf"
    place.mkdir()
    _checked(_libc.mount(b"bpf", os.fsencode(place), b"bpf", 0, None))
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", name).write_text("1")
    with IPRoute(strict_check=True) as netlink:
        netlink.link("set", index=1, state="up")
        netlink.link("add", ifname=UPLINK, kind="veth", peer={"ifname": f"{UPLINK}-peer"})
        for end in (UPLINK, f"{UPLINK}-peer"):
            netlink.link("set", index=netlink.link_lookup(ifname=end)[0], state="up")
        netlink.addr("add", index=netlink.link_lookup(ifname=UPLINK)[0], address="10.220.0.1", prefixlen=24)
    return place


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
