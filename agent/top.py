"""Who moves how much now: flows added up by route, by backend or by source, or one by one.

Decides: what a row is, what its numbers count, and which rows stand first.
  rates           what moved between two readings; a flow that began between them counts whole, and of one that left the
                  tables between them nothing is known (finished ones rest there for 60 s after FIN, 10 s after RST, and
                  at least 2 s when there is little room)
  connections     flows that are open: TCP after its handshake and before its end, UDP while the table holds it
  packets, bytes  of all flows that the tables hold, since each began
Rules: pure; records and a report in, rows out. Flows are looked at once, as they come; what stays of each is in
flow_changes.py. Half a pair is left out: for the programs it is absent. A flow whose backend the report does not know
is counted, without a name. Must never: read a clock or the kernel.
"""

from __future__ import annotations

import enum
import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, TypeAlias

from agent.dataplane.flows import Endpoint, FlowRecord
from agent.flow_changes import Change, Held, changes
from agent.report import ListenerReport
from agent.words import label

_OPEN = frozenset({"FLOW_ESTABLISHED", "FLOW_CLOSING", "FLOW_UDP"})
_HALF_OPEN = frozenset({"FLOW_SYN", "FLOW_SYN_ACK", "FLOW_ADOPTED", "FLOW_ADOPTED_BOTH"})


class By(enum.Enum):
    """What a row adds up."""

    ROUTE = "route"
    BACKEND = "backend"
    SOURCE = "source"
    FLOW = "flow"


class Sort(enum.Enum):
    """The number whose largest values stand first."""

    RATE = "rate"
    CONNECTIONS = "connections"
    PACKETS = "packets"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `count` rows at most. `listener` is a listener's name, alone or after its Gateway's (`web`,
    `edge/web`, `default/edge/web`), "" = all; `source` is where clients are, None = anywhere.
    """

    by: By = By.ROUTE
    sort: Sort = Sort.RATE
    count: int = 15
    listener: str = ""
    source: IPv4Network | IPv6Network | None = None


@dataclass(frozen=True, slots=True, order=True)
class OfRoute:
    """`route` is namespace/name. Both are "" where no route is attached, or the report does not know the backend."""

    route_kind: str
    route: str


@dataclass(frozen=True, slots=True, order=True)
class OfBackend:
    """One endpoint of a backendRef (`backend`, "" when that is gone). All but `endpoint` are "" where the report does
    not know it. A Service that stands twice in a route is one row.
    """

    gateway: str
    listener: str
    backend: str
    endpoint: str


@dataclass(frozen=True, slots=True, order=True)
class OfSource:
    """A client's address."""

    source: str


@dataclass(frozen=True, slots=True, order=True)
class OfFlow:
    """One flow: `client` asks `address`, the gateway's, and `endpoint` answers; the others are as in OfBackend."""

    protocol: str
    state: str
    client: str
    address: str
    gateway: str
    listener: str
    backend: str
    endpoint: str


Who: TypeAlias = OfRoute | OfBackend | OfSource | OfFlow


@dataclass(frozen=True, slots=True)
class Numbers:
    """`packets` and `bytes` are both directions together. `half_open` may have flows that the programs count as absent:
    they leave their table by eviction only. Rates are per second and None until there are two readings.
    """

    connections: int
    half_open: int
    packets: int
    bytes: int
    connection_rate: float | None = None
    packet_rate: float | None = None
    bit_rate: float | None = None
    request_bit_rate: float | None = None
    reply_bit_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The numbers of one route, backend, source or flow."""

    who: Who
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Top:
    """The first of `rows_in_all` rows; `together` is of all of them. `flows` are those that were asked for."""

    rows: tuple[Row, ...]
    together: Numbers
    rows_in_all: int
    flows: int


@dataclass(slots=True)
class _Sum:
    """Flows added up: what they are, and what they did since the reading before."""

    connections: int = 0
    half_open: int = 0
    packets: int = 0
    bytes: int = 0
    began: int = 0
    moved_packets: int = 0
    moved_requests: int = 0
    moved_replies: int = 0

    def add(self, flow: FlowRecord, change: Change) -> _Sum:
        """Itself, with one flow more."""
        self.connections += flow.state in _OPEN
        self.half_open += flow.state in _HALF_OPEN
        self.packets += flow.request_packets + flow.reply_packets
        self.bytes += flow.request_bytes + flow.reply_bytes
        self.began += change.began
        self.moved_packets += change.packets
        self.moved_requests += change.requests
        self.moved_replies += change.replies
        return self

    def join(self, other: _Sum) -> None:
        """Add what another has."""
        for x in fields(self):
            setattr(self, x.name, getattr(self, x.name) + getattr(other, x.name))

    def numbers(self, seconds: float | None) -> Numbers:
        """For people; with rates if it is known over how many seconds."""
        found = Numbers(self.connections, self.half_open, self.packets, self.bytes)
        if seconds is None:
            return found
        return replace(
            found,
            connection_rate=self.began / seconds,
            packet_rate=self.moved_packets / seconds,
            bit_rate=(self.moved_requests + self.moved_replies) * 8 / seconds,
            request_bit_rate=self.moved_requests * 8 / seconds,
            reply_bit_rate=self.moved_replies * 8 / seconds,
        )


_WEIGHT: Mapping[Sort, Callable[[_Sum], int]] = {
    Sort.RATE: lambda x: x.moved_requests + x.moved_replies,
    Sort.CONNECTIONS: lambda x: x.connections,
    Sort.PACKETS: lambda x: x.packets,
    Sort.BYTES: lambda x: x.bytes,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """The flow tables, gone through once. `compared`: whether there was a reading before it.

    `held` is for the next one; `first` are the rows that were asked for.
    """

    held: Held
    first: Sequence[tuple[Who, _Sum]]
    together: _Sum
    rows_in_all: int
    compared: bool

    def top(self, seconds: float) -> Top:
        """The rows; rates are over `seconds`, the time since the reading before."""
        over = seconds if self.compared and seconds > 0 else None
        rows = tuple(Row(who, x.numbers(over)) for who, x in self.first)
        return Top(rows, self.together.numbers(over), self.rows_in_all, len(self.held))


@dataclass(frozen=True, slots=True)
class _Place:
    """What the report says of a backend id. `at` shows whether a flow means the same endpoint by it."""

    at: Endpoint
    listener_id: int
    route: OfRoute
    backend: OfBackend


_Found: TypeAlias = tuple[bytes, FlowRecord, _Place, Change]


def is_named(listener: ListenerReport, name: str) -> bool:
    """Whether `name`, as a Question has it, is this listener's."""
    return f"/{listener.gateway}/{listener.name}".endswith(f"/{name}")


