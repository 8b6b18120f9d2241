"""`penstock check`: what a folder of manifests says, without a kernel.

Decides: what is an error (a file that `run` would refuse), what a warning (a status that is not as it should be, a
backend that would be rejected), what a note. Rules: reads exactly as `run` reads; needs neither root nor a cluster.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click

from agent.cli.exits import Exit
from agent.cli.findings import findings
from agent.pipeline import Wanted, wanted
from agent.sources import file as manifest_file
from agent.sources.base import SourceError
from agent.sources.folder_state import SUFFIXES, FolderState
from agent.sources.manifest import named
from agent.status import with_times
from routes.gateways import CONTROLLER
from routes.objects.base import Object, ObjectKey
from routes.objects.gateway import Gateway, GatewayClass
from routes.objects.route import L4Route
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
    left_out = _left_out(update.errors)
    unknown, ignored = [x for x in update.notes if x.field], [x for x in update.notes if not x.field]
    warnings = [
        *map(str, unknown),
        *_loose_ends(objects, left_out),
        *_status_warnings(result),
        *_backend_warnings(result),
        *_folders(folder),
        *_suffixes(folder),
    ]
    for error in update.errors:
        click.echo(f"error: {error}", err=True)
    for name in sorted({x.origin for x in update.errors}):
        what = ", ".join(f"{kind} {x}" for (kind, x), origin in left_out.items() if origin == name)
        missing = f", so that to the others these are missing: {what}" if what else ""
        click.echo(f"note: {name}: left out as a whole because of its errors{missing}", err=True)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    for note in ignored:
        click.echo(f"note: {note}", err=True)
    listeners = len(result.plan.listeners)
    click.echo(
        f"{len(objects)} objects, {listeners} listeners, errors: {len(update.errors)}, warnings: {len(warnings)}"
    )
    if update.errors or (strict and warnings):
        raise click.exceptions.Exit(Exit.FINDINGS)


def _left_out(errors: Iterable[SourceError]) -> Mapping[tuple[str, str], str]:
    """Kind and name of what stands in files with errors -> the file."""
    found: dict[tuple[str, str], str] = {}
    for origin in sorted({x.origin for x in errors}):
        match manifest_file.read(Path(origin)):
            case manifest_file.Text(text):
                found |= dict.fromkeys(named(text), origin)
    return found


def _folders(folder: Path) -> Iterator[str]:
    """Those in the folder that have manifests, which nobody reads; hidden ones are a ConfigMap's own."""
    for path in sorted(x for x in folder.iterdir() if x.is_dir() and not x.name.startswith(".")):
        count = sum(1 for x in path.rglob("*") if x.suffix in SUFFIXES)
        if count:
            yield f"{path}: folders in the folder are not read, and this one has {count} manifest files"


def _suffixes(folder: Path) -> Iterator[str]:
    """Files that are not read only because of capitals in their names' ends."""
    for path in sorted(x for x in folder.iterdir() if x.is_file() and not x.name.startswith(".")):
        if path.suffix not in SUFFIXES and path.suffix.lower() in SUFFIXES:
            yield f"{path}: is not read: name it {path.with_suffix(path.suffix.lower()).name}"


def _loose_ends(objects: Mapping[ObjectKey, Object], left_out: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """References upwards that lead nowhere in this folder: the API leaves them alone, since others may own them."""

    def lacking(kind: str, name: str) -> str:
        origin = left_out.get((kind, name))
        return f"is in {origin}, which was left out" if origin else "is not in this folder"

    classes = {x.metadata.name: x for x in objects.values() if isinstance(x, GatewayClass)}
    gateways = {str(key) for key, x in objects.items() if isinstance(x, Gateway)}
    for key, x in sorted(objects.items()):
        if isinstance(x, Gateway) and (name := x.spec.gateway_class_name) not in classes:
            yield f"Gateway {key}: its GatewayClass {name} {lacking(GatewayClass.KIND, name)}"
        if isinstance(x, GatewayClass) and x.spec.controller_name != CONTROLLER:
            yield f"GatewayClass {key}: its controllerName {x.spec.controller_name} is not ours ({CONTROLLER})"
        if isinstance(x, L4Route):
            for parent in x.spec.parent_refs:
                where = f"{parent.namespace or x.metadata.namespace}/{parent.name}"
                if parent.kind == Gateway.KIND and where not in gateways:
                    yield f"{key.kind} {key}: its parent, Gateway {where}, {lacking(Gateway.KIND, where)}"


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
        elif not any(x.weight for x in listener.backends):
            yield f"{where}: every backendRef of {listener.route_kind} {listener.route} has weight 0, all is rejected"
        for ref in listener.backends:
            if ref.pool is None or ref.weight == 0:
                continue  # said by the route's status; asked for
            ready = {x.address.version for x in result.endpoints.get(ref.pool, ()) if x.state is EndpointState.READY}
            if not ready:
                yield f"{where}: backend {ref.name} has no ready endpoint, its share of connections is rejected"
                continue
            for version in sorted({x.version for x in listener.addresses} - ready):
                yield (
                    f"{where}: backend {ref.name} has no ready IPv{version} endpoint, its share of IPv{version} "
                    "connections is rejected"
                )
    for refused in result.refused:
        yield str(refused)
