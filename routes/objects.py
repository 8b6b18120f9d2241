"""The Kubernetes objects that routing is made of, trimmed to the fields it reads.

Decides which fields of which kinds matter. Rules: frozen; every field that the API defaults has that default here, so
that a manifest from a folder and an object from the API server look the same; what one field alone may hold is written
in its type (rules between fields are in `rules`); a field that the API has and we do not read is named in `UNREAD`, so
that a misspelt one can be told from it (`unknown`); what many objects say alike is there once (`__post_init__`). Must
never keep managedFields, annotations or status: memory is a goal.

Sources: gateway-api v1.7.0 apis/v1/*_types.go (TCPRoute and UDPRoute are v1 since v1.6.0), Kubernetes core/v1 and
discovery/v1.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, TypeAlias, TypeVar

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
OWN_GROUP: Final = "penstock.dev"
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"

_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

# `description`: what a value is that such a field takes, for people (`complaint`).
ObjectName: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=_SUBDOMAIN,
        description="a name: lower-case letters, digits, - and . within, 253 of them at most",
    ),
]
NamespaceName: TypeAlias = Annotated[
    str,
    Meta(
        max_length=63,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$",
        description="a namespace: lower-case letters, digits and - within, 63 of them at most",
    ),
]
SectionName: TypeAlias = Annotated[str, Meta(max_length=253, description="the name of a listener")]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Weight: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000)]
TransportName: TypeAlias = Literal["TCP", "UDP", "SCTP"]
Cidr: TypeAlias = Annotated[str, Meta(description="a CIDR such as 192.0.2.0/24 or 2001:db8::/32")]
Duration: TypeAlias = Annotated[str, Meta(description="a duration such as 30s or 1h30m")]


class ObjectKey(NamedTuple):
    """Identity of an object; `namespace` is "" for kinds without one."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class GroupKind(NamedTuple):
    group: str
    kind: str


_T = TypeVar("_T")


class Trimmed(Struct, frozen=True, gc=False, rename="camel"):
    """Base of everything below: camelCase on the wire, other fields dropped. `UNREAD`: those of them the API knows;
    `HINTS`: what to say of one that people look for in vain.

    `gc=False`: a decoded document has no cycles, and a search for some need not know of its parts (16 bytes each).
    """

    UNREAD: ClassVar[frozenset[str]] = frozenset()
    HINTS: ClassVar[Mapping[str, str]] = {}

    def _share(self, *names: str) -> None:
        """For `__post_init__`: fields whose values many objects have."""
        for name in names:
            force_setattr(self, name, _shared(getattr(self, name)))

    def _intern(self, *names: str) -> None:
        """The same for names that many objects have, however many different ones there are."""
        for name in names:
            force_setattr(self, name, sys.intern(getattr(self, name)))


@lru_cache(maxsize=1024)
def _shared(value: _T) -> _T:
    """The one that equals it and came first."""
    return value


class Metadata(Trimmed, frozen=True):
    UNREAD = frozenset(
        {
            "annotations",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "finalizers",
            "generateName",
            "labels",
            "managedFields",
            "ownerReferences",
            "resourceVersion",
            "selfLink",
            "uid",
        }
    )

    name: ObjectName
    namespace: NamespaceName = ""
    generation: int = 0
    creation_timestamp: Annotated[datetime, Meta(tz=True)] | None = None

    def __post_init__(self) -> None:
        self._intern("namespace")
        self._share("creation_timestamp")


class LabelledMetadata(Metadata, frozen=True):
    """For the kinds whose labels are read."""

    labels: dict[str, str] = field(default_factory=dict)


class Object(Trimmed, frozen=True):
    """Base of every kind. The namespace is "" for kinds without one, never for the others."""

    UNREAD = frozenset({"apiVersion", "kind", "status"})

    GROUP: ClassVar[str]
    KIND: ClassVar[str]

    metadata: Metadata

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.GROUP, self.KIND, self.metadata.namespace, self.metadata.name)


# ---- GatewayClass --------------------------------------------------------------------------------------------------


class ParametersReference(Trimmed, frozen=True):
    UNREAD = frozenset({"namespace"})

    group: str
    kind: str
    name: str


