"""What the gateway of the end-to-end tests serves, and the ways its node is set up."""

from __future__ import annotations

from dataclasses import dataclass

from lab.manifests import CLOSED_PORT, Listener, Pod, World
from lab.servers.witness import PORT, STREAM_PORT
from lab.topology import GATEWAY, SECOND_GATEWAY, Attachment

PODS = {"a": 11, "b": 12, "c": 13}


@dataclass(frozen=True)
class Setting:
    """How the node is set up."""

    delivery: str
    offloads: bool = True
    attachment: Attachment = Attachment.ROUTED


SETTINGS = {
    "stack": Setting("stack"),
    "redirect": Setting("redirect"),
    "stack, no offloads": Setting("stack", offloads=False),
    "redirect, no offloads": Setting("redirect", offloads=False),
    "stack, bridged pods": Setting("stack", attachment=Attachment.BRIDGED),
}

# Ports of the listeners below.
SPLIT = PORT  # TCP and UDP: 70 % a, 30 % b
STREAM = STREAM_PORT  # TCP: a's checked streams
TO_A = 7010  # TCP and UDP: a alone
HALF_REJECTED = 7020  # TCP and UDP: half a, half a Service that does not exist
EMPTY = 7021  # TCP and UDP: a Service without pods
NOBODY = 7022  # UDP: a, but nobody has that port open there
UNHEARD = 7999  # no listener

SPLIT_WEIGHTS = {"a": 70, "b": 30}

WORLD = World(
    listeners=(
        *(Listener(protocol, SPLIT, SPLIT_WEIGHTS) for protocol in ("TCP", "UDP")),
        Listener("TCP", STREAM, {"a": 1}, target=STREAM_PORT),
        *(Listener(protocol, TO_A, {"a": 1}) for protocol in ("TCP", "UDP")),
        *(Listener(protocol, HALF_REJECTED, {"a": 1, "missing": 1}) for protocol in ("TCP", "UDP")),
        *(Listener(protocol, EMPTY, {"empty": 1}) for protocol in ("TCP", "UDP")),
        Listener("UDP", NOBODY, {"a": 1}, target=CLOSED_PORT),
    ),
    services={"a": (Pod(PODS["a"]),), "b": (Pod(PODS["b"]),), "empty": ()},
    addresses=(*GATEWAY.values(), *SECOND_GATEWAY.values()),
)
