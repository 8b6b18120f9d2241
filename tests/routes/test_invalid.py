"""Wrong objects: what each comes to, as a person reads it. Object, field and problem are named."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from routes.decode import decode
from routes.errors import InvalidObject

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: apps}
spec:
  gatewayClassName: penstock
  addresses: [{value: 10.0.0.1}, {value: "fd00::1"}]
  listeners:
    - {name: a, protocol: TCP, port: 80}
    - {name: b, protocol: UDP, port: 80}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: r}
spec:
  parentRefs:
    - {name: gw, sectionName: a}
    - {name: gw, sectionName: b}
  rules:
    - backendRefs: [{name: web, port: 80, weight: 7}]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: apps}
spec:
  ports:
    - {name: a, port: 80}
    - {name: b, port: 80, protocol: UDP}
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: apps, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
  - {addresses: [10.1.0.1]}
ports:
  - {name: a, port: 80}
"""
POLICY = """
apiVersion: penstock.dev/v1alpha1
kind: FlowPolicy
metadata: {name: p, namespace: apps}
spec:
  targetRefs:
    - {group: gateway.networking.k8s.io, kind: Gateway, name: gw, sectionName: a}
    - {group: gateway.networking.k8s.io, kind: TCPRoute, name: r}
  sources: {allow: [10.0.0.0/8, "fd00::/8"], deny: [10.1.0.0/16], denied: Reject}
  idle: {tcp: 1h30m, udp: 10s}
  affinity: {type: ClientAddress, sourcePrefix: {ipv4: 24}}
  connections: {perListener: 100, perSource: 10, sourcePrefix: {ipv4: 24, ipv6: 56}}
"""
ABSENT = object()
LISTENER = ("spec", "listeners", 1)
REF = ("spec", "rules", 0, "backendRefs", 0)
TARGET = ("spec", "targetRefs", 1)