class GatewayClassSpec(Trimmed, frozen=True):
    UNREAD = frozenset({"description"})

    controller_name: Annotated[str, Meta(min_length=1, max_length=253)]
    parameters_ref: ParametersReference | None = None


class GatewayClass(Object, frozen=True):
    GROUP = GATEWAY_GROUP
    KIND = "GatewayClass"

    spec: GatewayClassSpec


# ---- Gateway -------------------------------------------------------------------------------------------------------


class LabelSelectorRequirement(Trimmed, frozen=True):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Trimmed, frozen=True):
    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class RouteNamespaces(Trimmed, frozen=True):
    from_: Literal["All", "Same", "Selector"] = field(default="Same", name="from")
    selector: LabelSelector | None = None


class RouteGroupKind(Trimmed, frozen=True):
    kind: str
    group: str = GATEWAY_GROUP


class AllowedRoutes(Trimmed, frozen=True):
    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: Annotated[tuple[RouteGroupKind, ...], Meta(max_length=8)] = ()


class Listener(Trimmed, frozen=True):
    name: ObjectName
    port: Port
    protocol: Annotated[
        str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(/[A-Za-z0-9]+)?$")
    ]
    hostname: str = ""
    tls: dict[str, object] | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()

    def __post_init__(self) -> None:
        self._intern("name", "protocol")


class GatewayAddress(Trimmed, frozen=True):
    UNREAD = frozenset({"routability"})

    value: Annotated[str, Meta(max_length=253)] = ""
    type: str = "IPAddress"


class GatewayInfrastructure(Trimmed, frozen=True):
    UNREAD = frozenset({"annotations", "labels"})

    parameters_ref: ParametersReference | None = None


class GatewaySpec(Trimmed, frozen=True):
    UNREAD = frozenset({"allowedListeners", "defaultScope", "tls"})

    gateway_class_name: ObjectName
    listeners: Annotated[tuple[Listener, ...], Meta(min_length=1, max_length=64)]
    addresses: Annotated[tuple[GatewayAddress, ...], Meta(max_length=16)] = ()
    infrastructure: GatewayInfrastructure = GatewayInfrastructure()


class Gateway(Object, frozen=True):
    GROUP = GATEWAY_GROUP
    KIND = "Gateway"

    spec: GatewaySpec


# ---- Routes --------------------------------------------------------------------------------------------------------


class ParentReference(Trimmed, frozen=True):
    name: ObjectName
    group: str = GATEWAY_GROUP
    kind: str = "Gateway"
    namespace: NamespaceName = ""
    section_name: SectionName = ""
    port: Port | None = None

    def __post_init__(self) -> None:
        self._intern("name", "group", "kind", "namespace", "section_name")


class BackendReference(Trimmed, frozen=True):
    name: ObjectName
    group: str = ""
    kind: Annotated[str, Meta(min_length=1)] = "Service"
    namespace: NamespaceName = ""
    port: Port | None = None
    weight: Weight = 1

    def __post_init__(self) -> None:
        self._intern("name", "group", "kind", "namespace")


class L4Rule(Trimmed, frozen=True):
    UNREAD = frozenset({"name"})

    backend_refs: Annotated[tuple[BackendReference, ...], Meta(min_length=1, max_length=16)]


class L4RouteSpec(Trimmed, frozen=True):
    UNREAD = frozenset({"useDefaultGateways"})

    rules: tuple[L4Rule, ...]
    parent_refs: Annotated[tuple[ParentReference, ...], Meta(max_length=32)] = ()


class L4Route(Object, frozen=True):
    """What TCPRoute and UDPRoute have in common: everything but the kind."""

    spec: L4RouteSpec


class TCPRoute(L4Route, frozen=True):
    GROUP = GATEWAY_GROUP
    KIND = "TCPRoute"


class UDPRoute(L4Route, frozen=True):
    GROUP = GATEWAY_GROUP
    KIND = "UDPRoute"


class GrantFrom(Trimmed, frozen=True):
    group: str
    kind: str
    namespace: NamespaceName


class GrantTo(Trimmed, frozen=True):
    group: str
    kind: str
    name: str = ""


