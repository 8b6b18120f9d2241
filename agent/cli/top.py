"""`penstock top`: who moves how much now.

Decides: when the flow tables are read: again and again with a pause of an interval, or twice. Rules: reads only; names
are those of the report that the agent published last; a reading takes time, and stands for the middle of it. What the
numbers mean and what stays in memory is in agent/top.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.text import Text

from agent.cli import ranking
from agent.cli.last_report import last_report
from agent.cli.options import network, places
from agent.cli.problems import as_cli_errors
from agent.cli.screen import console, show
from agent.dataplane.view import View
from agent.top import By, Question, Reading, Sort, Top, is_named, read


@dataclass(frozen=True, slots=True)
class _Shown:
    """What one reading says. `seconds`: since the one before (0.0: there was none); `took`: for reading all flows."""

    top: Top
    seconds: float
    took: float


@click.command()
@click.option("--by", type=click.Choice([x.value for x in By]), default=By.ROUTE.value, show_default=True)
@click.option("--sort", type=click.Choice([x.value for x in Sort]), default=Sort.RATE.value, show_default=True)
@click.option("-n", "--count", type=click.IntRange(min=1), default=Question().count, show_default=True, help="Rows.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between two readings."
)
@click.option("--once", is_flag=True, help="Read twice, an interval apart, print, and end.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="JSON only with --once.",
)
@click.option("--listener", default="", metavar="[[NAMESPACE/]GATEWAY/]NAME", help="Only flows through this listener.")
@click.option(
    "--source", metavar="CIDR", callback=network, help="Only flows of clients there: an address, or a network."
)
@places
def top(
    *,
    by: str,
    sort: str,
    count: int,
    interval: float,
    once: bool,
    output: str,
    listener: str,
    source: IPv4Network | IPv6Network | None,
    pin_dir: Path,
    run_dir: Path,
    object_dir: Path,
) -> None:
    """Show who moves how much now: flows and rates by route, backend or source, or of single flows.

    Rates are what moved between two readings. Connections are those that are open; packets and bytes are of all flows
    that the kernel holds, each since it began. Both directions count.

    Each reading goes through all flows, whatever is asked for: 100,000 take some 4 seconds of a CPU and 100 MB of
    memory.
    """
    if output == "json" and not once:
        raise click.UsageError("-o json is one document: it goes with --once")
    question = Question(By(by), Sort(sort), count, listener, source)
    with as_cli_errors(), View.open(pin_dir, run_dir, object_dir) as view:
        _must_be_there(listener, run_dir)
        shown = _readings(view, run_dir, question, interval)
        if not once:
            screen = console()
            show((_draw(x, question, screen) for x in shown), screen)
            return
        next(shown)
        found = next(shown)
        if output == "json":
            click.echo(json.dumps(_plain(found, question), indent=2))
        else:
            screen = console()
            screen.print(_draw(found, question, screen))


def _must_be_there(listener: str, run_dir: Path) -> None:
    there = last_report(run_dir).listeners
    if listener and not any(is_named(x, listener) for x in there):
        names = ", ".join(f"{x.gateway}/{x.name}" for x in there) or "none"
        raise click.BadParameter(f"no listener is named {listener!r}; there are: {names}", param_hint="'--listener'")


def _readings(view: View, run_dir: Path, question: Question, interval: float) -> Iterator[_Shown]:
    """For ever, with a pause of `interval` seconds between."""
    before: Reading | None = None
    at = 0.0
    while True:
        began = time.monotonic()
        reading = read(view.flows(), question, last_report(run_dir).listeners, before)
        took = time.monotonic() - began
        middle = began + took / 2
        seconds = middle - at if before is not None else 0.0
        before, at = reading, middle
        yield _Shown(reading.top(seconds), seconds, took)
        time.sleep(interval)


def _draw(shown: _Shown, question: Question, screen: Console) -> RenderableType:
    over = f"; rates over {shown.seconds:.1f} s" if shown.seconds else ""
    head = Text(f"{shown.top.flows:,} flows, read in {shown.took:.1f} s{over}")
    return Group(head, ranking.render(shown.top, question, screen.width))


def _plain(shown: _Shown, question: Question) -> dict[str, Any]:
    """Numbers as they are in agent/top.py, beside the names of their row."""
    return {
        "by": question.by.value,
        "sort": question.sort.value,
        "seconds": round(shown.seconds, 6),
        "read_seconds": round(shown.took, 6),
        "flows": shown.top.flows,
        "rows_in_all": shown.top.rows_in_all,
        "rows": [{**msgspec.to_builtins(x.who), **msgspec.to_builtins(x.numbers)} for x in shown.top.rows],
        "together": msgspec.to_builtins(shown.top.together),
    }
