"""Flows to a backend on another node, which sees an address that the uplink lends."""

from __future__ import annotations

from collections.abc import Sequence

from .objects import FLOW_REMOTE, FLOW_SNAT, FORWARDED, INTERFACE_UPLINK, UPLINK_INGRESS
from .rig import Rig
from .services import FAR, TCP, Json, address, interface
from .story import End, between
from .world import V4, Net

IN_RANGE = 20_000  # a port that the backend may see
SECOND = {"ipv4": "10.231.0.2", "ipv6": "fd00:231::2"}  # another address of the node's own, by family


def lend(rig: Rig, net: Net, sources: Sequence[str]) -> None:
    """The uplink lends these addresses."""
    device = rig.device(UPLINK_INGRESS)
    for number, source in enumerate(sources):
        key = {"ifindex": device.ifindex, "family": int(net.family), "number": number}
        rig.map("snat_sources").set(key, address(net, source))
    counts = {"sources4" if net is V4 else "sources6": len(sources)}
    mac = bytes.fromhex(device.mac.replace(":", ""))
    rig.map("interfaces").set(device.ifindex, interface(INTERFACE_UPLINK, mac, **counts))


def half(rig: Rig, net: Net, client: End, gateway: str | None = None, *, protocol: int = TCP) -> Json:
    """The request half of the client's flow."""
    found = rig.entry(net, rig.key(net, protocol, client, (gateway or net.gateway, FAR)))
    assert found is not None
    return found[1]


def begin(rig: Rig, net: Net, client: End, *, protocol: int = TCP, hook: int = UPLINK_INGRESS) -> End:
    """The flow's first packet; whom the backend sees."""
    frame = rig.frame(hook, between(net, protocol, client, (net.gateway, FAR), "S", seq=100))
    assert rig.run(hook, frame).verdict == FORWARDED
    request = half(rig, net, client, protocol=protocol)
    assert request["flags"] & (FLOW_SNAT | FLOW_REMOTE) == FLOW_SNAT | FLOW_REMOTE
    seen = request["to_saddr"]["octets"][: net.words]
    return next(x for x in (net.node, SECOND[net.name]) if net.octets(x) == seen), request["to_sport"]
