"""Who moves how much, drawn for a terminal.

Decides: columns and their order; which are left out on a narrow terminal, so that 80 columns have room for the names
and for the number that the rows are sorted by. Rules: a Top in, a rich renderable out; names are folded, never cut.
Must never: read anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from rich.table import Table

from agent.cli.size import bits, size
from agent.cli.table import titled
from agent.top import By, Numbers, OfBackend, OfFlow, OfRoute, OfSource, Question, Sort, Top, Who
from agent.words import words

WIDE = 140  # columns from which all numbers are shown

_UNKNOWN = "not in the report"

_Number: TypeAlias = Callable[[Numbers], str]

_NUMBERS: Mapping[str, _Number] = {
    "connections": lambda x: f"{x.connections:,}",
    "half-open": lambda x: f"{x.half_open:,}",
    "new/s": lambda x: _rate(x.connection_rate),
    "packets": lambda x: f"{x.packets:,}",
    "bytes": lambda x: size(x.bytes),
    "packets/s": lambda x: _rate(x.packet_rate),
    "requests": lambda x: _bits(x.request_bit_rate),
    "replies": lambda x: _bits(x.reply_bit_rate),
    "rate": lambda x: _bits(x.bit_rate),
}
_OF_MANY_FLOWS = frozenset({"connections", "half-open", "new/s"})
_ALWAYS = frozenset({"connections", "packets/s", "rate"})

_NAMES: Mapping[By, tuple[str, ...]] = {
    By.ROUTE: ("route",),
    By.BACKEND: ("listener", "backend", "endpoint"),
    By.SOURCE: ("source",),
    By.FLOW: ("state", "client", "gateway", "backend", "name"),
}
_LEFT_OUT = frozenset({"listener", "state", "gateway", "name"})  # when it is narrow

_SORTED = {
    Sort.RATE: "most bits a second first",
    Sort.CONNECTIONS: "most connections first",
    Sort.PACKETS: "most packets first",
    Sort.BYTES: "most bytes first",
}


def render(top: Top, question: Question, width: int) -> Table:
    """One line a row and one for all together; fits `width` columns from 80 on."""
    names = [x for x in _NAMES[question.by] if width >= WIDE or x not in _LEFT_OUT]
    numbers = [x for x in _NUMBERS if _is_shown(x, question, width)]
    by = "" if question.by is By.FLOW else f" by {question.by.value}"
    table = titled(f"Flows{by}, {_SORTED[question.sort]}")
    for name in names:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True, min_width=10 if name == "rate" else None)
    for row in top.rows:
        cells = _cells(row.who)
        table.add_row(*(cells[x] for x in names), *(_NUMBERS[x](row.numbers) for x in numbers))
    table.add_row(_all(top), *[""] * (len(names) - 1), *(_NUMBERS[x](top.together) for x in numbers), style="bold")
    return table


def _is_shown(number: str, question: Question, width: int) -> bool:
    if question.by is By.FLOW and number in _OF_MANY_FLOWS:
        return False
    return width >= WIDE or number in _ALWAYS or number == question.sort.value


def _cells(who: Who) -> Mapping[str, str]:
    match who:
        case OfRoute():
            return {"route": f"{who.route_kind} {who.route}" if who.route else "no route, or " + _UNKNOWN}
        case OfBackend():
            backend = who.backend or ("no backendRef any more" if who.listener else _UNKNOWN)
            listener = f"{who.gateway} {who.listener}" if who.listener else ""
            return {"listener": listener, "backend": backend, "endpoint": who.endpoint}
        case OfSource():
            return {"source": who.source}
        case OfFlow():
            state = f"TCP {words(who.state)}" if who.protocol == "TCP" else who.protocol
            return {
                "state": state,
                "client": who.client,
                "gateway": who.address,
                "backend": who.endpoint,
                "name": who.backend,
            }


def _all(top: Top) -> str:
    return "together" if len(top.rows) == top.rows_in_all else f"all {top.rows_in_all:,}"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _bits(value: float | None) -> str:
    return "" if value is None else bits(value)
