"""Fields that the API does not have: misspelt ones, mostly.

Decides what to tell a person about a document that decodes, but says more than anybody reads. Rules: a field is known
if its type reads it, or names it in UNREAD; what stands under a field of UNREAD is not looked at. An API server refuses
unknown fields when it is asked to (kubectl's --validate=strict) and drops them otherwise: so they are told here, not
refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import msgspec.inspect

from routes.objects import SERVED, UNSERVED, Object, Trimmed


@dataclass(frozen=True, slots=True)
class UnknownField:
    """`field` is its path, as in `spec.rules[0].backendRefs[1].wieght`."""

    field: str
    problem: str


def unknown_fields(document: Mapping[str, object], decoded: Object) -> tuple[UnknownField, ...]:
    """The fields of `document`, which `decoded` was made from, that its kind does not have."""
    return tuple(_unknown(document, _described(type(decoded)), ""))


def similar_kind(kind: str) -> str:
    """The kind of ours that a document of an unknown kind may have been meant to be; "" if none comes near."""
    if kind in UNSERVED:
        return ""
    return next(iter(difflib.get_close_matches(kind, (x.kind for x in SERVED), n=1, cutoff=0.8)), "")


@cache
def _described(kind: type[Object]) -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(kind)


def _unknown(value: object, described: msgspec.inspect.Type, at: str) -> Iterator[UnknownField]:
    match described:
        case msgspec.inspect.UnionType():
            for one in described.types:
                yield from _unknown(value, one, at)
        case msgspec.inspect.VarTupleType() if isinstance(value, list):
            for position, item in enumerate(value):
                yield from _unknown(item, described.item_type, f"{at}[{position}]")
        case msgspec.inspect.StructType() if isinstance(value, Mapping):
            known = {field.encode_name: field.type for field in described.fields}
            for name, item in value.items():
                where = f"{at}.{name}" if at else str(name)
                if name in known:
                    yield from _unknown(item, known[name], where)
                elif name not in (unread := _unread(described.cls)):
                    yield UnknownField(where, _problem(str(name), (*known, *unread)))


def _unread(kind: type) -> frozenset[str]:
    return kind.UNREAD if issubclass(kind, Trimmed) else frozenset()


def _problem(name: str, known: tuple[str, ...]) -> str:
    meant = difflib.get_close_matches(name, known, n=1)
    return "is no field of this kind and means nothing" + (f"; is {meant[0]} meant?" if meant else "")
