"""A policy at a listener, and what it is counted to hold there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network

from .objects import PolicyFlag, SourceRule
from .rig import Rig
from .services import SERVED, SERVICES, TCP, address
from .world import Net

POLICY = 5
IN_USE, SOURCES, ALLOW_ONLY, REJECT, AFFINITY = (
    PolicyFlag[f"POLICY_{x}"] for x in ("IN_USE", "SOURCES", "ALLOW_ONLY", "REJECT", "AFFINITY")
)


@contextmanager
def policy(
    rig: Rig,
    net: Net,
    flags: int,
    *ranges: str,
    protocol: int = TCP,
    number: int = POLICY,
    port: int = SERVED,
    **says: int,
) -> Iterator[None]:
    """SERVED's listener of that family and protocol has it; "!" stands before a network that is denied."""
    service = SERVICES[net, port, protocol]
    keys = []
    for text in ranges:
        network = ip_network(text.removeprefix("!"))
        key = {
            "prefix": 64 + network.prefixlen,
            "policy_id": number,
            "family": net.family,
            "address": address(net, str(network.network_address)),
        }
        keys.append(key)
        rule = SourceRule["SOURCE_DENIED" if text.startswith("!") else "SOURCE_ALLOWED"]
        rig.map("source_ranges").set(key, {"rule": rule})
    rig.map("policies").set(number, {**rig.map("policies").value.zero, "flags": flags, **says})
    at = {"address": address(net, net.gateway), "port": port, "protocol": protocol}
    listener = {"listener_id": service.listener_id, "pool_id": service.pool_id, "policy_id": 0}
    rig.map("listeners").set(at, {**listener, "policy_id": number})
    try:
        yield
    finally:
        rig.map("listeners").set(at, listener)
        rig.map("policies").set(number, rig.map("policies").value.zero)
        for key in keys:
            rig.map("source_ranges").delete(key)


def open_at(rig: Rig, net: Net) -> int:
    """Connections that SERVED's listener is counted to have."""
    number: int = rig.map("listener_connections").get(SERVICES[net, SERVED, TCP].listener_id)["open"]
    return number


def limited(rig: Rig, net: Net) -> int:
    counted = rig.counted("listener_counts").get(SERVICES[net, SERVED, TCP].listener_id, {"limited": 0})
    return int(counted["limited"])


def counted_sources(rig: Rig) -> list[int]:
    """What stands in each slot that is in use."""
    slots = [x for _, bucket in rig.map("source_connections").items() for x in bucket["slots"] if x]
    return sorted(x & 0xFFFFFF for x in slots)
