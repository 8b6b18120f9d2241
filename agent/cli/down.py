"""`penstock down`: remove every trace of the gateway from this node."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.exits import Unfit
from agent.cli.options import places
from agent.cli.problems import as_cli_errors
from agent.dataplane.teardown import down as remove


@click.command()
@places
def down(pin_dir: Path, run_dir: Path, object_dir: Path) -> None:
    """Remove every trace of the gateway from this node. Ends all flows; refused while an agent runs."""
    with as_cli_errors():
        removed = remove(pin_dir, run_dir)
    if removed:
        interface = ", its own interface" if removed.interface else ""
        click.echo(f"removed {removed.hooks} hooks, {removed.routes} routes, {removed.pins} pins{interface}")
    else:
        click.echo("nothing of Penstock was on this node")
    if removed.unreached is not None:
        raise Unfit(
            f"the agent ran in another network namespace, net:[{removed.unreached}], which was not found: if it is\n"
            "still there, so are penstock0 and the gateway's routes: run `penstock down` inside it"
        )
