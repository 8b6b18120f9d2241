"""A gateway's pinned tables, for tests that ask what is left in them."""

from __future__ import annotations

import socket
import time
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from agent.compile.image import BackendState
from lab.gateway import Gateway
from lab.topology import FAMILIES, Address, backend_addresses
from loader.maps import Map

FLOW_REPLY = 1  # enum flow_flag
SOURCE_COUNT_BITS = 24  # of a slot in source_connections


@dataclass(frozen=True, slots=True)
class Partial:
    """A datagram by sender and number, and the table that it is in."""

    table: str
    sender: Address
    number: int


class Tables:
    """The gateway's pinned tables, looked at without any agent."""

    def __init__(self, gateway: Gateway) -> None:
        (self.pins,) = gateway.pins.glob("v*")

    def usage(self) -> dict[str, Any]:
        with Map.open_pinned(self.pins / "flow_usage") as table:
            found: dict[str, Any] = table.get(0)
        return found

    def live(self) -> dict[int, int]:
        """Established connections, by family."""
        usage = self.usage()
        return {family: usage[f"tcp{family}"] for family in FAMILIES}

    def left(self) -> dict[str, int]:
        """What stands in tables that time alone must empty."""
        found = {}
        for name in ("tcp_flows", "udp_flows"):
            for family in FAMILIES:
                with Map.open_pinned(self.pins / f"{name}{family}") as table:
                    found[f"{name}{family}"] = sum(1 for _ in table.raw_items())
        return {name: n for name, n in found.items() if n}

    def unpaired(self) -> list[str]:
        """Halves of flows of which the other half is not there, and counts that differ from what there is."""
        found, live, counted, places = [], self.usage(), 0, Counter[int]()
        for name in ("tcp_flows", "udp_flows"):
            for family in FAMILIES:
                with Map.open_pinned(self.pins / f"{name}{family}") as table:
                    flows = {_tuple(key, family): half for key, half in table.items()}
                for own, half in flows.items():
                    twin = flows.get(_twin(half, family))
                    if twin is None or twin["generation"] != half["generation"]:
                        found.append(f"{name}{family}: {own}")
                counted += sum(1 for half in flows.values() if name == "tcp_flows" and half["counted_at"])
                places.update(half["source_place"] for half in flows.values() if half["source_place"])
                if name == "tcp_flows" and 2 * live[f"tcp{family}"] != len(flows):
                    found.append(f"{name}{family}: {len(flows)} halves, {live[f'tcp{family}']} counted")
        if counted != self.open_connections():
            found.append(f"{counted} flows are their listener's, {self.open_connections()} are counted")
        slots = self.source_slots()
        if slots != places:
            found.append(f"flows are counted at sources' places {dict(places)}, which count {slots}")
        return found

    def waiting(self) -> list[str]:
        """Turnstiles of ageing that somebody stands in. Who is at the head goes to the tail, and stays."""
        waiting = []
        for name in ("ageing_tcp4", "ageing_tcp6", "ageing_udp4", "ageing_udp6"):
            with Map.open_pinned(self.pins / name) as table:
                head = table.pop()
                if head is not None:
                    table.push(head)
                    waiting.append(name)
        return waiting

    def open_connections(self) -> int:
        """Of all listeners whose policy counts them; none may have fewer than none."""
        with Map.open_pinned(self.pins / "listener_connections") as table:
            counts = [value["open"] for _, value in table.items()]
        assert min(counts) >= 0
        return sum(counts)

    def source_slots(self) -> dict[int, int]:
        """Connections of the sources whose policy counts them, by place; places that are nobody's are not there."""
        found = {}
        with Map.open_pinned(self.pins / "source_connections") as table:
            for at, bucket in table.items():
                for i, slot in enumerate(bucket["slots"]):
                    if slot:  # a mark without a connection, too, is somebody's
                        found[1 + at * len(bucket["slots"]) + i] = slot % (1 << SOURCE_COUNT_BITS)
        return found

    def endpoint_states(self, number: int) -> set[int]:
        """Of that backend's addresses, at all listeners."""
        octets = {x.packed.ljust(16, b"\0") for x in backend_addresses(number).values()}
        with Map.open_pinned(self.pins / "backends") as table:
            return {x["state"] for _, x in table.items() if x["address"]["octets"] in octets}

    def addresses_by_id(self) -> dict[int, bytes]:
        """Of the backends that new flows may go to."""
        with Map.open_pinned(self.pins / "backends") as table:
            backends = {key: x for key, x in table.items() if x["state"] == BackendState.ACTIVE}
        return {key: x["address"]["octets"] for key, x in backends.items() if any(x["address"]["octets"])}

    def handshakes(self) -> list[tuple[Address, int]]:
        """Client and seconds since the last packet of each entry; these tables forget by use, not by time."""
        now, found = int(time.monotonic()), []
        for family in FAMILIES:
            with Map.open_pinned(self.pins / f"half_open{family}") as table:
                for key, half in table.items():
                    client = half["to_daddr"]["octets"] if half["flags"] & FLOW_REPLY else key["saddr"]
                    found.append((address(client, family), now - half["seen"]))
        return found

    def partial(self) -> list[Partial]:
        """Datagrams that are known in part, or of which a piece waits for the first; forgotten by use too."""
        found = []
        with Map.open_pinned(self.pins / "datagrams") as table:
            found += [_partial("datagrams", key) for key, _ in table.items()]
        with Map.open_pinned(self.pins / "held_fragments") as table:
            found += [_partial("held_fragments", key["datagram"]) for key, _ in table.items()]
        return found


def _partial(name: str, key: dict[str, Any]) -> Partial:
    octets = key["saddr"]["octets"]
    family = 6 if any(octets[4:]) else 4
    number = socket.ntohs(key["id"]) if family == 4 else socket.ntohl(key["id"])
    return Partial(name, address(octets, family), number)


def _tuple(key: dict[str, Any], family: int) -> tuple[Address, int, Address, int]:
    return address(key["saddr"], family), key["sport"], address(key["daddr"], family), key["dport"]


def _twin(half: dict[str, Any], family: int) -> tuple[Address, int, Address, int]:
    """Of the other half: the reverse of what this one is rewritten to."""
    source, destination = (address(half[x]["octets"], family) for x in ("to_daddr", "to_saddr"))
    return source, half["to_dport"], destination, half["to_sport"]


def address(octets: bytes, family: int) -> Address:
    """Of sixteen octets, of which IPv4's are the first four."""
    return ip_address(octets[: 4 if family == 4 else 16])
