"""What a route's backendRefs lead to.

Decides, per backendRef, its pool or why it has none. Rules: the order of checks is kind, permission, existence
(without a ReferenceGrant a missing Service is RefNotPermitted too: nothing about other namespaces leaks); a ref that
leads nowhere keeps its weight and becomes REJECT (TCPRoute and UDPRoute godoc: reject or drop that share); the
condition's reason is that of the first such ref. Must never look at endpoints: a Service without any is a good
reference.
"""

from __future__ import annotations

from dataclasses import dataclass

from routes.inventory import Inventory
from routes.objects.base import ObjectKey
from routes.objects.core import Service
from routes.objects.route import BackendReference, L4Route, TCPRoute
from routes.plan import PoolRef, Protocol, WeightedRef
from routes.problem import Problem


@dataclass(frozen=True, slots=True)
class ResolvedRefs:
    """`backends` are in the order of the rule; `problem` is None when every one has a pool."""

    backends: tuple[WeightedRef, ...]
    problem: Problem | None


def resolve_refs(inventory: Inventory, route: L4Route) -> ResolvedRefs:
    backends: list[WeightedRef] = []
    problems: list[Problem] = []
    for position, ref in enumerate(route.spec.rules[0].backend_refs):
        namespace = ref.namespace or route.metadata.namespace
        led = _lead(inventory, route, ref, namespace)
        name = f"{namespace}/{ref.name}" + (f":{ref.port}" if ref.port is not None else "")
        if isinstance(led, Problem):
            problems.append(Problem(led.reason, f"backendRefs[{position}] {name}: {led.message}"))
            backends.append(WeightedRef(position, ref.weight, None, name, led.message))
        else:
            backends.append(WeightedRef(position, ref.weight, led, name))
    if not problems:
        return ResolvedRefs(tuple(backends), None)
    return ResolvedRefs(tuple(backends), Problem(problems[0].reason, "; ".join(x.message for x in problems)))


def _lead(inventory: Inventory, route: L4Route, ref: BackendReference, namespace: str) -> PoolRef | Problem:
    if (ref.group, ref.kind) != (Service.GROUP, Service.KIND):
        kind = f"{ref.group}/{ref.kind}" if ref.group else ref.kind
        return Problem("InvalidKind", f"{kind} is not supported, only Service is")
    if namespace != route.metadata.namespace and not _granted(inventory, route, ref, namespace):
        return Problem("RefNotPermitted", f"no ReferenceGrant in {namespace} allows it")
    service = inventory.services.get(ObjectKey(Service.GROUP, Service.KIND, namespace, ref.name))
    if service is None:
        return Problem("BackendNotFound", "there is no such Service")
    return _port(service, ref.port, Protocol.TCP if isinstance(route, TCPRoute) else Protocol.UDP)


def _port(service: Service, port: int | None, protocol: Protocol) -> PoolRef | Problem:
    if service.spec.type == "ExternalName":
        return Problem("InvalidKind", "a Service of type ExternalName is not supported")
    found = [x.protocol for x in service.spec.ports if x.port == port]
    if port is None or not found:
        return Problem("BackendNotFound", f"the Service has no port {port}")
    if protocol.name not in found:
        return Problem("UnsupportedProtocol", f"port {port} of the Service is {found[0]}, not {protocol.name}")
    return PoolRef(service.metadata.namespace, service.metadata.name, port, protocol)


def _granted(inventory: Inventory, route: L4Route, ref: BackendReference, namespace: str) -> bool:
    referrer = (route.GROUP, route.KIND, route.metadata.namespace)
    return any(
        any((x.group, x.kind, x.namespace) == referrer for x in grant.spec.from_)
        and any((x.group, x.kind) == (ref.group, ref.kind) and x.name in ("", ref.name) for x in grant.spec.to)
        for grant in inventory.grants.get(namespace, ())
    )
