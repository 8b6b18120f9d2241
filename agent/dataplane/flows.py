"""The flows that are alive, one record for each pair.

Decides: how the two entries of a flow become one record. Rules: the entry of the request direction leads; its twin is
looked up under the reverse of what it rewrites to (bpf/flow.h) and counts only with the same generation, else the
record says that it is half a pair. The listing streams: flows that come and go meanwhile may be in it or not. A listing
costs as much as there are flows (some 30 microseconds each), so it is for a person who asks; of the agent's own,
`backends_in_use` alone reads all flows, seldom and only while a retired backend waits to be forgotten. Must never:
change an entry.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from agent.dataplane.records import Record
from agent.dataplane.tables import Tables
from loader.maps import Map
from routes.plan import Address, Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address and port of one end: `10.0.0.1:80`, `[fd00::1]:80`."""

    address: Address
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """One flow. `gateway` is where the client sent to; `seen_as` is whom the backend sees (the client, or by SNAT an
    address of the node's or the gateway's). `generation` tells a flow from those before and after it with the same
    tuple; promotion to another table keeps it. `state` is a name of `enum flow_state`. `idle` is seconds since the last
    packet of either direction. `whole` is false for half a pair, which the programs count as absent; its reply counts
    are then zero.
    """

    table: str
    protocol: Protocol
    generation: int
    state: str
    client: Endpoint
    gateway: Endpoint
    seen_as: Endpoint
    backend: Endpoint
    backend_id: int
    redirected: bool
    idle: int
    request_packets: int
    request_bytes: int
    reply_packets: int
    reply_bytes: int
    whole: bool


def read_flows(tables: Tables) -> Iterator[FlowRecord]:
    """Every flow of every table, in no order."""
    flags = tables.btf.enum("flow_flag")
    is_reply, is_redirected = int(flags["FLOW_REPLY"]), int(flags["FLOW_REDIRECT"])
    states = {int(x): x.name for x in tables.btf.enum("flow_state")}
    now = int(time.clock_gettime(time.CLOCK_MONOTONIC))
    for name, table in tables.flows.items():
        for key, flow in table.items():
            if not flow["flags"] & is_reply:
                yield record_of(
                    key,
                    flow,
                    twin_of(table, key, flow),
                    table=name,
                    now=now,
                    state=states[flow["state"]],
                    redirected=bool(flow["flags"] & is_redirected),
                )


def backends_in_use(tables: Tables) -> frozenset[int]:
    """Every backend id that some flow refers to."""
    return frozenset(flow["backend_id"] for table in tables.flows.values() for _, flow in table.items())


def twin_key(key: Record, flow: Record) -> Record:
    """The reverse of what `flow`, which stands under `key`, rewrites to (bpf/flow.h)."""
    width = len(key["saddr"])
    return {
        **key,
        "saddr": flow["to_daddr"]["octets"][:width],
        "daddr": flow["to_saddr"]["octets"][:width],
        "sport": flow["to_dport"],
        "dport": flow["to_sport"],
    }


def twin_of(table: Map, key: Record, flow: Record) -> Record | None:
    """The other half of `flow`, which stands under `key`; None if there is none of its generation."""
    twin: Record | None = table.get(twin_key(key, flow))
    return twin if twin and twin["generation"] == flow["generation"] else None


def record_of(
    key: Record, flow: Record, twin: Record | None, *, table: str, now: int, state: str, redirected: bool
) -> FlowRecord:
    """The record of a pair, given its half of the request direction. `now` is seconds since boot."""
    width = len(key["saddr"])  # a flow has one family; its rewritten addresses are as wide as its key's
    reply: Mapping[str, Any] = twin or {"packets": 0, "bytes": 0, "seen": flow["seen"]}
    return FlowRecord(
        table=table,
        protocol=Protocol(key["protocol"]),
        generation=flow["generation"],
        state=state,
        client=_endpoint(key["saddr"], key["sport"]),
        gateway=_endpoint(key["daddr"], key["dport"]),
        seen_as=_endpoint(flow["to_saddr"]["octets"][:width], flow["to_sport"]),
        backend=_endpoint(flow["to_daddr"]["octets"][:width], flow["to_dport"]),
        backend_id=flow["backend_id"],
        redirected=redirected,
        idle=max(0, now - max(flow["seen"], reply["seen"])),
        request_packets=flow["packets"],
        request_bytes=flow["bytes"],
        reply_packets=reply["packets"],
        reply_bytes=reply["bytes"],
        whole=twin is not None,
    )


@functools.lru_cache(1 << 12)  # gateways and backends are few, and a backend mostly sees the client itself
def _endpoint(octets: bytes, port: int) -> Endpoint:
    return Endpoint(ip_address(octets), port)
