"""Which listeners can be, and which stand in each other's way.

Decides Accepted, Conflicted and ResolvedRefs of every listener. Rules:
  - a protocol that no part of Penstock serves: UnsupportedProtocol;
  - TCP and an HTTP-like protocol on one port of one Gateway: all of them conflict, no winner is picked (Listeners
    godoc);
  - TCP and UDP on one port are distinct;
  - the same address, port and protocol in two Gateways: the older Gateway has it, the later listener is
    PortUnavailable as a whole, whichever of its addresses is taken. It comes alive when the winner goes.
Must never count or know routes: an unused listener holds its port too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from routes.gateways import OwnGateway
from routes.objects.base import GroupKind
from routes.objects.fields import GATEWAY_GROUP
from routes.objects.gateway import Listener
from routes.objects.route import TCPRoute, UDPRoute
from routes.plan import Address, Protocol
from routes.problem import Problem

# Protocols that are served, and the kinds of routes that each can carry.
ROUTE_KINDS: Final = {
    "TCP": (GroupKind(GATEWAY_GROUP, TCPRoute.KIND),),
    "UDP": (GroupKind(GATEWAY_GROUP, UDPRoute.KIND),),
}
_ON_TCP: Final = frozenset({"HTTP", "HTTPS", "TLS"})


@dataclass(frozen=True, slots=True)
class OwnListener:
    """A listener of a Gateway of ours. Each Problem is None when there is none.

    `place`: its Gateway as namespace/name, and its own name. `rejected` becomes Accepted=False, `conflicted`
    Conflicted=True, `kinds_problem` ResolvedRefs=False.
    """

    owner: OwnGateway
    listener: Listener
    place: tuple[str, str]
    supported_kinds: tuple[GroupKind, ...]
    rejected: Problem | None
    conflicted: Problem | None
    kinds_problem: Problem | None

    @property
    def served(self) -> bool:
        """Whether it belongs into the plan."""
        return self.owner.usable and self.rejected is None

    @property
    def unserved(self) -> Problem | None:
        """Why it does not."""
        return None if self.served else self.rejected or self.owner.rejected or self.owner.unassigned


def own_listeners(gateways: Iterable[OwnGateway]) -> tuple[OwnListener, ...]:
    """All listeners of the Gateways (oldest first), in the order of their specs."""
    taken: dict[tuple[Address, int, str], str] = {}
    judged: list[OwnListener] = []
    for owner in gateways:
        for listener in owner.gateway.spec.listeners:
            problem = _own_conflict(owner, listener)
            conflicted = problem
            if problem is None and listener.protocol not in ROUTE_KINDS:
                problem = Problem("UnsupportedProtocol", _unsupported(listener.protocol))
            if problem is None and owner.usable:
                places = [(address, listener.port, listener.protocol) for address in owner.addresses]
                problem = conflicted = _taken(taken, places)
                if problem is None:
                    taken |= dict.fromkeys(places, f"listener {listener.name} of Gateway {owner.name}")
            supported, kinds_problem = _kinds(listener)
            place = (owner.name, listener.name)
            judged.append(OwnListener(owner, listener, place, supported, problem, conflicted, kinds_problem))
    return tuple(judged)


def protocol(listener: Listener) -> Protocol:
    """Transport protocol of a listener that is served."""
    return Protocol[listener.protocol]


def _unsupported(name: str) -> str:
    return f"protocol {name} is not supported" + (f"; is {name.upper()} meant?" if name.upper() in ROUTE_KINDS else "")


def _own_conflict(owner: OwnGateway, listener: Listener) -> Problem | None:
    for other in owner.gateway.spec.listeners:
        if other.port != listener.port:
            continue
        pair = {other.protocol, listener.protocol}
        if "TCP" in pair and pair & _ON_TCP:
            return Problem("ProtocolConflict", f"port {listener.port} is used as {other.protocol} by {other.name}")
    return None


def _taken(taken: dict[tuple[Address, int, str], str], places: list[tuple[Address, int, str]]) -> Problem | None:
    for place in places:
        if place in taken:
            address, port, name = place
            return Problem("PortUnavailable", f"{address} port {port}/{name} belongs to {taken[place]}")
    return None


def _kinds(listener: Listener) -> tuple[tuple[GroupKind, ...], Problem | None]:
    possible = ROUTE_KINDS.get(listener.protocol, ())
    wanted = [GroupKind(x.group, x.kind) for x in listener.allowed_routes.kinds]
    if not wanted or not possible:
        return possible, None
    wrong = ", ".join(f"{x.group}/{x.kind}" if x.group else x.kind for x in wanted if x not in possible)
    problem = Problem("InvalidRouteKinds", f"a {listener.protocol} listener cannot carry {wrong}") if wrong else None
    return tuple(x for x in possible if x in wanted), problem
