"""What each flow did between two readings of the flow tables.

Decides: when two records are of one flow: tuple and generation are the same, so a tuple that is used again is another
flow; promotion to another table changes neither. Rules: pure. A flow that began between the readings counts whole; one
that is met twice in a reading (it was being promoted) counts once. What stays of each is its identity and its counts,
some 250 octets, and the room of the tables bounds that. Must never: find a change below zero.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from agent.dataplane.flows import FlowRecord

Held: TypeAlias = Mapping[bytes, bytes]
"""A reading, as the next one needs it: a flow's identity -> its counts."""

_T = TypeVar("_T")

_IDENTITY = struct.Struct("=HHBI")  # ports, protocol, generation; the addresses come first
_COUNTS = struct.Struct("=?QQQ")  # in a table of half-open flows; packets, octets of requests, octets of replies


@dataclass(frozen=True, slots=True)
class Change:
    """`began`: whether it became a connection. Packets of both directions; `requests` and `replies` are octets."""

    began: bool
    packets: int
    requests: int
    replies: int


NONE = Change(began=False, packets=0, requests=0, replies=0)


def changes(
    flows: Iterable[tuple[FlowRecord, _T]], held: dict[bytes, bytes], before: Held | None
) -> Iterator[tuple[bytes, FlowRecord, _T, Change]]:
    """Each flow once, by identity, with what goes with it and its change since `before` (none, if that is None).

    Fills `held` on the way: it is whole when the iteration has ended.
    """
    for flow, companion in flows:
        identity = _identity(flow)
        if identity in held:
            continue
        half_open = flow.table.startswith("half_open")
        now = (half_open, flow.request_packets + flow.reply_packets, flow.request_bytes, flow.reply_bytes)
        held[identity] = _COUNTS.pack(*now)
        yield identity, flow, companion, NONE if before is None else _change(now, before.get(identity))


def _identity(flow: FlowRecord) -> bytes:
    rest = _IDENTITY.pack(flow.client.port, flow.gateway.port, flow.protocol, flow.generation)
    return flow.client.address.packed + flow.gateway.address.packed + rest


def _change(now: tuple[bool, int, int, int], before: bytes | None) -> Change:
    half_open, packets, requests, replies = (True, 0, 0, 0) if before is None else _COUNTS.unpack(before)
    # Two CPUs that count packets of one flow at once may lose some, so a count can be a little less than it was.
    return Change(
        began=half_open and not now[0],
        packets=max(0, now[1] - packets),
        requests=max(0, now[2] - requests),
        replies=max(0, now[3] - replies),
    )
