"""A node of this process's own: a network namespace, and a mount namespace with a BPF file system.

Rules: nothing has to be swept up: both namespaces, with every interface, mount and pin in them, end with the process
and those that it started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pyroute2 import IPRoute

from lab.unshare import Kind, mount_bpffs, unshare

UPLINK: Final = "uplink0"


def enter(directory: Path) -> Path:
    """Make the node and go there; where its BPF file system is, under `directory`. Before any thread is started."""
    unshare(Kind.MNT | Kind.NET)
    place = directory / "bpf"
    place.mkdir()
    mount_bpffs(place)
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", name).write_text("1")
    with IPRoute(strict_check=True) as netlink:
        netlink.link("set", index=1, state="up")
        netlink.link("add", ifname=UPLINK, kind="veth", peer={"ifname": f"{UPLINK}-peer"})
        for end in (UPLINK, f"{UPLINK}-peer"):
            netlink.link("set", index=netlink.link_lookup(ifname=end)[0], state="up")
        netlink.addr("add", index=netlink.link_lookup(ifname=UPLINK)[0], address="10.220.0.1", prefixlen=24)
    return place
