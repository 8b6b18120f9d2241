"""Nodes for the tests that run the agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.node import Node, node


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Node]:
    """A node of its own, without an agent."""
    with node(tmp_path) as made:
        yield made
