"""`penstock status`: what this node does now, with or without an agent.

Decides: where it is read: names and conditions from the report that the agent published last, numbers from the pinned
tables. Rules: reads only; a watch in a pipe writes as it sees, not at its end. Exit code 1 when the node is not ready,
as /readyz says it: the agent that runs, or ran last, did not see the kernel hold the state that the manifests ask for.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType

from agent.cli import table
from agent.cli.exits import Exit
from agent.cli.last_report import last_report
from agent.cli.options import places
from agent.cli.overview import gateways, overview, policies
from agent.cli.problems import as_cli_errors
from agent.cli.screen import console, show
from agent.dataplane.view import View
from agent.report import Report
from agent.running import running_agent
from agent.snapshot import snapshot
from agent.traffic import Traffic, addresses, traffic, with_rates


@dataclass(frozen=True, slots=True)
class _Seen:
    """What there is to be said at one moment; `at`: a monotonic time."""

    report: Report
    traffic: Traffic
    agent: int | None
    at: float


@click.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--watch", is_flag=True, help="Say it again and again, with rates, until Ctrl-C. JSON: one line each time."
)
@click.option("--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds.")
@places
def status(*, output: str, watch: bool, interval: float, pin_dir: Path, run_dir: Path, object_dir: Path) -> None:
    """Show gateways, listeners, routes, backends, traffic, drops and tables.

    Exit code 1 if the node is not ready.
    """
    with as_cli_errors(), View.open(pin_dir, run_dir, object_dir) as view:
        if watch:
            _watch(_rated(view, run_dir, interval), as_json=output == "json")
            return
        seen = _look(view, run_dir)
        if output == "json":
            click.echo(json.dumps(_plain(seen), indent=2))
        else:
            objects = seen.report.objects
            console().print(
                Group(
                    _head(seen),
                    gateways(objects),
                    *policies(objects, seen.report.listeners),
                    table.render(seen.traffic),
                )
            )
        if not seen.report.ready:
            raise click.exceptions.Exit(Exit.FINDINGS)


def _watch(looks: Iterator[_Seen], *, as_json: bool) -> None:
    if as_json:
        with contextlib.suppress(KeyboardInterrupt):
            for seen in looks:
                click.echo(json.dumps(_plain(seen)))
        return
    show((Group(_head(x), table.render(x.traffic, rates=True)) for x in looks), console())


def _rated(view: View, run_dir: Path, interval: float) -> Iterator[_Seen]:
    """For ever, with a pause of `interval` seconds between."""
    before = _look(view, run_dir)
    yield before
    while True:
        time.sleep(interval)
        now = _look(view, run_dir)
        yield replace(now, traffic=with_rates(now.traffic, before.traffic, now.at - before.at))
        before = now


def _look(view: View, run_dir: Path) -> _Seen:
    report = last_report(run_dir)
    seen = view.seen(addresses(report.listeners))
    now = traffic(report.listeners, view.counters(), view.usage(), seen)
    agent = running_agent(run_dir)
    return _Seen(report, now, agent.pid if agent is not None else None, time.monotonic())


def _head(seen: _Seen) -> RenderableType:
    return overview(seen.report, agent=seen.agent, now=time.time())


def _plain(seen: _Seen) -> dict[str, Any]:
    return snapshot(seen.report, seen.traffic, seen.agent, time.time())
