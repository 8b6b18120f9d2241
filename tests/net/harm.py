"""What must not befall traffic: packets that are dropped or refused, connections that are reset."""

from __future__ import annotations

from collections import Counter

from lab.gateway import Gateway
from lab.netns import Namespace


def unwanted(gateway: Gateway) -> Counter[str]:
    """Packets that were dropped or refused, by verdict."""
    found: Counter[str] = Counter()
    for row in gateway.status()["traffic"]["verdicts"]:
        if row["verdict"].startswith(("drop_", "refused_", "rejected_")):
            found[row["verdict"]] += row["packets"]
    return +found


def resets(*ends: Namespace) -> dict[str, int]:
    """Connections that were reset, by end. What answers a doubled last ACK with a reset breaks no connection."""
    return {end.name: end.counters()["TcpEstabResets"] for end in ends}
