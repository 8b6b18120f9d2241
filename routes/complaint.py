"""What is wrong with a document that is no object of its kind, as a person would say it.

Decides the words: which values there are, instead of what msgspec calls the type that it expected. Rules: the type at
the place that msgspec names says which values it takes: a Literal its words, a number its bounds, text what its
description says (`Meta` in `objects`); where that says nothing, msgspec's own words stand. Must never judge.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

from msgspec.inspect import IntType, LiteralType, Metadata, StructType, Type

from routes.described import alternatives, described, fields, members, path_to

_AT = re.compile(r"^(?P<problem>.*) - at `\$\.?(?P<path>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<field>.*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<field>.*)`$")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def complaint(kind: type, document: object, message: str) -> tuple[str, str]:
    """msgspec's message about a document of that kind -> (field path, problem)."""
    match = _AT.match(message)
    problem, path = (match["problem"], match["path"]) if match else (message, "")
    found = _follow(described(kind), document, path)
    if (missing := _MISSING.match(problem)) is not None:
        instead = _instead(found, missing["field"])
        return path_to(path, missing["field"]), "is required" + (instead or _choice(found, missing["field"]))
    if (unknown := _UNKNOWN.match(problem)) is not None:
        return path_to(path, unknown["field"]), _no_field(found, unknown["field"])
    words = _wanted(*found) if found is not None else ""
    if words:
        words += "".join(_beside(kind, document, path))
    return path, words or problem[:1].lower() + problem[1:]


def _follow(type_: Type, value: object, path: str) -> tuple[Type, object] | None:
    """The type and the value at a path; None where it does not lead to a field."""
    for name, index in _STEP.findall(path):
        step = name or int(index)
        for member in members(type_, value):
            if member.step == step and member.type is not None:
                type_, value = member.type, member.value
                break
        else:
            return None
    return type_, value


def _wanted(type_: Type, value: object) -> str:
    """What a value would have to be, "" if that is not known better than msgspec says it."""
    if isinstance(value, Mapping | list):
        return ""
    for one in alternatives(type_):
        match one:
            case Metadata(extra_json_schema={"description": str(what)}):
                return f"{value!r} is not {what}"
            case LiteralType(values=values):
                return f"{value!r} is {'none of' if len(values) > 1 else 'not'} {', '.join(map(str, values))}"
            case IntType(ge=int(least), le=int(most)):
                return f"{value!r} is not a whole number from {least} to {most}"
    return ""


def _beside(kind: type, document: object, path: str) -> Iterator[str]:
    """What else is no word of its field in the same object: msgspec stops at the first."""
    around, _, field = path.rpartition(".")
    found = _follow(described(kind), document, around)
    value = found[1] if found is not None else None
    for one in fields(found[0]) if found is not None else ():
        name = one.encode_name
        words = one.type.values if isinstance(one.type, LiteralType) else ()
        if name != field and words and isinstance(value, Mapping) and name in value and value[name] not in words:
            yield f"; {name}: {_wanted(one.type, value[name])}"


def _choice(found: tuple[Type, object] | None, field: str) -> str:
    known = fields(found[0]) if found is not None else ()
    wanted = next((x.type for x in known if x.encode_name == field), None)
    return f": {' or '.join(map(str, wanted.values))}" if isinstance(wanted, LiteralType) else ""


def _instead(found: tuple[Type, object] | None, field: str) -> str:
    """What stands there and is no field, where a field is missing that it resembles."""
    value = found[1] if found is not None else None
    known = {x.encode_name for x in fields(found[0])} if found is not None else set()
    strange = [str(x) for x in value if x not in known] if isinstance(value, Mapping) else []
    near = difflib.get_close_matches(field, strange, n=1)
    return f"; {near[0]} is no field: is {field} meant?" if near else ""


def _no_field(found: tuple[Type, object] | None, field: str) -> str:
    for one in alternatives(found[0]) if found is not None else ():
        if isinstance(one, StructType) and (hint := getattr(one.cls, "HINTS", {}).get(field)):
            return f"is no field; {hint}"
    known = [x.encode_name for x in fields(found[0])] if found is not None else []
    meant = difflib.get_close_matches(field, known, n=1)
    return "is no field; " + (f"is {meant[0]} meant?" if meant else f"there are {', '.join(known)}")
