"""A report, counters and fills in, Prometheus' text out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from agent import metrics
from agent.dataplane.counters import BackendCount, Counters, ListenerCount, PacketCount
from agent.dataplane.usage import TableUse
from agent.report import AppliedReport, BackendReport, EndpointReport, ListenerReport, Report, SourceReport
from agent.sources.base import SourceError

REPORT = Report(
    node="n",
    pid=1,
    started_at=100.0,
    written_at=0.0,
    source=SourceReport("x", True, 0.0),
    applied=AppliedReport(),
    uplinks=("eth0",),
)
LISTENER = ListenerReport(
    id=1,
    gateway="default/edge",
    name="web",
    addresses=("192.0.2.1",),
    port=80,
    protocol="TCP",
    route="default/web",
    route_kind="TCPRoute",
    backends=(
        BackendReport(
            position=0,
            name="default/a:80",
            weight=1,
            share=1.0,
            why="",
            endpoints=(
                EndpointReport(2, "10.0.0.1", 8080, "active", 1.0, ""),
                EndpointReport(3, "fd00::1", 8080, "draining", 0.0, ""),
            ),
        ),
    ),
)
LABELS = {"gateway": "default/edge", "listener": "web", "protocol": "TCP", "port": "80", "route": "default/web"}


def samples(found: Iterable[Metric]) -> dict[tuple[str, tuple[str, ...]], float]:
    """Through the text format and back: (name, values of further labels in the order of their names) -> value."""

    class Given(Collector):
        def collect(self) -> Iterable[Metric]:
            return found

    registry = CollectorRegistry()
    registry.register(Given())
    text = generate_latest(registry).decode()
    return {
        (x.name, tuple(value for name, value in x.labels.items() if name not in LABELS)): x.value
        for family in text_string_to_metric_families(text)
        for x in family.samples
    }


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({}, "penstock_ready", 0),
        ({"applied": AppliedReport(at=150.0, verified_at=160.0)}, "penstock_ready", 1),
        ({"applied": AppliedReport(at=150.0, verified_at=160.0, error="no")}, "penstock_ready", 0),
        ({"applied": AppliedReport(at=150.0, verified_at=160.0, error="no")}, "penstock_apply_failed", 1),
        ({"applied": AppliedReport(at=150.0, verified_at=160.0)}, "penstock_apply_failed", 0),
        ({"applied": AppliedReport(at=150.0, verified_at=160.0)}, "penstock_state_age_seconds", 40),
        ({}, "penstock_state_age_seconds", 100),  # never read back: since the start
        ({"applied": AppliedReport(at=150.0, verified_at=160.0, seconds=0.5)}, "penstock_apply_duration_seconds", 0.5),
        ({}, "penstock_source_errors", 0),
        (
            {"source": SourceReport("x", True, 0.0, errors=(SourceError("a", 0, "", "", "bad"),))},
            "penstock_source_errors",
            1,
        ),
        ({"source": SourceReport("x", False, 0.0)}, "penstock_source_synced", 0),
        ({"unserved": ("a", "b")}, "penstock_unserved", 2),
    ],
)
def test_the_agent_itself(changes: dict[str, object], name: str, value: float) -> None:
    report = replace(REPORT, **changes)  # type: ignore[arg-type]
    assert samples(metrics.agent_metrics(report, now=200.0))[name, ()] == value


def test_verdicts_by_hook() -> None:
    counters = Counters({("HOOK_UPLINK_INGRESS", "DROP_TABLE_FULL"): PacketCount(3, 180)}, {}, {})
    assert samples(metrics.verdict_metrics(counters)) == {
        ("penstock_packets_total", ("uplink_ingress", "drop_table_full")): 3,
        ("penstock_bytes_total", ("uplink_ingress", "drop_table_full")): 180,
    }


def test_flows_by_listener_and_outcome() -> None:
    counters = Counters({}, {1: ListenerCount(5, 2, 1, 4, 3, 6), 9: ListenerCount(7, 7, 7, 7, 7, 7)}, {})
    assert samples(metrics.listener_metrics((LISTENER,), counters)) == {
        ("penstock_listener_flows_total", ("connections",)): 5,
        ("penstock_listener_flows_total", ("rejected",)): 2,
        ("penstock_listener_flows_total", ("refused",)): 1,
        ("penstock_listener_flows_total", ("denied",)): 4,
        ("penstock_listener_flows_total", ("limited",)): 3,
        ("penstock_listener_uncounted_total", ()): 6,
    }


def test_backends_by_endpoint() -> None:
    found = samples(metrics.backend_metrics((LISTENER,), Counters({}, {}, {2: BackendCount(1, 2, 3, 4, 5)})))
    name, first, second = "default/a:80", ("10.0.0.1:8080", "0"), ("[fd00::1]:8080", "0")
    assert found == {
        ("penstock_backend_connections_total", (name, *first)): 1,
        ("penstock_backend_connections_total", (name, *second)): 0,
        ("penstock_backend_packets_total", (name, "request", *first)): 2,
        ("penstock_backend_packets_total", (name, "reply", *first)): 4,
        ("penstock_backend_packets_total", (name, "request", *second)): 0,
        ("penstock_backend_packets_total", (name, "reply", *second)): 0,
        ("penstock_backend_bytes_total", (name, "request", *first)): 3,
        ("penstock_backend_bytes_total", (name, "reply", *first)): 5,
        ("penstock_backend_bytes_total", (name, "request", *second)): 0,
        ("penstock_backend_bytes_total", (name, "reply", *second)): 0,
        ("penstock_backend_state", (name, *first, "active")): 1,
        ("penstock_backend_state", (name, *second, "draining")): 1,
        ("penstock_backend_share", (name, "0")): 1,
    }


def test_a_service_that_stands_twice_is_two_backend_refs() -> None:
    (first,) = LISTENER.backends
    second = replace(first, position=1, share=0.5, endpoints=(replace(first.endpoints[0], id=4),))
    counts = {2: BackendCount(1), 4: BackendCount(7)}
    twice = replace(LISTENER, backends=(first, second))
    found = [
        (x.labels["position"], x.labels["endpoint"], x.value)
        for family in metrics.backend_metrics((twice,), Counters({}, {}, counts))
        for x in family.samples
        if x.name == "penstock_backend_connections_total"
    ]
    assert found == [("0", "10.0.0.1:8080", 1), ("0", "[fd00::1]:8080", 0), ("1", "10.0.0.1:8080", 7)]


def test_no_two_samples_have_equal_labels() -> None:
    (first,) = LISTENER.backends
    twice = replace(LISTENER, backends=(first, replace(first, position=1)))
    for family in metrics.backend_metrics((twice,), Counters({}, {}, {})):
        labels = [(x.name, tuple(sorted(x.labels.items()))) for x in family.samples]
        assert len(labels) == len(set(labels)), family.name


@pytest.mark.parametrize(
    ("used", "fill", "alarm"), [(0, 0.0, 0), (69, 0.69, 0), (70, 0.70, 1), (71, 0.71, 1), (100, 1.0, 1)]
)
def test_a_table_is_an_alarm_from_70_percent_on(used: int, fill: float, alarm: int) -> None:
    found = samples(metrics.table_metrics([TableUse("tcp_flows4", used, 100, 4096, 40)]))
    assert found == {
        ("penstock_table_used", ("tcp_flows4",)): used,
        ("penstock_table_room", ("tcp_flows4",)): 100,
        ("penstock_table_fill_ratio", ("tcp_flows4",)): fill,
        ("penstock_table_alarm", ("tcp_flows4",)): alarm,
        ("penstock_table_memory_bytes", ("tcp_flows4",)): 4096,
    }


def test_tables_without_room_have_only_memory() -> None:
    found = samples(metrics.table_metrics([TableUse("other", 0, 0, 4096)]))
    assert found == {("penstock_table_memory_bytes", ("other",)): 4096}