def read(
    flows: Iterable[FlowRecord], question: Question, listeners: Sequence[ListenerReport], before: Reading | None = None
) -> Reading:
    """Go through `flows` once. `before` is the last reading of the same question, which rates are since."""
    held: dict[bytes, bytes] = {}
    found = changes(_asked(flows, question, listeners), held, before.held if before else None)
    together = _Sum()
    first: list[tuple[Who, _Sum]]
    if question.by is By.FLOW:
        chosen = _largest(question, _singly(found, together))
        first = [(_flow(flow, place), own) for _, own, flow, place in chosen]
        return Reading(held, first, together, len(held), before is not None)
    groups: defaultdict[OfRoute | OfBackend | bytes, _Sum] = defaultdict(_Sum)
    group = _GROUP[question.by]
    for _, flow, place, change in found:
        groups[group(flow, place)].add(flow, change)
    for own in groups.values():
        together.join(own)
    first = [
        (OfSource(str(ip_address(key))) if isinstance(key, bytes) else key, own)
        for key, own in _largest(question, groups.items())
    ]
    return Reading(held, first, together, len(groups), before is not None)


_GROUP: Mapping[By, Callable[[FlowRecord, _Place], OfRoute | OfBackend | bytes]] = {
    By.ROUTE: lambda _, place: place.route,
    By.BACKEND: lambda _, place: place.backend,
    By.SOURCE: lambda flow, _: flow.client.address.packed,
}


def _singly(found: Iterable[_Found], together: _Sum) -> Iterator[tuple[bytes, _Sum, FlowRecord, _Place]]:
    for identity, flow, place, change in found:
        together.add(flow, change)
        yield identity, _Sum().add(flow, change), flow, place


def _largest(question: Question, items: Iterable[Any]) -> list[Any]:
    """Of items (key, sum, ...), without holding all; equal ones in an order that all readings share."""
    weight = _WEIGHT[question.sort]
    return heapq.nsmallest(question.count, items, key=lambda x: (-weight(x[1]), -x[1].bytes, x[0]))


def _asked(
    flows: Iterable[FlowRecord], question: Question, listeners: Sequence[ListenerReport]
) -> Iterator[tuple[FlowRecord, _Place]]:
    places = dict(_places(listeners))
    named = {x.id for x in listeners if is_named(x, question.listener)} if question.listener else None
    for flow in flows:
        place = places.get(flow.backend_id)
        if place is None or place.at != flow.backend:
            place = _Place(flow.backend, 0, OfRoute("", ""), OfBackend("", "", "", str(flow.backend)))
        asked = (named is None or place.listener_id in named) and (
            question.source is None or flow.client.address in question.source
        )
        if asked and flow.whole:
            yield flow, place


def _places(listeners: Sequence[ListenerReport]) -> Iterator[tuple[int, _Place]]:
    for listener in listeners:
        route = OfRoute(listener.route_kind or "", listener.route or "")
        served = [(x.name, endpoint) for x in listener.backends for endpoint in x.endpoints]
        for name, endpoint in [*served, *(("", x) for x in listener.leftover)]:
            at = Endpoint(ip_address(endpoint.address), endpoint.port)
            backend = OfBackend(listener.gateway, listener.name, name, str(at))
            yield endpoint.id, _Place(at, listener.id, route, backend)


def _flow(flow: FlowRecord, place: _Place) -> OfFlow:
    known = place.backend
    return OfFlow(
        protocol=flow.protocol.name,
        state=label(flow.state),
        client=str(flow.client),
        address=str(flow.gateway),
        gateway=known.gateway,
        listener=known.listener,
        backend=known.backend,
        endpoint=known.endpoint,
    )
