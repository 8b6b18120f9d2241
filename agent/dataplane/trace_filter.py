"""What somebody who traces looks for, as an expression in C.

Decides: how a filter is said in the words of bpf/bcc/tracer.c. Pure. Rules: all that is asked for must be so; of
addresses and ports either end counts, before the rewriting or after it, so that a flow's requests and replies match
alike. Numbers only: nothing that a person wrote becomes part of a program.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from routes.plan import Address


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which packets. `verdicts` and `hooks`: names of the enums; `protocols`: numbers of IP. None and empty: any."""

    verdicts: frozenset[str] = frozenset()
    hooks: frozenset[str] = frozenset()
    client: IPv4Network | IPv6Network | None = None
    gateway: Address | None = None
    port: int | None = None
    protocols: frozenset[int] = frozenset()


def expression(wanted: TraceFilter, verdicts: Sequence[str], hooks: Sequence[str]) -> str:
    """Of `p`, true for a packet that is wanted; what costs least comes first. The names stand at their numbers."""
    return " && ".join(_terms(wanted, verdicts, hooks)) or "1"


def _terms(wanted: TraceFilter, verdicts: Sequence[str], hooks: Sequence[str]) -> Iterator[str]:
    if wanted.verdicts:
        yield f"IN({_set(wanted.verdicts, verdicts)}, p->verdict)"
    if wanted.hooks:
        yield f"IN({_set(wanted.hooks, hooks)}, p->hook)"
    if wanted.protocols:
        yield "(" + " || ".join(f"is_protocol(p, {x})" for x in sorted(wanted.protocols)) + ")"
    if wanted.port is not None:
        yield f"has_port(p, {wanted.port})"
    if wanted.client is not None:
        yield _address(wanted.client)
    if wanted.gateway is not None:
        yield _address(ip_network(wanted.gateway))


def _set(wanted: frozenset[str], names: Sequence[str]) -> str:
    return f"{sum(1 << names.index(x) for x in wanted):#x}ULL"


def _address(network: IPv4Network | IPv6Network) -> str:
    """Words of mask and network in turn, as they lie in memory."""
    pairs = zip(_words(network.netmask), _words(network.network_address), strict=True)
    numbers = ", ".join(f"{x:#x}" for pair in pairs for x in pair)
    return f"has_address4(p, {numbers})" if network.version == 4 else f"HAS_ADDRESS6(p, {numbers})"


def _words(address: Address) -> list[int]:
    octets = address.packed
    return [int.from_bytes(octets[i : i + 4], sys.byteorder) for i in range(0, len(octets), 4)]
