"""Penstock itself, run as an operator would: the agent, a folder of manifests, either way of delivery."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import yaml

from bench.peers.base import Peer
from bench.services import SERVICES, WEIGHTS, Service
from bench.site import Site
from lab.gateway import Gateway
from lab.topology import FAMILIES, GATEWAY, backend_addresses

_GATEWAY_API = "gateway.networking.k8s.io/v1"


def _object(version: str, kind: str, name: str, **content: object) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, **content}


def _service_port(service: Service) -> dict[str, Any]:
    return {"name": service.name, "protocol": service.protocol.value, "port": service.target}


def _objects() -> Iterator[dict[str, Any]]:
    """One Gateway, a route per service, a Kubernetes Service for each endpoint: weights are the backendRefs'."""
    yield {
        "apiVersion": _GATEWAY_API,
        "kind": "GatewayClass",
        "metadata": {"name": "penstock"},
        "spec": {"controllerName": "penstock.dev/gateway"},
    }
    listeners = [{"name": x.name, "protocol": x.protocol.value, "port": x.port} for x in SERVICES]
    addresses = [{"value": str(GATEWAY[family])} for family in FAMILIES]
    spec = {"gatewayClassName": "penstock", "addresses": addresses, "listeners": listeners}
    yield _object(_GATEWAY_API, "Gateway", "bench", spec=spec)
    ports = [_service_port(x) for x in SERVICES]
    for number in WEIGHTS:
        yield _object("v1", "Service", f"pod-{number}", spec={"ports": ports})
        for family in FAMILIES:
            part = _object(
                "discovery.k8s.io/v1",
                "EndpointSlice",
                f"pod-{number}-ipv{family}",
                addressType=f"IPv{family}",
                endpoints=[
                    {"addresses": [str(backend_addresses(number)[family])], "conditions": {"ready": True}},
                ],
                ports=ports,
            )
            part["metadata"]["labels"] = {"kubernetes.io/service-name": f"pod-{number}"}
            yield part
    for service in SERVICES:
        refs = [{"name": f"pod-{number}", "port": service.target, "weight": x} for number, x in WEIGHTS.items()]
        route = {"parentRefs": [{"name": "bench", "sectionName": service.name}], "rules": [{"backendRefs": refs}]}
        yield _object(_GATEWAY_API, f"{service.protocol.value}Route", service.name, spec=route)


def _start(site: Site, *, delivery: str) -> None:
    manifests = site.lab.directory / "manifests"
    manifests.mkdir()
    (manifests / "bench.yaml").write_text(yaml.safe_dump_all(_objects(), sort_keys=False))
    gateway = site.stack.enter_context(Gateway(site.lab, manifests, delivery=delivery))
    if gateway.agent is not None:
        site.processes.append(gateway.agent)


STACK = Peer("bstack", "Penstock `stack`", partial(_start, delivery="stack"), GATEWAY)
REDIRECT = Peer("bredir", "Penstock `redirect`", partial(_start, delivery="redirect"), GATEWAY)
