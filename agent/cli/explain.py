"""`penstock explain`: which way one packet takes, and why.

Decides: how a packet is said on the command line, and what it is if little is said: a SYN from port 49152, at the hook
that such a packet passes first. Rules: interfaces and routes are those of the agent's network namespace, wherever it
is asked; changes nothing; the words are those of agent/explanation.py.
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import click
import msgspec

from agent import report as reports
from agent.cli.options import places
from agent.cli.problems import as_cli_errors
from agent.dataplane.met import MetFlow
from agent.dataplane.network import beside_agent
from agent.dataplane.places import Place, WrongPlace, choose
from agent.dataplane.trial import Trial
from agent.explanation import Explanation
from agent.explanation import explain as explained
from agent.packet import (
    ETHERNET,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Packet,
    Tuple,
    addressed,
    flag_bits,
    framed,
    is_ip,
    made,
    octets_of,
    read,
)
from loader.hook import Direction
from routes.plan import Address

_EPHEMERAL = 49152  # the first of RFC 6335's
_NOBODY = bytes(6)  # a MAC, until it is known at which interface the packet is


@click.command()
@click.argument("protocol", required=False, type=click.Choice(["tcp", "udp", "icmp"]))
@click.argument("source", required=False, metavar="SOURCE[:PORT]")
@click.argument("destination", required=False, metavar="DESTINATION[:PORT]")
@click.option("--flags", default=None, metavar="S|A|SA|F|R|...", help="TCP's flags.  [default: S]")
@click.option("--packet", "octets", metavar="HEX", help="An Ethernet frame or an IP packet, as tcpdump -x prints it.")
@click.option("--interface", default="", metavar="IFACE", help="Where it is seen.  [default: where it comes in]")
@click.option("--hook", type=click.Choice([x.value for x in Direction]), help="Received there, or sent.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@places
def explain(
    *,
    protocol: str | None,
    source: str | None,
    destination: str | None,
    flags: str | None,
    octets: str | None,
    interface: str,
    hook: str | None,
    output: str,
    pin_dir: Path,
    run_dir: Path,
    object_dir: Path,
) -> None:
    """Explain which listener, route, backend, flow and verdict a packet meets on this node now, and why.

    The packet runs through the gateway's own programs, against the tables as they are; nothing is sent, and nothing
    that is alive changes. IPv6 addresses with a port stand in brackets: [fd00::2]:40000.
    """
    wanted = _wanted(protocol, source, destination, flags, octets)
    direction = Direction(hook) if hook else None
    with as_cli_errors(), beside_agent(run_dir), Trial.open(pin_dir, object_dir) as trial:
        met = trial.met(wanted.flow if isinstance(wanted, Packet) else wanted)
        packet = wanted if isinstance(wanted, Packet) else _made(wanted, flags, met)
        around = trial.surroundings(packet.tuple)
        try:
            place = choose(around, met, interface, direction)
        except WrongPlace as error:
            raise click.UsageError(str(error)) from None
        packet = _at(packet, place)
        report = reports.load(run_dir)
        said = explained(packet, trial.run(packet, place), report.listeners if report else ())
    if output == "json":
        click.echo(json.dumps(msgspec.to_builtins(said), indent=2))
    else:
        _draw(said)


def _draw(said: Explanation) -> None:
    width = max(len(x.topic) for x in said.steps)
    for step in said.steps:
        click.echo(f"{step.topic:{width}}  {step.text}")


# ---- the packet


def _wanted(
    protocol: str | None, source: str | None, destination: str | None, flags: str | None, octets: str | None
) -> Packet | Tuple:
    """A packet if its octets were given, else its tuple."""
    if octets is not None:
        if protocol is not None or flags is not None:
            raise click.UsageError(
                "--packet says all of a packet: it goes without tcp, udp, icmp, addresses and --flags"
            )
        return _packet(octets)
    if protocol is None or source is None or destination is None:
        raise click.UsageError("say tcp, udp or icmp, then SOURCE[:PORT] and DESTINATION[:PORT]; or --packet HEX")
    if flags is not None and protocol != "tcp":
        raise click.UsageError("--flags are TCP's")
    _bits(flags)
    return _tuple(protocol, source, destination)


def _packet(text: str) -> Packet:
    try:
        octets = octets_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--packet'") from None
    if is_ip(octets):
        octets = framed(octets, _NOBODY)
    if len(octets) < ETHERNET:
        raise click.BadParameter(
            f"{len(octets)} octets are no Ethernet frame and no IP packet", param_hint="'--packet'"
        )
    packet = read(octets)
    if packet.tuple is None and packet.fault:
        raise click.BadParameter(f"{packet.fault}, so there is nothing to explain", param_hint="'--packet'")
    return packet


def _tuple(protocol: str, source: str, destination: str) -> Tuple:
    (from_, sport), (to, dport) = _end(source, "SOURCE"), _end(destination, "DESTINATION")
    if from_.version != to.version:
        raise click.UsageError(f"{from_} and {to} are not of one family")
    if protocol == "icmp":
        if sport is not None or dport is not None:
            raise click.UsageError("ICMP has no ports")
        return Tuple(ICMP if to.version == 4 else ICMPV6, from_, 0, to, 0)
    if dport is None:
        meant = f", or is {x} meant?" if (x := _bracketed(destination)) else ""
        raise click.UsageError(f"say which port of {to}: {f'[{to}]' if to.version == 6 else to}:PORT{meant}")
    return Tuple(TCP if protocol == "tcp" else UDP, from_, _EPHEMERAL if sport is None else sport, to, dport)


def _end(text: str, what: str) -> tuple[Address, int | None]:
    """Of `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]`, `[fd00::1]:80`."""
    parts = re.fullmatch(r"\[(?P<six>[^\]]*)\](?::(?P<p6>.*))?|(?P<four>[^:]*)(?::(?P<p4>[^:]*))?", text)
    host, port = (parts["six"] or parts["four"] or "", parts["p6"] or parts["p4"]) if parts else (text, None)
    try:
        address = ip_address(host.replace("%", " "))  # the tables know no scopes
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no address, or address and port, as 10.0.0.1:80 or [fd00::1]:80", param_hint=f"'{what}'"
        ) from None
    if port is None and not text.endswith(":"):
        return address, None
    if not (port or "").isascii() or not (port or "").isdigit() or int(port or "0") > 65_535:
        raise click.BadParameter(f"{text!r} does not end in a port from 0 to 65535", param_hint=f"'{what}'")
    return address, int(port or "0")


def _bracketed(text: str) -> str:
    """What an IPv6 address without brackets is when its last group is a port; "" if it cannot be one."""
    host, _, port = text.rpartition(":")
    try:
        address = IPv6Address(host)
    except ValueError:
        return ""
    return f"[{address}]:{port}" if port.isdecimal() and int(port) <= 65_535 else ""


def _made(wanted: Tuple, flags: str | None, met: MetFlow | None) -> Packet:
    """In TCP its numbers are such as the flow may well have next."""
    bits = _bits(flags) if wanted.protocol == TCP else 0
    seq, ack = met.next_numbers(bits) if met is not None and wanted.protocol == TCP else (1, 0)
    return read(framed(made(wanted, bits, seq, ack), _NOBODY))


def _bits(flags: str | None) -> int:
    try:
        return flag_bits("S" if flags is None else flags)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--flags'") from None


def _at(packet: Packet, place: Place) -> Packet:
    """In a frame to the interface. One that was captured keeps the MAC that it was sent to, but on its way out, where a
    test run would take the next hop's for a stranger's."""
    group = packet.to_mac[0] & 1
    if packet.to_mac == _NOBODY or (place.direction is Direction.EGRESS and not group):
        return addressed(packet, place.link.mac)
    return packet
