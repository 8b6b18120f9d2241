"""A report and traffic in, one JSON value out."""

from __future__ import annotations

import json

import pytest

from agent.dataplane.usage import TableUse
from agent.report import AppliedReport, Report, SourceReport
from agent.snapshot import snapshot
from agent.traffic import Traffic, VerdictTraffic


def report(applied: AppliedReport) -> Report:
    source = SourceReport("folder x", synced=True, changed_at=0.0)
    return Report(node="n", pid=1, started_at=0.0, written_at=0.0, source=source, applied=applied, uplinks=("eth0",))


@pytest.mark.parametrize(
    ("applied", "ready", "age"),
    [
        (AppliedReport(), False, None),
        (AppliedReport(at=10.0, verified_at=15.0), True, 5.0),
        (AppliedReport(at=10.0, verified_at=30.0), True, 0.0),  # the clock was set back
        (AppliedReport(at=10.0, verified_at=15.0, error="no room"), False, 5.0),
    ],
)
def test_what_only_the_moment_knows(applied: AppliedReport, ready: bool, age: float | None) -> None:
    said = snapshot(report(applied), Traffic((), (), ()), agent=None, now=20.0)
    assert (said["ready"], said["agent_running"], said["state_age_seconds"]) == (ready, False, age)


def test_hooks_and_verdicts_are_spelled_as_in_the_metrics() -> None:
    seen = (VerdictTraffic("HOOK_UPLINK_INGRESS", "VERDICT_REJECTED_RST", 1, 40),)
    said = snapshot(report(AppliedReport()), Traffic((), seen, ()), agent=1, now=0.0)
    (verdict,) = json.loads(json.dumps(said))["traffic"]["verdicts"]
    assert (verdict["hook"], verdict["verdict"]) == ("uplink_ingress", "rejected_rst")


def test_tables_have_their_fill() -> None:
    tables = (TableUse("tcp_flows4", 70, 100, 4096, 40),)
    said = snapshot(report(AppliedReport()), Traffic((), (), tables), agent=1, now=0.0)
    assert said["traffic"]["tables"][0]["fill"] == 0.7
