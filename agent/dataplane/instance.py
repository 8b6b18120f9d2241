"""A second instance of one program, for trials: it meets the live tables that are only read, and its own of the others.

Decides: which tables are which, and how small its own are. Rules: nothing is pinned or attached, and what a run writes
goes with the process. Nothing leaves: in a test run a redirect is only noted, and the one helper that would send even
there (bpf_clone_redirect) is left out of a trial's program (`is_trial` in bpf/settings.h).
Must never: be given a table to write that is alive.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.dataplane.errors import TablesOfAnother
from agent.dataplane.met import MetFlow, find, halves
from agent.dataplane.sets import IN_FORCE
from agent.dataplane.tables import FLOWS, PROGRAMS, WRITTEN, Tables
from agent.packet import Tuple
from loader.errors import Incompatible
from loader.layout import difference
from loader.maps import possible_cpus
from loader.objects import Object
from loader.running import tag
from loader.spec import ObjectSpec

BORROWED = (IN_FORCE, *WRITTEN)
"""Tables that the programs only read."""

_OF_ANOTHER = "table {} is of another version of Penstock: ask that version's `penstock explain`"
_FEW = 1024  # an LRU keeps some entries for each CPU; what a run writes fits all the same
_SIZES = {
    **dict.fromkeys(FLOWS, _FEW),
    **{f"ageing_{protocol}{family}": 64 for protocol in ("tcp", "udp") for family in (4, 6)},
    "listener_counts": 1,
    "backend_counts": 1,
    "datagrams": _FEW,
    "complete_datagrams": _FEW,
    "held_fragments": _FEW,
}
_OPEN = ("listener_connections", "source_connections")
"""Written when a handshake ends, read when one begins: of these, and of their seed, copies are made."""
_REDIRECT = 7  # linux/pkt_cls.h: TC_ACT_REDIRECT
_SKB_SIZE, _SKB_MARK, _SKB_IFINDEX = 192, 8, 40  # struct __sk_buff of linux/bpf.h


@dataclass(frozen=True, slots=True)
class Run:
    """One packet through the program. `verdict` is a name of `enum verdict`, `after` the frame as the program left it,
    `chosen` the backend id that it found in a slot: 0 if it looked in none. `marked`: it leaves by an uplink's egress,
    where our hook must let it pass."""

    verdict: str
    redirected: bool
    marked: bool
    after: bytes
    chosen: int


class Instance:
    """Owns the program and its tables: a context manager."""

    def __init__(self, tables: Tables, loaded: Object, program: str) -> None:
        self._tables = tables
        self._object = loaded
        self._program = loaded.program(program)
        self._flows = {name: loaded.map(name) for name in FLOWS}

    @classmethod
    def load(cls, tables: Tables, object_dir: Path, settings: Mapping[str, int], program: str) -> Instance:
        """`settings`: constants of the programs; those that this object file does not know are left out."""
        known = tables.btf.section(".rodata")
        sizes = {**_SIZES, **{x: tables.all[x].max_entries for x in _OPEN}}
        constants = {x: y for x, y in {**settings, "is_trial": 1}.items() if x in known}
        spec = ObjectSpec(object_dir / PROGRAMS, constants, sizes)
        try:
            loaded = Object.load_beside(spec, tables.pins, BORROWED, program)
        except Incompatible as error:
            raise TablesOfAnother(_OF_ANOTHER.format(error.map)) from error
        for name in FLOWS:
            if difference(tables.flows[name].value.fields, loaded.map(name).value.fields):
                loaded.close()
                raise TablesOfAnother(_OF_ANOTHER.format(name))
        return cls(tables, loaded, program)

    def run(self, frame: bytes, ifindex: int, seen: Iterable[Tuple]) -> Run:
        """The frame at that interface. Of the live flows there are those of the tuples `seen`, and of earlier runs
        there is nothing."""
        self._prepare(seen)
        before = self._counted()
        context = bytearray(_SKB_SIZE)
        struct.pack_into("=I", context, _SKB_IFINDEX, ifindex)
        result = self._program.test_run(frame, ctx=bytes(context))
        names = self._tables.names("verdict")
        (moved,) = (i for i, (x, y) in enumerate(zip(before, self._counted(), strict=True)) if x != y)
        (mark,) = struct.unpack_from("=I", result.ctx, _SKB_MARK)
        return Run(names[moved % len(names)], result.retval == _REDIRECT, mark != 0, result.data, self._chosen())

    @property
    def tag(self) -> bytes:
        """The kernel's digest of the program."""
        return tag(self._program.id)

    def flow(self, wanted: Tuple) -> MetFlow | None:
        """The flow of a tuple after the run."""
        return find(self._flows, self._tables.btf, wanted)

    def close(self) -> None:
        """Twice is once."""
        self._object.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _prepare(self, seen: Iterable[Tuple]) -> None:
        for name in (*FLOWS, "datagrams", "complete_datagrams", "held_fragments"):
            table = self._object.map(name)
            table.delete_many([table.key.unpack(key) for key, _ in table.raw_items()])
        for flow in seen:
            for name, key, value in halves(self._tables.flows, flow):
                self._flows[name].set_raw(key, value)
        for name in (*_OPEN, "source_seed"):
            for keys, values in self._tables.all[name].chunks():
                self._object.map(name).set_chunk(keys, values)
        self._object.map("flow_usage").set(0, self._tables.flow_usage.get(0))
        for name in ("packet_scratch", "reply_rates"):
            table = self._object.map(name)
            table.set(0, [table.value.zero] * possible_cpus())

    def _counted(self) -> list[int]:
        """Packets by hook and verdict."""
        return [sum(x["packets"] for x in per_cpu) for _, per_cpu in self._object.map("verdicts").items()]

    def _chosen(self) -> int:
        per_cpu: list[dict[str, Any]] = self._object.map("packet_scratch").get(0)
        return next((x["backend_id"] for x in per_cpu if x["listener_id"]), 0)
