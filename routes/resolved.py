"""Objects in, plan and statuses out, with what was found on the way, so that little has to be found again.

Decides in which order the deciding modules speak, and which objects can change without anything being looked at but
what refers to them: routes, Services and EndpointSlices.
Rules: pure; the same objects in any order give equal results; endpoints play no part (see `endpoints`), so the plan
changes only when routing does; `resolved_after` equals `resolved`, and what is equal to what it was before is the very
object that it was.
Must never fail on objects that `decode` let through, except when one comes twice; keep what a change of Gateways,
classes, grants, namespaces or policies could make wrong: then everything is resolved again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from routes import conditions, policies
from routes.attach import Attachment, attach_route, by_gateway, routes_by_listener
from routes.conflicts import OwnListener, own_listeners, protocol
from routes.gateways import CONTROLLER, OwnGateway, class_problem, is_ours, own_gateways
from routes.inventory import Inventory, inventory, precedence
from routes.objects.base import Object, ObjectKey
from routes.objects.core import EndpointSlice, Service
from routes.objects.policy import FlowPolicy
from routes.objects.route import L4Route, TCPRoute, UDPRoute
from routes.plan import Listener, Plan
from routes.policies import Target
from routes.references import ResolvedRefs, resolve_refs
from routes.status import (
    GatewayClassStatus,
    GatewayStatus,
    ListenerStatus,
    PolicyStatus,
    RouteParentStatus,
    RouteStatus,
    Statuses,
)

FOLLOWED: Final = frozenset({TCPRoute.KIND, UDPRoute.KIND, Service.KIND, EndpointSlice.KIND})
"""Kinds that can change without everything being resolved again."""

Place: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The plan, the statuses, and all that they follow from.

    listeners: of each Gateway of ours by its name, which are oldest first. attachments, refs: of each route that has a
    parent of ours. attached: `OwnListener.place` -> its routes, oldest first. positions: place -> where in the plan.
    policies: of each target.
    """

    known: Inventory
    listeners: Mapping[str, tuple[OwnListener, ...]]
    attachments: Mapping[ObjectKey, tuple[Attachment, ...]]
    refs: Mapping[ObjectKey, ResolvedRefs]
    attached: Mapping[Place, tuple[L4Route, ...]]
    positions: Mapping[Place, int]
    policies: Mapping[Target, FlowPolicy]
    plan: Plan
    statuses: Statuses


def resolved(objects: Iterable[Object]) -> Resolved:
    """Everything from scratch. Raises InvalidObject if an object comes twice."""
    known = inventory(objects)
    listeners: dict[str, list[OwnListener]] = {}
    gateways = tuple(own_gateways(known))
    for gateway in gateways:
        listeners[gateway.name] = []
    for own in own_listeners(gateways):
        listeners[own.owner.name].append(own)
    of_gateway = by_gateway(x for found in listeners.values() for x in found)
    attachments = {x.key: found for x in known.routes if (found := attach_route(known, x, of_gateway))}
    attached = routes_by_listener(x for found in attachments.values() for x in found)
    refs = {key: resolve_refs(known, found[0].route) for key, found in attachments.items()}
    of_target = policies.by_target(known.policies)
    served = [x for found in listeners.values() for x in found if x.served]
    served.sort(key=lambda x: x.place)
    planned = [_planned(x, attached, refs, of_target) for x in served]
    addresses = {address for x in planned for address in x.addresses}
    return Resolved(
        known=known,
        listeners={name: tuple(found) for name, found in listeners.items()},
        attachments=attachments,
        refs=refs,
        attached=attached,
        positions={x.place: i for i, x in enumerate(served)},
        policies=of_target,
        plan=Plan(tuple(planned), tuple(sorted(addresses, key=lambda x: (x.version, int(x))))),
        statuses=Statuses(
            classes=_class_statuses(known),
            gateways=tuple(
                sorted((_gateway_status(x, listeners[x.name], attached) for x in gateways), key=lambda x: x.key)
            ),
            routes=tuple(_route_status(key, attachments[key], attached, refs[key]) for key in sorted(attachments)),
            policies=policies.statuses(known.policies, of_target, listeners, {x.key for x in known.routes}),
        ),
    )


