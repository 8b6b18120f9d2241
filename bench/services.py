"""What is served through every peer, on which ports, by which weights.

Decides: the ports that clients ask (`port`), those of the backends (`target`, another one, so that every peer rewrites
ports too), and the two endpoints with their weights. Both endpoints are addresses of one namespace, served by the same
processes: a choice is made for each flow, but what lies behind is the same as in plain forwarding.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from lab.topology import Address, backend_addresses

BACKEND: Final = "pod"
WEIGHTS: Final = {11: 1, 12: 3}
"""Backend number (its last octet) -> weight."""


class Protocol(enum.Enum):
    """Of the transport."""

    TCP = "TCP"
    UDP = "UDP"


@dataclass(frozen=True, slots=True)
class Service:
    """One port. `role`: what build/bench/serve does there; empty where another server listens."""

    name: str
    protocol: Protocol
    port: int
    target: int
    role: str = ""


PING_PONG: Final = Service("ping-pong", Protocol.TCP, 7001, 17001, "tcp-echo")
CONNECTIONS: Final = Service("connections", Protocol.TCP, 7002, 17002, "tcp-once")
BULK: Final = Service("bulk", Protocol.TCP, 5201, 15201)
HTTP: Final = Service("http", Protocol.TCP, 80, 18080)
ROUND_TRIPS: Final = Service("round-trips", Protocol.UDP, 7003, 17003, "udp-echo")
ONE_WAY: Final = Service("one-way", Protocol.UDP, 7004, 17004, "udp-count")

SERVICES: Final = (PING_PONG, CONNECTIONS, BULK, HTTP, ROUND_TRIPS, ONE_WAY)


def endpoints(family: int) -> dict[Address, int]:
    """The endpoints' addresses of a family with their weights."""
    return {backend_addresses(number)[family]: weight for number, weight in WEIGHTS.items()}