# manifest, path of the field that is changed, its new value, the error
WRONG = [
    (GATEWAY, ("kind",), ABSENT, "? apps/gw: kind: is required"),
    (GATEWAY, ("apiVersion",), ABSENT, "Gateway apps/gw: apiVersion: is required"),
    (
        GATEWAY,
        ("apiVersion",),
        "gateway.networking.k8s.io/v2",
        "Gateway apps/gw: apiVersion: version 'v2' is not served (v1, v1beta1)",
    ),
    (GATEWAY, ("metadata",), ABSENT, "Gateway ?: metadata: is required"),
    (GATEWAY, ("metadata", "name"), ABSENT, "Gateway apps/?: metadata.name: is required"),
    (
        GATEWAY,
        ("metadata", "name"),
        7,
        "Gateway apps/7: metadata.name: 7 is not a name: lower-case letters, digits, - and .",
    ),
    (
        GATEWAY,
        ("metadata", "creationTimestamp"),
        "soon",
        "metadata.creationTimestamp: invalid RFC3339 encoded datetime",
    ),
    (GATEWAY, ("spec",), None, "Gateway apps/gw: spec: is required"),
    (GATEWAY, ("spec",), "text", "Gateway apps/gw: spec: expected `object`, got `str`"),
    (GATEWAY, ("spec", "gatewayClassName"), ABSENT, "Gateway apps/gw: spec.gatewayClassName: is required"),
    (GATEWAY, ("spec", "listeners"), [], "Gateway apps/gw: spec.listeners: expected `array` of length >= 1"),
    (GATEWAY, (*LISTENER, "name"), "a", "spec.listeners[1].name: is the name of an earlier listener"),
    (
        GATEWAY,
        (*LISTENER, "name"),
        "A b",
        "spec.listeners[1].name: 'A b' is not a name: lower-case letters, digits, - and .",
    ),
    (GATEWAY, (*LISTENER, "port"), ABSENT, "Gateway apps/gw: spec.listeners[1].port: is required"),
    (
        GATEWAY,
        (*LISTENER, "port"),
        0,
        "Gateway apps/gw: spec.listeners[1].port: 0 is not a whole number from 1 to 65535",
    ),
    (
        GATEWAY,
        (*LISTENER, "port"),
        65536,
        "Gateway apps/gw: spec.listeners[1].port: 65536 is not a whole number from 1 to 65535",
    ),
    (
        GATEWAY,
        (*LISTENER, "port"),
        "80",
        "Gateway apps/gw: spec.listeners[1].port: '80' is not a whole number from 1 to 65535",
    ),
    (
        GATEWAY,
        (*LISTENER, "protocol"),
        "TCP",
        "spec.listeners[1].port: TCP port 80 is that of listener a already",
    ),
    (GATEWAY, (*LISTENER, "hostname"), "a.b", "spec.listeners[1].hostname: must be absent for protocol UDP"),
    (GATEWAY, (*LISTENER, "tls"), {}, "spec.listeners[1].tls: must be absent for protocol UDP"),
    (
        GATEWAY,
        (*LISTENER, "allowedRoutes"),
        {"namespaces": {"from": "Some"}},
        "spec.listeners[1].allowedRoutes.namespaces.from: 'Some' is none of All, Same, Selector",
    ),
    (GATEWAY, ("spec", "addresses", 1, "value"), "10.0.0.256", "spec.addresses[1].value: '10.0.0.256' is not an IP"),
    (GATEWAY, ("spec", "addresses", 1, "value"), "fe80::1%eth0", "spec.addresses[1].value: 'fe80::1%eth0' has a scope"),
    (GATEWAY, ("spec", "addresses", 1, "value"), "10.0.0.1", "spec.addresses[1].value: is an address already listed"),
    (ROUTE, ("spec", "rules"), ABSENT, "TCPRoute default/r: spec.rules: is required"),
    (
        ROUTE,
        ("spec", "rules"),
        [{"backendRef": []}],
        "spec.rules[0].backendRefs: is required; backendRef is no field: is backendRefs meant?",
    ),
    (ROUTE, ("spec", "rules"), [], "TCPRoute default/r: spec.rules: must have exactly one rule, has 0"),
    (
        ROUTE,
        ("spec", "rules"),
        [{"backendRefs": [{"name": "web", "port": 80}]}] * 2,
        "TCPRoute default/r: spec.rules: must have exactly one rule, has 2",
    ),
    (ROUTE, ("spec", "rules", 0, "backendRefs"), [], "spec.rules[0].backendRefs: expected `array` of length >= 1"),
    (ROUTE, (*REF, "port"), ABSENT, "spec.rules[0].backendRefs[0].port: is required for a Service"),
    (ROUTE, (*REF, "weight"), -1, "spec.rules[0].backendRefs[0].weight: -1 is not a whole number from 0 to 1000000"),
    (
        ROUTE,
        (*REF, "weight"),
        1_000_001,
        "spec.rules[0].backendRefs[0].weight: 1000001 is not a whole number from 0 to 1000000",
    ),
    (
        ROUTE,
        (*REF, "name"),
        "Web!",
        "spec.rules[0].backendRefs[0].name: 'Web!' is not a name: lower-case letters, digits, - and .",
    ),
    (
        ROUTE,
        ("spec", "parentRefs", 1, "sectionName"),
        ABSENT,
        "spec.parentRefs[1].sectionName: is required when a parent is named more than once",
    ),
    (
        ROUTE,
        ("spec", "parentRefs", 1, "sectionName"),
        "a",
        "spec.parentRefs[1]: is the same parent and section as an earlier one",
    ),
    (
        SERVICE,
        ("spec", "ports", 1, "port"),
        0,
        "Service apps/web: spec.ports[1].port: 0 is not a whole number from 1 to 65535",
    ),
    (SERVICE, ("spec", "ports", 1, "name"), ABSENT, "spec.ports[1].name: is required when a Service has more than one"),
    (SERVICE, ("spec", "ports", 1, "name"), "a", "spec.ports[1].name: is the name of an earlier port"),
    (SERVICE, ("spec", "ports", 1, "protocol"), "TCP", "spec.ports[1].port: is used by an earlier port with the same"),
    (SLICE, ("addressType",), "IPX", "EndpointSlice apps/web-1: addressType: 'IPX' is none of FQDN, IPv4, IPv6"),
    (SLICE, ("endpoints", 0, "addresses"), [], "endpoints[0].addresses: expected `array` of length >= 1"),
    (SLICE, ("endpoints", 0, "addresses", 0), "web", "endpoints[0].addresses[0]: 'web' is not an IP address"),
    (SLICE, ("endpoints", 0, "addresses", 0), "fd00::1", "endpoints[0].addresses[0]: 'fd00::1' is not of addressType"),
    (SLICE, ("metadata", "labels"), {"a": 1}, "EndpointSlice apps/web-1: metadata.labels"),
    (
        POLICY,
        ("apiVersion",),
        "penstock.dev/v1",
        "FlowPolicy apps/p: apiVersion: version 'v1' is not served (v1alpha1)",
    ),
    (
        POLICY,
        ("kind",),
        "FlowPolcy",
        "FlowPolcy apps/p: kind: 'FlowPolcy' is no kind of penstock.dev, which has FlowPolicy",
    ),
    (POLICY, ("spec", "source"), {}, "FlowPolicy apps/p: spec.source: is no field; is sources meant?"),
    (
        POLICY,
        ("spec", "sources"),
        {"denny": []},
        "FlowPolicy apps/p: spec.sources.denny: is no field; is deny meant?",
    ),
    (POLICY, ("spec",), ABSENT, "FlowPolicy apps/p: spec: is required"),
    (POLICY, ("spec", "sources"), None, "FlowPolicy apps/p: spec.sources: is null, which says nothing"),
    (POLICY, ("spec", "sources", "allow"), None, "FlowPolicy apps/p: spec.sources.allow: is null, which says nothing"),
    (POLICY, ("spec", "sources", "allow", 1), None, "spec.sources.allow[1]: is null, which says nothing"),
    (
        POLICY,
        ("spec", "sources", "deny", 0),
        "::ffff:10.0.0.0/104",
        "spec.sources.deny[0]: '::ffff:10.0.0.0/104' is no network of IPv6 clients: for those of IPv4 say 10.0.0.0/8",
    ),
    (POLICY, ("spec", "sources"), {"x": []}, "spec.sources.x: is no field; there are allow, deny, denied"),
    (POLICY, ("spec", "idle", "tcp"), 30, "spec.idle.tcp: 30 is not a duration such as 30s or 1h30m"),
    (POLICY, ("spec", "sources", "allow", 1), 7, "spec.sources.allow[1]: 7 is not a CIDR such as 192.0.2.0/24"),
    (POLICY, (*TARGET, "kind"), ABSENT, "spec.targetRefs[1].kind: is required: Gateway or TCPRoute or UDPRoute"),
    (POLICY, ("spec", "connections", "perListener"), [1], "perListener: expected `int | null`, got `array`"),
    (POLICY, ("spec", "targetRefs"), [], "FlowPolicy apps/p: spec.targetRefs: expected `array` of length >= 1"),
    (
        POLICY,
        (*TARGET, "kind"),
        "Service",
        "FlowPolicy apps/p: spec.targetRefs[1].kind: 'Service' is none of Gateway, TCPRoute, UDPRoute",
    ),
    (
        POLICY,
        (*TARGET, "namespace"),
        "apps",
        "spec.targetRefs[1].namespace: is no field; the targets of a policy are in its own namespace only",
    ),
    (POLICY, ("spec", "connections", "perClient"), 1, "connections.perClient: is no field; is perSource meant?"),
    (POLICY, ("spec", "connections", "perListner"), 1, "perListner: is no field; is perListener meant?"),
    (POLICY, (*TARGET, "group"), "", "spec.targetRefs[1].group: '' is not gateway.networking.k8s.io"),
    (
        POLICY,
        TARGET,
        {"group": "", "kind": "Service", "name": "r"},
        "targetRefs[1].group: '' is not gateway.networking.k8s.io; kind: 'Service' is none of Gateway, TCPRoute,",
    ),
    (POLICY, (*TARGET, "sectionName"), "a", "spec.targetRefs[1].sectionName: must be absent for a TCPRoute"),
    (
        POLICY,
        TARGET,
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw", "sectionName": "a"},
        "spec.targetRefs[1]: is the same target as an earlier one",
    ),
    (POLICY, ("spec", "sources", "denied"), "Reset", "spec.sources.denied: 'Reset' is none of Drop, Reject"),
    (POLICY, ("spec", "sources", "allow", 1), "10.0.0.1", "spec.sources.allow[1]: '10.0.0.1' is not a CIDR such as"),
    (POLICY, ("spec", "sources", "allow", 1), "10.0.0.0/255.0.0.0", "spec.sources.allow[1]: '10.0.0.0/255.0.0.0' is"),
    (
        POLICY,
        ("spec", "sources", "allow", 1),
        "10.0.0.1/8",
        "spec.sources.allow[1]: '10.0.0.1/8' has host bits set: is 10.0.0.0/8 meant?",
    ),
    (
        POLICY,
        ("spec", "sources", "deny", 0),
        "10.0.0.0/33",
        "spec.sources.deny[0]: '10.0.0.0/33': a prefix has 32 bits at most",
    ),
    (POLICY, ("spec", "idle", "tcp"), "30", "spec.idle.tcp: '30' is not a duration such as 30s or 1h30m"),
    (
        POLICY,
        ("spec", "idle", "tcp"),
        "500ms",
        "spec.idle.tcp: '500ms' is not a whole number of seconds from 1s to 24h",
    ),
    (
        POLICY,
        ("spec", "idle", "udp"),
        "24h1s",
        "spec.idle.udp: '24h1s' is not a whole number of seconds from 1s to 24h",
    ),
    (
        POLICY,
        ("spec", "connections", "perListener"),
        0,
        "spec.connections.perListener: 0 is not a whole number from 1 to 2147483647",
    ),
    (POLICY, ("spec", "connections", "perSource"), 0, "perSource: 0 is not a whole number from 1 to 1048576"),
    (POLICY, ("spec", "connections", "perSource"), 2**20 + 1, "perSource: 1048577 is not a whole number from 1 to"),
    (POLICY, ("spec", "connections", "perSource"), ABSENT, "spec.connections.sourcePrefix: says nothing without perS"),
    (
        POLICY,
        ("spec", "connections", "sourcePrefix", "ipv6"),
        129,
        "spec.connections.sourcePrefix.ipv6: 129 is not a whole number from 1 to 128",
    ),
    (POLICY, ("spec", "connections", "sourcePrefix", "ipv5"), 9, "spec.connections.sourcePrefix.ipv5: is no field"),
    (POLICY, ("spec", "affinity", "type"), "Cookie", "spec.affinity.type: 'Cookie' is none of ClientAddress, None"),
    (POLICY, ("spec", "affinity", "type"), ABSENT, "spec.affinity.type: is required: ClientAddress or None"),
    (
        POLICY,
        ("spec", "affinity", "sourcePrefix", "ipv4"),
        33,
        "spec.affinity.sourcePrefix.ipv4: 33 is not a whole number from 1 to 32",
    ),
    (POLICY, ("spec", "sources", "deny", 0), "fe80::%1/64", "spec.sources.deny[0]: 'fe80::%1/64' is not a CIDR"),
]


@pytest.mark.parametrize("text", [GATEWAY, ROUTE, SERVICE, SLICE, POLICY])
def test_unchanged_manifest_is_right(text: str) -> None:
    assert decode(yaml.safe_load(text)) is not None


@pytest.mark.parametrize(("text", "path", "value", "error"), WRONG, ids=[error for *_, error in WRONG])
def test_wrong_manifest(text: str, path: tuple[str | int, ...], value: object, error: str) -> None:
    with pytest.raises(InvalidObject) as raised:
        decode(_changed(yaml.safe_load(text), path, value))
    assert error in str(raised.value)


@pytest.mark.parametrize("document", ["text", 7, ["a"]])
def test_document_that_is_no_object(document: object) -> None:
    with pytest.raises(InvalidObject, match="expected an object"):
        decode(document)


def _changed(document: Any, path: tuple[str | int, ...], value: object) -> Any:
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is ABSENT:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document
