"""All the documents of a text at once, as a golden or an example has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from routes.decode import decode, ignored
from routes.objects.base import Object


def decoded(documents: Iterable[Any]) -> tuple[list[Object], list[str]]:
    """Objects, and a note for each document of a kind that is none of ours. A `List` is its items."""
    objects, notes = [], []
    for document in _opened(documents):
        found = decode(document)
        if found is None:
            name = document["metadata"]["name"]
            namespace = document["metadata"].get("namespace", "default")
            notes.append(f"{document['kind']} {namespace}/{name}: {ignored(document).problem}")
        else:
            objects.append(found)
    return objects, notes


def _opened(documents: Iterable[Any]) -> Iterator[Any]:
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List":
            yield from _opened(document["items"])
        elif document is not None:
            yield document
