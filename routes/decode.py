"""Decoding: a document, as parsed from YAML or JSON, becomes a trimmed frozen object.

Decides which documents are objects of ours. Rules: a known kind either decodes whole and keeps the API server's rules
(`rules`), or is an InvalidObject that names object and field; an unknown kind is ignored with a note, but in our own
group it is an InvalidObject, for nobody else would read it; null is the same as absent, as on the API server, but
refused in the spec of our own kinds, as that server refuses it there; an object without a namespace is in `default`.
Must never guess at a broken document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from routes import rules
from routes.complaint import complaint
from routes.errors import InvalidObject
from routes.objects.base import GroupKind, Object
from routes.objects.fields import OWN_GROUP
from routes.objects.served import CLUSTER_SCOPED, SERVED
from routes.unknown import UnknownField, no_kind_of_ours, unknown_kind


def decode(document: object) -> Object | None:
    """One document -> its object, None if it is of an unknown kind.

    Raises InvalidObject.
    """
    head = _head(document)
    served = SERVED.get(head.group_kind)
    if served is None:
        if head.group_kind.group == OWN_GROUP:
            raise InvalidObject(head.kind, head.name, "kind", no_kind_of_ours(head.kind))
        return None
    type_, versions = served
    if head.version not in versions:
        readable = ", ".join(sorted(versions))
        raise InvalidObject(head.kind, head.name, "apiVersion", f"version {head.version!r} is not served ({readable})")
    if head.group_kind.group == OWN_GROUP and (at := _null(head.document.get("spec", {}), "spec")) is not None:
        raise InvalidObject(head.kind, head.name, at, "is null, which says nothing: give it a value, or leave it out")
    given = _without_nulls(head.document)
    try:
        decoded = msgspec.convert(given, type_)
    except msgspec.ValidationError as error:
        raise InvalidObject(head.kind, head.name, *complaint(type_, given, str(error))) from None
    namespace = "" if head.kind in CLUSTER_SCOPED else decoded.metadata.namespace or "default"
    if namespace != decoded.metadata.namespace:
        metadata = msgspec.structs.replace(decoded.metadata, namespace=namespace)
        decoded = msgspec.structs.replace(decoded, metadata=metadata)
    rules.check(decoded)
    return decoded


def ignored(document: object) -> UnknownField:
    """Why `decode` returned None for this document."""
    head = _head(document)
    return unknown_kind(head.group_kind, head.version)


@dataclass(frozen=True, slots=True)
class _Head:
    document: Mapping[str, object]
    group_kind: GroupKind
    version: str
    name: str  # for people

    @property
    def kind(self) -> str:
        return self.group_kind.kind


def _head(document: object) -> _Head:
    if not isinstance(document, Mapping):
        raise InvalidObject("?", "?", "", f"expected an object, got {type(document).__name__}")
    kind = document.get("kind")
    name = name_of(document)
    if not isinstance(kind, str) or not kind:
        raise InvalidObject("?", name, "kind", "is required")
    api_version = document.get("apiVersion")
    if not isinstance(api_version, str) or not api_version:
        raise InvalidObject(kind, name, "apiVersion", "is required")
    group, _, version = api_version.rpartition("/")
    return _Head(document, GroupKind(group, kind), version, name)


def name_of(document: Mapping[str, object]) -> str:
    """For people: `default/web`, a `?` where it says none."""
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping):
        return "?"
    name = metadata.get("name") or "?"
    namespace = metadata.get("namespace") or ("" if document.get("kind") in CLUSTER_SCOPED else "default")
    return f"{namespace}/{name}" if namespace else str(name)


def _null(value: object, at: str) -> str | None:
    """The path of the first null, None if there is none."""
    inner: Iterable[tuple[object, str]] = ()
    match value:
        case None:
            return at
        case Mapping():
            inner = ((item, f"{at}.{key}") for key, item in value.items())
        case list():
            inner = ((item, f"{at}[{i}]") for i, item in enumerate(value))
    return next((found for item, path in inner if (found := _null(item, path)) is not None), None)


def _without_nulls(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
