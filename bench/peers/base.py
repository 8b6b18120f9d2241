"""What a peer is.

Rules: a peer gets a site of its own with everything else running, and makes itself the way to the services; what it
starts it leaves on the site's stack. Stock settings, but one worker: there is one CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.services import Protocol, Service
from bench.site import Site
from lab.topology import GATEWAY, UPLINK, Address

TCP_AND_UDP: Final = frozenset(Protocol)


@dataclass(frozen=True, slots=True)
class Peer:
    """One way. `site`: its lab's name. `address`: what the client asks, by family.

    `to_backend`: the client asks the backend itself, so ports are the targets.
    """

    site: str
    title: str
    start: Callable[[Site], None]
    address: Mapping[int, Address]
    to_backend: bool = False
    protocols: frozenset[Protocol] = TCP_AND_UDP

    def port(self, service: Service) -> int:
        """The port that the client asks."""
        return service.target if self.to_backend else service.port


def give_node_the_gateway_addresses(site: Site) -> None:
    """Make the gateway addresses the node's own, for peers that need a socket on them or the kernel's ARP."""
    site.lab.node.ip(
        f"addr add {GATEWAY[4]}/32 dev {UPLINK}",
        f"addr add {GATEWAY[6]}/128 dev {UPLINK} nodad",
    )
