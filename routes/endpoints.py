"""Which endpoints each pool has.

Decides, for every port of every Service given, its endpoints and what each may be given. Rules:
  - a Service port leads to the slice ports of the same *name* and protocol (EndpointSlice godoc), whatever their
    number, over all slices labelled with the Service's name; a number may differ from slice to slice;
  - an endpoint in several slices is one endpoint: ready if any slice says so, else serving if any says so;
  - ready (or unknown) is READY, everything else DRAINING; per family, if none is ready, those that terminate and
    still serve are READY (KEP-1669, as kube-proxy);
  - addresses that `guards` or the caller forbids are left out, and `judged` tells why;
  - tuples are sorted by (version, address, port).
Must never look at routes: one pool's endpoints follow from its Service and its slices alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from routes.guards import refused
from routes.objects.core import EndpointConditions, EndpointSlice, Service, SliceEndpoint, TargetReference
from routes.plan import Address, Endpoint, EndpointState, PoolRef, Protocol

_NOTHING: Final[Mapping[Address, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RefusedEndpoint:
    """An endpoint that is left out, and why."""

    pool: PoolRef
    address: Address
    port: int
    reason: str

    def __str__(self) -> str:
        return f"{self.pool}: endpoint {self.address} port {self.port} is not served: {self.reason}"


def endpoints(
    slices: Iterable[EndpointSlice],
    services: Iterable[Service],
    *,
    forbidden: Mapping[Address, str] = _NOTHING,
) -> Mapping[PoolRef, tuple[Endpoint, ...]]:
    """Pool -> its endpoints, both families mixed; a Service port without endpoints has an empty tuple.

    `forbidden` maps addresses that must not be endpoints (the gateways', the node's own) to the reason. For one changed
    Service give that Service and its slices: its part of the result is the same as with all.
    """
    return judged(slices, services, forbidden=forbidden)[0]


def judged(
    slices: Iterable[EndpointSlice], services: Iterable[Service], *, forbidden: Mapping[Address, str] = _NOTHING
) -> tuple[Mapping[PoolRef, tuple[Endpoint, ...]], tuple[RefusedEndpoint, ...]]:
    """`endpoints`, and what they leave out, sorted by pool, then address and port."""
    found: dict[PoolRef, tuple[Endpoint, ...]] = {}
    refused_: dict[tuple[PoolRef, Address, int], RefusedEndpoint] = {}
    for pool, seen in _seen(slices, services):
        allowed = []
        for endpoint in seen:
            reason = _refusal(endpoint.address, forbidden)
            if reason is None:
                allowed.append(endpoint)
            else:
                place = (pool, endpoint.address, endpoint.port)
                refused_[place] = RefusedEndpoint(*place, reason)
        found[pool] = _states(allowed)
    return found, _sorted(refused_.values())


def _sorted(refusals: Iterable[RefusedEndpoint]) -> tuple[RefusedEndpoint, ...]:
    return tuple(sorted(refusals, key=lambda x: (x.pool, x.address.version, int(x.address), x.port)))


@dataclass(frozen=True, slots=True)
class _Seen:
    """An endpoint as one slice has it."""

    address: Address
    port: int
    ready: bool
    serving: bool  # terminating, but still answering
    target: str

    @property
    def rank(self) -> tuple[bool, bool, str]:
        return self.ready, self.serving, self.target


def _seen(slices: Iterable[EndpointSlice], services: Iterable[Service]) -> Iterator[tuple[PoolRef, list[_Seen]]]:
    by_service: dict[tuple[str, str], list[EndpointSlice]] = {}
    for slice_ in slices:
        if slice_.address_type != "FQDN" and slice_.service:
            by_service.setdefault((slice_.metadata.namespace, slice_.service), []).append(slice_)
    for service in services:
        namespace, name = service.metadata.namespace, service.metadata.name
        own = by_service.get((namespace, name), ())
        for port in service.spec.ports:
            if port.protocol == "SCTP" or service.spec.type == "ExternalName":
                continue
            pool = PoolRef(namespace, name, port.port, Protocol[port.protocol])
            yield pool, [x for slice_ in own for x in _of_slice(slice_, port.name, port.protocol)]


def _of_slice(slice_: EndpointSlice, port_name: str, protocol: str) -> Iterator[_Seen]:
    for port in slice_.ports:
        if port.port is None or port.name != port_name or port.protocol != protocol:
            continue
        for endpoint in slice_.endpoints:
            ready, serving = _conditions(endpoint.conditions)
            for address in _addresses(endpoint):
                yield _Seen(address, port.port, ready, serving, _target(endpoint.target_ref))


def _addresses(endpoint: SliceEndpoint) -> Iterator[Address]:
    return map(ip_address, endpoint.addresses)


def _conditions(conditions: EndpointConditions) -> tuple[bool, bool]:
    ready = conditions.ready is not False
    serving = ready if conditions.serving is None else conditions.serving
    return ready, bool(conditions.terminating) and serving


def _target(target: TargetReference | None) -> str:
    if target is None:
        return ""
    return target.uid or (f"{target.namespace}/{target.name}" if target.name else "")


def _refusal(address: Address, forbidden: Mapping[Address, str]) -> str | None:
    return forbidden.get(address) or refused(address)


def _states(seen: Iterable[_Seen]) -> tuple[Endpoint, ...]:
    best: dict[tuple[int, int, int], _Seen] = {}
    for endpoint in seen:
        place = (endpoint.address.version, int(endpoint.address), endpoint.port)
        known = best.get(place)
        if known is None or endpoint.rank > known.rank:
            best[place] = endpoint
    with_ready = {x.address.version for x in best.values() if x.ready}
    found = []
    for _, endpoint in sorted(best.items()):
        usable = endpoint.ready or (endpoint.serving and endpoint.address.version not in with_ready)
        state = EndpointState.READY if usable else EndpointState.DRAINING
        found.append(Endpoint(endpoint.address, endpoint.port, state, endpoint.target))
    return tuple(found)
