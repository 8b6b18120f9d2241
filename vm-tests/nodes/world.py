"""What both nodes serve, and how their interfaces are known: what guest and host must agree on."""

from typing import Final

from lab.manifests import Listener, Pod, World
from lab.servers.witness import PORT, STREAM_PORT
from lab.topology import UPLINK
from tests.net.two_nodes import BACKENDS
from tests.net.two_nodes import UPLINK as TO_BACKENDS

UPLINKS: Final = (UPLINK, TO_BACKENDS)
"""Of a node, by the number of its NIC."""

STATUS_PORT: Final = 9464

WEIGHTS = {"a": 2, "b": 1, "c": 1}
WORLD: Final = World(
    listeners=(
        *(Listener(protocol, PORT, WEIGHTS) for protocol in ("TCP", "UDP")),
        Listener("TCP", STREAM_PORT, WEIGHTS, target=STREAM_PORT),
    ),
    services={name: (Pod(number),) for name, number in BACKENDS.items()},
)


def mac(node: int, number: int) -> str:
    """Of the node's NIC of that number."""
    return f"52:54:00:00:{node:02}:{number:02}"
