"""The gateway that the packets meet: a listener for each way that a new flow can go; TCP and UDP share each port.

Decides: ports, numbers of listeners, pools and backends, and how large the tables are. The rig writes it into them.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import objects as o
from .world import NETS, Net

Json = dict[str, Any]

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP

SERVED, REJECTED, HOLE, HAIRPIN, UNHOOKED, SPLIT, UNKNOWN, NOWHERE, FAR = 80, 81, 82, 83, 84, 85, 86, 87, 88
CLOSED_PORT = 9
BACKEND_PORT = 8080

_BACKENDS: Mapping[int, tuple[str, ...]] = {
    SERVED: ("pod",),
    REJECTED: (),
    HOLE: (),
    HAIRPIN: ("neighbour",),
    UNHOOKED: ("unhooked",),
    SPLIT: ("pod", "pod2"),
    UNKNOWN: ("unknown",),
    NOWHERE: ("nowhere",),
    FAR: ("far",),
}


@dataclass(frozen=True, slots=True)
class Service:
    """What stands behind one port of the gateway, for one family and protocol."""

    net: Net
    port: int
    protocol: int
    listener_id: int
    pool_id: int
    backends: tuple[int, ...]  # ids
    addresses: tuple[str, ...]  # theirs


LISTENER_FIRST = 20  # not the pool's number, so that the two cannot be mistaken


def _services() -> dict[tuple[Net, int, int], Service]:
    made: dict[tuple[Net, int, int], Service] = {}
    next_backend = o.BACKEND_REJECT + 1
    for port, kinds in _BACKENDS.items():
        for protocol in (TCP, UDP):
            for net in NETS:
                ids = tuple(range(next_backend, next_backend + len(kinds)))
                next_backend += len(ids)
                number = len(made)
                addresses = tuple(getattr(net, x) for x in kinds)
                made[net, port, protocol] = Service(
                    net, port, protocol, LISTENER_FIRST + number, number, ids, addresses
                )
    return made


SERVICES = _services()
SIZES = {
    "interfaces": 16,
    "snat_sources": 16,
    "gateways": 16,
    "listeners": 256,
    "policies": 16,
    "source_ranges": 64,
    "pools": len(SERVICES),
    "backends": 64,
    "listener_counts": 64,
    "listener_connections": 64,
    "source_connections": 64,
    "backend_counts": 64,
    "tcp_flows4": 4096,
    "tcp_flows6": 4096,
    "half_open4": 4096,
    "half_open6": 4096,
    "udp_flows4": 4096,
    "udp_flows6": 4096,
    "ageing_tcp4": 2048,
    "ageing_tcp6": 2048,
    "ageing_udp4": 2048,
    "ageing_udp6": 2048,
}
FLOW_TABLES = ("tcp_flows4", "tcp_flows6", "half_open4", "half_open6", "udp_flows4", "udp_flows6")

TURNSTILES = ("ageing_tcp4", "ageing_tcp6", "ageing_udp4", "ageing_udp6")


def address(net: Net, text: str) -> Json:
    """`struct address`."""
    return {"octets": net.octets(text).ljust(16, b"\0")}


def interface(role: int, mac: bytes, *, sources4: int = 0, sources6: int = 0, has_xdp: bool = False) -> Json:
    """`struct interface`."""
    return {"role": role, "mac": mac, "snat_sources4": sources4, "snat_sources6": sources6, "has_xdp": has_xdp}
