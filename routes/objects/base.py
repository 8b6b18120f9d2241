"""What every kind is built on: who an object is, what is kept of it, and that what many say alike is there once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, ClassVar, NamedTuple, TypeVar

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from .fields import NamespaceName, ObjectName


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
