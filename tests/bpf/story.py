"""Stories: a table of packets of one flow, what each must become, and what has been counted in the end.

A row is (packet, verdict, state of the flow after it); a row of one element does something to the world instead.
Rules:
  - What a carried packet must look like is computed from scratch (wire.py), octet by octet; what is not carried is
    unchanged; answers are given in the row.
  - The state is that of both halves of the pair, or None: there is no such flow.
  - At the end everything that is counted anywhere is compared, not only what the story is about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import IP as IPv4
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.inet import UDP as UDPHeader
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from . import objects as o
from .kernel import Checksums
from .rig import REDIRECT_MARK, Outcome, Rig, command
from .services import BACKEND_PORT, FLOW_TABLES, SERVED, SERVICES, TCP, UDP, Json, Service
from .wire import translated
from .world import V4, Net

CLIENT_PORT = 40000

End = tuple[str, int]  # address, port


def ip(net: Net, source: str, destination: str, **fields: Any) -> Packet:
    """The IP header of either family; `hops` is TTL or hop limit."""
    hops = fields.pop("hops", 64)
    if net is V4:
        return IPv4(src=source, dst=destination, ttl=hops, **fields)
    return IPv6(src=source, dst=destination, hlim=hops, **fields)


def between(net: Net, protocol: int, source: End, destination: End, flags: str = "S", **numbers: Any) -> Packet:
    """A packet of either protocol; flags and numbers are TCP's, `data` is either's."""
    data = numbers.pop("data", b"")
    header: Packet = ip(net, source[0], destination[0])
    if protocol == UDP:
        header /= UDPHeader(sport=source[1], dport=destination[1])
    else:
        header /= TCPHeader(sport=source[1], dport=destination[1], flags=flags, **numbers)
    return header / Raw(data) if data else header


@dataclass(frozen=True, slots=True)
class Segment:
    """A packet of the flow. `flags` is "" for UDP. `number`: which of the service's backends it is to or from."""

    is_reply: bool
    flags: str
    seq: int = 0
    ack: int = 0
    data: bytes = b""
    number: int = 0
    hook: int | None = None  # where it arrives, when not where it should


def client(flags: str = "", seq: int = 0, ack: int = 0, data: bytes = b"", *, to: int = 0) -> Segment:
    return Segment(False, flags, seq, ack, data, to)


def backend(
    flags: str = "", seq: int = 0, ack: int = 0, data: bytes = b"", *, by: int = 0, at: int | None = None
) -> Segment:
    return Segment(True, flags, seq, ack, data, by, at)


@dataclass(frozen=True, slots=True)
class Rst:
    """The reset that a refused segment must be answered with."""

    flags: str
    seq: int
    ack: int


@dataclass(frozen=True, slots=True)
class After:
    """What stands in the kernel at the end. Flows are pairs."""

    connections: int = 0
    rejected: int = 0
    refused: int = 0
    denied: int = 0
    limited: int = 0
    uncounted: int = 0
    half_open: int = 0
    established: int = 0
    udp: int = 0
    halves: int = 0  # ... and UDP halves that stand alone


Row = tuple[Any, ...]
Do = Callable[["Story"], None]

HANDSHAKE: tuple[Row, ...] = (
    (client("S", seq=100), o.FORWARDED, o.SYN),
    (backend("SA", seq=500, ack=101), o.REPLIED, o.SYN_ACK),
    (client("A", seq=101, ack=501), o.FORWARDED, o.ESTABLISHED),
)


