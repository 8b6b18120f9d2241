"""What sources have open (bpf/source.h), counted anew as flows are carried over to another set.

Decides: which place in source_connections each flow gets. Rules: if the table has the same buckets as before, every
place stays what it is; else each source's mark is put where the programs look for it, and its flows go along. Two slots
of one source become one; a source whose bucket is full is not counted any more, as when it comes anew. How many
connections it has is what the flows say. Only while none begins or ends.
Must never: give a source another place in a table that the old set uses too: the old set's flows hold their places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loader.maps import Map

_Places: TypeAlias = NDArray[np.uint32]
_Words: TypeAlias = NDArray[np.uint64]
_CHUNK: Final = 65_536  # buckets written at once


class SourceCounts:
    """Of the table `new`, which is another than `old`, or the same if there is no `old`.

    `renew` is called between parts of what may take long, and may raise.
    """

    def __init__(self, old: Map | None, new: Map, count_bits: int, renew: Callable[[], None]) -> None:
        self._new = new
        self._shift = np.uint64(count_bits)
        slots = _slots(old if old is not None else new, renew)
        self._is_there = _slots(new, renew) if old is not None else slots
        self._marks = slots >> self._shift
        self._moved = np.arange(slots.size + 1, dtype=np.uint32)
        self.moves = slots.shape != self._is_there.shape
        """Whether places change."""
        if self.moves:
            self._move(renew)
        self._open: _Words = np.zeros(self._marks.size + 1, np.uint64)

    def count(self, places: _Places) -> _Places:
        """The new places of flows that had these, which are counted there."""
        moved = self._moved[places]
        found, times = np.unique(moved, return_counts=True)
        self._open[found] += times.astype(np.uint64)
        return moved

    def write(self, renew: Callable[[], None]) -> None:
        """Writes what was counted, where it is not there yet."""
        held = self._open[1:].reshape(self._marks.shape)
        wanted = np.where(held > 0, self._marks << self._shift | held, np.uint64(0))
        rows = np.flatnonzero((wanted != self._is_there).any(axis=1)).astype(np.uint32)
        for part in np.array_split(rows, len(rows) // _CHUNK + 1):
            renew()
            self._new.set_chunk(part.view(np.uint8).reshape(-1, 4), wanted[part].view(np.uint8))

    def _move(self, renew: Callable[[], None]) -> None:
        buckets, width = self._is_there.shape
        used = np.flatnonzero(self._marks)
        renew()
        marks, which = np.unique(self._marks.reshape(-1)[used], return_inverse=True)
        renew()
        at = (marks * np.uint64(buckets)) >> (np.uint64(64) - self._shift)  # bucket_of() of bpf/source.h: in order, too
        earlier = np.arange(len(marks)) - np.searchsorted(at, at)  # marks before it in its bucket
        place = np.where(earlier < width, at.astype(np.int64) * width + earlier + 1, 0).astype(np.uint32)
        self._moved[:] = 0
        self._moved[1 + used] = place[which]
        moved: _Words = np.zeros(1 + self._is_there.size, np.uint64)
        moved[place] = marks
        self._marks = moved[1:].reshape(self._is_there.shape)


def _slots(table: Map, renew: Callable[[], None]) -> _Words:
    """A row for each bucket."""
    rows: NDArray[Any] = np.zeros((table.max_entries, table.value.size), np.uint8)
    for keys, values in table.chunks():
        rows[np.ascontiguousarray(keys).view(np.uint32)[:, 0]] = values
        renew()
    return rows.view(np.uint64)
