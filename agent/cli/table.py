"""What flows, drawn for a terminal: one renderable that `penstock status`, its --watch and the demo share.

Decides: columns, words and colours. Rules: a traffic value in, a rich renderable out; every number says its unit; drops
and alarms stand out by words too, not by colour alone. Must never: read anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.cli.size import bits, size
from agent.traffic import TABLE_ALARM, BackendTraffic, ListenerTraffic, Traffic, VerdictTraffic
from agent.words import words


def render(traffic: Traffic, *, rates: bool = False) -> RenderableType:
    """Listeners with their backends, verdicts, and the fill of the tables. `rates` adds the columns per second."""
    return Group(listeners(traffic.listeners, rates=rates), verdicts(traffic.verdicts, rates=rates), tables(traffic))


def listeners(rows: Sequence[ListenerTraffic], *, rates: bool = False) -> Table:
    """One line per listener, and one below it for each backendRef of its route."""
    table = _table("Listeners, routes and backends")
    table.add_column("listener / backend", no_wrap=True)
    for name in ("weight", "share", "seen", "connections", "packets", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    if rates:
        table.add_column("new/s", justify="right", no_wrap=True)
        table.add_column("rate", justify="right", no_wrap=True)
    table.add_column("endpoints", overflow="fold")
    for row in rows:
        packets = sum(x.packets for x in row.backends)
        octets = sum(x.bytes for x in row.backends)
        line = [_listener_name(row), "", "", "", f"{row.connections:,}", f"{packets:,}", size(octets)]
        if rates:
            line += [_sum_rate([x.connection_rate for x in row.backends]), _sum_bits(row.backends)]
        table.add_row(*line, _trouble(row), style="bold")
        for backend in row.backends:
            table.add_row(*_backend_line(backend, rates))
    return table


def verdicts(rows: Sequence[VerdictTraffic], *, rates: bool = False) -> Table:
    """What became of the packets, by hook; drops last."""
    table = _table("Packets by hook and verdict")
    table.add_column("hook", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("packets", justify="right")
    table.add_column("bytes", justify="right")
    if rates:
        table.add_column("packets/s", justify="right")
    for row in sorted(rows, key=lambda x: (x.dropped, x.hook, x.verdict)):
        line = [words(row.hook), words(row.verdict), f"{row.packets:,}", size(row.bytes)]
        if rates:
            line.append("" if row.packet_rate is None else f"{row.packet_rate:,.0f}")
        table.add_row(*line, style="red" if row.dropped else "")
    return table


def tables(traffic: Traffic) -> Table:
    """How full the kernel's tables are, and the memory they take."""
    table = _table("Tables in the kernel")
    table.add_column("table", no_wrap=True)
    for name in ("used", "room", "fill", "memory", "bytes/flow"):
        table.add_column(name, justify="right")
    for use in traffic.tables:
        alarm = use.fill >= TABLE_ALARM
        table.add_row(
            use.name,
            f"{use.used:,}",
            f"{use.room:,}",
            f"{use.fill:.1%}" + (" ALARM" if alarm else ""),
            size(use.memory_bytes),
            str(use.bytes_per_flow) if use.bytes_per_flow else "",
            style="red" if alarm else "",
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _listener_name(row: ListenerTraffic) -> str:
    route = f"{row.route_kind} {row.route}" if row.route else "no route"
    return f"{row.gateway} {row.name} {row.protocol}/{row.port} -> {route}"


def _backend_line(backend: BackendTraffic, rates: bool) -> list[str | Text]:
    seen = "" if backend.seen is None else f"{backend.seen:.1%}"
    line: list[str | Text] = [
        f"  {backend.name}",
        str(backend.weight),
        f"{backend.share:.1%}",
        seen,
        f"{backend.connections:,}",
        f"{backend.packets:,}",
        size(backend.bytes),
    ]
    if rates:
        line.append("" if backend.connection_rate is None else f"{backend.connection_rate:,.0f}")
        line.append("" if backend.bit_rate is None else bits(backend.bit_rate))
    if backend.rejected_because:
        line.append(Text(f"rejected: {backend.rejected_because}", style="red"))
    else:
        line.append(", ".join(f"{count} {state}" for state, count in sorted(backend.endpoints.items())))
    return line


def _trouble(row: ListenerTraffic) -> str:
    parts = [", ".join(row.addresses)]
    if row.rejected:
        parts.append(f"{row.rejected:,} rejected")
    if row.refused:
        parts.append(f"{row.refused:,} refused")
    return "; ".join(parts)


def _sum_rate(values: Sequence[float | None]) -> str:
    known = [x for x in values if x is not None]
    return f"{sum(known):,.0f}" if known else ""


def _sum_bits(rows: Sequence[BackendTraffic]) -> str:
    known = [x.bit_rate for x in rows if x.bit_rate is not None]
    return bits(sum(known)) if known else ""