class Story:
    """One flow to one service of the gateway, played through a rig."""

    def __init__(self, rig: Rig, net: Net, protocol: int, port: int = SERVED) -> None:
        self.rig = rig
        self.net = net
        self.service: Service = SERVICES[net, port, protocol]
        self.protocol = protocol
        self.port = port
        self.request_key = rig.key(net, protocol, (net.client, CLIENT_PORT), (net.gateway, port))
        self._carried: dict[int, Json] = {}
        for number in range(len(self.service.backends)):
            rig.set_backend(self.service, number)
        if self.service.backends:
            rig.fill_pool(self.service, self.service.backends[:1])

    # ---- the flow in the kernel

    def halves(self) -> list[tuple[str, Json, Json]]:
        """(table, key, entry) of the halves that are there: request, reply."""
        found = self.rig.entry(self.net, self.request_key)
        if found is None:
            return []
        table, request = found
        twin_key = self.rig.twin(self.net, self.request_key, request)
        reply = self.rig.map(table).get(twin_key)
        return [(table, self.request_key, request)] + ([(table, twin_key, reply)] if reply is not None else [])

    def state(self) -> int | None:
        """Of the pair; None if there is no whole one."""
        halves = self.halves()
        if len(halves) < 2:
            return None
        (_, _, request), (_, _, reply) = halves
        assert request["generation"] == reply["generation"] != 0
        assert request["state"] == reply["state"]
        assert (request["flags"] & o.FLOW_REPLY, reply["flags"] & o.FLOW_REPLY) == (0, o.FLOW_REPLY)
        return int(request["state"])

    # ---- packets

    def play(self, segment: Segment, verdict: int, answer: Rst | None = None) -> Outcome:
        """Run the segment and judge everything about it but the flow's state."""
        net, hook = self.net, o.UPLINK_EGRESS if segment.is_reply else o.UPLINK_INGRESS
        hook = o.Hook(segment.hook) if segment.hook is not None else hook
        far = (net.client, CLIENT_PORT)
        near = (net.gateway, self.port)
        pod = (self.service.addresses[segment.number], BACKEND_PORT) if self.service.addresses else near
        source, destination = (pod, far) if segment.is_reply else (far, near)
        numbers = {"seq": segment.seq, "ack": segment.ack, "data": segment.data}
        frame = self.rig.frame(hook, between(net, self.protocol, source, destination, segment.flags, **numbers))
        reset = self._reset(hook, answer) if answer else frame
        # A packet that is made shorter loses its sum (ip_summed becomes NONE), which the kernel's check does not know.
        outcome = self.rig.run(
            hook, frame, checksums=self.rig.checksums if len(reset) == len(frame) else Checksums.NONE
        )
        got = o.Verdict(outcome.verdict).name
        assert outcome.verdict == verdict, f"{command(frame)} became {got} instead of {o.Verdict(verdict).name}"
        action, expected = o.PASS, frame
        if verdict == o.FORWARDED:
            expected = translated(frame, far, pod)
        elif verdict == o.REPLIED:
            expected = translated(frame, near, far)
        elif answer is not None:
            action, expected = o.REDIRECT, reset
        elif verdict >= o.MALFORMED:
            action = o.SHOT
        mark = REDIRECT_MARK if answer else 0
        assert (outcome.action, outcome.mark) == (action, mark), f"{command(frame)} became {got}"
        assert outcome.packet == expected, (
            f"{command(frame)} became {got}: {command(outcome.packet)} instead of {command(expected)}"
        )
        self._count(segment, verdict, len(frame) - 14)
        return outcome

    def _reset(self, hook: int, answer: Rst) -> bytes:
        net, device = self.net, self.rig.device(hook)
        fields = {"id": 0, "flags": "DF"} if net is V4 else {}
        header = TCPHeader(
            sport=self.port, dport=CLIENT_PORT, flags=answer.flags, seq=answer.seq, ack=answer.ack, window=0
        )
        return bytes(Ether(src=device.mac, dst=device.peer_mac) / ip(net, net.gateway, net.client, **fields) / header)

    def _count(self, segment: Segment, verdict: int, octets: int) -> None:
        if verdict not in (o.FORWARDED, o.REPLIED):
            return
        zero = dict.fromkeys(("request_packets", "request_bytes", "reply_packets", "reply_bytes"), 0)
        carried = self._carried.setdefault(self.service.backends[segment.number], zero)
        way = "reply" if segment.is_reply else "request"
        carried[f"{way}_packets"] += 1
        carried[f"{way}_bytes"] += octets

    # ---- the end

    def check(self, after: After) -> None:
        """Compares every counter and the size of every table."""
        rig = self.rig
        counts = {
            x: getattr(after, x) for x in ("connections", "rejected", "refused", "denied", "limited", "uncounted")
        }
        assert rig.counted("listener_counts") == ({self.service.listener_id: counts} if any(counts.values()) else {})
        by_backend = rig.counted("backend_counts")
        assert sum(x.pop("connections") for x in by_backend.values()) == after.connections
        assert {k: v for k, v in by_backend.items() if any(v.values())} == self._carried
        family = "4" if self.net is V4 else "6"
        assert {x: rig.entries(x) for x in FLOW_TABLES} == {
            **dict.fromkeys(FLOW_TABLES, 0),
            f"tcp_flows{family}": 2 * after.established,
            f"half_open{family}": 2 * after.half_open,
            f"udp_flows{family}": 2 * after.udp + after.halves,
        }
        assert (rig.usage()["tcp4"], rig.usage()["tcp6"]) == (
            (after.established, 0) if self.net is V4 else (0, after.established)
        )


def tell(rig: Rig, net: Net, protocol: int, rows: Sequence[Row], after: After, *, port: int = SERVED) -> None:
    """Plays the rows and compares what is left."""
    story = Story(rig, net, protocol, port)
    for number, row in enumerate(rows):
        if len(row) == 1:
            row[0](story)
            continue
        segment, verdict, state, *answer = row
        story.play(segment, verdict, *answer)
        left = story.state()
        assert left == state, f"row {number}, {segment}: the flow is {_name(left)} instead of {_name(state)}"
    story.check(after)


def _name(state: int | None) -> str:
    return "absent" if state is None else o.FlowState(state).name


# ---- What a row may do to the world


def wait(seconds: int) -> Do:
    """No packet for that long."""
    return lambda story: story.rig.age(story.net, story.protocol, seconds)


def forget(half: str) -> Do:
    """The request or the reply half of the pair is lost."""

    def do(story: Story) -> None:
        table, key, _ = story.halves()[("request", "reply").index(half)]
        assert story.rig.map(table).delete(key)
        if half == "request" and table.startswith("tcp_flows"):
            usage = story.rig.usage()  # whoever takes it out counts it
            usage[table.replace("tcp_flows", "tcp")] -= 1
            story.rig.map("flow_usage").set(0, usage)

    return do


def replace(half: str) -> Do:
    """One half was lost and another flow's stands in its place."""

    def do(story: Story) -> None:
        table, key, entry = story.halves()[("request", "reply").index(half)]
        entry["generation"] ^= 0x10
        story.rig.map(table).set(key, entry)

    return do


def repool(number: int) -> Do:
    """All slots of the pool now hold that backend: new flows go there."""
    return lambda story: story.rig.fill_pool(story.service, (story.service.backends[number],))


def backend_is(state: int, *, number: int = 0, generation: int = 1) -> Do:
    return lambda story: story.rig.set_backend(story.service, number, state=state, generation=generation)


__all__ = [
    "HANDSHAKE",
    "TCP",
    "UDP",
    "After",
    "Rst",
    "Story",
    "backend",
    "backend_is",
    "between",
    "client",
    "forget",
    "ip",
    "replace",
    "repool",
    "tell",
    "wait",
]
