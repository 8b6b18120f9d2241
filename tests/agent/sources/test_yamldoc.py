"""Text in, values with lines out."""

from __future__ import annotations

from typing import Any

import pytest

from agent.sources.yamldoc import BadYaml, documents


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("# only a comment\n---\n---\n", []),
        ("kind: A\n---\nkind: B\n", [{"kind": "A"}, {"kind": "B"}]),
        ('{"kind": "A", "port": 53}', [{"kind": "A", "port": 53}]),
        ("kind: List\nitems:\n- kind: A\n- kind: List\n  items: [{kind: B}]\n", [{"kind": "A"}, {"kind": "B"}]),
        ("kind: List\nitems: []\n", []),
        ("kind: List\nitems: 3\n", [{"kind": "List", "items": 3}]),
        ("a: &x {b: 1}\nc: *x\n", [{"a": {"b": 1}, "c": {"b": 1}}]),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}\n", [{"a": {"b": 1}, "c": {"b": 1, "d": 2}}]),
    ],
)
def test_documents(text: str, values: list[Any]) -> None:
    assert [x.value for x in documents(text)] == values


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("true", True),
        ("yes", "yes"),
        ("on", "on"),
        ("null", None),
        ("~", None),
        ("53", 53),
        ("-1", -1),
        ("1.5", 1.5),
        ("0777", "0777"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ('"53"', "53"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(scalar: str, value: Any) -> None:
    (document,) = documents(f"x: {scalar}\n")
    assert document.value == {"x": value}
    assert type(document.value["x"]) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' is given twice in one mapping"),
        ("a: [1, 2\n", 2, "did not find expected ',' or ']'"),
        ("a: 1\n\tb: 2\n", 2, "tab character"),
        ("a: *nothing\n", 1, "undefined alias"),
        ("a: &a [*a]\n", 1, "recursive"),
        ("a: !!python/name:os.system\n", 1, "could not determine a constructor"),
        ("[1, 2]: 3\n", 1, "a mapping's key must be a scalar"),
        ("a: \x00\n", 1, "control characters are not allowed"),
        ("[" * 100, 1, "nested deeper than 64 levels"),
        ("[" * 100_000, 1, "nest"),  # newer libyaml gives up by itself, before we do
    ],
)
def test_bad_yaml_names_the_line(text: str, line: int, message: str) -> None:
    with pytest.raises(BadYaml) as error:
        documents(text)
    assert (error.value.line, message in error.value.message) == (line, True), error.value.message


ROUTE = """
---
kind: TCPRoute
spec:
  rules:
  - backendRefs:
    - name: a
    - name: b
      weight: -1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", 3),
        ("spec", 4),
        ("spec.rules[0].backendRefs[1]", 8),
        ("spec.rules[0].backendRefs[1].weight", 9),
        ("spec.rules[0].backendRefs[1].port", 8),  # it is missing: its parent
        ("spec.parentRefs[0].name", 4),
        ("status", 3),
    ],
)
def test_line_of_a_field(path: str, line: int) -> None:
    (document,) = documents(ROUTE)
    assert document.line_of(path) == line
