"""The API server's rules between fields, for objects that never passed an API server.

Decides what a folder of manifests may hold: exactly what the CRDs' CEL and the core types' validation let through, as
far as Penstock reads the fields. Rules: one function per kind; the error names the second of two fields that clash, the
one a person would change. Must never refuse what an API server accepts: those are statuses.

Sources: gateway-api v1.7.0 config/crd/standard (x-kubernetes-validations), Kubernetes pkg/apis/core/validation and
pkg/apis/discovery/validation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from routes.duration import milliseconds
from routes.errors import InvalidObject
from routes.objects.base import Object
from routes.objects.core import EndpointSlice, Service
from routes.objects.gateway import Gateway, Listener
from routes.objects.policy import FlowPolicy
from routes.objects.route import L4Route, TCPRoute, UDPRoute


def check(checked: Object) -> None:
    """Raises InvalidObject at the first rule broken."""
    rule = _RULES.get(type(checked))
    if rule is not None:
        rule(checked)


def refuse(checked: Object, field: str, problem: str) -> InvalidObject:
    """The error for a field of a decoded object."""
    return InvalidObject(checked.KIND, str(checked.key), field, problem)


def _gateway(gateway: Gateway) -> None:
    listeners = gateway.spec.listeners
    _unique(gateway, "spec.listeners[{}].name", (x.name for x in listeners), "is the name of an earlier listener")
    first: dict[Hashable, Listener] = {}
    for i, listener in enumerate(listeners):
        other = first.setdefault((listener.port, listener.protocol, listener.hostname), listener)
        if other is not listener:
            host = f", hostname {listener.hostname}," if listener.hostname else ""
            what = f"{listener.protocol} port {listener.port}{host} is that of listener {other.name} already"
            raise refuse(gateway, f"spec.listeners[{i}].port", what)
    for i, listener in enumerate(listeners):
        if listener.protocol in ("TCP", "UDP") and listener.hostname:
            raise refuse(gateway, f"spec.listeners[{i}].hostname", f"must be absent for protocol {listener.protocol}")
        if listener.protocol in ("HTTP", "TCP", "UDP") and listener.tls is not None:
            raise refuse(gateway, f"spec.listeners[{i}].tls", f"must be absent for protocol {listener.protocol}")
    addresses: list[Hashable] = []
    for i, address in enumerate(gateway.spec.addresses):
        if address.type == "IPAddress" and address.value:
            addresses.append(_ip(gateway, f"spec.addresses[{i}].value", address.value))
        else:
            addresses.append((i, address.value))
    _unique(gateway, "spec.addresses[{}].value", addresses, "is an address already listed")


def _route(route: L4Route) -> None:
    if len(route.spec.rules) != 1:
        raise refuse(route, "spec.rules", f"must have exactly one rule, has {len(route.spec.rules)}")
    for i, ref in enumerate(route.spec.rules[0].backend_refs):
        if ref.group == "" and ref.kind == "Service" and ref.port is None:
            raise refuse(route, f"spec.rules[0].backendRefs[{i}].port", "is required for a Service")
    parents = [(x.group, x.kind, x.namespace or route.metadata.namespace, x.name) for x in route.spec.parent_refs]
    sections = [(x.section_name, x.port) for x in route.spec.parent_refs]
    for i, parent in enumerate(parents):
        if parents.count(parent) > 1 and sections[i] == ("", None):
            problem = "is required when a parent is named more than once"
            raise refuse(route, f"spec.parentRefs[{i}].sectionName", problem)
    pairs = zip(parents, sections, strict=True)
    _unique(route, "spec.parentRefs[{}]", pairs, "is the same parent and section as an earlier one")


# Only as the API server's own CIDR fields take it: no netmask, no scope.
_CIDR: Final = re.compile(r"[0-9A-Fa-f:.]+/[0-9]{1,3}")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")  # RFC 4291 section 2.5.5.2: in sockets, on no wire


def _policy(policy: FlowPolicy) -> None:
    for i, target in enumerate(policy.spec.target_refs):
        if target.section_name and target.kind != Gateway.KIND:
            raise refuse(policy, f"spec.targetRefs[{i}].sectionName", f"must be absent for a {target.kind}")
    _unique(policy, "spec.targetRefs[{}]", policy.spec.target_refs, "is the same target as an earlier one")
    if policy.spec.sources is not None:
        for field, texts in (("allow", policy.spec.sources.allow), ("deny", policy.spec.sources.deny)):
            for i, text in enumerate(texts):
                _network(policy, f"spec.sources.{field}[{i}]", text)
    connections = policy.spec.connections
    if connections is not None and connections.source_prefix is not None and connections.per_source is None:
        raise refuse(policy, "spec.connections.sourcePrefix", "says nothing without perSource")
    if policy.spec.idle is not None:
        for field, text in (("tcp", policy.spec.idle.tcp), ("udp", policy.spec.idle.udp)):
            if text:
                _idle(policy, f"spec.idle.{field}", text)


def _idle(policy: FlowPolicy, field: str, text: str) -> None:
    try:
        value = milliseconds(text)
    except ValueError as error:
        raise refuse(policy, field, str(error)) from None
    if value % 1000 or not 1000 <= value <= 86_400_000:
        raise refuse(policy, field, f"{text!r} is not a whole number of seconds from 1s to 24h")


def _network(checked: Object, field: str, text: str) -> None:
    if not _CIDR.fullmatch(text):
        raise refuse(checked, field, f"{text!r} is not a CIDR such as 192.0.2.0/24 or 2001:db8::/32")
    address, _, bits = text.partition("/")
    longest = _ip(checked, field, address).max_prefixlen
    if int(bits) > longest:
        raise refuse(checked, field, f"{text!r}: a prefix has {longest} bits at most")
    network = ip_network(text, strict=False)
    if network.network_address != ip_address(address):
        raise refuse(checked, field, f"{text!r} has host bits set: is {network} meant?")
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        meant = f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}"
        raise refuse(checked, field, f"{text!r} is no network of IPv6 clients: for those of IPv4 say {meant}")


def _service(service: Service) -> None:
    ports = service.spec.ports
    for i, port in enumerate(ports):
        if len(ports) > 1 and not port.name:
            raise refuse(service, f"spec.ports[{i}].name", "is required when a Service has more than one port")
    _unique(service, "spec.ports[{}].name", (x.name for x in ports), "is the name of an earlier port")
    numbers = ((x.port, x.protocol) for x in ports)
    _unique(service, "spec.ports[{}].port", numbers, "is used by an earlier port with the same protocol")


def _slice(slice_: EndpointSlice) -> None:
    _unique(slice_, "ports[{}].name", (x.name for x in slice_.ports), "is the name of an earlier port")
    if slice_.address_type == "FQDN":
        return
    expected: type = IPv4Address if slice_.address_type == "IPv4" else IPv6Address
    for i, endpoint in enumerate(slice_.endpoints):
        for j, text in enumerate(endpoint.addresses):
            place = f"endpoints[{i}].addresses[{j}]"
            if not isinstance(_ip(slice_, place, text), expected):
                raise refuse(slice_, place, f"{text!r} is not of addressType {slice_.address_type}")


def _ip(checked: Object, field: str, text: str) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise refuse(checked, field, f"{text!r} is not an IP address") from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise refuse(checked, field, f"{text!r} has a scope; an address without one is needed")
    return address


def _unique(checked: Object, field: str, values: Iterable[Hashable], problem: str) -> None:
    seen: set[Hashable] = set()
    for i, value in enumerate(values):
        if value in seen:
            raise refuse(checked, field.format(i), problem)
        seen.add(value)


_RULES: Final[dict[type, Callable[[Any], None]]] = {
    Gateway: _gateway,
    TCPRoute: _route,
    UDPRoute: _route,
    FlowPolicy: _policy,
    Service: _service,
    EndpointSlice: _slice,
}
