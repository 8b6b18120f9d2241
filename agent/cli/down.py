"""`penstock down`: remove every trace of the gateway from this node."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import click

from agent.cli.options import places
from agent.cli.problems import told
from agent.daemon import LAST_GOOD
from agent.dataplane.teardown import down as remove
from agent.report import FILE_NAME


@click.command()
@places
def down(pin_dir: Path, run_dir: Path, object_dir: Path) -> None:
    """Remove every trace of the gateway from this node. Ends all flows; refused while an agent runs."""
    with told():
        removed = remove(pin_dir, run_dir)
        (run_dir / FILE_NAME).unlink(missing_ok=True)
        shutil.rmtree(run_dir / LAST_GOOD, ignore_errors=True)
        with contextlib.suppress(OSError):  # not there, or somebody else's files are in it
            run_dir.rmdir()
    if removed:
        interface = ", its own interface" if removed.interface else ""
        click.echo(f"removed {removed.hooks} hooks, {removed.routes} routes, {removed.pins} pins{interface}")
    else:
        click.echo("nothing of Penstock was on this node")
