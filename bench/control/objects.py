"""As many routes as are asked for, and all that they need.

Decides the shape: a route has a listener (a port of a Gateway) of its own and two backendRefs, each to a Service of its
own with one EndpointSlice of two endpoints; a Gateway has one IPv4 address and up to 63 listeners. Rules: decoded like
documents of any source; names and addresses follow from the route's number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any, Final

from routes.decode import decode
from routes.objects.base import Object, ObjectKey

LISTENERS: Final = 63
"""Of a Gateway: the API allows 64."""
WEIGHTS: Final = (70, 30)
_GATEWAYS: Final = IPv4Address("10.200.0.1")
_ENDPOINTS: Final = IPv4Address("10.128.0.0")
_FIRST_PORT: Final = 1000


def objects(count: int) -> Mapping[ObjectKey, Object]:
    """Everything for `count` routes."""
    return {x.key: x for x in _all(count)}


def route(number: int, weights: tuple[int, int] = WEIGHTS) -> Object:
    """The route with that number."""
    parent = {"name": f"gateway-{number // LISTENERS}", "sectionName": f"port-{number % LISTENERS}"}
    refs = [
        {"name": _service(number, side), "port": 80, "weight": weight}
        for side, weight in zip("ab", weights, strict=True)
    ]
    return _decoded(
        "gateway.networking.k8s.io/v1",
        "TCPRoute",
        f"route-{number}",
        {"spec": {"parentRefs": [parent], "rules": [{"backendRefs": refs}]}},
    )


def endpoint_slice(number: int, side: str, ready: int = 2) -> Object:
    """The slice of one of a route's two Services; the first `ready` of its two endpoints are."""
    first = _ENDPOINTS + 4 * number + 2 * (side == "b")
    name = _service(number, side)
    endpoints = [
        {
            "addresses": [str(first + i)],
            "conditions": {"ready": i < ready, "serving": True, "terminating": False},
            "targetRef": {
                "kind": "Pod",
                "namespace": "default",
                "name": f"{name}-{i}",
                "uid": f"{int(first + i):036x}",
            },
        }
        for i in range(2)
    ]
    return _decoded(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        f"{name}-1",
        {"addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": endpoints},
        {"kubernetes.io/service-name": name},
    )


def _all(count: int) -> Iterator[Object]:
    controller = {"spec": {"controllerName": "penstock.dev/gateway"}}
    yield _decoded("gateway.networking.k8s.io/v1", "GatewayClass", "penstock", controller)
    for number in range(0, count, LISTENERS):
        yield _gateway(number // LISTENERS, min(LISTENERS, count - number))
    for number in range(count):
        yield route(number)
        for side in "ab":
            ports = {"spec": {"ports": [{"port": 80}]}}
            yield _decoded("v1", "Service", _service(number, side), ports)
            yield endpoint_slice(number, side)


def _gateway(number: int, listeners: int) -> Object:
    spec = {
        "gatewayClassName": "penstock",
        "addresses": [{"value": str(_GATEWAYS + number)}],
        "listeners": [{"name": f"port-{i}", "port": _FIRST_PORT + i, "protocol": "TCP"} for i in range(listeners)],
    }
    return _decoded("gateway.networking.k8s.io/v1", "Gateway", f"gateway-{number}", {"spec": spec})


def _service(number: int, side: str) -> str:
    return f"service-{number}-{side}"


def _decoded(
    version: str, kind: str, name: str, rest: Mapping[str, Any], labels: Mapping[str, str] | None = None
) -> Object:
    metadata = {"name": name, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels or {}}
    decoded = decode({"apiVersion": version, "kind": kind, "metadata": metadata, **rest})
    assert decoded is not None
    return decoded
