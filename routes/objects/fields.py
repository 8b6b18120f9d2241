"""What one field may hold: names, ports, weights, as the API has them, and as they are called to people."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

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