def resolved_after(before: Resolved, objects: Mapping[ObjectKey, Object], changed: Collection[ObjectKey]) -> Resolved:
    """What `objects` come to, given what they came to before the `changed` keys changed."""
    if any(key.kind not in FOLLOWED for key in changed):
        return resolved(objects.values())
    services = {key for key in changed if key.kind == Service.KIND}
    routes = {key for key in changed if key.kind in (TCPRoute.KIND, UDPRoute.KIND)}
    if not services and not routes:
        return before
    known = _known_after(before.known, objects, services, routes)
    referring = {key for key in before.refs if services and _refers(before.attachments[key][0].route, services)}
    attachments, refs = dict(before.attachments), dict(before.refs)
    attached = dict(before.attached)
    places: set[Place] = set()
    if routes:
        of_gateway = by_gateway(x for found in before.listeners.values() for x in found)
        for key in routes:
            old = attachments.pop(key, ())
            refs.pop(key, None)
            places |= {x.place for attachment in old for x in attachment.listeners}
            route = objects.get(key)
            if isinstance(route, L4Route) and (found := attach_route(known, route, of_gateway)):
                attachments[key] = found
                places |= {x.place for attachment in found for x in attachment.listeners}
        _attach_again(attached, attachments, routes, places)
    told = {x.key for place in places for x in (*before.attached.get(place, ()), *attached.get(place, ()))}
    again = (referring | routes) & attachments.keys()
    for key in again:
        refs[key] = resolve_refs(known, attachments[key][0].route)
        places |= {x.place for attachment in attachments[key] for x in attachment.listeners}
    return Resolved(
        known=known,
        listeners=before.listeners,
        attachments=attachments,
        refs=refs,
        attached=attached,
        positions=before.positions,
        policies=before.policies,
        plan=_plan_after(before, attached, refs, places),
        statuses=replace(
            before.statuses,
            gateways=_gateways_after(before, attached, {gateway for gateway, _ in places}),
            routes=_routes_after(before, attachments, attached, refs, told | again | routes),
            policies=_policies_after(before, known, routes),
        ),
    )


def _known_after(
    before: Inventory,
    objects: Mapping[ObjectKey, Object],
    services: Collection[ObjectKey],
    routes: Collection[ObjectKey],
) -> Inventory:
    if services:
        found = {**before.services, **{x: objects.get(x) for x in services}}
        before = replace(before, services={key: x for key, x in found.items() if isinstance(x, Service)})
    if routes:
        left = [x for x in before.routes if x.key not in routes]
        for key in routes:
            route = objects.get(key)
            if isinstance(route, L4Route):
                insort(left, route, key=precedence)
        before = replace(before, routes=tuple(left))
    return before


def _refers(route: L4Route, services: Collection[ObjectKey]) -> bool:
    return any(
        ObjectKey(Service.GROUP, Service.KIND, x.namespace or route.metadata.namespace, x.name) in services
        for x in route.spec.rules[0].backend_refs
    )


def _attach_again(
    attached: dict[Place, tuple[L4Route, ...]],
    attachments: Mapping[ObjectKey, tuple[Attachment, ...]],
    routes: Collection[ObjectKey],
    places: Iterable[Place],
) -> None:
    """Puts the `routes` where they are attached now, at these places and no others."""
    for place in places:
        left = [x for x in attached.get(place, ()) if x.key not in routes]
        for key in routes:
            for attachment in attachments.get(key, ()):
                if any(x.place == place for x in attachment.listeners):
                    at = bisect_left(left, precedence(attachment.route), key=precedence)
                    left.insert(at, attachment.route)
                    break
        if left:
            attached[place] = tuple(left)
        else:
            attached.pop(place, None)


def _plan_after(
    before: Resolved,
    attached: Mapping[Place, tuple[L4Route, ...]],
    refs: Mapping[ObjectKey, ResolvedRefs],
    places: Iterable[Place],
) -> Plan:
    planned = list(before.plan.listeners)
    for place in places:
        position = before.positions.get(place)
        if position is not None:
            own = next(x for x in before.listeners[place[0]] if x.place == place)
            new = _planned(own, attached, refs, before.policies)
            if new != planned[position]:
                planned[position] = new
    return replace(before.plan, listeners=tuple(planned))


