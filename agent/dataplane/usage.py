"""How full the tables are, and the memory they take.

Decides: how entries are counted without getting in the way of the packets.
  TCP flows        the programs keep the number themselves (flow_usage): nothing is scanned
  what we write    hashes are counted by reading them, arrays by the ids in use
  half-open, UDP,  have to be scanned, which copies the whole table, so the number is taken at most once in
  sources          `SCAN_EVERY` seconds and kept in between; its age is bounded by that, which is enough for an alarm at
                   70 %
  SNAT ports       of the random ports that were tried of late, those that were taken (bpf/snat.h): of an endless series
                   of new flows to one backend as many as its ports in use
Rules: flows are counted in pairs, as room is; of numbers that mean none (policy 0, pool 0, backends 0 and 1) there is
no room. Memory is what the kernel says that it charged (fdinfo memlock).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agent.compile.image import BACKEND_FIRST, POLICY_FIRST, POOL_FIRST
from agent.dataplane.readback import read_backends, read_listeners
from agent.dataplane.tables import Tables
from loader.maps import Map

SCAN_EVERY = 60.0
_WORD = 8


@dataclass(frozen=True, slots=True)
class TableUse:
    """One table. `used` and `room` are flows for flow tables, tries for snat_ports, entries else; `bytes_per_flow` is 0
    for other tables.
    """

    name: str
    used: int
    room: int
    memory_bytes: int
    bytes_per_flow: int = 0

    @property
    def fill(self) -> float:
        """0..1."""
        return self.used / self.room if self.room else 0.0


class UsageMeter:
    """Reads the use of all tables; remembers what is dear to count."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._counted: dict[str, int] = {}
        self._counted_at = float("-inf")

    def read(self) -> tuple[TableUse, ...]:
        """One record for each table whose fill is told, flow tables first; then the memory of all others, as `other`.

        Some of those have a bound as well: ageing's queues, UDP datagrams in fragments, addresses that uplinks lend,
        networks of routes and of `--symmetric`.
        """
        uses = [*self._flow_tables(), self._snat_ports(), *self._written_tables()]
        named = {x.name for x in uses}
        others = [x for x in self._tables if x.name not in named]
        return (*uses, TableUse("other", 0, 0, sum(x.memory_bytes for x in others)))

    def _flow_tables(self) -> Iterator[TableUse]:
        tables = self._tables
        ((_, live),) = tables.flow_usage.items()
        scanned = self._scan()
        for name, table in tables.flows.items():
            pairs = table.max_entries // 2
            per_flow = table.memory_bytes // pairs
            if name in scanned:
                yield TableUse(name, scanned[name], pairs, table.memory_bytes, per_flow)
            else:
                family = name[-1]  # its room includes what half-open flows need to be promoted
                room = pairs - tables.flows[f"half_open{family}"].max_entries // 2
                yield TableUse(name, max(0, live[f"tcp{family}"]), room, table.memory_bytes, per_flow)

    def _snat_ports(self) -> TableUse:
        table = self._tables.snat_ports
        ((_, seen),) = table.items()
        return TableUse(table.name, seen["taken"], seen["tries"], table.memory_bytes)

    def _scan(self) -> dict[str, int]:
        if time.monotonic() - self._counted_at >= SCAN_EVERY:
            evicting = {name: x for name, x in self._tables.flows.items() if not name.startswith("tcp_")}
            self._counted = {name: (_count(x) + 1) // 2 for name, x in evicting.items()}
            self._counted["source_connections"] = _sources(self._tables)
            self._counted_at = time.monotonic()
        return self._counted

    def _written_tables(self) -> Iterator[TableUse]:
        tables = self._tables
        listeners = read_listeners(tables)
        backends = sum(1 for x in read_backends(tables).values() if x.state)
        for table, first, used in (
            (tables.listeners, 0, len(listeners)),
            (tables.gateways, 0, _count(tables.gateways)),
            (tables.interfaces, 0, _count(tables.interfaces)),
            (tables.policies, POLICY_FIRST, len({x.policy_id for x in listeners.values() if x.policy_id})),
            (tables.source_ranges, 0, _count(tables.source_ranges)),
            (tables.pools, POOL_FIRST, len({x.pool_id for x in listeners.values()})),
            (tables.backends, BACKEND_FIRST, backends),
        ):
            yield TableUse(table.name, used, table.max_entries - first, table.memory_bytes)
        table = tables.source_connections
        room = table.max_entries * table.value.size // _WORD
        yield TableUse(table.name, self._counted[table.name], room, table.memory_bytes)


def _sources(tables: Tables) -> int:
    """Slots in use."""
    return sum(int(np.count_nonzero(values.view(np.uint64))) for _, values in tables.source_connections.chunks())


def _count(table: Map) -> int:
    return sum(1 for _ in table.raw_items())
