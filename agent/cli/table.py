"""What flows, drawn for a terminal: one renderable that `penstock status`, its --watch and the demo share.

Decides: columns, words and colours. Rules: a traffic value in, a rich renderable out; every number says its unit; drops
and alarms stand out by words too, not by colour alone. Must never: read anything.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.cli.size import bits, size
from agent.traffic import TABLE_ALARM, BackendTraffic, ListenerTraffic, Sight, Traffic, VerdictTraffic
from agent.words import words


def render(traffic: Traffic, *, rates: bool = False) -> RenderableType:
    """Listeners with their backends, whom these see, verdicts, and the fill of the tables. `rates` adds the columns per
    second.
    """
    return Group(
        *listeners(traffic.listeners, rates=rates),
        *sights(traffic.sights),
        verdicts(traffic.verdicts, rates=rates),
        tables(traffic),
    )


def listeners(rows: Sequence[ListenerTraffic], *, rates: bool = False) -> Iterable[Table]:
    """One table per Gateway: a line for each listener, and below it one for each backendRef of its route."""
    widest = max((len(name) for row in rows for name in (_name(row), *_ref_names(row))), default=0)
    for (gateway, addresses), own in itertools.groupby(rows, key=lambda x: (x.gateway, x.addresses)):
        table = titled(f"Gateway {gateway} at {', '.join(addresses)}")
        table.add_column("listener, backend", no_wrap=True, min_width=widest)
        for name in ("weight", "share", "seen", "connections", "packets", "bytes"):
            table.add_column(name, justify="right", no_wrap=True)
        if rates:
            table.add_column("new/s", justify="right", no_wrap=True)
            table.add_column("rate", justify="right", no_wrap=True, min_width=10)
        table.add_column("sees", no_wrap=True)
        table.add_column("route, endpoints", overflow="fold")
        for row in own:
            table.add_row(*_listener_line(row, rates), style="bold")
            for name, backend in zip(_ref_names(row), row.backends, strict=True):
                table.add_row(name, *_backend_line(backend, rates))
        yield table


def sights(rows: Sequence[Sight]) -> Iterable[Table]:
    """What the words in column `sees` mean, those that are there."""
    if not rows:
        return
    table = titled("Whose address backends see")
    table.add_column("sees", no_wrap=True)
    table.add_column("backends", justify="right")
    table.add_column("because", overflow="fold")
    for row in rows:
        style = "red" if row.seen.whom == "nobody" else ""
        table.add_row(row.seen.label, f"{len(row.backends):,}", row.seen.why, style=style)
    yield table


def verdicts(rows: Sequence[VerdictTraffic], *, rates: bool = False) -> Table:
    """What became of the packets, by hook; drops last."""
    table = titled("Packets by hook and verdict")
    table.add_column("hook", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("packets", justify="right")
    table.add_column("bytes", justify="right")
    if rates:
        table.add_column("packets/s", justify="right")
    for row in sorted(rows, key=lambda x: (x.dropped, x.hook, x.verdict)):
        line = [words(row.hook), words(row.verdict), f"{row.packets:,}", size(row.bytes)]
        if rates:
            line.append(_rate(row.packet_rate))
        table.add_row(*line, style="red" if row.dropped else "yellow" if row.turned_away else "")
    return table


def tables(traffic: Traffic) -> Table:
    """How full the kernel's tables are, and the memory they take."""
    table = titled("Tables in the kernel")
    table.add_column("table", no_wrap=True)
    for name in ("used", "room", "fill", "memory", "bytes/flow"):
        table.add_column(name, justify="right")
    for use in traffic.tables:
        alarm = use.fill >= TABLE_ALARM
        known = (f"{use.used:,}", f"{use.room:,}", f"{use.fill:.1%}" + (" ALARM" if alarm else ""))
        table.add_row(
            use.name,
            *(known if use.room else ("", "", "")),
            size(use.memory_bytes),
            str(use.bytes_per_flow) if use.bytes_per_flow else "",
            style="red" if alarm else "",
        )
    table.add_row("together", "", "", "", size(sum(x.memory_bytes for x in traffic.tables)), "", style="bold")
    return table


def titled(title: str) -> Table:
    """An empty table in the style of all."""
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def _name(row: ListenerTraffic) -> str:
    return f"{row.name} {row.protocol}/{row.port}"


def _ref_names(row: ListenerTraffic) -> list[str]:
    """Names of the backendRefs; a Service that stands twice is told apart by position."""
    names = [x.name for x in row.backends]
    return [
        f"  {x.name} (backendRefs[{x.position}])" if names.count(x.name) > 1 else f"  {x.name}" for x in row.backends
    ]


def _listener_line(row: ListenerTraffic, rates: bool) -> list[str]:
    packets, octets = sum(x.packets for x in row.backends), sum(x.bytes for x in row.backends)
    line = [_name(row), "", "", "", f"{row.connections:,}", f"{packets:,}", size(octets)]
    if rates:
        line.append(_rate(_sum(x.connection_rate for x in row.backends)))
        line.append(_bits(_sum(x.bit_rate for x in row.backends)))
    line.append("")
    route = f"{row.route_kind} {row.route}" if row.route else "no route"
    turned_away = [
        (row.rejected, "rejected"),
        (row.refused, "refused"),
        (row.denied, "denied"),
        (row.limited, "limited"),
        (row.uncounted, "uncounted"),
    ]
    return [*line, ", ".join([route, *(f"{count:,} {what}" for count, what in turned_away if count)])]


def _backend_line(backend: BackendTraffic, rates: bool) -> list[str | Text]:
    line: list[str | Text] = [
        str(backend.weight),
        f"{backend.share:.1%}",
        "" if backend.seen is None else f"{backend.seen:.1%}",
        f"{backend.connections:,}",
        f"{backend.packets:,}",
        size(backend.bytes),
    ]
    if rates:
        line += [_rate(backend.connection_rate), _bits(backend.bit_rate)]
    line.append(", ".join(backend.sees))
    states = [f"{count} {state}" for state, count in sorted(backend.endpoints.items())]
    if backend.why:
        return [*line, Text(", ".join([*states, f"rejected: {backend.why}"]), style="red")]
    return [*line, ", ".join(states)]


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _bits(value: float | None) -> str:
    return "" if value is None else bits(value)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [x for x in values if x is not None]
    return sum(known) if known else None
