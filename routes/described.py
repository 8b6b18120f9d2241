"""A document beside the type that it is to have, member by member.

Decides which type a member of an object or an element of a list is to have. Rules: the types are those that msgspec
reads by; of a union, all are looked at; a member that its object's type has no field for comes with no type. Must never
judge: `complaint` says what is wrong with a document, `unknown` what is foreign in one that is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import msgspec.inspect
from msgspec.inspect import Field, StructType, Type, UnionType, VarTupleType


@dataclass(frozen=True, slots=True)
class Member:
    """`step` is its name, or its position in a list. `type` is None where `of`, the type of what holds it, has none."""

    step: str | int
    value: object
    type: Type | None
    of: Type


@cache
def described(kind: type) -> Type:
    return msgspec.inspect.type_info(kind)


def alternatives(type_: Type) -> Iterator[Type]:
    match type_:
        case UnionType():
            yield from type_.types
        case _:
            yield type_


def fields(type_: Type) -> Iterator[Field]:
    """Of the objects that it may be."""
    for one in alternatives(type_):
        if isinstance(one, StructType):
            yield from one.fields


def members(type_: Type, value: object) -> Iterator[Member]:
    """What stands in an object or a list; nothing stands in another value, or in what its type takes for another."""
    for one in alternatives(type_):
        match one:
            case VarTupleType() if isinstance(value, list):
                for position, item in enumerate(value):
                    yield Member(position, item, one.item_type, one)
            case StructType() if isinstance(value, Mapping):
                known = {x.encode_name: x.type for x in one.fields}
                for name, item in value.items():
                    yield Member(str(name), item, known.get(name), one)


def path_to(at: str, step: str | int) -> str:
    """The path of a member of what stands at `at`, as in `spec.rules[0]`; "" is the document."""
    if isinstance(step, int):
        return f"{at}[{step}]"
    return f"{at}.{step}" if at else step
