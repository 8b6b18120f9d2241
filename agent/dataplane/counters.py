"""What the programs counted.

Rules: sums over all CPUs, of everything since the tables were made; a counter of an id starts at zero when the id
begins a new life. Only the counters of ids in use are read, so the cost follows those and not the tables' room.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from agent.dataplane.readback import read_backends, read_listeners
from agent.dataplane.tables import Tables
from loader.maps import Map, possible_cpus


@dataclass(frozen=True, slots=True)
class PacketCount:
    """Packets as the wire saw them (GSO segments); bytes from the network header on."""

    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ListenerCount:
    """`struct listener_count`."""

    connections: int = 0
    rejected: int = 0
    refused: int = 0
    denied: int = 0
    limited: int = 0
    uncounted: int = 0


@dataclass(frozen=True, slots=True)
class BackendCount:
    """`struct backend_count`."""

    connections: int = 0
    request_packets: int = 0
    request_bytes: int = 0
    reply_packets: int = 0
    reply_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """`verdicts` by the names of `enum hook` and `enum verdict`, listeners and backends by id."""

    verdicts: Mapping[tuple[str, str], PacketCount]
    listeners: Mapping[int, ListenerCount]
    backends: Mapping[int, BackendCount]


def read_counters(tables: Tables) -> Counters:
    """All verdicts, and the counters of every listener and backend that the tables hold."""
    hooks, verdicts = tables.names("hook"), tables.names("verdict")
    listeners = {x.listener_id for x in read_listeners(tables).values()}
    backends = [number for number, x in read_backends(tables).items() if x.state]
    return Counters(
        verdicts={
            (hooks[index // len(verdicts)], verdicts[index % len(verdicts)]): PacketCount(
                sum(x["packets"] for x in per_cpu), sum(x["bytes"] for x in per_cpu)
            )
            for index, per_cpu in tables.verdicts.items()
        },
        listeners={x: ListenerCount(**_sums(tables.listener_counts, x)) for x in listeners},
        backends={x: BackendCount(**_sums(tables.backend_counts, x)) for x in backends},
    )


def name_verdicts(tables: Tables) -> None:
    """Write the names of hook and verdict into entries that lack them, so that a dump reads well. Counts are kept."""
    width = len(tables.names("verdict"))
    for index, per_cpu in tables.verdicts.items():
        named = {"hook": index // width, "verdict": index % width}
        if any(x[field] != value for x in per_cpu for field, value in named.items()):
            tables.verdicts.set(index, [{**x, **named} for x in per_cpu])


def start_at_zero(counts: Map, ids: Collection[int]) -> None:
    """Forget what was counted for an id in an earlier life."""
    zeros = [counts.value.zero] * possible_cpus()
    counts.set_many((number, zeros) for number in ids)


def _sums(counts: Map, number: int) -> dict[str, int]:
    """The fields of an entry, each summed over all CPUs; none of an id that has no room in the table."""
    per_cpu: list[dict[str, int]] = counts.get(number) or []
    return {field: sum(x[field] for x in per_cpu) for field in counts.value.zero if per_cpu}
