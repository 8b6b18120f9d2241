"""What the agent must still know after a restart and cannot read from the kernel's tables.

Decides: the content of `dataplane.json` in the run folder: names of listeners and backends, so that another process can
show them and a pod that was replaced is noticed, and which multicast groups we joined, so that we can leave them.
Rules: written whole, by rename, before the tables are; a name belongs to one life of a backend id, and counts only
while the kernel holds that very life, so that a memory older or newer than the tables says less but nothing wrong. A
file that is missing or cannot be understood is an empty memory, never an error: what is lost then are the words, and
whether an address passed to another pod meanwhile (its old flows go on to the new one).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import msgspec

from agent.atomic import write_atomically
from agent.compile.image import BackendEntry, BackendName, ListenerName, MapImage, Names
from agent.dataplane.multicast import Membership
from agent.run_dir import MEMORY
from routes.plan import Address

_VERSION = 2


@dataclass(frozen=True, slots=True)
class Life:
    """What tells one use of a backend id from those before and after it."""

    backend_id: int
    generation: int
    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Memory:
    """`backends` has more lives than one of an id while it is not known which of them the kernel holds.

    `memberships`: interface name and multicast MAC.
    """

    listeners: Mapping[int, ListenerName] = field(default_factory=dict)
    backends: Mapping[Life, BackendName] = field(default_factory=dict)
    memberships: frozenset[Membership] = frozenset()

    def names(self, held: Mapping[int, BackendEntry]) -> Names:
        """Words for ids, given the backends that the kernel holds."""
        lives = {number: life(number, entry) for number, entry in held.items()}
        return Names(self.listeners, {x: self.backends[key] for x, key in lives.items() if key in self.backends})


def life(number: int, entry: BackendEntry) -> Life:
    """The life that a backend id leads now."""
    return Life(number, entry.generation, entry.address, entry.port)


def lives(image: MapImage) -> dict[Life, BackendName]:
    """The names of an image, by life."""
    return {life(number, image.backends[number]): x for number, x in image.names.backends.items()}


class _Backend(msgspec.Struct, frozen=True):
    id: int
    generation: int
    address: str
    port: int
    name: BackendName


class _File(msgspec.Struct, frozen=True):
    version: int
    listeners: dict[int, ListenerName]
    backends: list[_Backend]
    memberships: list[tuple[str, str]]


def recall(run_dir: Path) -> Memory:
    """What was remembered last."""
    try:
        file = msgspec.json.decode((run_dir / MEMORY).read_bytes(), type=_File)
        backends = {Life(x.id, x.generation, ip_address(x.address), x.port): x.name for x in file.backends}
        memberships = frozenset((name, bytes.fromhex(mac.replace(":", ""))) for name, mac in file.memberships)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return Memory()
    if file.version != _VERSION:
        return Memory()
    return Memory(file.listeners, backends, memberships)


def remember(memory: Memory, run_dir: Path) -> None:
    """Replace what is remembered. Raises OSError."""
    file = _File(
        _VERSION,
        dict(memory.listeners),
        [_Backend(x.backend_id, x.generation, str(x.address), x.port, name) for x, name in memory.backends.items()],
        sorted((name, mac.hex(":")) for name, mac in memory.memberships),
    )
    run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_atomically(run_dir / MEMORY, msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
