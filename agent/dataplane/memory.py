"""What the agent must still know after a restart and cannot read from the kernel's tables.

Decides: the content of `dataplane.json` in the run folder: names of listeners and backends, so that another process can
show them and a pod that was replaced is noticed, and which multicast groups we joined, so that we can leave them.
Rules: written whole, by rename, before the tables are; what is new after a small change is appended to
`dataplane.journal`, which belongs to one edition of the file and counts for nothing beside another. A name belongs to
one life of a backend id, and counts only while the kernel holds that very life, so that a memory older or newer than
the tables says less but nothing wrong. A file that is missing or cannot be understood is an empty memory, never an
error: what is lost then are the words, and whether an address passed to another pod meanwhile (its old flows go on to
the new one).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import islice
from pathlib import Path

import msgspec

from agent.atomic import write_atomically
from agent.compile.image import BackendEntry, BackendName, ListenerName, MapImage, Names
from agent.dataplane.multicast import Membership
from agent.run_dir import JOURNAL, MEMORY
from routes.plan import Address

_VERSION = 2
_AT_ONCE = 500  # names that are made into text at once: all of them would take tens of megabytes


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


def lives(image: MapImage, numbers: Iterable[int] | None = None) -> Iterator[tuple[Life, BackendName]]:
    """The names of an image, by life; of these ids, if any are given."""
    names = image.names.backends
    for number in names if numbers is None else numbers:
        if number in names:
            yield life(number, image.backends[number]), names[number]


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
    edition: int = 0


class _Note(msgspec.Struct, frozen=True):
    """A line of the journal."""

    edition: int
    listeners: dict[int, ListenerName]
    backends: list[_Backend]


def recall(run_dir: Path) -> Memory:
    """What was remembered last."""
    try:
        file = msgspec.json.decode((run_dir / MEMORY).read_bytes(), type=_File)
        backends = dict(map(_life, file.backends))
        memberships = frozenset((name, bytes.fromhex(mac.replace(":", ""))) for name, mac in file.memberships)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return Memory()
    if file.version != _VERSION:
        return Memory()
    listeners = dict(file.listeners)
    for note in _notes(run_dir, file.edition):
        listeners |= note.listeners
        backends |= dict(map(_life, note.backends))
    return Memory(listeners, backends, memberships)


def write(
    listeners: Mapping[int, ListenerName],
    backends: Iterable[tuple[Life, BackendName]],
    memberships: Iterable[Membership],
    run_dir: Path,
) -> int:
    """Replace what is remembered; the edition that this is. A life may come twice, then the later name counts.

    Raises OSError.
    """
    edition = time.time_ns()
    run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    head = {
        "version": _VERSION,
        "edition": edition,
        "memberships": sorted((name, mac.hex(":")) for name, mac in memberships),
        "listeners": listeners,
    }
    text = msgspec.json.format(msgspec.json.encode(head), indent=1)
    write_atomically(run_dir / MEMORY, _text(text.removesuffix(b"\n}"), backends))
    with contextlib.suppress(FileNotFoundError):
        (run_dir / JOURNAL).unlink()
    return edition


def append(edition: int, names: Names, backends: Iterable[tuple[Life, BackendName]], run_dir: Path) -> int:
    """Remember this as well, beside what that edition says; octets that are appended by now. Raises OSError."""
    note = _Note(edition, dict(names.listeners), [_record(*x) for x in backends])
    with (run_dir / JOURNAL).open("ab") as journal:
        journal.write(msgspec.json.encode(note) + b"\n")
        return journal.tell()


def _text(head: bytes, backends: Iterable[tuple[Life, BackendName]]) -> Iterator[bytes]:
    yield head + b',\n "backends": ['
    left, between = iter(backends), b"\n  "
    while some := list(islice(left, _AT_ONCE)):
        yield between + b",\n  ".join(msgspec.json.encode(_record(*x)) for x in some)
        between = b",\n  "
    yield b"\n ]\n}\n"


def _record(key: Life, name: BackendName) -> _Backend:
    return _Backend(key.backend_id, key.generation, str(key.address), key.port, name)


def _life(record: _Backend) -> tuple[Life, BackendName]:
    return Life(record.id, record.generation, ip_address(record.address), record.port), record.name


def _notes(run_dir: Path, edition: int) -> Iterator[_Note]:
    """Those of an edition. An agent that died while it appended left a part of a line."""
    with contextlib.suppress(OSError, ValueError):
        for line in (run_dir / JOURNAL).read_bytes().splitlines():
            note = msgspec.json.decode(line, type=_Note)
            if note.edition == edition:
                yield note
