"""Objects in, plan and statuses out.

Decides nothing of its own: it is the order in which the deciding modules speak. Rules: pure; the same objects in any
order give equal results; endpoints play no part (see `endpoints`), so the plan changes only when routing does. Must
never fail on objects that `decode` let through, except when one comes twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from routes import conditions
from routes.attach import Attachment, attach, routes_by_listener
from routes.conflicts import OwnListener, own_listeners, protocol
from routes.gateways import CONTROLLER, OwnGateway, class_problem, is_ours, own_gateways
from routes.inventory import Inventory, inventory
from routes.objects import L4Route, Object, ObjectKey
from routes.plan import Listener, Plan
from routes.references import ResolvedRefs, resolve_refs
from routes.status import (
    GatewayClassStatus,
    GatewayStatus,
    ListenerStatus,
    RouteParentStatus,
    RouteStatus,
    Statuses,
)


def resolve(objects: Iterable[Object]) -> tuple[Plan, Statuses]:
    """What the gateway must do, and what is to be said about each object of ours.

    Raises InvalidObject if an object comes twice.
    """
    known = inventory(objects)
    gateways = tuple(own_gateways(known))
    listeners = own_listeners(gateways)
    attachments = attach(known, listeners)
    attached = routes_by_listener(attachments)
    refs = {x.route.key: resolve_refs(known, x.route) for x in attachments}
    statuses = Statuses(
        classes=_class_statuses(known),
        gateways=tuple(sorted((_gateway_status(x, listeners, attached) for x in gateways), key=lambda x: x.key)),
        routes=_route_statuses(attachments, attached, refs),
    )
    return _plan(listeners, attached, refs), statuses


def _plan(
    listeners: Iterable[OwnListener],
    attached: Mapping[tuple[str, str], tuple[L4Route, ...]],
    refs: Mapping[ObjectKey, ResolvedRefs],
) -> Plan:
    planned: list[Listener] = []
    for own in listeners:
        if not own.served:
            continue
        serving = next(iter(attached.get(own.place, ())), None)
        gateway, name = own.place
        planned.append(
            Listener(
                gateway=gateway,
                name=name,
                addresses=own.owner.addresses,
                port=own.listener.port,
                protocol=protocol(own.listener),
                route=str(serving.key) if serving is not None else None,
                route_kind=serving.KIND if serving is not None else None,
                backends=refs[serving.key].backends if serving is not None else (),
            )
        )
    addresses = {address for x in planned for address in x.addresses}
    return Plan(
        listeners=tuple(sorted(planned, key=lambda x: (x.gateway, x.name))),
        gateway_addresses=tuple(sorted(addresses, key=lambda x: (x.version, int(x)))),
    )


def _class_statuses(known: Inventory) -> tuple[GatewayClassStatus, ...]:
    return tuple(
        GatewayClassStatus(x.key, conditions.gateway_class(x.metadata.generation, class_problem(x)))
        for _, x in sorted(known.classes.items())
        if is_ours(x)
    )


def _gateway_status(
    owner: OwnGateway,
    listeners: Iterable[OwnListener],
    attached: Mapping[tuple[str, str], tuple[L4Route, ...]],
) -> GatewayStatus:
    own = [x for x in listeners if x.owner is owner]
    return GatewayStatus(
        key=owner.gateway.key,
        addresses=owner.addresses if any(x.served for x in own) else (),
        conditions=conditions.gateway(owner, own),
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


def _route_statuses(
    attachments: Iterable[Attachment],
    attached: Mapping[tuple[str, str], tuple[L4Route, ...]],
    refs: Mapping[ObjectKey, ResolvedRefs],
) -> tuple[RouteStatus, ...]:
    parents: dict[ObjectKey, list[RouteParentStatus]] = {}
    for attachment in attachments:
        key = attachment.route.key
        told = conditions.route_parent(attachment, refs[key].problem, _superseded(attachment, attached))
        parents.setdefault(key, []).append(RouteParentStatus(attachment.parent, CONTROLLER, told))
    return tuple(RouteStatus(key, tuple(found)) for key, found in sorted(parents.items()))


def _superseded(attachment: Attachment, attached: Mapping[tuple[str, str], tuple[L4Route, ...]]) -> str:
    told = []
    for listener in attachment.listeners:
        serving = attached[listener.place][0]
        if serving.key != attachment.route.key:
            told.append(
                f"listener {listener.listener.name} is served by {serving.KIND} {serving.key}, which comes first"
            )
    return "accepted, but " + "; ".join(told) if told else ""
