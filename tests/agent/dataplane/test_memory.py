"""What is remembered over a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import run_dir
from agent.compile.image import BackendName, ListenerName, Names
from agent.dataplane.memory import Memory, recall, remember
from routes.plan import Protocol

MEMORY = Memory(
    Names(
        {1: ListenerName("default/edge", "dns", 53, Protocol.UDP, None, None)},
        {2: BackendName("default/dns", 3, 0.75, "Pod default/dns-0")},
    ),
    frozenset({("eth0", b"\x33\x33\xff\x00\x00\x01")}),
)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    remember(MEMORY, tmp_path / "run")
    assert recall(tmp_path / "run") == MEMORY
    remember(Memory(), tmp_path / "run")
    assert recall(tmp_path / "run") == Memory()


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"version": 1}', b'{"version": 2, "listeners": {}}', b"\xff"])
def test_what_cannot_be_understood_is_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / run_dir.MEMORY).write_bytes(content)
    assert recall(tmp_path) == Memory()
