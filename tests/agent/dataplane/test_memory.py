"""What is remembered over a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent import run_dir
from agent.compile.image import BackendName, ListenerName, Names
from agent.dataplane.memory import Memory, append, life, recall, write
from routes.plan import Protocol

from .images import BACKEND6, backend

LISTENERS = {1: ListenerName("default/edge", "dns", 53, Protocol.UDP, None, None)}
NAME = BackendName("default/dns", 3, 0.75, "Pod default/dns-0")
MEMORY = Memory(
    LISTENERS,
    {life(2, backend()): NAME, life(3, backend(3, address=BACKEND6)): NAME},
    frozenset({("eth0", b"\x33\x33\xff\x00\x00\x01")}),
)


def remember(memory: Memory, folder: Path) -> int:
    return write(memory.listeners, memory.backends.items(), memory.memberships, folder)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    remember(MEMORY, tmp_path / "run")
    assert recall(tmp_path / "run") == MEMORY
    remember(Memory(), tmp_path / "run")
    assert recall(tmp_path / "run") == Memory()


def test_what_was_appended_comes_back_with_the_edition_that_it_belongs_to(tmp_path: Path) -> None:
    other = BackendName("default/dns", 3, 0.5, "Pod default/dns-1")
    new, again = life(4, backend(4)), life(2, backend())
    edition = remember(MEMORY, tmp_path)
    append(edition, Names({2: LISTENERS[1]}), [(new, other)], tmp_path)
    append(edition, Names(), [(again, other)], tmp_path)
    found = recall(tmp_path)
    assert found.listeners == {**LISTENERS, 2: LISTENERS[1]}
    assert found.backends == {**MEMORY.backends, new: other, again: other}
    append(edition + 1, Names(), [(life(5, backend(5)), other)], tmp_path)
    with (tmp_path / run_dir.JOURNAL).open("ab") as journal:
        journal.write(b'{"edition": ')  # an agent died here
    assert recall(tmp_path) == found
    remember(MEMORY, tmp_path)
    assert recall(tmp_path) == MEMORY


@pytest.mark.parametrize("change", [{"generation": 2}, {"address": BACKEND6}, {"port": 8081}])
def test_a_name_counts_for_the_life_that_it_was_given_to(change: dict[str, Any]) -> None:
    assert MEMORY.names({2: backend()}).backends == {2: NAME}
    assert MEMORY.names({2: backend(**change)}).backends == {}
    assert MEMORY.names({2: backend(**change)}).listeners == LISTENERS


UNREADABLE = [
    b"",
    b"{",
    b'{"version": 1}',
    b'{"version": 1, "listeners": {}, "backends": [], "memberships": []}',
    b'{"version": 2, "listeners": {}}',
    b'{"version": 2, "listeners": {}, "backends": [{"id": 2, "generation": 1, "address": "x", "port": 1, '
    b'"name": {"name": "a", "weight": 1, "share": 1, "target": ""}}], "memberships": []}',
    b"\xff",
]


@pytest.mark.parametrize("content", [None, *UNREADABLE])
def test_what_cannot_be_understood_is_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / run_dir.MEMORY).write_bytes(content)
    assert recall(tmp_path) == Memory()
