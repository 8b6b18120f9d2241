"""Which routes are attached to which listeners.

Decides a route's Accepted per parentRef, and who serves a listener. Rules:
  - a parentRef names listeners by group, kind, namespace, name, and by sectionName and port where given (both must
    match); none left: NoMatchingParent;
  - of those, a listener takes the route if it allows its kind and its namespace; none left: NotAllowedByListeners
    (for a listener of another protocol too: the conformance tests decide this, the godocs disagree);
  - all routes accepted on a listener count as attached, even if the listener itself is not accepted; the oldest
    serves (GEP-2644, GEP-2645). The others stay Accepted, and the message tells who serves instead.
Must never look at backendRefs: a route with bad ones is still attached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from routes.conflicts import ROUTE_KINDS, OwnListener
from routes.inventory import Inventory
from routes.objects.base import GroupKind, ObjectKey
from routes.objects.gateway import Gateway, LabelSelector, LabelSelectorRequirement
from routes.objects.route import L4Route, ParentReference
from routes.problem import Problem


@dataclass(frozen=True, slots=True)
class Attachment:
    """One parentRef of a route that names a Gateway of ours. `listeners` is empty when `problem` says why."""

    route: L4Route
    parent: ParentReference
    listeners: tuple[OwnListener, ...]
    problem: Problem | None


def by_gateway(listeners: Iterable[OwnListener]) -> Mapping[tuple[str, str], tuple[OwnListener, ...]]:
    """Namespace and name of a Gateway -> its listeners."""
    found: dict[tuple[str, str], list[OwnListener]] = {}
    for listener in listeners:
        metadata = listener.owner.gateway.metadata
        found.setdefault((metadata.namespace, metadata.name), []).append(listener)
    return {name: tuple(own) for name, own in found.items()}


def attach_route(
    inventory: Inventory, route: L4Route, listeners: Mapping[tuple[str, str], Iterable[OwnListener]]
) -> tuple[Attachment, ...]:
    """Every parentRef of a route that names a Gateway of ours, in the order of the spec.

    `listeners`: see `by_gateway`.
    """
    found: list[Attachment] = []
    for parent in route.spec.parent_refs:
        if (parent.group, parent.kind) != (Gateway.GROUP, Gateway.KIND):
            continue
        candidates = listeners.get((parent.namespace or route.metadata.namespace, parent.name))
        if candidates is not None:
            found.append(_attachment(inventory, route, parent, candidates))
    return tuple(found)


def routes_by_listener(attachments: Iterable[Attachment]) -> dict[tuple[str, str], tuple[L4Route, ...]]:
    """`OwnListener.place` -> its routes, each once, oldest first as they come: the first one serves."""
    found: dict[tuple[str, str], dict[ObjectKey, L4Route]] = {}
    for attachment in attachments:
        for listener in attachment.listeners:
            found.setdefault(listener.place, {})[attachment.route.key] = attachment.route
    return {place: tuple(routes.values()) for place, routes in found.items()}


def _attachment(
    inventory: Inventory, route: L4Route, parent: ParentReference, candidates: Iterable[OwnListener]
) -> Attachment:
    named = [
        x for x in candidates if parent.section_name in ("", x.listener.name) and parent.port in (None, x.listener.port)
    ]
    if not named:
        wanted = [f"name {parent.section_name}"] if parent.section_name else []
        wanted += [f"port {parent.port}"] if parent.port is not None else []
        return Attachment(route, parent, (), Problem("NoMatchingParent", f"no listener with {' and '.join(wanted)}"))
    allowed = tuple(x for x in named if _allows(inventory, x, route))
    if not allowed:
        why = ", ".join(f"{x.listener.name} ({_why_not(x, route)})" for x in named)
        message = f"{route.KIND} from namespace {route.metadata.namespace} is not allowed by listener {why}"
        return Attachment(route, parent, (), Problem("NotAllowedByListeners", message))
    return Attachment(route, parent, allowed, None)


def _why_not(listener: OwnListener, route: L4Route) -> str:
    kind, protocol = GroupKind(route.GROUP, route.KIND), listener.listener.protocol
    if kind not in ROUTE_KINDS.get(protocol, ()):
        return f"its protocol is {protocol}"
    return "its allowedRoutes." + ("namespaces" if kind in listener.supported_kinds else "kinds")


def _allows(inventory: Inventory, listener: OwnListener, route: L4Route) -> bool:
    if GroupKind(route.GROUP, route.KIND) not in listener.supported_kinds:
        return False
    namespaces = listener.listener.allowed_routes.namespaces
    match namespaces.from_:
        case "All":
            return True
        case "Same":
            return route.metadata.namespace == listener.owner.gateway.metadata.namespace
        case "Selector":
            selector = namespaces.selector
            return selector is not None and _selects(selector, inventory.labels(route.metadata.namespace))


def _selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """An empty selector selects everything (metav1.LabelSelector)."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _meets(requirement, labels.get(requirement.key)) for requirement in selector.match_expressions
    )


def _meets(requirement: LabelSelectorRequirement, value: str | None) -> bool:
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
