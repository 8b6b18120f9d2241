"""`penstock trace`: packets as they end, one a line.

Decides: how a filter is said, when it is over, and what is said at the end. Two verdicts are seen only by who asks for
them: not_ours, on an uplink all else that the node does, also the terminal's own traffic, of which each line would make
more; and redirected, packets that have ended in another verdict before.
Rules: needs no agent; names are those of the report that was published last, and the tables'. A signal ends it when all
that came is shown, with the summary: bcc's callbacks swallow a KeyboardInterrupt, so none is raised.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any

import click
import msgspec

from agent import report as reports
from agent.cli.options import network, places
from agent.cli.problems import as_cli_errors
from agent.dataplane.hooks import HOOKS
from agent.dataplane.network import beside_agent
from agent.dataplane.trace_filter import TraceFilter
from agent.dataplane.tracer import Ended, Tracer
from agent.dataplane.xdp import XDP_PROGRAM
from agent.packet import ICMP, ICMPV6, TCP, UDP, place
from agent.traced import Whose, line, traced
from agent.verdicts import MEANING
from agent.words import label, words
from routes.plan import Address

_PROTOCOLS = {"tcp": {TCP}, "udp": {UDP}, "icmp": {ICMP, ICMPV6}}
_DROPS = frozenset(x for x in MEANING if x.startswith("DROP_"))
_BY_LABEL = {"drops": _DROPS, **{label(x): frozenset({x}) for x in MEANING}}
_USUAL = frozenset(MEANING) - {"VERDICT_NOT_OURS", "VERDICT_REDIRECTED"}
_WAIT = 0.2
"""Seconds after which it is looked whether it is over."""
_NAMES = 1.0
"""Seconds for which names are taken to be what they were."""


def _address(_: click.Context, __: click.Parameter, value: str | None) -> Address | None:
    try:
        return None if value is None else ip_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _verdicts(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """By their labels, or with spaces, as lines of ours have them."""
    found = tuple(x.replace(" ", "_") for x in value)
    if wrong := [x for x in found if x not in _BY_LABEL]:
        raise click.BadParameter(f"{wrong[0]!r} is none of {', '.join(_BY_LABEL)}")
    return found


@click.command()
@click.option("--client", metavar="CIDR", callback=network, help="Only packets from or to there.")
@click.option("--gateway", metavar="ADDRESS", callback=_address, help="Only packets to or from that address.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Only packets with that port, at either end.")
@click.option("--protocol", type=click.Choice(list(_PROTOCOLS)), help="Only packets of that protocol.")
@click.option(
    "--verdict",
    "verdicts",
    callback=_verdicts,
    metavar="NAME",
    multiple=True,
    help="Only packets that end so; drops: in any of them. Repeatable.  [default: all but not_ours and redirected]",
)
@click.option(
    "--hook",
    "hooks",
    type=click.Choice([XDP_PROGRAM, *(program for role in HOOKS.values() for program, _ in role)]),
    multiple=True,
    help="Only packets there. Repeatable.",
)
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after that time.")
@click.option(
    "--rate",
    type=click.IntRange(1, 1_000_000),
    default=1000,
    show_default=True,
    help="Show so many a second at most, of each CPU.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@places
def trace(
    *,
    client: IPv4Network | IPv6Network | None,
    gateway: Address | None,
    port: int | None,
    protocol: str | None,
    verdicts: tuple[str, ...],
    hooks: tuple[str, ...],
    count: int | None,
    seconds: float | None,
    rate: int,
    output: str,
    pin_dir: Path,
    run_dir: Path,
    object_dir: Path,
) -> None:
    """Show packets as they end, one a line: when, at which hook and interface, in which verdict, and whose they are.

    Addresses and ports count at either end of a packet, as it came or as it was rewritten, so requests and replies both
    match. JSON is one packet a line, and a last line that sums up. Ctrl-C ends it; nothing is left in the kernel then.
    """
    wanted = TraceFilter(
        verdicts=frozenset().union(*(_BY_LABEL[x] for x in verdicts)) or _USUAL,
        hooks=frozenset(f"HOOK_{x.upper()}" for x in hooks),
        client=client,
        gateway=gateway,
        port=port,
        protocols=frozenset(_PROTOCOLS[protocol]) if protocol else frozenset(),
    )
    show = _as_json if output == "json" else line
    with (
        _interruptible() as is_interrupted,
        as_cli_errors(),
        beside_agent(run_dir),
        Tracer.open(pin_dir, object_dir, wanted, rate) as tracer,
    ):
        click.echo("tracing; Ctrl-C ends it", err=True)
        names = _Names(tracer, run_dir)
        booted = time.time() - time.monotonic()
        over = time.monotonic() + (seconds if seconds is not None else float("inf"))
        seen: Counter[str] = Counter()
        is_over = False
        while not is_over:
            is_over = is_interrupted() or time.monotonic() >= over
            for ended in tracer.poll(0 if is_over else _WAIT)[: None if count is None else count - seen.total()]:
                seen[ended.verdict] += 1
                click.echo(show(ended, booted, _interface(ended.ifindex), names.whose(ended)))
            is_over = is_over or seen.total() == count
        _sum_up(seen, tracer.lost, output)


def _as_json(ended: Ended, booted: float, interface: str, whose: Whose) -> str:
    return msgspec.json.encode(traced(ended, booted, interface, whose)).decode()


def _sum_up(seen: Counter[str], lost: int, output: str) -> None:
    if output == "json":
        by_verdict = {label(x): n for x, n in sorted(seen.items())}
        click.echo(msgspec.json.encode({"shown": seen.total(), "lost": lost, "verdicts": by_verdict}))
        return
    ends = ", ".join(f"{n} {words(x)}" for x, n in seen.most_common())
    click.echo(
        f"{seen.total()} packets shown" + (f": {ends}" if ends else "") + f"; {lost} not shown (--rate)", err=True
    )


class _Names:
    """Words for the numbers in a packet. The report is read again when it may have changed."""

    def __init__(self, tracer: Tracer, run_dir: Path) -> None:
        self._tracer = tracer
        self._run_dir = run_dir
        self._listeners: dict[int, str] = {}
        self._backends: dict[int, tuple[str, str]] = {}
        self._old_at = 0.0

    def whose(self, ended: Ended) -> Whose:
        """Listener and backend of a packet."""
        if time.monotonic() >= self._old_at:
            self._read()
        backend = self._tracer.backend(ended.backend_id)
        listener = self._listeners.get(ended.listener_id or (backend.listener_id if backend else 0), "")
        if backend is None:
            return Whose(listener)
        endpoint = place(backend.address, backend.port)
        name, known_as = self._backends.get(ended.backend_id, ("", ""))
        return Whose(listener, name if known_as == endpoint else "", endpoint)

    def _read(self) -> None:
        self._old_at = time.monotonic() + _NAMES
        report = reports.load(self._run_dir)
        listeners = report.listeners if report else ()
        self._listeners = {x.id: f"{x.gateway}/{x.name}" for x in listeners}
        self._backends = {z.id: (y.name, z.place) for x in listeners for y in x.backends for z in y.endpoints}


def _interface(ifindex: int) -> str:
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return str(ifindex)  # it is gone


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Meanwhile SIGINT and SIGTERM do nothing but make what is yielded say True."""
    came = False

    def note(_number: int, _frame: Any) -> None:
        nonlocal came
        came = True

    before = {x: signal.signal(x, note) for x in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
