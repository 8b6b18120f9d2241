"""From the sizes that an operator asks for to those of the tables, and back; and whether what is live has room.

Decides: how many entries a table has, and when a smaller one is refused. Rules: a flow has two entries, and waits in a
queue of ageing once; TCP's table has room for every half-open flow besides: room is reserved at the SYN. A queue has
room for more flows than its table, since a flow that was removed keeps its place in the queue until its time is up.
Room is compared with the entries that there are, of an array up to the last that is not empty. Of sources there is room
for twice as many as of flows of both families, for their buckets do not fill evenly; that changes when the flow tables
do, and only then, for flows that move take their places along (source_counts.py). Must never change anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from agent.dataplane.handshakes import under_way
from agent.settings import TableSizes, option
from loader.maps import Map
from loader.transfer import entries

# A table for each setting whose entries are counted in what the setting is named for, and that in words.
_COUNTED: Final = {
    "max_gateways": ("gateways", "gateway addresses"),
    "max_listeners": ("listeners", "listeners times their addresses"),
    "max_policies": ("policies", "policies (by their highest number, and one that is none)"),
    "max_source_ranges": ("source_ranges", "networks"),
    "max_pools": ("pools", "pools (by their highest number, and one that is none)"),
    "max_backends": ("backends", "endpoints (by their highest number, and two that are none)"),
    "max_interfaces": ("interfaces", "interfaces"),
}
_FLOWS: Final = {
    "tcp_flows": "established TCP flows of a family",
    "half_open": "handshakes of a family",
    "udp_flows": "UDP flows of a family",
}
_SOURCES_IN_A_BUCKET: Final = 16  # bpf/abi.h


@dataclass(frozen=True, slots=True)
class Change:
    """A setting whose tables are there in another size."""

    setting: str
    was: int
    wanted: int

    def __str__(self) -> str:
        return f"{option(self.setting)} {self.was:,} -> {self.wanted:,}"


def max_entries(sizes: TableSizes) -> Mapping[str, int]:
    """Sizes of the tables in entries."""
    families = {
        "tcp_flows": 2 * (sizes.tcp_flows + sizes.half_open),
        "half_open": 2 * sizes.half_open,
        "udp_flows": 2 * sizes.udp_flows,
        "ageing_tcp": 2 * sizes.tcp_flows + sizes.half_open,
        "ageing_udp": 2 * sizes.udp_flows + sizes.half_open,
    }
    return {
        **{table: getattr(sizes, setting) for setting, (table, _) in _COUNTED.items()},
        "listener_counts": sizes.max_listeners,
        "listener_connections": sizes.max_listeners,
        "backend_counts": sizes.max_backends,
        "source_connections": 2 * 2 * (sizes.tcp_flows + sizes.half_open) // _SOURCES_IN_A_BUCKET,
        **{f"{name}{family}": size for name, size in families.items() for family in (4, 6)},
    }


def changes(folder: Path, wanted: TableSizes) -> tuple[Change, ...]:
    """What of a set's sizes is otherwise than wanted. A table that the set does not have is left out."""
    found = dict(_sizes(folder))
    return tuple(
        Change(setting, found[setting], size)
        for setting, size in asdict(wanted).items()
        if found.get(setting, size) != size
    )


def lacking(folder: Path, changed: Iterable[Change], handshake_limit: int) -> Iterator[str]:
    """A sentence for each change that leaves no room for what the set holds now. A handshake is over after
    `handshake_limit` seconds at the latest: a SYN without an answer sooner (handshakes.py)."""
    for x in changed:
        if x.wanted < x.was and (live := _live(folder, x.setting, handshake_limit)) > x.wanted:
            what = _FLOWS.get(x.setting) or _COUNTED[x.setting][1]
            yield (
                f"{option(x.setting)} {x.wanted:,} is too small: {live:,} {what} are live; say {option(x.setting)} "
                f"{live:,} or more (it is {x.was:,} now)"
            )


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for setting, (table, _) in _COUNTED.items():
        if (size := _size(folder / table)) is not None:
            yield setting, size
    tcp, half_open, udp = (_size(folder / f"{x}4") for x in _FLOWS)
    if tcp is None or half_open is None or udp is None:
        return
    yield from (("tcp_flows", (tcp - half_open) // 2), ("half_open", half_open // 2), ("udp_flows", udp // 2))


def _size(pin: Path) -> int | None:
    if not pin.exists():
        return None
    with Map.open_pinned(pin) as table:
        return table.max_entries


def _live(folder: Path, setting: str, handshake_limit: int) -> int:
    if setting == "tcp_flows":
        with Map.open_pinned(folder / "flow_usage") as usage:
            counted = usage.get(0)
        return max(int(counted[x]) for x in ("tcp4", "tcp6"))
    if setting == "half_open":
        return max((_handshakes(folder / f"half_open{family}", handshake_limit) + 1) // 2 for family in (4, 6))
    if setting in _FLOWS:
        return max((_entries(folder / f"{setting}{family}") + 1) // 2 for family in (4, 6))
    return _entries(folder / _COUNTED[setting][0])


def _handshakes(pin: Path, limit: int) -> int:
    with Map.open_pinned(pin) as table:
        return sum(int(under_way(table, values, limit).sum()) for _, values in table.chunks())


def _entries(pin: Path) -> int:
    with Map.open_pinned(pin) as table:
        return entries(table)
