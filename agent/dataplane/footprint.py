"""Has this node the memory that the tables will take? Asked before any is made.

Decides: when sizes are refused, and which option is named for it: the one whose tables take most. Rules: the kernel
takes a table's memory when it makes it, and where there is too little it ends other processes for it; so what the
tables would take is held against MemAvailable. Tables that go on are there already, and count for nothing.
Must never: refuse a start that makes no tables.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from agent.dataplane.errors import NodeUnfit
from agent.dataplane.sizes import max_entries
from agent.settings import TABLE_BOUNDS, TableSizes, option
from loader.footprint import footprint
from loader.objects import Object
from loader.pins import MapShape
from loader.spec import ObjectSpec

_MEMINFO: Final = Path("/proc/meminfo")
_GIB: Final = 1 << 30


def require_memory(specs: Sequence[ObjectSpec], current: Path | None, sizes: TableSizes) -> None:
    """Raises NodeUnfit if there is too little for the tables of `specs` that are not pinned, and fit, in `current`."""
    shapes = {name: x for spec in specs for name, x in Object.shapes(spec).items()}
    there = _that_go_on(specs, current) if current is not None else frozenset()
    made = {name: x for name, x in shapes.items() if name not in there}
    need, available = _octets(made, sizes), _available()
    if need <= available:
        return
    saved = {
        x: need - _octets(made, replace(sizes, **{x: min(value, TABLE_BOUNDS[x][0])}))
        for x, value in asdict(sizes).items()
    }
    dearest = max(saved, key=lambda x: saved[x])
    raise NodeUnfit(
        (
            f"{option(dearest)} {getattr(sizes, dearest):,} is too large for this node: new tables would take "
            f"{need / _GIB:,.1f} GiB, {saved[dearest] / _GIB:,.1f} GiB of it by this option, and "
            f"{available / _GIB:,.1f} GiB of memory are available; say less",
        )
    )


def _that_go_on(specs: Sequence[ObjectSpec], current: Path) -> Collection[str]:
    told = {name: misfit for spec in specs for name, misfit in Object.compare(spec, current).items()}
    return frozenset(name for name, misfit in told.items() if misfit is None and (current / name).exists())


def _octets(shapes: Mapping[str, MapShape], sizes: TableSizes) -> int:
    entries = max_entries(sizes)
    return sum(footprint(replace(x, max_entries=entries.get(name, x.max_entries))) for name, x in shapes.items())


def _available() -> int:
    """What the kernel thinks that can be had without swapping."""
    fields = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024
