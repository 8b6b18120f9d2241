"""Writes a folder of manifests from a few words, for tests that change them under a running gateway.

Decides: nothing about the gateway; a World says which listeners there are and which pods stand behind which Service,
and `objects` is that in Gateway API and core/v1 words.
Rules: every Service has the same ports (those of the witness, and one that it has closed); the file is replaced by a
rename, as an editor does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from lab.servers.witness import PORT, STREAM_PORT
from lab.topology import FAMILIES, GATEWAY, Address, backend_addresses

CLOSED_PORT: Final = 9
"""A port of every Service on which no pod listens."""

SERVICE_PORTS: Final = (
    ("ask-tcp", "TCP", PORT),
    ("ask-udp", "UDP", PORT),
    ("stream", "TCP", STREAM_PORT),
    ("closed", "UDP", CLOSED_PORT),
)
CLASS: Final = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "penstock"},
    "spec": {"controllerName": "penstock.dev/gateway"},
}
MOST_LISTENERS: Final = 64
"""Of one Gateway, by the API."""


@dataclass(frozen=True, slots=True)
class Pod:
    """An endpoint, by its backend number, with the conditions of its EndpointSlice entry. `uid`: of its targetRef."""

    number: int
    ready: bool = True
    terminating: bool = False
    serving: bool = True
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener and its route. `weights`: Service -> weight; `target`: the Service port that it leads to."""

    protocol: str
    port: int
    weights: Mapping[str, int]
    target: int = PORT

    @property
    def name(self) -> str:
        """Unique within a World."""
        return f"{self.protocol.lower()}-{self.port}"


@dataclass(frozen=True, slots=True)
class World:
    """All of it. `services`: name -> pods. A Service that a listener names need not exist."""

    listeners: tuple[Listener, ...]
    services: Mapping[str, tuple[Pod, ...]]
    gateway: str = "lab"
    addresses: tuple[Address, ...] = field(default_factory=lambda: (GATEWAY[4], GATEWAY[6]))


def objects(world: World) -> Iterator[dict[str, Any]]:
    """The objects of a World but its GatewayClass, in no meaningful order."""
    yield _object(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        world.gateway,
        {
            "gatewayClassName": "penstock",
            "addresses": [{"value": str(address)} for address in world.addresses],
            "listeners": [{"name": x.name, "protocol": x.protocol, "port": x.port} for x in world.listeners],
        },
    )
    for listener in world.listeners:
        refs = [{"name": name, "port": listener.target, "weight": x} for name, x in listener.weights.items()]
        yield _object(
            "gateway.networking.k8s.io/v1",
            f"{listener.protocol}Route",
            f"{world.gateway}-{listener.name}",
            {
                "parentRefs": [{"name": world.gateway, "sectionName": listener.name}],
                "rules": [{"backendRefs": refs}],
            },
        )
    for name, pods in world.services.items():
        ports = [{"name": port, "protocol": protocol, "port": number} for port, protocol, number in SERVICE_PORTS]
        yield _object("v1", "Service", name, {"ports": ports})
        for family in FAMILIES:
            yield {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"{name}-ipv{family}",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "addressType": f"IPv{family}",
                "endpoints": [_endpoint(pod, family) for pod in pods],
                "ports": ports,
            }


def _object(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def _endpoint(pod: Pod, family: int) -> dict[str, Any]:
    target = {"targetRef": {"kind": "Pod", "namespace": "default", "uid": pod.uid}} if pod.uid else {}
    return {
        "addresses": [str(backend_addresses(pod.number)[family])],
        "conditions": {"ready": pod.ready, "serving": pod.serving, "terminating": pod.terminating},
        **target,
    }


def write(world: World, folder: Path) -> None:
    """Make `folder`/<gateway>.yaml say this. The class that all gateways share is in a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "class.yaml").exists():
        _replace(folder / "class.yaml", [CLASS])
    _replace(folder / f"{world.gateway}.yaml", objects(world))


def _replace(file: Path, content: Iterable[dict[str, Any]]) -> None:
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(yaml.safe_dump_all(content, sort_keys=False))
    os.replace(fresh, file)
