"""Statuses: what is to be said about each object of ours.

Decides the shape of what `resolved` reports, which is that of the API (`render`). Rules: only objects, parents and
listeners that are ours appear; every condition has observedGeneration, reason and message; tuples are sorted by
object, conditions are in a fixed order. Must never know a time: lastTransitionTime belongs to whoever compares with
the status written before; nor claim Programmed=True: `programmed` does, once somebody has read the state back from
the kernel.

Sources: gateway-api v1.7.0 apis/v1/{gatewayclass,gateway,shared}_types.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, TypeVar

from routes.objects.base import GroupKind, ObjectKey
from routes.objects.policy import PolicyTargetReference
from routes.objects.route import ParentReference
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
class PolicyAncestorStatus:
    """Of a policy at one target: `ancestor` is its targetRef (GEP-713 counts the target itself among the ancestors)."""

    ancestor: PolicyTargetReference
    controller: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """Ancestors are in the order of the spec's targetRefs."""

    key: ObjectKey
    ancestors: tuple[PolicyAncestorStatus, ...]


@dataclass(frozen=True, slots=True)
class Statuses:
    """Each tuple is sorted by key."""

    classes: tuple[GatewayClassStatus, ...]
    gateways: tuple[GatewayStatus, ...]
    routes: tuple[RouteStatus, ...]
    policies: tuple[PolicyStatus, ...] = ()


_NO_REASONS: Final[Mapping[tuple[str, str], str]] = MappingProxyType({})


def programmed(
    statuses: Statuses, held: Set[tuple[str, str]], reasons: Mapping[tuple[str, str], str] = _NO_REASONS
) -> Statuses:
    """Programmed becomes True where all that can be held is held, and False where it is known why it cannot be.

    `held` has (gateway as namespace/name, listener name) of every listener that was read back from the kernel,
    `reasons` why others are not served. Only conditions that `resolved` left pending change: a listener by its own
    entry, a Gateway when every one of its pending listeners is held, or one of them cannot be.
    """
    return replace(statuses, gateways=tuple(_programmed_gateway(x, held, reasons) for x in statuses.gateways))


def _programmed_gateway(
    gateway: GatewayStatus, held: Set[tuple[str, str]], reasons: Mapping[tuple[str, str], str]
) -> GatewayStatus:
    name = str(gateway.key)
    waiting = [x.name for x in gateway.listeners if any(map(_waits, x.conditions))]
    missing = [x for x in waiting if (name, x) not in held]
    refused = {x: reasons[name, x] for x in missing if (name, x) in reasons}
    listeners = tuple(
        _told(x, refused[x.name]) if x.name in refused else x if x.name in missing else _told(x, "")
        for x in gateway.listeners
    )
    if missing and not refused:
        return replace(gateway, listeners=listeners)
    why = "; ".join(f"listener {x}: {text}" for x, text in refused.items())
    return replace(_told(gateway, why), listeners=listeners)


_S = TypeVar("_S", GatewayStatus, ListenerStatus)


def _told(status: _S, why: str) -> _S:
    """Programmed, or not and why."""
    return replace(status, conditions=tuple(_decided(x, why) if _waits(x) else x for x in status.conditions))


def _waits(condition: Condition) -> bool:
    return condition.type == "Programmed" and condition.status == "Unknown"


@lru_cache(maxsize=1024)  # ten thousand listeners say mostly the same
def _decided(condition: Condition, why: str) -> Condition:
    if why:
        return replace(condition, status="False", message=why)  # its reason stays Pending
    return replace(condition, status="True", reason="Programmed", message="held by the kernel")
