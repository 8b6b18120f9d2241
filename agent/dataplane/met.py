"""The flow that one tuple belongs to, found by look-ups and not by going through the tables.

Rules: reads only; of LRU tables a look-up from user space leaves the order as it is. TCP's established table is looked
at before the half-open one, as the programs do. A pair that the programs count as absent (half, or idle too long) is
found all the same: whether it counts is theirs to say.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.dataplane.flows import FlowRecord, record_of, twin_key, twin_of
from agent.dataplane.records import Record
from agent.packet import TCP, Tuple, flag_bits
from loader.btf import Btf
from loader.maps import Map

_SYN, _ACK = flag_bits("S"), flag_bits("A")


@dataclass(frozen=True, slots=True)
class MetFlow:
    """A flow as a packet of one direction meets it.

    `is_reply`: that direction is the backend's. `flags`: names of `enum flow_flag`. `ifindex`: the way out that the
    request's entry has cached, 0 = none. The four numbers are TCP's: initial, and acknowledged last, of this direction
    and of the other.
    """

    record: FlowRecord
    is_reply: bool
    flags: frozenset[str]
    ifindex: int
    isn: int
    expects: int
    other_isn: int
    other_expects: int

    def next_numbers(self, flags: int) -> tuple[int, int]:
        """Sequence and acknowledgement number that a segment with these flags of this direction may well have."""
        if self.record.table.startswith("half_open"):
            seq = self.isn if flags & _SYN else self.isn + 1
            return seq & 0xFFFFFFFF, (self.other_isn + 1) & 0xFFFFFFFF if flags & _ACK else 0
        return self.other_expects, self.expects if flags & _ACK else 0


def key_of(flow: Tuple) -> Record:
    """`struct tuple4` or `struct tuple6`."""
    return {
        "saddr": flow.source.packed,
        "daddr": flow.destination.packed,
        "sport": flow.sport,
        "dport": flow.dport,
        "protocol": flow.protocol,
        "zone": 0,
    }


def tables_of(flow: Tuple) -> tuple[str, ...]:
    """The tables in which a tuple may stand, in the order in which the programs look."""
    family = flow.source.version
    return (f"tcp_flows{family}", f"half_open{family}") if flow.protocol == TCP else (f"udp_flows{family}",)


def find(tables: Mapping[str, Map], btf: Btf, flow: Tuple) -> MetFlow | None:
    """The flow of a packet with that tuple, None if there is none."""
    bits = {x.name: int(x) for x in btf.enum("flow_flag")}
    states = {int(x): x.name for x in btf.enum("flow_state")}
    for name in tables_of(flow):
        key = key_of(flow)
        own: Record | None = tables[name].get(key)
        if own is None:
            continue
        other = twin_of(tables[name], key, own)
        is_reply = bool(own["flags"] & bits["FLOW_REPLY"])
        request_key, request, reply = key, own, other
        if is_reply:
            request_key, request, reply = twin_key(key, own), other or _reversed(key, own), own
        return MetFlow(
            record=record_of(
                request_key,
                request,
                reply if other is not None else None,
                table=name,
                now=int(time.clock_gettime(time.CLOCK_MONOTONIC)),
                state=states[own["state"]],
                redirected=bool(own["flags"] & bits["FLOW_REDIRECT"]),
            ),
            is_reply=is_reply,
            flags=frozenset(x for x, bit in bits.items() if own["flags"] & bit),
            ifindex=request["nexthop"]["ifindex"],
            isn=own["isn"],
            expects=own["expects"],
            other_isn=other["isn"] if other else 0,
            other_expects=other["expects"] if other else 0,
        )
    return None


def halves(tables: Mapping[str, Map], flow: Tuple) -> Iterator[tuple[str, bytes, bytes]]:
    """(table, key, value) of every entry of the flow of that tuple, as octets."""
    for name in tables_of(flow):
        table, key = tables[name], key_of(flow)
        octets = table.get_raw(table.key.pack(key))
        if octets is None:
            continue
        yield name, table.key.pack(key), octets
        other = table.key.pack(twin_key(key, table.value.unpack(octets)))
        if (found := table.get_raw(other)) is not None:
            yield name, other, found


def reply_of(met: MetFlow) -> Tuple:
    """The tuple of the flow's replies, as the backend sends them."""
    backend, seen_as = met.record.backend, met.record.seen_as
    return Tuple(met.record.protocol.value, backend.address, backend.port, seen_as.address, seen_as.port)


def _reversed(key: Record, reply: Record) -> Record:
    """What the request half of a lone reply half must have been."""
    return {
        **reply,
        "to_saddr": {"octets": key["daddr"].ljust(16, b"\0")},
        "to_daddr": {"octets": key["saddr"].ljust(16, b"\0")},
        "to_sport": key["dport"],
        "to_dport": key["sport"],
        "packets": 0,
        "bytes": 0,
    }
