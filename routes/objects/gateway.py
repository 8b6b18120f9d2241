"""GatewayClass and Gateway (gateway-api v1.7.0, apis/v1/gatewayclass_types.go, gateway_types.go)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from .base import Object, Trimmed
from .fields import GATEWAY_GROUP, ObjectName, Port


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
