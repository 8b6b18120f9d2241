"""One manifest file's text -> decoded objects, or every reason why not.

Decides: a file is taken whole or not at all, so that a mistake in one object never leaves half a change running.
Rules: each error names the file's line, the object and the field; an object given twice in the file is an error.
Must never: touch the file system.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.sources.base import SourceError
from agent.sources.yamldoc import BadYaml, Document, documents
from routes.decode import decode, ignored, name_of
from routes.doubts import doubts
from routes.errors import InvalidObject
from routes.objects.base import Object, ObjectKey
from routes.unknown import unknown_fields


@dataclass(frozen=True, slots=True)
class Located:
    """A decoded object and the line where it begins."""

    object: Object
    line: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file says. With errors, `objects` is empty; `notes` name what is ignored or looks not meant."""

    objects: dict[ObjectKey, Located]
    errors: tuple[SourceError, ...]
    notes: tuple[SourceError, ...]


def parse(origin: str, text: str) -> Parsed:
    """Decode all documents of `text`, which came from the file `origin`."""
    try:
        found = documents(text)
    except BadYaml as error:
        return Parsed({}, (SourceError(origin, error.line, "", "", error.message),), ())
    objects: dict[ObjectKey, Located] = {}
    errors: list[SourceError] = []
    notes: list[SourceError] = []
    for document in found:
        try:
            decoded = decode(document.value)
        except InvalidObject as error:
            line = document.line_of(error.field)
            errors.append(SourceError(origin, line, describe(document), error.field, error.problem))
            continue
        if decoded is None:
            note = ignored(document.value)
            notes.append(SourceError(origin, document.line, describe(document), note.field, note.problem))
            continue
        key = decoded.key
        if key in objects:
            message = f"is in this file twice, at line {objects[key].line} as well"
            errors.append(SourceError(origin, document.line, describe(document), "", message))
            continue
        objects[key] = Located(decoded, document.line)
        for told in (*unknown_fields(document.value, decoded), *doubts(document.value, decoded)):
            line = document.line_of(told.field)
            notes.append(SourceError(origin, line, describe(document), told.field, told.problem))
    return Parsed({} if errors else objects, tuple(errors), tuple(notes))


def named(text: str) -> Iterator[tuple[str, str]]:
    """Kind and name (`default/web`) of everything in `text` that says them, be it right or not."""
    try:
        found = documents(text)
    except BadYaml:
        return
    for document in found:
        value = document.value
        if isinstance(value, dict) and isinstance(value.get("kind"), str):
            yield value["kind"], name_of(value)


def describe(document: Document) -> str:
    """A document's kind and name as far as it has them: `TCPRoute default/web`, else `document 3`."""
    value: Any = document.value
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        return f"document {document.position}"
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = metadata.get("name")
    if not isinstance(name, str):
        return f"{value['kind']} (document {document.position})"
    namespace = metadata.get("namespace")
    return f"{value['kind']} {namespace}/{name}" if isinstance(namespace, str) else f"{value['kind']} {name}"
