"""A test module takes what it shares from a helper; none imports another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent


def imported(module: Path) -> Iterator[str]:
    """Each name that a module imports, and the modules that they come from."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (x.name for x in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_no_test_module_imports_another() -> None:
    own = {x.stem for x in TESTS.rglob("test_*.py")}
    found = {(x.name, name) for x in TESTS.rglob("*.py") for name in imported(x) if name.rsplit(".", 1)[-1] in own}
    assert found == set()
