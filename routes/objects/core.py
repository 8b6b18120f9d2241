"""Namespace, Service and EndpointSlice (Kubernetes core/v1, discovery/v1)."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from .base import LabelledMetadata, Object, Trimmed
from .fields import SERVICE_NAME_LABEL, Port, TransportName


class Namespace(Object, frozen=True):
    UNREAD = frozenset({"apiVersion", "kind", "spec", "status"})

    GROUP = ""
    KIND = "Namespace"

    metadata: LabelledMetadata


class ServicePort(Trimmed, frozen=True):
    UNREAD = frozenset({"appProtocol", "nodePort", "targetPort"})

    port: Port
    name: str = ""
    protocol: TransportName = "TCP"


class ServiceSpec(Trimmed, frozen=True):
    UNREAD = frozenset(
        {
            "allocateLoadBalancerNodePorts",
            "clusterIP",
            "clusterIPs",
            "externalIPs",
            "externalName",
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "internalTrafficPolicy",
            "ipFamilies",
            "ipFamilyPolicy",
            "loadBalancerClass",
            "loadBalancerIP",
            "loadBalancerSourceRanges",
            "publishNotReadyAddresses",
            "selector",
            "sessionAffinity",
            "sessionAffinityConfig",
            "trafficDistribution",
        }
    )

    type: str = "ClusterIP"
    ports: tuple[ServicePort, ...] = ()


class Service(Object, frozen=True):
    GROUP = ""
    KIND = "Service"

    spec: ServiceSpec

    def __post_init__(self) -> None:
        self.metadata._intern("name")  # backendRefs and slices say it too
        self._share("spec")


class EndpointConditions(Trimmed, frozen=True):
    """None is unknown: `ready` then counts as true, `serving` as `ready`, `terminating` as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetReference(Trimmed, frozen=True):
    """The name is kept where there is no uid: either tells one pod from another."""

    UNREAD = frozenset({"apiVersion", "fieldPath", "resourceVersion"})

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""

    def __post_init__(self) -> None:
        self._intern("kind", "namespace")
        if self.uid:
            force_setattr(self, "name", "")


class SliceEndpoint(Trimmed, frozen=True):
    UNREAD = frozenset({"deprecatedTopology", "hints", "hostname", "nodeName", "zone"})

    addresses: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]
    conditions: EndpointConditions = EndpointConditions()
    target_ref: TargetReference | None = None

    def __post_init__(self) -> None:
        self._share("conditions")


class SlicePort(Trimmed, frozen=True):
    """`port` None means every port of the endpoint: no Service port resolves through it."""

    UNREAD = frozenset({"appProtocol"})

    name: str = ""
    port: Port | None = None
    protocol: TransportName = "TCP"


class SliceMetadata(LabelledMetadata, frozen=True):
    """Of the labels, which are many, only the one that is read is kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        service = self.labels.get(SERVICE_NAME_LABEL)
        force_setattr(self, "labels", {} if service is None else {SERVICE_NAME_LABEL: sys.intern(service)})


class EndpointSlice(Object, frozen=True):
    GROUP = "discovery.k8s.io"
    KIND = "EndpointSlice"

    metadata: SliceMetadata
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: Annotated[tuple[SliceEndpoint, ...], Meta(max_length=1000)] = ()
    ports: Annotated[tuple[SlicePort, ...], Meta(max_length=100)] = ()

    def __post_init__(self) -> None:
        self._share("ports")

    @property
    def service(self) -> str:
        """Name of the Service it belongs to, "" when it says none."""
        return self.metadata.labels.get(SERVICE_NAME_LABEL, "")