class ReferenceGrantSpec(Trimmed, frozen=True):
    from_: Annotated[tuple[GrantFrom, ...], Meta(min_length=1, max_length=16)] = field(name="from")
    to: Annotated[tuple[GrantTo, ...], Meta(min_length=1, max_length=16)]


class ReferenceGrant(Object, frozen=True):
    GROUP = GATEWAY_GROUP
    KIND = "ReferenceGrant"

    spec: ReferenceGrantSpec


# ---- FlowPolicy: our own (GEP-713). A field that it does not have is an error: who misspells `deny` would let all in -


class PolicyTargetReference(Trimmed, frozen=True, forbid_unknown_fields=True):
    """`section_name` is a Gateway's listener; a target is in the policy's own namespace."""

    HINTS = {"namespace": "the targets of a policy are in its own namespace only"}

    group: Literal["gateway.networking.k8s.io"]
    kind: Literal["Gateway", "TCPRoute", "UDPRoute"]
    name: ObjectName
    section_name: SectionName = ""


class PolicySources(Trimmed, frozen=True, forbid_unknown_fields=True):
    """CIDRs. `denied`: what becomes of a packet that would begin a flow from elsewhere."""

    allow: Annotated[tuple[Cidr, ...], Meta(max_length=1024)] = ()
    deny: Annotated[tuple[Cidr, ...], Meta(max_length=1024)] = ()
    denied: Literal["Drop", "Reject"] = "Drop"


class SourcePrefix(Trimmed, frozen=True, forbid_unknown_fields=True):
    """How many leading bits of an address are one client, by family: an IPv6 client has a /64 at least."""

    ipv4: Annotated[int, Meta(ge=1, le=32)] = 32
    ipv6: Annotated[int, Meta(ge=1, le=128)] = 64


class PolicyIdle(Trimmed, frozen=True, forbid_unknown_fields=True):
    """Durations of GEP-2257, "" = not said: how long a flow may be without a packet before it is forgotten."""

    tcp: Duration = ""
    udp: Duration = ""


class PolicyConnections(Trimmed, frozen=True, forbid_unknown_fields=True):
    """TCP connections at a time; None = any number."""

    HINTS = {"perClient": "is perSource meant?"}

    per_listener: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    per_source: Annotated[int, Meta(ge=1, le=2**20)] | None = None
    source_prefix: SourcePrefix | None = None


class PolicyAffinity(Trimmed, frozen=True, forbid_unknown_fields=True):
    type: Literal["None", "ClientAddress"]
    source_prefix: SourcePrefix = SourcePrefix()


class FlowPolicySpec(Trimmed, frozen=True, forbid_unknown_fields=True):
    """A part that is None says nothing: a less specific policy may say it."""

    target_refs: Annotated[tuple[PolicyTargetReference, ...], Meta(min_length=1, max_length=16)]
    sources: PolicySources | None = None
    idle: PolicyIdle | None = None
    affinity: PolicyAffinity | None = None
    connections: PolicyConnections | None = None


class FlowPolicy(Object, frozen=True):
    GROUP = OWN_GROUP
    KIND = "FlowPolicy"

    spec: FlowPolicySpec


# ---- Core ----------------------------------------------------------------------------------------------------------


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


# (group, kind) -> versions that are read. v1alpha2 of the L4 routes has the same fields (experimental channel only).
SERVED: Final[dict[GroupKind, tuple[type[Object], frozenset[str]]]] = {
    GroupKind(kind.GROUP, kind.KIND): (kind, frozenset(versions))
    for kind, versions in (
        (GatewayClass, ("v1", "v1beta1")),
        (Gateway, ("v1", "v1beta1")),
        (TCPRoute, ("v1", "v1alpha2")),
        (UDPRoute, ("v1", "v1alpha2")),
        (ReferenceGrant, ("v1", "v1beta1")),
        (FlowPolicy, ("v1alpha1",)),
        (Namespace, ("v1",)),
        (Service, ("v1",)),
        (EndpointSlice, ("v1",)),
    )
}
# Kinds of the Gateway API that are none of ours, and no misspelling of one.
UNSERVED: Final = frozenset({"BackendTLSPolicy", "GRPCRoute", "HTTPRoute", "ListenerSet", "TLSRoute"})
CLUSTER_SCOPED: Final = frozenset({GatewayClass.KIND, Namespace.KIND})
