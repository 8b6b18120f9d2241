"""The objects of one resolve, by kind and name, in orders that do not depend on how they came.

Decides precedence: older first (creationTimestamp, absent counts as oldest), then namespace/name, as Gateway API orders
conflicting routes and listeners. Rules: an object may come once. Must never look into specs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from routes.errors import InvalidObject
from routes.objects.base import Object, ObjectKey
from routes.objects.core import Namespace, Service
from routes.objects.gateway import Gateway, GatewayClass
from routes.objects.policy import FlowPolicy
from routes.objects.route import L4Route, ReferenceGrant

_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
_NAME_LABEL = "kubernetes.io/metadata.name"  # the API server puts it on every Namespace

_T = TypeVar("_T", bound=Object)


@dataclass(frozen=True, slots=True)
class Inventory:
    """`gateways`, `routes` and `policies` are oldest first."""

    classes: Mapping[str, GatewayClass]
    gateways: tuple[Gateway, ...]
    routes: tuple[L4Route, ...]
    services: Mapping[ObjectKey, Service]
    grants: Mapping[str, tuple[ReferenceGrant, ...]]
    namespaces: Mapping[str, Namespace]
    policies: tuple[FlowPolicy, ...]

    def labels(self, namespace: str) -> Mapping[str, str]:
        """Labels of a namespace; its name is one even when the Namespace object is not known (a folder has none)."""
        known = self.namespaces.get(namespace)
        return {**(known.metadata.labels if known is not None else {}), _NAME_LABEL: namespace}


def inventory(objects: Iterable[Object]) -> Inventory:
    """Sorts the objects; kinds that routing does not read (EndpointSlice) are left out.

    Raises InvalidObject if an object comes twice.
    """
    by_key: dict[ObjectKey, Object] = {}
    for item in objects:
        if item.key in by_key:
            raise InvalidObject(item.KIND, str(item.key), "metadata.name", "is defined more than once")
        by_key[item.key] = item
    ordered = sorted(by_key.values(), key=precedence)
    grants: dict[str, list[ReferenceGrant]] = {}
    for grant in _of(ordered, ReferenceGrant):
        grants.setdefault(grant.metadata.namespace, []).append(grant)
    return Inventory(
        classes={x.metadata.name: x for x in _of(ordered, GatewayClass)},
        gateways=_of(ordered, Gateway),
        routes=_of(ordered, L4Route),
        services={x.key: x for x in _of(ordered, Service)},
        grants={namespace: tuple(found) for namespace, found in grants.items()},
        namespaces={x.metadata.name: x for x in _of(ordered, Namespace)},
        policies=_of(ordered, FlowPolicy),
    )


def precedence(item: Object) -> tuple[datetime, str, str, str]:
    """Sort key: who comes first wins."""
    metadata = item.metadata
    return (metadata.creation_timestamp or _EPOCH, metadata.namespace, metadata.name, item.KIND)


def _of(objects: Iterable[Object], kind: type[_T]) -> tuple[_T, ...]:
    return tuple(x for x in objects if isinstance(x, kind))
