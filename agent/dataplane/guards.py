"""What of an image this node must not hold, whatever the objects say. Pure.

Rules:
  - a gateway address of a family that the node does not speak, or that the tables cannot tell from another, is refused
    with all its listeners;
  - a listener on the node's own address is refused when a socket has its port, unless the kernel holds it already
    (then its flows go on; the socket came later).
A backend at one of the node's own addresses does not come so far: pipeline.py refuses the endpoint.
Every refusal has a reason for people. Must never: refuse for a passing state, such as an interface that is down.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from agent.compile.image import GATEWAY_NODE_ADDRESS, ListenerKey, MapImage
from agent.dataplane.addresses import ambiguous
from agent.dataplane.sockets import UsedPort
from routes.plan import Address


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the guards ask of the node."""

    addresses: frozenset[Address]
    used_ports: Collection[UsedPort]
    ipv6: bool


@dataclass(frozen=True, slots=True)
class Refusals:
    """What was refused, each with its reason."""

    gateways: Mapping[Address, str]
    listeners: Mapping[ListenerKey, str]

    def __bool__(self) -> bool:
        return bool(self.gateways or self.listeners)

    def reasons(self) -> tuple[str, ...]:
        """One sentence each, for a log."""
        return (
            *(f"gateway address {address}: {why}" for address, why in self.gateways.items()),
            *(f"listener {x.address} port {x.port}/{x.protocol.name}: {why}" for x, why in self.listeners.items()),
        )


class Admitted(NamedTuple):
    """The part of an image that this node may hold (the image itself, if that is all of it), and what was left out."""

    image: MapImage
    refused: Refusals


def admit(image: MapImage, node: NodeFacts, held: Collection[ListenerKey]) -> Admitted:
    """Judge `image`; `held` are the entries of table `listeners`."""
    gateways = {x: why for x in image.gateways if (why := _gateway_fault(x, node))}
    listeners = {x: why for x, _ in image.listeners.items() if (why := _listener_fault(x, image, node, gateways, held))}
    refused = Refusals(gateways, listeners)
    if not refused:
        return Admitted(image, refused)
    admitted = replace(
        image,
        gateways={x: flags for x, flags in image.gateways.items() if x not in gateways},
        listeners={x: entry for x, entry in image.listeners.items() if x not in listeners},
    )
    return Admitted(admitted, refused)


def _gateway_fault(address: Address, node: NodeFacts) -> str:
    if address.version == 6 and not node.ipv6:
        return "IPv6 is disabled on this node"
    if ambiguous(address):
        return "its last 96 bits are zero, so the kernel's tables cannot tell it from an IPv4 address"
    return ""


def _listener_fault(
    key: ListenerKey,
    image: MapImage,
    node: NodeFacts,
    refused: Mapping[Address, str],
    held: Collection[ListenerKey],
) -> str:
    if key.address in refused:
        return refused[key.address]
    own = key.address in node.addresses or bool(image.gateways.get(key.address, 0) & GATEWAY_NODE_ADDRESS)
    if own and key not in held and any(x.takes(key.address, key.port, key.protocol) for x in node.used_ports):
        return "a socket on the node has this port at the node's own address"
    return ""
