"""Statuses: what is to be said about each object of ours.

Decides the shape of what `resolve` reports and how it reads on the API server. Rules: only objects, parents and
listeners that are ours appear; every condition has observedGeneration, reason and message; tuples are sorted by
object, conditions are in a fixed order. Must never know a time: lastTransitionTime belongs to whoever compares with
the status written before; nor claim Programmed=True: `programmed` does, once somebody has read the state back from
the kernel.

Sources: gateway-api v1.7.0 apis/v1/{gatewayclass,gateway,shared}_types.go.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from routes.objects import GroupKind, ObjectKey, ParentReference
from routes.plan import Address

Truth: TypeAlias = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: Truth
    reason: str
    message: str
    observed_generation: int


@dataclass(frozen=True, slots=True)
class GatewayClassStatus:
    key: ObjectKey
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """`attached_routes` counts the routes accepted on the listener, those that an older one keeps from serving too."""

    name: str
    supported_kinds: tuple[GroupKind, ...]
    attached_routes: int
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """Listeners are in the order of the spec. No addresses are reported while no listener can be served."""

    key: ObjectKey
    addresses: tuple[Address, ...]
    conditions: tuple[Condition, ...]
    listeners: tuple[ListenerStatus, ...]


@dataclass(frozen=True, slots=True)
class RouteParentStatus:
    """`parent` is as written in the route (its namespace stays unset if it was), with group and kind explicit."""

    parent: ParentReference
    controller: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """Parents are in the order of the spec. A route without a parent of ours has no RouteStatus."""

    key: ObjectKey
    parents: tuple[RouteParentStatus, ...]


@dataclass(frozen=True, slots=True)
class Statuses:
    """Each tuple is sorted by key."""

    classes: tuple[GatewayClassStatus, ...]
    gateways: tuple[GatewayStatus, ...]
    routes: tuple[RouteStatus, ...]


def programmed(statuses: Statuses, held: Set[tuple[str, str]]) -> Statuses:
    """Programmed becomes True where all that can be held is held.

    `held` has (gateway as namespace/name, listener name) of every listener that was read back from the kernel. Only
    conditions that `resolve` left pending change: a listener by its own entry, a Gateway when every one of its pending
    listeners is held.
    """
    return replace(statuses, gateways=tuple(_programmed_gateway(x, held) for x in statuses.gateways))


def _programmed_gateway(gateway: GatewayStatus, held: Set[tuple[str, str]]) -> GatewayStatus:
    name = str(gateway.key)
    waiting = {x.name for x in gateway.listeners if any(map(_waits, x.conditions))}
    missing = sorted(x for x in waiting if (name, x) not in held)
    listeners = tuple(
        replace(x, conditions=tuple(map(_made_true, x.conditions))) if x.name not in missing else x
        for x in gateway.listeners
    )
    if missing:
        return replace(gateway, listeners=listeners)
    return replace(gateway, listeners=listeners, conditions=tuple(map(_made_true, gateway.conditions)))


def _waits(condition: Condition) -> bool:
    return condition.type == "Programmed" and condition.status == "Unknown"


def _made_true(condition: Condition) -> Condition:
    if not _waits(condition):
        return condition
    return replace(condition, status="True", reason="Programmed", message="held by the kernel")
