"""`penstock run`: be this node's agent.

Decides: what is said at the start and at the end. Rules: features, sizes and memory are shown, so that an operator
sees what the node takes part with; leaving says that everything goes on. All of it is in the log, with its time.
"""

from __future__ import annotations

import logging
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from agent import daemon
from agent.cli.environment import variable
from agent.cli.options import from_to, limits_of, places, sizes_and_limits, tables_of
from agent.cli.parameters import port_range
from agent.cli.problems import as_cli_errors
from agent.cli.size import size
from agent.dataplane.checks import features
from agent.settings import AUTO, OTHER_BOUNDS, Delivery, Settings, SettingsError, Xdp

log = logging.getLogger(__name__)


@click.command()
@click.option(
    "--manifests",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of Gateway API manifests, watched for changes.",
)
@click.option(
    "--uplink",
    "uplinks",
    multiple=True,
    default=(AUTO,),
    show_default=True,
    metavar="IFACE",
    envvar="PENSTOCK_RUN_UPLINK",  # click's own name for it is that of the parameter
    help="Interface that clients are behind; may be repeated.",
)
@click.option(
    "--delivery",
    type=click.Choice([x.value for x in Delivery]),
    default=Delivery.STACK.value,
    show_default=True,
    help="How requests reach backends: up the node's stack, or redirected past it.",
)
@click.option(
    "--xdp",
    type=click.Choice([x.value for x in Xdp]),
    default=Xdp.AUTO.value,
    show_default=True,
    help="The accelerator on uplinks: on NICs where it pays, nowhere, or on all, whatever they are.",
)
@click.option(
    "--snat-address",
    "snat_addresses",
    multiple=True,
    type=ip_address,
    metavar="ADDRESS",
    envvar="PENSTOCK_RUN_SNAT_ADDRESS",
    help="Of this node: what backends behind an uplink see. Without any: the uplink's oldest.",
)
@click.option(
    "--snat-ports",
    type=port_range,
    metavar="FIRST-LAST",
    default="{}-{}".format(*Settings().snat_ports),
    show_default=True,
    help="Ports for that, from 1,024 to 65,535; no socket of the node may take one.",
)
@click.option(
    "--symmetric", multiple=True, metavar="CIDR", help="Backends whose replies pass this node: they see the client."
)
@places
@click.option(
    "--metrics-address",
    default=Settings().metrics_address,
    show_default=True,
    metavar="HOST:PORT",
    help="For /metrics, /status, /healthz, /readyz.",
)
@click.option(
    "--absent-grace",
    type=int,
    default=Settings().absent_grace,
    show_default=True,
    help="Seconds in no EndpointSlice until a backend's flows are reset. " + from_to(*OTHER_BOUNDS["absent_grace"]),
)
@click.option(
    "--reply-rate-limit",
    type=int,
    default=Settings().reply_rate_limit,
    show_default=True,
    help="RST and ICMP of our own, per CPU and second. " + from_to(*OTHER_BOUNDS["reply_rate_limit"]),
)
@sizes_and_limits
def run(manifests: Path, uplinks: tuple[str, ...], delivery: str, **values: Any) -> None:
    """Serve the Gateways, TCPRoutes and UDPRoutes in a folder of manifests, until SIGTERM or Ctrl-C.

    What is in the kernel goes on without the agent; `penstock down` removes it.
    """
    settings = _settings(uplinks, delivery, values)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it counts events; what they meant is told by us
    with as_cli_errors():
        daemon.run(settings, manifests, features(), _say_started)
    log.info("stopped; everything goes on in the kernel as it is (`penstock down` would remove it)")


def _settings(uplinks: tuple[str, ...], delivery: str, values: dict[str, Any]) -> Settings:
    try:
        return Settings(
            uplinks=uplinks,
            delivery=Delivery(delivery),
            xdp=Xdp(values["xdp"]),
            snat_addresses=values["snat_addresses"],
            snat_ports=values["snat_ports"],
            symmetric=values["symmetric"],
            tables=tables_of(values),
            limits=limits_of(values),
            absent_grace=values["absent_grace"],
            reply_rate_limit=values["reply_rate_limit"],
            pin_dir=values["pin_dir"],
            run_dir=values["run_dir"],
            object_dir=values["object_dir"],
            metrics_address=values["metrics_address"],
        )
    except SettingsError as error:
        raise click.UsageError("\n".join(map(_with_variable, error.faults))) from None


def _with_variable(fault: str) -> str:
    """A fault of a setting, which begins with its option, and the variable that it came from."""
    ctx = click.get_current_context()
    option = fault.partition(":")[0]
    names = (variable(ctx, x) for x in ctx.command.params if option in x.opts)
    return fault + "".join(f" (from the environment: {x})" for x in names if x)


def _say_started(started: daemon.Started) -> None:
    log.info("penstock %s, %s, %sstatus and %smetrics", version("penstock"), started.source, started.url, started.url)
    log.info("%s", ", ".join(f"{name} {value}" for name, value in started.features.items()))
    for use in started.tables:
        if use.bytes_per_flow:
            flows = f"{use.room:,} flows of {use.bytes_per_flow} bytes"
            log.info("table %s: %s, %s", use.name, flows, size(use.memory_bytes))
    total = sum(x.memory_bytes for x in started.tables)
    log.info("all tables together take %s of the kernel's memory", size(total))
