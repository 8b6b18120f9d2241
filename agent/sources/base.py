"""What every source of objects hands over, wherever the objects come from.

Decides: the shape of an update: decoded objects that are new or different, keys that are gone, every error that holds
now, and whether the source has been read in full once.
Rules: objects that cannot be read change nothing (the last good state stays); an update names its errors in full each
time, so the reader keeps no list of its own.
Must never: compare, resolve or judge objects; that is the business of `routes`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from routes.objects.base import Object, ObjectKey


@dataclass(frozen=True, slots=True, order=True)
class SourceError:
    """Something that could not be read. `origin` is a file; `line` counts from 1, 0 = the whole file.

    `object` ("TCPRoute default/web") and `field` ("spec.rules[0].backendRefs[1].weight") are "" where they are unknown.
    """

    origin: str
    line: int
    object: str
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.origin}:{self.line}" if self.line else self.origin
        return ": ".join(x for x in (place, self.object, self.field, self.message) if x)


@dataclass(frozen=True, slots=True)
class Update:
    """What changed since the update before. `errors` and `notes` are all that hold now.

    `synced`: everything there is has been read once; before that nothing may be deleted on the ground of absence.
    `absent`: origins with errors that have no last good state, so that nothing of theirs is among the objects.
    """

    upserts: tuple[tuple[ObjectKey, Object], ...]
    removed: tuple[ObjectKey, ...]
    errors: tuple[SourceError, ...]
    notes: tuple[SourceError, ...]
    synced: bool
    absent: tuple[str, ...] = ()


class Source(Protocol):
    """Where objects come from."""

    @property
    def name(self) -> str:
        """For people: `folder examples/quickstart`."""

    def updates(self, stop: threading.Event) -> Iterator[Update]:
        """Yield the full state first, then changes, until `stop` is set. Errors are yielded, never raised."""
