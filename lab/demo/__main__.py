"""`make demo`: the quickstart, live. `--once`: some seconds of it, judged; exit status 0 or 1.

Decides: when there was enough traffic to judge, and what a pass is: every exchange was answered, every split is the
one that the manifests ask for (lab.shares), and the gateway counted every connection that the clients made.
Rules: the table is `penstock status`, as an operator sees it; who served is counted by the clients. Whatever ends it,
Ctrl-C too, everything is taken down.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from lab.demo.load import Load, Tally
from lab.demo.quickstart import MANIFESTS, shape, start_servers
from lab.gateway import Gateway
from lab.shares import wrong_shares
from lab.topology import GATEWAY, Lab, LabError
from lab.wait import until

ENOUGH: Final = 300
"""Exchanges of each kind and family after which `--once` judges."""

INTRODUCTION: Final = f"""\
Penstock: clients and servers in network namespaces of this machine, and
a gateway between them that answers at {GATEWAY[4]} and {GATEWAY[6]}.

    client --- node --- web-blue, web-green  nginx    TCP 80       70 : 30
            (penstock)- redis                Redis    TCP 6379
                      - ns-a, ns-b           dnsmasq  UDP, TCP 53  50 : 50

What it does is said in examples/quickstart.
"""

HINTS: Final = """\
From another terminal, for example:
    nsenter --net=/run/netns/{client} curl http://{address}/
    edit a weight in examples/quickstart/web.yaml, and watch
Ctrl-C ends it and removes everything.
"""


def _clients_view(tallies: list[Tally]) -> Table:
    table = Table(title="What the clients saw", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("listener", "family", "served by", "failed"):
        table.add_column(column)
    for tally in tallies:
        total = tally.served.total()
        served = ", ".join(f"{name} {count} ({count / total:.1%})" for name, count in sorted(tally.served.items()))
        failed = ", ".join(f"{count} x {why}" for why, count in tally.failed.items())
        table.add_row(tally.exchange.listener, f"IPv{tally.family}", served, failed or "0")
    return table


def _wrong(tallies: list[Tally]) -> list[str]:
    wrong = []
    for tally in tallies:
        where = f"{tally.exchange.listener} over IPv{tally.family}"
        wrong += [f"{where}: {problem}" for problem in wrong_shares(tally.served, tally.exchange.weights)]
        wrong += [f"{where}: {count} failed: {why}" for why, count in tally.failed.items()]
    return wrong


def _miscounted(gateway: Gateway, tallies: list[Tally]) -> list[str]:
    """Listeners whose count of connections is not the clients' own. UDP is left out: a port used twice is one flow."""
    wrong = []
    for listener in gateway.status()["traffic"]["listeners"]:
        made = sum(x.served.total() + x.failed.total() for x in tallies if x.exchange.listener == listener["name"])
        if listener["protocol"] == "TCP" and listener["connections"] != made:
            wrong.append(f"{listener['name']}: {listener['connections']} connections counted, but {made} made")
    return wrong


def _watch(gateway: Gateway) -> subprocess.Popen[bytes]:
    """The live table, drawn on our terminal by the operator's command."""
    return subprocess.Popen(gateway.command_line("status", "--watch"))


def _end(watch: subprocess.Popen[bytes]) -> None:
    watch.send_signal(signal.SIGINT)
    try:
        watch.wait(timeout=5)
    except subprocess.TimeoutExpired:
        watch.kill()
        watch.wait()


def _once(console: Console, gateway: Gateway, load: Load) -> int:
    until(lambda: load.least() >= ENOUGH, f"{ENOUGH} exchanges of each kind", patience=120, every=0.1)
    load.stop()
    print(gateway.command("status").stdout)
    console.print(_clients_view(load.tallies))
    wrong = _wrong(load.tallies) + _miscounted(gateway, load.tallies)
    for line in wrong:
        console.print(f"[red]wrong:[/red] {line}", highlight=False)
    if not wrong:
        console.print("Every exchange was answered, and every split is the one asked for.")
    return 1 if wrong else 0


def _live(console: Console, gateway: Gateway, load: Load) -> int:
    watch = _watch(gateway)
    try:
        watch.wait()
    except KeyboardInterrupt:
        pass
    finally:
        _end(watch)
    load.stop()
    console.print(_clients_view(load.tallies))
    return 0


@click.command()
@click.option("--once", is_flag=True, help="Some seconds of traffic, judged: exit status 0 or 1.")
@click.option("--delivery", type=click.Choice(["stack", "redirect"]), default="stack", help="How packets reach pods.")
def main(once: bool, delivery: str) -> None:
    """Serve examples/quickstart to real clients and show what happens."""
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell's background job is born with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    console = Console()
    click.echo(INTRODUCTION)
    try:
        with ExitStack() as stack:
            lab = stack.enter_context(Lab("demo", shape()))
            start_servers(lab, stack)
            gateway = stack.enter_context(Gateway(lab, MANIFESTS, delivery=delivery))
            load = stack.enter_context(Load(lab.client))
            if not once:
                click.echo(HINTS.format(client=lab.client.name, address=GATEWAY[4]))
            status = (_once if once else _live)(console, gateway, load)
    except LabError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
