"""Statuses as the API server takes them: plain dicts with camelCase keys.

For the source that watches an API server, which is not there yet: a folder of manifests has nobody to tell.
Decides nothing. Rules: the dict is the object's `status`, without lastTransitionTime (see `status`). Must never
leave out a field that conformance compares: parentRef carries group and kind, a listener its supportedKinds even
when empty.
"""

from __future__ import annotations

from typing import Any

from routes.objects.policy import PolicyTargetReference
from routes.objects.route import ParentReference
from routes.status import (
    Condition,
    GatewayClassStatus,
    GatewayStatus,
    ListenerStatus,
    PolicyAncestorStatus,
    PolicyStatus,
    RouteParentStatus,
    RouteStatus,
)


def rendered(status: GatewayClassStatus | GatewayStatus | RouteStatus | PolicyStatus) -> dict[str, Any]:
    """The `status` of the object that `status.key` names."""
    match status:
        case GatewayClassStatus():
            return {"conditions": _conditions(status.conditions)}
        case GatewayStatus():
            return {
                "addresses": [{"type": "IPAddress", "value": str(x)} for x in status.addresses],
                "conditions": _conditions(status.conditions),
                "listeners": [_listener(x) for x in status.listeners],
            }
        case RouteStatus():
            return {"parents": [_parent(x) for x in status.parents]}
        case PolicyStatus():
            return {"ancestors": [_ancestor(x) for x in status.ancestors]}


def _listener(status: ListenerStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "supportedKinds": [{"group": x.group, "kind": x.kind} for x in status.supported_kinds],
        "attachedRoutes": status.attached_routes,
        "conditions": _conditions(status.conditions),
    }


def _parent(status: RouteParentStatus) -> dict[str, Any]:
    return {
        "parentRef": _parent_ref(status.parent),
        "controllerName": status.controller,
        "conditions": _conditions(status.conditions),
    }


def _ancestor(status: PolicyAncestorStatus) -> dict[str, Any]:
    return {
        "ancestorRef": _target_ref(status.ancestor),
        "controllerName": status.controller,
        "conditions": _conditions(status.conditions),
    }


def _target_ref(ref: PolicyTargetReference) -> dict[str, Any]:
    section = {"sectionName": ref.section_name} if ref.section_name else {}
    return {"group": ref.group, "kind": ref.kind, "name": ref.name, **section}


def _parent_ref(ref: ParentReference) -> dict[str, Any]:
    written: dict[str, Any] = {"group": ref.group, "kind": ref.kind, "name": ref.name}
    if ref.namespace:
        written["namespace"] = ref.namespace
    if ref.section_name:
        written["sectionName"] = ref.section_name
    if ref.port is not None:
        written["port"] = ref.port
    return written


def _conditions(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    return [
        {
            "type": x.type,
            "status": x.status,
            "reason": x.reason,
            "message": x.message,
            "observedGeneration": x.observed_generation,
        }
        for x in conditions
    ]
