"""Objects -> what is wanted of this node: the plan, the statuses, and each pool's endpoints.

Decides: how little is computed again: what refers to the routes and Services that changed, and the Services whose
slices did. Gateways, classes, grants, namespaces and policies change seldom, and then everything is resolved.
Rules: pure; what a change gives equals what resolving everything gives, and what is equal to what it was before is the
very object that it was.
Must never: know the kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from routes.endpoints import RefusedEndpoint, endpoints, judged
from routes.objects.base import Object, ObjectKey
from routes.objects.core import EndpointSlice, Service
from routes.plan import Address, Endpoint, Plan, PoolRef
from routes.resolved import FOLLOWED, Resolved, resolved, resolved_after
from routes.status import Statuses


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that the objects ask for. `refused` are endpoints that must not be used, with reasons.

    `changed` are the pools whose endpoints are not those of the Wanted before; None: any may be. `slices` are by
    namespace and Service.
    """

    plan: Plan
    statuses: Statuses
    endpoints: Mapping[PoolRef, tuple[Endpoint, ...]]
    refused: tuple[RefusedEndpoint, ...]
    changed: frozenset[PoolRef] | None = field(compare=False)
    resolved: Resolved = field(compare=False, repr=False)
    slices: Mapping[tuple[str, str], tuple[EndpointSlice, ...]] = field(compare=False, repr=False)


def wanted(objects: Mapping[ObjectKey, Object], node_addresses: Collection[Address]) -> Wanted:
    """From scratch."""
    found = resolved(objects.values())
    slices = [x for x in objects.values() if isinstance(x, EndpointSlice)]
    services = [x for x in objects.values() if isinstance(x, Service)]
    pools, refused = judged(slices, services, forbidden=_forbidden(found.plan, node_addresses))
    by_service: dict[tuple[str, str], tuple[EndpointSlice, ...]] = {}
    for x in slices:
        by_service[_service_of(x)] = (*by_service.get(_service_of(x), ()), x)
    return Wanted(
        plan=found.plan,
        statuses=found.statuses,
        endpoints=pools,
        refused=refused,
        changed=None,
        resolved=found,
        slices=by_service,
    )


def wanted_after(
    before: Wanted,
    old: Mapping[ObjectKey, Object],
    objects: Mapping[ObjectKey, Object],
    changed: Collection[ObjectKey],
    node_addresses: Collection[Address],
) -> Wanted:
    """What `objects` want, given what `old` wanted and the keys that `changed` between the two.

    Of `old` no more is asked than those keys. `node_addresses` must be those that `before` was made with.
    """
    if any(key.kind not in FOLLOWED for key in changed):
        return wanted(objects, node_addresses)
    found = resolved_after(before.resolved, objects, changed)
    slices = dict(before.slices)
    touched = {(key.namespace, key.name) for key in changed if key.kind == Service.KIND}
    for key in changed:
        if key.kind == EndpointSlice.KIND:
            touched |= _moved(slices, old.get(key), objects.get(key))
    own = [x for service in touched for x in slices.get(service, ())]
    services = list(_services(objects, touched))
    new, refused = judged(own, services, forbidden=_forbidden(found.plan, node_addresses))
    gone = endpoints((), _services(old, touched)).keys() - new.keys()
    different = {pool: x for pool, x in new.items() if before.endpoints.get(pool) != x}
    pools = {**before.endpoints, **different}
    for pool in gone:
        del pools[pool]
    untouched = [x for x in before.refused if (x.pool.namespace, x.pool.service) not in touched]
    return Wanted(
        plan=found.plan,
        statuses=found.statuses,
        endpoints=pools,
        refused=tuple(
            sorted([*untouched, *refused], key=lambda x: (x.pool, x.address.version, int(x.address), x.port))
        ),
        changed=frozenset((*different, *gone)),
        resolved=found,
        slices=slices,
    )


def _moved(
    slices: dict[tuple[str, str], tuple[EndpointSlice, ...]], old: Object | None, new: Object | None
) -> set[tuple[str, str]]:
    """Takes one slice out and puts another in; the Services that this touches."""
    touched = set()
    if isinstance(old, EndpointSlice):
        touched.add(_service_of(old))
        left = tuple(x for x in slices.get(_service_of(old), ()) if x.metadata.name != old.metadata.name)
        if left:
            slices[_service_of(old)] = left
        else:
            slices.pop(_service_of(old), None)
    if isinstance(new, EndpointSlice):
        touched.add(_service_of(new))
        slices[_service_of(new)] = (*slices.get(_service_of(new), ()), new)
    return touched


def _service_of(slice_: EndpointSlice) -> tuple[str, str]:
    return slice_.metadata.namespace, slice_.service


def _services(objects: Mapping[ObjectKey, Object], names: Iterable[tuple[str, str]]) -> Iterable[Service]:
    for namespace, name in names:
        found = objects.get(ObjectKey(Service.GROUP, Service.KIND, namespace, name))
        if isinstance(found, Service):
            yield found


def _forbidden(plan: Plan, node_addresses: Collection[Address]) -> Mapping[Address, str]:
    return {
        **dict.fromkeys(node_addresses, "it is an address of this node"),
        **dict.fromkeys(plan.gateway_addresses, "it is a gateway's address"),
    }
