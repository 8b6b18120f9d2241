"""Objects -> what is wanted of this node: the plan, the statuses, and each pool's endpoints.

Decides: how little is computed again. Routes change rarely and then everything is resolved; endpoints change all day
and then only the Services whose slices changed are looked at.
Rules: pure; what a change of slices gives equals what resolving everything gives.
Must never: know the kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from routes.endpoints import RefusedEndpoint, endpoints, refused_endpoints
from routes.objects import EndpointSlice, Object, ObjectKey, Service
from routes.plan import Address, Endpoint, Plan, PoolRef
from routes.resolve import resolve
from routes.status import Statuses


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that the objects ask for. `refused` are endpoints that must not be used, with reasons."""

    plan: Plan
    statuses: Statuses
    endpoints: Mapping[PoolRef, tuple[Endpoint, ...]]
    refused: tuple[RefusedEndpoint, ...]


def wanted(objects: Mapping[ObjectKey, Object], node_addresses: Collection[Address]) -> Wanted:
    """From scratch."""
    plan, statuses = resolve(objects.values())
    slices = [x for x in objects.values() if isinstance(x, EndpointSlice)]
    services = [x for x in objects.values() if isinstance(x, Service)]
    forbidden = _forbidden(plan, node_addresses)
    return Wanted(
        plan,
        statuses,
        endpoints(slices, services, forbidden=forbidden),
        refused_endpoints(slices, services, forbidden=forbidden),
    )


def wanted_after(
    before: Wanted,
    old: Mapping[ObjectKey, Object],
    objects: Mapping[ObjectKey, Object],
    changed: Collection[ObjectKey],
    node_addresses: Collection[Address],
) -> Wanted:
    """What `objects` want, given what `old` wanted and the keys that `changed` between the two.

    `node_addresses` must be those that `before` was made with.
    """
    if any(key.kind != EndpointSlice.KIND for key in changed):
        return wanted(objects, node_addresses)
    touched = {
        (x.metadata.namespace, x.service)
        for key in changed
        for x in (old.get(key), objects.get(key))
        if isinstance(x, EndpointSlice)
    }
    services = [
        x for x in objects.values() if isinstance(x, Service) and (x.metadata.namespace, x.metadata.name) in touched
    ]
    slices = [
        x for x in objects.values() if isinstance(x, EndpointSlice) and (x.metadata.namespace, x.service) in touched
    ]
    forbidden = _forbidden(before.plan, node_addresses)
    untouched = [x for x in before.refused if (x.pool.namespace, x.pool.service) not in touched]
    refused = [*untouched, *refused_endpoints(slices, services, forbidden=forbidden)]
    return replace(
        before,
        endpoints={**before.endpoints, **endpoints(slices, services, forbidden=forbidden)},
        refused=tuple(sorted(refused, key=lambda x: (x.pool, x.address.version, int(x.address), x.port))),
    )


def _forbidden(plan: Plan, node_addresses: Collection[Address]) -> Mapping[Address, str]:
    return {
        **dict.fromkeys(node_addresses, "it is an address of this node"),
        **dict.fromkeys(plan.gateway_addresses, "it is a gateway's address"),
    }
