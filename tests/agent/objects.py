"""Objects for tests, decoded from manifests as the sources do."""

from __future__ import annotations

import textwrap

from agent.sources.manifest import parse
from routes.objects.base import Object, ObjectKey

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/gateway}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: penstock
  addresses: [{value: 192.0.2.1}, {value: "2001:db8::1"}]
  listeners: [{name: web, port: 80, protocol: TCP}]
"""


def route(**weights: int) -> str:
    """TCPRoute `web` on Gateway `edge`, to port 80 of Services with these weights."""
    refs = ", ".join(f"{{name: {name}, port: 80, weight: {weight}}}" for name, weight in weights.items())
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {{name: web}}
spec: {{parentRefs: [{{name: edge}}], rules: [{{backendRefs: [{refs}]}}]}}
"""


def service(name: str) -> str:
    """A Service with port 80."""
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{name: http, port: 80}}]}}
"""


def endpoint_slice(service: str, *addresses: str, suffix: str = "") -> str:
    """Ready endpoints at port 8080 of a Service; all addresses of one family."""
    family = "IPv6" if any(":" in x for x in addresses) else "IPv4"
    found = ", ".join(f'{{addresses: ["{x}"]}}' for x in addresses)
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {service}-{family.lower()}{suffix}, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: {family}
endpoints: [{found}]
ports: [{{name: http, port: 8080}}]
"""


def text(*manifests: str) -> str:
    """One file of several manifests."""
    return "---\n".join(textwrap.dedent(x) for x in manifests)


def decoded(*manifests: str) -> dict[ObjectKey, Object]:
    """The objects of manifests, which have no errors."""
    parsed = parse("test", text(*manifests))
    assert parsed.errors == ()
    return {key: located.object for key, located in parsed.objects.items()}
