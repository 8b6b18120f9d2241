"""What the tests of attaching share: packets, counts, interfaces that come and go, other people's filters.

Packets are datagrams from loopback to itself, counted by the programs of bpf/sample.bpf.c in `counts`.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from loader import clsact
from loader.attach import Direction
from loader.objects import Object

LOOPBACK = 1
ADDED = 77  # the index of the interface that comes and goes
HAS_TCX = any(line.split()[2] == "tcx_link_attach" for line in Path("/proc/kallsyms").read_text().splitlines())
PARENT = {Direction.INGRESS: 0xFFFFFFF2, Direction.EGRESS: 0xFFFFFFF3}


def send(count: int) -> int:
    """Sends datagrams to ourselves; how many arrived before half a second passed without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        here.settimeout(0.5)
        for _ in range(count):
            here.sendto(b"x", here.getsockname())
        arrived = 0
        with contextlib.suppress(TimeoutError):
            while arrived < count:
                arrived += len(here.recv(10))
        return arrived


def counted(sample: Object) -> list[int]:
    """Packets that count_first and count_second have seen."""
    return [sum(x) for _, x in sample.map("counts").items()]


def add_interface(netlink: IPRoute) -> None:
    netlink.link("add", ifname="pt-loader0", kind="veth", index=ADDED, peer={"ifname": "pt-loader1"})


def place(ifindex: int, direction: Direction) -> dict[str, Any]:
    return {"index": ifindex, "parent": PARENT[direction], "prio": clsact.PRIORITY, "protocol": 3}
