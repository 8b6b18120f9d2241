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

from msgspec.inspect import StructType, Type

from routes.described import Member, described, fields, members, path_to
from routes.objects.base import GroupKind, Object, Trimmed
from routes.objects.fields import OWN_GROUP
from routes.objects.served import SERVED, UNSERVED

_CLOSE = 0.8


@dataclass(frozen=True, slots=True)
class UnknownField:
    """`field` is its path, as in `spec.rules[0].backendRefs[1].wieght`; "" where the document as a whole is foreign."""

    field: str
    problem: str


def unknown_fields(document: Mapping[str, object], decoded: Object) -> tuple[UnknownField, ...]:
    """The fields of `document`, which `decoded` was made from, that its kind does not have."""
    return tuple(_unknown(described(type(decoded)), document, ""))


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


def _unknown(type_: Type, value: object, at: str) -> Iterator[UnknownField]:
    for member in members(type_, value):
        where = path_to(at, member.step)
        if member.type is not None:
            yield from _unknown(member.type, member.value, where)
        elif member.step not in _unread(member.of):
            yield UnknownField(where, _problem(member))


def _unread(type_: Type) -> frozenset[str]:
    return type_.cls.UNREAD if isinstance(type_, StructType) and issubclass(type_.cls, Trimmed) else frozenset()


def _problem(member: Member) -> str:
    known = (*(x.encode_name for x in fields(member.of)), *_unread(member.of))
    meant = difflib.get_close_matches(str(member.step), known, n=1)
    return "is no field of this kind and means nothing" + (f"; is {meant[0]} meant?" if meant else "")
