"""Outcomes of trials, for the tests of what is said about them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from agent.compile.image import BackendEntry, BackendState, ListenerEntry
from agent.dataplane.hooks import HOOKS, Role
from agent.dataplane.links import Link
from agent.dataplane.met import MetFlow
from agent.dataplane.places import Place
from agent.dataplane.trial import Asked, Outcome
from agent.packet import TCP, Packet, Tuple, flag_bits, framed, made, read
from agent.report import BackendReport, EndpointReport, ListenerReport
from loader.hook import Direction
from tests.agent.flow_records import end, flow

MAC = bytes.fromhex("020000000001")
CLIENT, GATEWAY = ip_address("198.51.100.1"), ip_address("192.0.2.1")
LISTENER, BACKEND = 4, 12

LISTENERS = (
    ListenerReport(
        id=LISTENER,
        gateway="default/edge",
        name="web",
        addresses=(str(GATEWAY), "2001:db8::1"),
        port=80,
        protocol="TCP",
        route="default/web",
        route_kind="TCPRoute",
        backends=(
            BackendReport(
                0, "default/a:80", 3, 0.75, "", (EndpointReport(BACKEND, "10.0.0.2", 8080, "active", 0.5, "pod-a"),)
            ),
            BackendReport(1, "default/b:80", 1, 0.25, "there is no such Service", ()),
        ),
        policies=("default/inside",),
    ),
)


def packet(
    protocol: int = TCP, source: str = str(CLIENT), destination: str = str(GATEWAY), port: int = 80, flags: str = "S"
) -> Packet:
    """From port 4000, in a frame to `MAC`."""
    ports = (4000, port) if protocol in (6, 17) else (0, 0)
    wanted = Tuple(protocol, ip_address(source), ports[0], ip_address(destination), ports[1])
    return read(framed(made(wanted, flag_bits(flags)), MAC))


def place(role: Role = Role.UPLINK, direction: Direction = Direction.INGRESS, name: str = "eth0") -> Place:
    """Of the program that such an interface has there."""
    (program,) = (x for x, found in HOOKS[role] if found is direction)
    return Place(Link(2, name, "", MAC, 1500, True, 0, False), role, direction, program)


def met(*flags: str, is_reply: bool = False, **changes: Any) -> MetFlow:
    """Of the flow of `packet()`; `changes` are of its record."""
    names = frozenset(f"FLOW_{x}" for x in flags) | ({"FLOW_REPLY"} if is_reply else frozenset())
    return MetFlow(flow(**changes), is_reply, names, 7, isn=1, expects=2, other_isn=3, other_expects=4)


def asked(flags: int | None = 0, *, listener: bool = True) -> Asked:
    """Whom `packet()` is addressed to."""
    return Asked(GATEWAY, 80, flags, ListenerEntry(LISTENER, 7) if listener else None)


def outcome(verdict: str = "VERDICT_NOT_OURS", **changes: Any) -> Outcome:
    """Of `packet()`, without a flow."""
    made_ = Outcome(
        place=place(),
        verdict=verdict,
        redirected=False,
        marked=False,
        after=packet().frame,
        asked=asked(),
        met=None,
        flow=None,
        slot=None,
        backend_id=0,
        backend=None,
        way_out="eth1",
        snat_ports=(10_000, 29_999),
        same_build=True,
    )
    return replace(made_, **changes)


def served(*flags: str, seen_as: str = f"{CLIENT}:4000", **changes: Any) -> Outcome:
    """As a new flow of `packet()` is."""
    entry = BackendEntry(ip_address("10.0.0.2"), 8080, 1, BackendState.ACTIVE, LISTENER, 0)
    new = met(*flags, seen_as=end(seen_as))
    return outcome(
        **{"verdict": "VERDICT_FORWARDED", "flow": new, "slot": 99, "backend_id": BACKEND, "backend": entry, **changes}
    )
