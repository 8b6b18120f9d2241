"""A packet that ended, for people and for programs: one line, or one JSON object.

Rules: pure; words are those of the counters (agent/words.py), tuples those of `penstock explain`; who a listener or a
backend is, is the last report's and the tables' business, and what they do not know is left out, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from agent.dataplane.tracer import Ended
from agent.packet import TCP, UDP, Tuple, flags_of
from agent.words import label, words


@dataclass(frozen=True, slots=True)
class Ends:
    """Addresses and ports; a port is None where the protocol has none."""

    source: str
    sport: int | None
    destination: str
    dport: int | None


@dataclass(frozen=True, slots=True)
class Whose:
    """Listener, backendRef and endpoint of a packet; each "" if there is none, or if nobody knows."""

    listener: str = ""
    backend: str = ""
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Traced:
    """One packet. `time`: seconds since the epoch. `packet`: as it came, None (and `protocol` "") if it was not read;
    `became`: as it was rewritten, None if it was not. `packets`: more than 1 of a super-packet; `bytes` are from the
    network header on.
    """

    time: float
    hook: str
    interface: str
    verdict: str
    protocol: str
    packet: Ends | None
    became: Ends | None
    flags: str
    icmp: int | None
    listener: str
    backend: str
    endpoint: str
    packets: int
    bytes: int


def traced(ended: Ended, booted: float, interface: str, whose: Whose) -> Traced:
    """`booted`: when its clock began, in seconds since the epoch."""
    return Traced(
        time=round(booted + ended.at, 6),
        hook=label(ended.hook),
        interface=interface,
        verdict=label(ended.verdict),
        protocol=ended.tuple.name if ended.tuple else "",
        packet=_ends(ended.tuple),
        became=_ends(ended.became),
        flags=flags_of(ended.flags),
        icmp=ended.icmp,
        listener=whose.listener,
        backend=whose.backend,
        endpoint=whose.endpoint,
        packets=ended.packets,
        bytes=ended.bytes,
    )


def line(ended: Ended, booted: float, interface: str, whose: Whose) -> str:
    """For a person; the time is that of the place."""
    at = datetime.fromtimestamp(booted + ended.at)
    head = f"{at:%H:%M:%S.%f} {words(ended.hook):14} {interface:8} {words(ended.verdict):17}"
    return f"{head} {', '.join(_about(ended, whose))}"


def _about(ended: Ended, whose: Whose) -> Iterator[str]:
    if ended.tuple is None:
        yield "not read"
    elif ended.tuple.protocol == TCP and ended.flags:
        yield f"{ended.tuple} {flags_of(ended.flags)}"
    elif ended.icmp is not None:
        yield f"{ended.tuple} type {ended.icmp}"
    else:
        yield str(ended.tuple)
    yield f"{ended.bytes} B" + (f" in {ended.packets} packets" if ended.packets > 1 else "")
    if whose.listener:
        yield f"listener {whose.listener}"
    if whose.backend or whose.endpoint:
        yield f"backend {' '.join(filter(None, (whose.backend, whose.endpoint)))}"


def _ends(tuple_: Tuple | None) -> Ends | None:
    if tuple_ is None:
        return None
    ports = (tuple_.sport, tuple_.dport) if tuple_.protocol in (TCP, UDP) else (None, None)
    return Ends(str(tuple_.source), ports[0], str(tuple_.destination), ports[1])
