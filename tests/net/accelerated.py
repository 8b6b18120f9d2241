"""What XDP carries, as its agent counts it."""

from __future__ import annotations

import json
import socket
from collections import Counter

from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World
from lab.process import Argument
from lab.servers.witness import PORT, STREAM_PORT
from lab.traffic.ask import ask, associate, connect
from tests.net.remote import REMOTE
from tests.net.traffic import Traffic

WORLD = World(
    listeners=(
        *(Listener(protocol, PORT, {"remote": 1}) for protocol in ("TCP", "UDP")),
        Listener("TCP", STREAM_PORT, {"remote": 1}, target=STREAM_PORT),
    ),
    services={"remote": (Pod(REMOTE),)},
)
"""One backend, behind the second uplink."""

ASK_SECONDS = 5  # as in bpf/xdp_way.h
LAST = 4  # FIN and ACK, and both again

OPEN = {"TCP": connect, "UDP": associate}


def restart(gateway: Gateway, *options: Argument) -> None:
    """With these options, unless it has them."""
    if gateway.options != options or gateway.agent is None:
        gateway.stop()
        gateway.options = options
        gateway.start()


def counted(gateway: Gateway) -> Counter[tuple[str, str]]:
    """Packets by hook and verdict, agent or not."""
    dead = gateway.agent is None
    said = json.loads(gateway.command("status", "-o", "json", check=False).stdout) if dead else gateway.status()
    return Counter({(x["hook"], x["verdict"]): x["packets"] for x in said["traffic"]["verdicts"]})


def asked_for(seconds: float) -> int:
    """At most so many packets to one neighbour go by TC in that time, though all might go by XDP.

    One in ASK_SECONDS, as clocks that tick in seconds tell them; and LAST of a connection of before that is ending.
    """
    return LAST + 1 + int(seconds / (ASK_SECONDS - 1))


def by_xdp(gateway: Gateway) -> int:
    """Packets that have ended there."""
    return sum(packets for (hook, _), packets in counted(gateway).items() if hook == "uplink_xdp")


def carries(gateway: Gateway, traffic: Traffic) -> bool:
    """Does XDP carry some of the traffic, now?"""
    before = by_xdp(gateway)
    traffic.goes_on()
    return by_xdp(gateway) > before


def both_ways(gateway: Gateway, endpoint: socket.socket) -> bool:
    """Does XDP carry a question and its answer? Not before the neighbours are known, which is looked up each second."""
    before = counted(gateway)
    ask(endpoint)
    moved = counted(gateway) - before
    return min(moved["uplink_xdp", x] for x in ("forwarded", "replied")) > 0
