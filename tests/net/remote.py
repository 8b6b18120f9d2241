"""A machine behind a second uplink of the node."""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import ip_address

from lab.netns import Namespace
from lab.topology import Lab, backend_addresses, without_offloads

REMOTE = 50  # its backend number
UPLINK = "uplink1"
HERE = {4: ip_address("10.203.0.1"), 6: ip_address("fd00:203::1")}  # the node's address on it
SECOND = {4: ip_address("10.203.0.3"), 6: ip_address("fd00:203::3")}  # the node's too


def attached(lab: Lab, stack: ExitStack) -> Namespace:
    """A machine behind the second uplink, which has the backend's addresses; its way back is this node."""
    remote = Namespace(f"{lab.prefix}remote")
    remote.create()
    stack.callback(remote.delete)
    addresses = backend_addresses(REMOTE)
    lab.wires.join((lab.node, UPLINK), (remote, "eth0"))
    lab.node.ip(
        f"link set {UPLINK} up",
        *(f"addr add {x}/24 dev {UPLINK}" for x in (HERE[4], SECOND[4])),
        *(f"addr add {x}/64 dev {UPLINK} nodad" for x in (HERE[6], SECOND[6])),
    )
    remote.ip(
        "link set eth0 up",
        f"addr add {addresses[4]}/32 dev eth0",
        f"addr add {addresses[6]}/128 dev eth0 nodad",
        f"route add {HERE[4]} dev eth0 scope link",
        f"route add {HERE[6]} dev eth0",
        f"route add default via {HERE[4]} dev eth0",
        f"route add default via {HERE[6]} dev eth0",
    )
    lab.node.ip(f"route add {addresses[4]} dev {UPLINK} scope link", f"route add {addresses[6]} dev {UPLINK}")
    if not lab.shape.offloads:
        without_offloads(lab.node, UPLINK)
        without_offloads(remote, "eth0")
    return remote
