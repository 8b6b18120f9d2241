"""Names joined to counters: what flows, per listener, backendRef and verdict.

Decides: how counters of endpoints add up to backendRefs and listeners, and what "share seen" is: a backendRef's part
of the new flows that the listener's present backendRefs got, rejected ones included, since the counters began.
Rules: pure; a report and counters in, rows out. Counters only grow, except when an id is reused; a rate is never
negative. Must never: read a clock or the kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from types import MappingProxyType

from agent.dataplane.counters import BackendCount, Counters, ListenerCount
from agent.dataplane.seen import Seen
from agent.dataplane.usage import TableUse
from agent.report import BackendReport, EndpointReport, ListenerReport
from routes.plan import Address

TABLE_ALARM = 0.7  # fill from which a table is reported: there is time left to act
_SERVING = ("active", "draining", "absent")  # states of endpoints that have flows
_NOTHING: Mapping[Address, Seen] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BackendTraffic:
    """One backendRef of a listener, by its `position` among them: a Service may stand twice.

    `share` is wanted, `seen` observed (None before the first flow), both 0..1.
    `why` is "" for a backendRef that is served. `endpoints` counts by state name. `sees`: labels of whose address its
    endpoints see in place of a client's. `packets` and `bytes` are both directions together; rates are per second and
    None until there are two samples.
    """

    position: int
    name: str
    weight: int
    share: float
    seen: float | None
    endpoints: Mapping[str, int]
    connections: int
    packets: int
    bytes: int
    why: str = ""
    connection_rate: float | None = None
    bit_rate: float | None = None
    sees: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListenerTraffic:
    """One listener: `connections` are flows given to a backend, `rejected` those in a rejected share, `refused` those
    that found no room; `denied` are packets that would have begun one, from sources that a policy denies, `limited`
    new connections beyond a policy's limit, `uncounted` those that could not be counted at their source."""

    gateway: str
    name: str
    addresses: tuple[str, ...]
    port: int
    protocol: str
    route: str | None
    route_kind: str | None
    connections: int
    rejected: int
    refused: int
    denied: int
    limited: int
    uncounted: int
    backends: tuple[BackendTraffic, ...]


@dataclass(frozen=True, slots=True)
class VerdictTraffic:
    """Packets at one hook that ended in one verdict."""

    hook: str
    verdict: str
    packets: int
    bytes: int
    packet_rate: float | None = None

    @property
    def dropped(self) -> bool:
        """Whether the packets went nowhere."""
        return self.verdict.startswith("DROP_")

    @property
    def turned_away(self) -> bool:
        """Whether the sender was told that there is nothing for it here."""
        return self.verdict.startswith(("VERDICT_REJECTED_", "VERDICT_REFUSED_"))


@dataclass(frozen=True, slots=True)
class Sight:
    """Backends, by their addresses, that see the same."""

    seen: Seen
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Everything at one moment. `verdicts` leaves out those that never happened. `sights`: whose address backends see
    in place of a client's."""

    listeners: tuple[ListenerTraffic, ...]
    verdicts: tuple[VerdictTraffic, ...]
    tables: tuple[TableUse, ...]
    sights: tuple[Sight, ...] = ()


def addresses(listeners: Sequence[ListenerReport]) -> Collection[Address]:
    """Every distinct address of a backend that flows may go to."""
    texts = {z.address for x in listeners for y in x.backends for z in y.endpoints if z.state in _SERVING}
    return [ip_address(x) for x in sorted(texts)]


def traffic(
    listeners: Sequence[ListenerReport],
    counters: Counters,
    tables: Sequence[TableUse],
    seen: Mapping[Address, Seen] = _NOTHING,
) -> Traffic:
    """Join names to counters. `seen`: of `addresses(listeners)`."""
    by_text = {str(address): x for address, x in seen.items()}
    return Traffic(
        listeners=tuple(_listener(x, counters, by_text) for x in listeners),
        verdicts=tuple(
            VerdictTraffic(hook, verdict, count.packets, count.bytes)
            for (hook, verdict), count in sorted(counters.verdicts.items())
            if count.packets
        ),
        tables=tuple(tables),
        sights=_sights(by_text),
    )


def with_rates(now: Traffic, before: Traffic, seconds: float) -> Traffic:
    """`now` with the rates since `before`, which was taken `seconds` earlier."""
    if seconds <= 0:
        return now
    backends = {(x.gateway, x.name, y.position, y.name): y for x in before.listeners for y in x.backends}
    verdicts = {(x.hook, x.verdict): x.packets for x in before.verdicts}

    def rated(listener: ListenerTraffic, backend: BackendTraffic) -> BackendTraffic:
        old = backends.get((listener.gateway, listener.name, backend.position, backend.name))
        if old is None:
            return backend
        return replace(
            backend,
            connection_rate=max(0, backend.connections - old.connections) / seconds,
            bit_rate=max(0, backend.bytes - old.bytes) * 8 / seconds,
        )

    return replace(
        now,
        listeners=tuple(replace(x, backends=tuple(rated(x, y) for y in x.backends)) for x in now.listeners),
        verdicts=tuple(
            replace(x, packet_rate=max(0, x.packets - verdicts.get((x.hook, x.verdict), 0)) / seconds)
            for x in now.verdicts
        ),
    )


def _sights(seen: Mapping[str, Seen]) -> tuple[Sight, ...]:
    backends: dict[Seen, list[str]] = {}
    for address, x in seen.items():
        backends.setdefault(x, []).append(address)
    return tuple(Sight(x, tuple(backends[x])) for x in sorted(backends, key=lambda x: (x.label, x.why)))


def _listener(listener: ListenerReport, counters: Counters, seen: Mapping[str, Seen]) -> ListenerTraffic:
    count = counters.listeners.get(listener.id, ListenerCount())
    ids = [y.id for x in listener.backends for y in x.endpoints]
    flows = count.rejected + sum(counters.backends.get(x, BackendCount()).connections for x in ids)
    rejecting = sum(x.share for x in listener.backends if x.why)
    return ListenerTraffic(
        gateway=listener.gateway,
        name=listener.name,
        addresses=listener.addresses,
        port=listener.port,
        protocol=listener.protocol,
        route=listener.route,
        route_kind=listener.route_kind,
        connections=count.connections,
        rejected=count.rejected,
        denied=count.denied,
        limited=count.limited,
        uncounted=count.uncounted,
        refused=count.refused,
        backends=tuple(
            _backend(x, counters, flows, count.rejected * x.share / rejecting if x.why and rejecting else 0, seen)
            for x in listener.backends
        ),
    )


def _backend(
    backend: BackendReport, counters: Counters, flows: int, rejected: float, seen: Mapping[str, Seen]
) -> BackendTraffic:
    counts = [counters.backends.get(x.id, BackendCount()) for x in backend.endpoints]
    connections = sum(x.connections for x in counts)
    return BackendTraffic(
        position=backend.position,
        name=backend.name,
        weight=backend.weight,
        share=backend.share,
        seen=(connections + rejected) / flows if flows else None,
        endpoints=_by_state(backend.endpoints),
        connections=connections,
        packets=sum(x.request_packets + x.reply_packets for x in counts),
        bytes=sum(x.request_bytes + x.reply_bytes for x in counts),
        why=backend.why,
        sees=tuple(
            sorted({seen[x.address].label for x in backend.endpoints if x.state in _SERVING and x.address in seen})
        ),
    )


def _by_state(endpoints: Sequence[EndpointReport]) -> Mapping[str, int]:
    states: dict[str, int] = {}
    for endpoint in endpoints:
        states[endpoint.state] = states.get(endpoint.state, 0) + 1
    return states
