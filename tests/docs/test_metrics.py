"""The table of metrics in docs/operations.md has all that there are, with their labels, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.core import Metric

from agent import metrics
from agent.compile.image import BackendState
from agent.dataplane.counters import Counters, PacketCount
from agent.dataplane.usage import TableUse
from agent.report import AppliedReport, BackendReport, EndpointReport, ListenerReport, Report, SourceReport
from agent.traffic import TABLE_ALARM

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
ROWS = {
    x[1].strip("`"): (tuple(x[2].split(", ")) if x[2] else (), x[3])
    for x in (list(map(str.strip, line.split("|"))) for line in TEXT.splitlines())
    if len(x) == 5 and x[1].startswith("`penstock_")
}
ENDPOINT = EndpointReport(2, "10.0.0.1", 8080, "active", 1.0, "")
BACKEND = BackendReport(0, "default/a:80", 1, 1.0, "", (ENDPOINT,))
LISTENER = ListenerReport(1, "default/edge", "web", (), 80, "TCP", "default/web", "TCPRoute", (BACKEND,))
COUNTERS = Counters({("HOOK_UPLINK_INGRESS", "VERDICT_FORWARDED"): PacketCount(1, 60)}, {}, {})


def found() -> list[Metric]:
    report = Report("n", 1, 0.0, 0.0, SourceReport("x", True, 0.0), AppliedReport())
    return [
        *metrics.agent_metrics(report, 0.0),
        *metrics.verdict_metrics(COUNTERS),
        *metrics.listener_metrics((LISTENER,), COUNTERS),
        *metrics.backend_metrics((LISTENER,), COUNTERS),
        *metrics.table_metrics((TableUse("x", 0, 1, 1),)),
    ]


def test_each_has_its_row_and_its_labels() -> None:
    there = {sample.name: tuple(sample.labels) for metric in found() for sample in metric.samples}
    assert {name: labels for name, (labels, _) in ROWS.items()} == there


def test_states_of_endpoints_are_named() -> None:
    states = {x.name.lower() for x in BackendState} - {"free"}
    assert set(re.findall(r"`(\w+)`", ROWS["penstock_backend_state"][1])) == states


def test_the_alarm_is_from_where_it_says() -> None:
    assert f"from a fill of {TABLE_ALARM} on" in ROWS["penstock_table_alarm"][1]
