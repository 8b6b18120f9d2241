"""Looking at the data plane from any process, with or without an agent.

Rules: reads only; takes no lock; everything comes from the pinned tables, names from what the last agent remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from agent.compile.image import Names
from agent.dataplane.counters import Counters, read_counters
from agent.dataplane.errors import NodeUnfit, translated
from agent.dataplane.flows import FlowRecord, read_flows
from agent.dataplane.memory import recall
from agent.dataplane.network import beside_agent
from agent.dataplane.readback import read_backends
from agent.dataplane.seen import Seen, seen
from agent.dataplane.tables import Tables
from agent.dataplane.usage import TableUse, UsageMeter
from routes.plan import Address


class View:
    """Owns the tables' fds."""

    def __init__(self, tables: Tables, run_dir: Path) -> None:
        self._tables = tables
        self._run_dir = run_dir
        self._meter = UsageMeter(tables)

    @classmethod
    @translated()
    def open(cls, pin_dir: Path, run_dir: Path, object_dir: Path) -> View:
        """Raises NotInstalled when nothing is pinned, KernelRefused as all methods do."""
        return cls(Tables.open(pin_dir, object_dir), run_dir)

    @translated()
    def names(self) -> Names:
        """Words for ids, as the last agent wrote them."""
        return recall(self._run_dir).names(read_backends(self._tables))

    @translated()
    def counters(self) -> Counters:
        """Counters of every verdict, and of every listener and backend that the tables hold."""
        return read_counters(self._tables)

    @translated()
    def usage(self) -> tuple[TableUse, ...]:
        """How full the tables are."""
        return self._meter.read()

    @translated()
    def seen(self, backends: Collection[Address]) -> Mapping[Address, Seen]:
        """Whose address each of these backends sees in place of a client's; none, when the agent's network namespace is
        another and is not found."""
        try:
            with beside_agent(self._run_dir):
                return seen(self._tables, backends)
        except NodeUnfit:
            return {}

    def flows(self) -> Iterator[FlowRecord]:
        """Every flow that is alive."""
        with translated():
            yield from read_flows(self._tables)

    def close(self) -> None:
        """Twice is once."""
        self._tables.close()

    def __enter__(self) -> View:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
