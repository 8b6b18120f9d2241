"""What the agent must still know after a restart and cannot read from the kernel's tables.

Decides: the content of `dataplane.json` in the run folder: names of listeners and backends by their ids, so that
another process can show them, and which multicast groups we joined, so that we can leave them. Rules: written whole,
by rename; a file that is missing or cannot be understood is an empty memory, never an error: all of it can be rebuilt
but for the words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from agent.atomic import write_atomically
from agent.compile.image import BackendName, ListenerName, Names
from agent.dataplane.multicast import Membership
from agent.run_dir import MEMORY

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Memory:
    """`memberships`: interface name and multicast MAC."""

    names: Names = field(default_factory=Names)
    memberships: frozenset[Membership] = frozenset()


class _File(msgspec.Struct, frozen=True):
    version: int
    listeners: dict[int, ListenerName]
    backends: dict[int, BackendName]
    memberships: list[tuple[str, str]]


def recall(run_dir: Path) -> Memory:
    """What was remembered last."""
    try:
        file = msgspec.json.decode((run_dir / MEMORY).read_bytes(), type=_File)
        memberships = frozenset((name, bytes.fromhex(mac.replace(":", ""))) for name, mac in file.memberships)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return Memory()
    if file.version != _VERSION:
        return Memory()
    return Memory(Names(file.listeners, file.backends), memberships)


def remember(memory: Memory, run_dir: Path) -> None:
    """Replace what is remembered. Raises OSError."""
    file = _File(
        _VERSION,
        dict(memory.names.listeners),
        dict(memory.names.backends),
        sorted((name, mac.hex(":")) for name, mac in memory.memberships),
    )
    run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_atomically(run_dir / MEMORY, msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
