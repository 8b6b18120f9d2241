"""Prometheus metrics: the kernel's counters at the moment of the scrape, how full its tables are, the agent's state.

Decides: names and labels. Counters stand per endpoint, because a sum over endpoints falls when one goes, which
Prometheus would take for a restart and count twice; `sum by (backend)` adds them up. A backendRef is labelled by its
position too, since one Service may stand twice. Rules: nothing is counted here; names are those of `penstock status`; a
table is an alarm from 70 % on.
Must never: scan a flow table more often than once a minute, however often it is asked (dataplane/usage.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.dataplane.counters import BackendCount, Counters, ListenerCount
from agent.dataplane.errors import DataplaneError
from agent.dataplane.usage import TableUse
from agent.meter import Meter
from agent.report import ListenerReport, Report
from agent.traffic import TABLE_ALARM
from agent.words import label

log = logging.getLogger(__name__)

_LISTENER = ("gateway", "listener", "protocol", "port", "route")
_BACKEND = (*_LISTENER, "backend", "position")
_ENDPOINT = (*_BACKEND, "endpoint")


def registry(meter: Meter, report: Callable[[], Report]) -> CollectorRegistry:
    """A registry with everything of ours. `report` gives the current report; both are used from scrapes' threads."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_Collector(meter, report))
    return made


class _Collector(Collector):
    def __init__(self, meter: Meter, report: Callable[[], Report]) -> None:
        self._meter = meter
        self._report = report

    def describe(self) -> list[Metric]:
        """Nothing is known before a scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything, freshly read."""
        report = self._report()
        yield from agent_metrics(report, time.time())
        try:
            counters, tables = self._meter.read()
        except DataplaneError as error:
            log.warning("the kernel's counters cannot be read: %s", error)
            return
        yield from verdict_metrics(counters)
        yield from listener_metrics(report.listeners, counters)
        yield from backend_metrics(report.listeners, counters)
        yield from table_metrics(tables)


def agent_metrics(report: Report, now: float) -> Iterator[Metric]:
    """The agent itself. `now` is seconds since the epoch."""
    applied = report.applied
    verified = applied.verified_at if applied.verified_at is not None else report.started_at
    for name, text, value in (
        ("penstock_ready", "1 when the kernel holds what the manifests ask for, and there is an uplink", report.ready),
        ("penstock_state_age_seconds", "since the kernel was last read back as wanted", max(0.0, now - verified)),
        ("penstock_apply_duration_seconds", "how long the last change of the kernel's tables took", applied.seconds),
        ("penstock_apply_failed", "1 when the last attempt to bring the kernel to the state failed", applied.error),
        ("penstock_source_synced", "1 when the source was read in full", report.source.synced),
        ("penstock_source_errors", "things in the source that cannot be read", len(report.source.errors)),
        ("penstock_unserved", "listeners, addresses, ports and endpoints that are not served", len(report.unserved)),
        ("penstock_start_time_seconds", "when the agent started, since the epoch", report.started_at),
    ):
        yield GaugeMetricFamily(name, text, value=float(bool(value) if isinstance(value, str) else value))


def verdict_metrics(counters: Counters) -> Iterator[Metric]:
    """Packets and bytes by hook and verdict; every packet seen is in exactly one."""
    packets = CounterMetricFamily("penstock_packets", "packets by hook and verdict", labels=("hook", "verdict"))
    octets = CounterMetricFamily("penstock_bytes", "bytes by hook and verdict", labels=("hook", "verdict"))
    for (hook, verdict), count in counters.verdicts.items():
        packets.add_metric((label(hook), label(verdict)), count.packets)
        octets.add_metric((label(hook), label(verdict)), count.bytes)
    yield packets
    yield octets


def listener_metrics(listeners: tuple[ListenerReport, ...], counters: Counters) -> Iterator[Metric]:
    """New flows by listener and what became of them."""
    flows = CounterMetricFamily(
        "penstock_listener_flows",
        "new flows: connected, rejected by weight, refused for want of room, denied or limited by a policy",
        labels=(*_LISTENER, "outcome"),
    )
    for listener in listeners:
        count = counters.listeners.get(listener.id, ListenerCount())
        for outcome in ("connections", "rejected", "refused", "denied", "limited"):
            flows.add_metric((*_labels(listener), outcome), getattr(count, outcome))
    yield flows
    uncounted = CounterMetricFamily(
        "penstock_listener_uncounted",
        "connections let in although there was no room to count them at their source, as a policy asks",
        labels=_LISTENER,
    )
    for listener in listeners:
        uncounted.add_metric(_labels(listener), counters.listeners.get(listener.id, ListenerCount()).uncounted)
    yield uncounted


def backend_metrics(listeners: tuple[ListenerReport, ...], counters: Counters) -> Iterator[Metric]:
    """Flows, packets and bytes by endpoint, and what each backendRef's weight asks for."""
    connections = CounterMetricFamily(
        "penstock_backend_connections", "new flows given to an endpoint", labels=_ENDPOINT
    )
    packets = CounterMetricFamily("penstock_backend_packets", "packets", labels=(*_ENDPOINT, "direction"))
    octets = CounterMetricFamily("penstock_backend_bytes", "bytes", labels=(*_ENDPOINT, "direction"))
    state = GaugeMetricFamily(
        "penstock_backend_state", "1 for the state an endpoint is in", labels=(*_ENDPOINT, "state")
    )
    share = GaugeMetricFamily(
        "penstock_backend_share", "part of new flows that a backend's weight asks for", labels=_BACKEND
    )
    for listener in listeners:
        for backend in listener.backends:
            ref = (*_labels(listener), backend.name, str(backend.position))
            share.add_metric(ref, backend.share)
            for endpoint in backend.endpoints:
                labels = (*ref, endpoint.place)
                count = counters.backends.get(endpoint.id, BackendCount())
                connections.add_metric(labels, count.connections)
                packets.add_metric((*labels, "request"), count.request_packets)
                packets.add_metric((*labels, "reply"), count.reply_packets)
                octets.add_metric((*labels, "request"), count.request_bytes)
                octets.add_metric((*labels, "reply"), count.reply_bytes)
                state.add_metric((*labels, endpoint.state), 1)
    yield from (connections, packets, octets, state, share)


def table_metrics(tables: Iterable[TableUse]) -> Iterator[Metric]:
    """How full each table is, and from when on that is an alarm."""
    used = GaugeMetricFamily("penstock_table_used", "entries in use; flows for flow tables", labels=("table",))
    room = GaugeMetricFamily("penstock_table_room", "entries there is room for", labels=("table",))
    fill = GaugeMetricFamily("penstock_table_fill_ratio", "used of room, 0 to 1", labels=("table",))
    alarm = GaugeMetricFamily("penstock_table_alarm", f"1 from a fill of {TABLE_ALARM} on", labels=("table",))
    memory = GaugeMetricFamily("penstock_table_memory_bytes", "memory that the kernel charged", labels=("table",))
    for table in tables:
        memory.add_metric((table.name,), table.memory_bytes)
        if table.room:
            used.add_metric((table.name,), table.used)
            room.add_metric((table.name,), table.room)
            fill.add_metric((table.name,), table.fill)
            alarm.add_metric((table.name,), float(table.fill >= TABLE_ALARM))
    yield from (used, room, fill, alarm, memory)


def _labels(listener: ListenerReport) -> tuple[str, ...]:
    return listener.gateway, listener.name, listener.protocol, str(listener.port), listener.route or ""
