"""TCPRoute, UDPRoute, and the ReferenceGrant that lets one refer to another namespace (gateway-api v1.7.0, apis/v1)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from .base import Object, Trimmed
from .fields import GATEWAY_GROUP, NamespaceName, ObjectName, Port, SectionName, Weight


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
