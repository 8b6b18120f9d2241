"""`penstock check`: what a folder of manifests says, without a kernel.

Decides: what is an error (a file that `run` would refuse), what a warning (a status that is not as it should be, a
backend that would be rejected), what a note. Rules: reads exactly as `run` reads; needs neither root nor a cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click

from agent.cli.exits import Exit
from agent.cli.findings import findings
from agent.pipeline import Wanted, wanted
from agent.sources.folder_state import FolderState
from agent.status import with_times
from routes.objects import Object, ObjectKey
from routes.plan import EndpointState


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
def check(folder: Path, strict: bool) -> None:
    """Read the manifests in FOLDER and say what is wrong with them.

    Errors name file, line, object and field. Exit code 1 if there are any.
    """
    update = FolderState(folder).read(time.monotonic())
    if update is None:  # a first reading always says something
        raise AssertionError(folder)
    objects: dict[ObjectKey, Object] = dict(update.upserts)
    result = wanted(objects, ())
    unknown, ignored = [x for x in update.notes if x.field], [x for x in update.notes if not x.field]
    warnings = [*map(str, unknown), *_status_warnings(result), *_backend_warnings(result)]
    for error in update.errors:
        click.echo(f"error: {error}", err=True)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    for note in ignored:
        click.echo(f"note: {note}", err=True)
    listeners = len(result.plan.listeners)
    click.echo(f"{len(objects)} objects, {listeners} listeners, {len(update.errors)} errors, {len(warnings)} warnings")
    if update.errors or (strict and warnings):
        raise click.exceptions.Exit(Exit.FINDINGS)


def _status_warnings(result: Wanted) -> Iterator[str]:
    for status in with_times(result.statuses, (), ""):
        yield from findings(status)


def _backend_warnings(result: Wanted) -> Iterator[str]:
    if not result.plan.listeners:
        yield "nothing is served: there is no Gateway of ours with an address and a valid listener"
    for listener in result.plan.listeners:
        where = f"Gateway {listener.gateway} listener {listener.name}"
        if listener.route is None:
            yield f"{where}: no route is attached, every connection is rejected"
        for ref in listener.backends:
            if ref.pool is None or ref.weight == 0:
                continue  # said by the route's status; asked for
            if not any(x.state is EndpointState.READY for x in result.endpoints.get(ref.pool, ())):
                yield f"{where}: backend {ref.name} has no ready endpoint, its share of connections is rejected"
    for refused in result.refused:
        yield str(refused)
