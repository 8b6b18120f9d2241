"""Which kinds, in which versions, are read."""

from __future__ import annotations

from typing import Final

from .base import GroupKind, Object
from .core import EndpointSlice, Namespace, Service
from .gateway import Gateway, GatewayClass
from .policy import FlowPolicy
from .route import ReferenceGrant, TCPRoute, UDPRoute

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
