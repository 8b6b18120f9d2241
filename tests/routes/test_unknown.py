"""Manifest in, the fields out that no such kind has."""

from __future__ import annotations

import pytest
import yaml

from routes.decode import decode, ignored
from routes.objects.served import SERVED
from routes.unknown import UnknownField, unknown_fields

HEAD = {
    "GatewayClass": "apiVersion: gateway.networking.k8s.io/v1\n",
    "Gateway": "apiVersion: gateway.networking.k8s.io/v1\n",
    "TCPRoute": "apiVersion: gateway.networking.k8s.io/v1\n",
    "Service": "apiVersion: v1\n",
    "EndpointSlice": "apiVersion: discovery.k8s.io/v1\n",
}


@pytest.mark.parametrize(
    ("kind", "rest", "fields"),
    [
        ("TCPRoute", "spec: {rules: [{backendRefs: [{name: a, port: 80, weight: 70}]}]}", {}),
        ("TCPRoute", "spec: {rules: [{backendRefs: [{name: a, port: 80}]}], parentRefs: null}", {}),
        (
            "TCPRoute",
            "spec: {rules: [{backendRefs: [{name: a, port: 80}, {name: b, port: 80, wieght: 70}]}]}",
            {"spec.rules[0].backendRefs[1].wieght": "weight"},
        ),
        (
            "TCPRoute",
            "spec: {parentRef: [{name: edge}], rules: [{backendRefs: [{name: a, port: 80}]}]}",
            {"spec.parentRef": "parentRefs"},
        ),
        (
            "TCPRoute",
            "spec: {rules: [{backendRefs: [{name: a, port: 80}]}], hostnames: [a.example]}",
            {"spec.hostnames": ""},
        ),
        ("TCPRoute", "spec: {rules: [{backendRefs: [{name: a, port: 80}]}]}\nsepc: {}", {"sepc": "spec"}),
        (
            "Gateway",
            "spec: {gatewayClassName: x, infrastructure: {labels: {any: thing}}, tls: {anything: 1}, listeners: ["
            "{name: a, port: 1, protocol: TCP, allowedRoutes: {namespace: {from: All}}}]}\nstatus: {any: thing}",
            {"spec.listeners[0].allowedRoutes.namespace": "namespaces"},
        ),
        (
            "Gateway",
            "spec: {gatewayClassName: x, listeners: [{name: a, port: 1, protocol: TCP, allowedRoutes: "
            "{namespaces: {from: Selector, selector: {matchLables: {a: b}, matchLabels: {any: thing}}}}}]}",
            {"spec.listeners[0].allowedRoutes.namespaces.selector.matchLables": "matchLabels"},
        ),
        ("GatewayClass", "spec: {controllerName: a/b, description: c}", {}),
        (
            "Service",
            "spec: {clusterIP: 10.0.0.1, selector: {a: b}, ports: [{port: 80, targetPort: http, nodePrt: 1}]}",
            {"spec.ports[0].nodePrt": "nodePort"},
        ),
        (
            "EndpointSlice",
            "addressType: IPv4\nport: []\nendpoints: [{addresses: [10.0.0.1], nodeName: n, conditions: {redy: true}}]",
            {"port": "ports", "endpoints[0].conditions.redy": "ready"},
        ),
    ],
)
def test_unknown_fields(kind: str, rest: str, fields: dict[str, str]) -> None:
    document = yaml.safe_load(f"{HEAD[kind]}kind: {kind}\nmetadata: {{name: x, labels: {{a: b}}, uid: u}}\n{rest}")
    decoded = decode(document)
    assert decoded is not None
    found = {x.field: x.problem for x in unknown_fields(document, decoded)}
    assert found == {
        field: "is no field of this kind and means nothing" + (f"; is {meant} meant?" if meant else "")
        for field, meant in fields.items()
    }


GATEWAY_API = "gateway.networking.k8s.io/v1"


@pytest.mark.parametrize(
    ("api_version", "kind", "field", "meant"),
    [
        (GATEWAY_API, "TCPRuote", "kind", "TCPRoute"),
        (GATEWAY_API, "tcproute", "kind", "TCPRoute"),
        ("v1", "Services", "kind", "Service"),
        ("x/v1", "TCPRuote", "", "TCPRoute"),
        ("x/v1", "EndpointSlices", "", "EndpointSlice"),
        ("penstok.dev/v1alpha1", "FlowPolicy", "apiVersion", "penstock.dev"),
        ("gateway.network.k8s.io/v1", "Gateway", "apiVersion", "gateway.networking.k8s.io"),
        ("networking.istio.io/v1", "Gateway", "", ""),
        ("serving.knative.dev/v1", "Service", "", ""),
        (GATEWAY_API, "HTTPRoute", "", ""),
        ("apps/v1", "Deployment", "", ""),
    ],
)
def test_a_kind_that_is_not_read(api_version: str, kind: str, field: str, meant: str) -> None:
    document = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}
    assert decode(document) is None
    hint = f"; is {meant} meant?" if meant else ""
    assert ignored(document) == UnknownField(field, f"ignored, Penstock does not read {api_version} {kind}{hint}")


def test_no_field_is_both_read_and_unread() -> None:
    for kind, _ in SERVED.values():
        assert not set(kind.__struct_encode_fields__) & kind.UNREAD
