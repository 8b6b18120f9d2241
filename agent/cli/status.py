"""`penstock status`: what this node does now, with or without an agent.

Decides: where it is read: names and conditions from the report that the agent published last, numbers from the pinned
tables. Rules: reads only. Exit code 1 when the node is not ready, as /readyz says it: the agent that runs, or ran last,
did not see the kernel hold the state that the manifests ask for.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
from rich.console import Group, RenderableType
from rich.live import Live

from agent.cli import table
from agent.cli.exits import Exit
from agent.cli.last_report import last_report
from agent.cli.options import places
from agent.cli.overview import gateways, overview, policies
from agent.cli.problems import as_cli_errors
from agent.cli.screen import console
from agent.dataplane.view import View
from agent.running import running_agent
from agent.snapshot import snapshot
from agent.traffic import Traffic, addresses, traffic, with_rates


@click.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--watch", is_flag=True, help="Draw again and again, with rates, until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds.")
@places
def status(*, output: str, watch: bool, interval: float, pin_dir: Path, run_dir: Path, object_dir: Path) -> None:
    """Show gateways, listeners, routes, backends, traffic, drops and tables.

    Exit code 1 if the node is not ready.
    """
    with as_cli_errors(), View.open(pin_dir, run_dir, object_dir) as view:
        if watch:
            _watch(view, run_dir, interval)
            return
        report, now = last_report(run_dir), _traffic(view, run_dir)
        agent = _agent(run_dir)
        if output == "json":
            click.echo(json.dumps(snapshot(report, now, agent, time.time()), indent=2))
        else:
            head = overview(report, agent=agent, now=time.time())
            console().print(Group(head, gateways(report.objects), *policies(report.objects), table.render(now)))
        if not report.ready:
            raise click.exceptions.Exit(Exit.FINDINGS)


def _watch(view: View, run_dir: Path, interval: float) -> None:
    before, taken = _traffic(view, run_dir), time.monotonic()

    def draw() -> RenderableType:
        nonlocal before, taken
        traffic, at = _traffic(view, run_dir), time.monotonic()
        rated = with_rates(traffic, before, at - taken)
        before, taken = traffic, at
        head = overview(last_report(run_dir), agent=_agent(run_dir), now=time.time())
        return Group(head, table.render(rated, rates=True))

    with Live(draw(), console=console(), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(interval)
                live.update(draw(), refresh=True)
        except KeyboardInterrupt:
            return


def _agent(run_dir: Path) -> int | None:
    found = running_agent(run_dir)
    return found.pid if found is not None else None


def _traffic(view: View, run_dir: Path) -> Traffic:
    listeners = last_report(run_dir).listeners
    return traffic(listeners, view.counters(), view.usage(), view.seen(addresses(listeners)))
