"""What many objects say alike is in memory once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from routes.decode import decode
from routes.objects.base import Object

META = {"namespace": "apps", "creationTimestamp": "2026-01-01T00:00:00Z"}
GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": META,
    "spec": {"gatewayClassName": "p", "listeners": [{"name": "redis", "port": 6379, "protocol": "TCP"}]},
}
ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "TCPRoute",
    "metadata": META,
    "spec": {
        "parentRefs": [{"name": "edge", "namespace": "infra", "sectionName": "redis"}],
        "rules": [{"backendRefs": [{"name": "cache", "namespace": "data", "kind": "Service", "port": 80}]}],
    },
}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": META, "spec": {"ports": [{"name": "main", "port": 80}]}}
SLICE = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {**META, "labels": {"kubernetes.io/service-name": "cache", "app": "x"}},
    "addressType": "IPv4",
    "ports": [{"name": "main", "port": 8080}],
    "endpoints": [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "namespace": "data"}}
    ],
}


def decoded(document: dict[str, Any], **metadata: Any) -> Any:
    """Of a text of its own, as every file has one."""
    parsed = json.loads(json.dumps({**document, "metadata": {**document["metadata"], **metadata}}))
    found = decode(parsed)
    assert isinstance(found, Object)
    return found


@pytest.mark.parametrize(
    ("document", "part"),
    [
        (SERVICE, lambda x: x.metadata.namespace),
        (SERVICE, lambda x: x.metadata.creation_timestamp),
        (SERVICE, lambda x: x.spec),
        (GATEWAY, lambda x: x.spec.listeners[0].name),
        (ROUTE, lambda x: x.spec.parent_refs[0].name),
        (ROUTE, lambda x: x.spec.parent_refs[0].section_name),
        (ROUTE, lambda x: x.spec.rules[0].backend_refs[0].name),
        (ROUTE, lambda x: x.spec.rules[0].backend_refs[0].namespace),
        (SLICE, lambda x: x.ports),
        (SLICE, lambda x: x.service),
        (SLICE, lambda x: x.endpoints[0].conditions),
        (SLICE, lambda x: x.endpoints[0].target_ref.namespace),
    ],
)
def test_two_objects_share_it(document: dict[str, Any], part: Callable[[Any], object]) -> None:
    assert part(decoded(document, name="one")) is part(decoded(document, name="two"))


def test_a_services_name_is_that_of_its_backend_refs_and_slices() -> None:
    service = decoded(SERVICE, name="cache")
    assert service.metadata.name is decoded(ROUTE, name="a").spec.rules[0].backend_refs[0].name
    assert service.metadata.name is decoded(SLICE, name="a").service


def test_of_a_slices_labels_the_services_name_is_kept() -> None:
    assert decoded(SLICE, name="a").metadata.labels == {"kubernetes.io/service-name": "cache"}


@pytest.mark.parametrize(("uid", "kept"), [("", "pod-1"), ("1-2-3", "")])
def test_a_target_has_a_name_or_a_uid(uid: str, kept: str) -> None:
    endpoint = {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "pod-1", "uid": uid}}
    assert decoded({**SLICE, "endpoints": [endpoint]}, name="a").endpoints[0].target_ref.name == kept