def _gateways_after(
    before: Resolved, attached: Mapping[Place, tuple[L4Route, ...]], names: Collection[str]
) -> tuple[GatewayStatus, ...]:
    def told(status: GatewayStatus) -> GatewayStatus:
        name = str(status.key)
        if name not in names:
            return status
        found = before.listeners[name]
        new = _gateway_status(found[0].owner, found, attached)
        return status if new == status else new

    return tuple(map(told, before.statuses.gateways))


def _routes_after(
    before: Resolved,
    attachments: Mapping[ObjectKey, tuple[Attachment, ...]],
    attached: Mapping[Place, tuple[L4Route, ...]],
    refs: Mapping[ObjectKey, ResolvedRefs],
    keys: Collection[ObjectKey],
) -> tuple[RouteStatus, ...]:
    known = {x.key: x for x in before.statuses.routes}
    for key in keys:
        old = known.pop(key, None) if key not in attachments else known.get(key)
        if key in attachments:
            new = _route_status(key, attachments[key], attached, refs[key])
            if new != old:
                known[key] = new
    return tuple(known[key] for key in sorted(known))


def _policies_after(before: Resolved, known: Inventory, routes: Collection[ObjectKey]) -> tuple[PolicyStatus, ...]:
    """A policy has its status by which routes there are, not by what they say."""
    if not any(x.key in routes for x in before.policies):
        return before.statuses.policies
    new = policies.statuses(known.policies, before.policies, before.listeners, {x.key for x in known.routes})
    return before.statuses.policies if new == before.statuses.policies else new


def _planned(
    own: OwnListener,
    attached: Mapping[Place, tuple[L4Route, ...]],
    refs: Mapping[ObjectKey, ResolvedRefs],
    of_target: Mapping[Target, FlowPolicy],
) -> Listener:
    serving = next(iter(attached.get(own.place, ())), None)
    gateway, name = own.place
    return Listener(
        gateway=gateway,
        name=name,
        addresses=own.owner.addresses,
        port=own.listener.port,
        protocol=protocol(own.listener),
        route=str(serving.key) if serving is not None else None,
        route_kind=serving.KIND if serving is not None else None,
        backends=refs[serving.key].backends if serving is not None else (),
        policy=policies.of_listener(of_target, own, serving),
    )


def _class_statuses(known: Inventory) -> tuple[GatewayClassStatus, ...]:
    return tuple(
        GatewayClassStatus(x.key, conditions.gateway_class(x.metadata.generation, class_problem(x)))
        for _, x in sorted(known.classes.items())
        if is_ours(x)
    )


def _gateway_status(
    owner: OwnGateway, own: Collection[OwnListener], attached: Mapping[Place, tuple[L4Route, ...]]
) -> GatewayStatus:
    """`own` are the Gateway's listeners."""
    return GatewayStatus(
        key=owner.gateway.key,
        addresses=owner.addresses if any(x.served for x in own) else (),
        conditions=conditions.gateway(owner, tuple(own)),
        listeners=tuple(
            ListenerStatus(
                name=x.listener.name,
                supported_kinds=x.supported_kinds,
                attached_routes=len(attached.get(x.place, ())),
                conditions=conditions.listener(x),
            )
            for x in own
        ),
    )


def _route_status(
    key: ObjectKey,
    attachments: Iterable[Attachment],
    attached: Mapping[Place, tuple[L4Route, ...]],
    refs: ResolvedRefs,
) -> RouteStatus:
    return RouteStatus(
        key,
        tuple(
            RouteParentStatus(x.parent, CONTROLLER, conditions.route_parent(x, refs.problem, _superseded(x, attached)))
            for x in attachments
        ),
    )


def _superseded(attachment: Attachment, attached: Mapping[Place, tuple[L4Route, ...]]) -> str:
    """Where the route is not the one that serves, though it is accepted."""
    told = []
    for listener in attachment.listeners:
        serving = attached[listener.place][0]
        if (problem := listener.unserved) is not None:
            told.append(f"listener {listener.listener.name} is not served: {problem.message}")
        elif serving.key != attachment.route.key:
            told.append(
                f"listener {listener.listener.name} is served by {serving.KIND} {serving.key}, which comes first"
            )
    return "accepted, but " + "; ".join(told) if told else ""
