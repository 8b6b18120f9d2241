"""`penstock flows`: the flows that are alive, for a person who asks.

Rules: reads only, streams, and stops at the limit, since there may be a hundred thousand.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import click
import msgspec

from agent.cli.options import places
from agent.cli.problems import as_cli_errors
from agent.cli.screen import console
from agent.cli.size import size
from agent.cli.table import titled
from agent.dataplane.flows import FlowRecord
from agent.dataplane.view import View
from agent.run_dir import MEMORY
from agent.words import label, words
from routes.plan import Protocol


@click.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Show so many at most.")
@places
def flows(output: str, limit: int, pin_dir: Path, run_dir: Path, object_dir: Path) -> None:
    """List flows: who, through which gateway address, to which backend. JSON is one flow a line."""
    with as_cli_errors(), View.open(pin_dir, run_dir, object_dir) as view:
        names = view.names().backends
        if not (run_dir / MEMORY).exists():
            click.echo(
                f"note: no backend's name is known: there is no {MEMORY} in {run_dir}, which the agent's --run-dir has",
                err=True,
            )
        shown = itertools.islice(view.flows(), limit)
        if output == "json":
            for flow in shown:
                name = names[flow.backend_id].name if flow.backend_id in names else ""
                click.echo(msgspec.json.encode({**_plain(flow), "backend_name": name}))
            return
        table = titled("Flows")
        for column in ("state", "client", "gateway", "backend", "name", "idle", "sent", "got"):
            table.add_column(column, overflow="fold")
        count = 0
        for flow in shown:
            count += 1
            table.add_row(*_line(flow, names[flow.backend_id].name if flow.backend_id in names else ""))
        console().print(table)
        click.echo(f"{count} flows" + (f" shown, there may be more (--limit {limit})" if count == limit else ""))


def _line(flow: FlowRecord, name: str) -> tuple[str, ...]:
    state = f"{flow.protocol.name} {words(flow.state)}" if flow.protocol is Protocol.TCP else "UDP"
    return (
        state + ("" if flow.whole else " (half)"),
        str(flow.client) + ("" if flow.seen_as == flow.client else f" as {flow.seen_as}"),
        str(flow.gateway),
        str(flow.backend) + (" redirected" if flow.redirected else ""),
        name,
        f"{flow.idle} s",
        size(flow.request_bytes),
        size(flow.reply_bytes),
    )


def _plain(flow: FlowRecord) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(flow, enc_hook=str)  # addresses
    return {**plain, "protocol": flow.protocol.name, "state": label(flow.state)}
