"""Fields and kinds that the API does not have: misspelt ones, mostly.

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

from routes.objects import OWN_GROUP, SERVED, UNSERVED, GroupKind, Object, Trimmed

_CLOSE = 0.8


@dataclass(frozen=True, slots=True)
class UnknownField:
    """`field` is its path, as in `spec.rules[0].backendRefs[1].wieght`; "" where the document as a whole is foreign."""

    field: str
    problem: str


def unknown_fields(document: Mapping[str, object], decoded: Object) -> tuple[UnknownField, ...]:
    """The fields of `document`, which `decoded` was made from, that its kind does not have."""
    return tuple(_unknown(document, _described(type(decoded)), ""))


def unknown_kind(wanted: GroupKind, version: str) -> UnknownField:
    """Why a document of a kind that is not read is ignored, and which field of it is misspelt, if one seems to be."""
    api_version = f"{wanted.group}/{version}" if wanted.group else version
    ignored = f"ignored, Penstock does not read {api_version} {wanted.kind}"
    groups = [x.group for x in SERVED if x.kind == wanted.kind]
    if groups:
        near = difflib.get_close_matches(wanted.group, groups, n=1, cutoff=_CLOSE)
        return UnknownField("apiVersion", f"{ignored}; is {near[0]} meant?") if near else UnknownField("", ignored)
    kinds = {} if wanted.kind in UNSERVED else {x.kind.lower(): x.kind for x in SERVED}
    near = difflib.get_close_matches(wanted.kind.lower(), kinds, n=1, cutoff=_CLOSE)
    if not near:
        return UnknownField("", ignored)
    meant = kinds[near[0]]
    is_there = GroupKind(wanted.group, meant) in SERVED
    return UnknownField("kind" if is_there else "", f"{ignored}; is {meant} meant?")


def no_kind_of_ours(kind: str) -> str:
    """What is wrong with a kind that our own group does not have."""
    kinds = ", ".join(sorted(x.kind for x in SERVED if x.group == OWN_GROUP))
    return f"{kind!r} is no kind of {OWN_GROUP}, which has {kinds}"


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
