"""Text of a manifest file -> its documents, each value with the line that it stands on.

Decides: how YAML (and JSON, which is YAML) is read.
Rules:
  - Scalars follow YAML 1.2's core schema: only true/false are booleans, dates stay strings, 1:30 and 0777 are no
    numbers of base 60 or 8. Kubernetes objects have no such types, and `name: 2024-01-01` is a name.
  - A key given twice in one mapping is an error (RFC 8259 leaves it open, YAML 1.2.2 section 3.2.1.3 forbids it).
  - A `List` is its items. Empty documents are skipped.
Must never: know what a Gateway is, or build Python objects from tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

MAX_DEPTH = 64


class BadYaml(Exception):
    """The text is no YAML. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class _Loader(Composer, CParser, SafeConstructor, Resolver):
    """libyaml's parser below Python's composer: as fast as libyaml's own composer, which overflows the C stack when
    values are nested deeply enough."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self._depth = 0
        self.deep_construct = True  # a value that contains itself is an error then

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            event: Any = self.peek_event()
            raise BadYaml(event.start_mark.line + 1, f"is nested deeper than {MAX_DEPTH} levels")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value == "<<":
                continue  # merge keys may repeat what they are merged into
            if not isinstance(key, yaml.ScalarNode):
                raise BadYaml(key.start_mark.line + 1, "a mapping's key must be a scalar")
            if key.value in seen:
                raise BadYaml(key.start_mark.line + 1, f"key {key.value!r} is given twice in one mapping")
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^(?:0|[-+]?[1-9][0-9]*)$"), "-+0123456789")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)$"),
    "-+0123456789",
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), "<")


@dataclass(frozen=True, slots=True)
class Document:
    """One value of a file. `line` counts from 1; `position` is its place among the file's values, from 1."""

    position: int
    line: int
    value: Any
    node: Any = field(repr=False, compare=False)

    def line_of(self, path: str) -> int:
        """The line of the field at `path` (`spec.rules[0].backendRefs`), or of the nearest parent that exists."""
        node = self.node
        line = self.line
        for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
            child = _child(node, name, index)
            if child is None:
                break
            node, line = child
        return line


def _child(node: Any, name: str, index: str) -> tuple[Any, int] | None:
    if index and isinstance(node, yaml.SequenceNode) and int(index) < len(node.value):
        item = node.value[int(index)]
        return item, item.start_mark.line + 1
    if name and isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == name:
                return value, key.start_mark.line + 1
    return None


def documents(text: str) -> tuple[Document, ...]:
    """All values of `text`, Lists opened. Raises BadYaml."""
    try:
        return tuple(
            Document(position, line, value, node) for position, (line, value, node) in enumerate(_values(text), start=1)
        )
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(x for x in (error.context, error.problem) if x)
        raise BadYaml(mark.line + 1 if mark else 1, what) from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise BadYaml(1, " ".join(str(error).split())) from None
    except ValueError as error:
        raise BadYaml(1, f"cannot be read: {error}") from None


def _values(text: str) -> Iterator[tuple[int, Any, Any]]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            yield from _opened(loader.construct_document(node), node)
    finally:
        loader.dispose()


def _opened(value: Any, node: Any) -> Iterator[tuple[int, Any, Any]]:
    if value is None:
        return
    if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
        items = next(child for key, child in node.value if key.value == "items")
        for item, item_node in zip(value["items"], items.value, strict=True):
            yield from _opened(item, item_node)
        return
    yield node.start_mark.line + 1, value, node
