"""What is published can be read again, and what cannot be read is no report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent import report
from agent.report import (
    AppliedReport,
    BackendReport,
    Condition,
    Conditions,
    EndpointReport,
    ListenerReport,
    ObjectStatus,
    Report,
    SourceReport,
)
from agent.run_dir import REPORT
from agent.sources.base import SourceError

FULL = Report(
    node="node-1",
    pid=7,
    started_at=1.5,
    written_at=2.5,
    source=SourceReport("folder x", True, 2.0, (SourceError("a.yaml", 3, "Service x", "spec", "is bad"),)),
    applied=AppliedReport(at=2.0, verified_at=2.25, seconds=0.01),
    settings={"delivery": "stack"},
    features={"tcx": "yes"},
    objects=(
        ObjectStatus(
            "Gateway",
            "default",
            "edge",
            (Conditions("", (Condition("Accepted", "True", "Accepted", "", 1, "2026-01-01T00:00:00Z"),), 3),),
            ("192.0.2.1",),
        ),
    ),
    listeners=(
        ListenerReport(
            id=1,
            gateway="default/edge",
            name="web",
            addresses=("192.0.2.1",),
            port=80,
            protocol="TCP",
            route=None,
            route_kind=None,
            backends=(
                BackendReport(
                    0, "default/a:80", 1, 1.0, "", (EndpointReport(2, "10.0.0.1", 8080, "active", 1.0, "x"),)
                ),
            ),
        ),
    ),
    unserved=("one",),
)
WRITTEN = b"".join(FULL.pieces())


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    report.save(FULL.pieces(), tmp_path / "run")
    assert report.load(tmp_path / "run") == FULL
    assert [x.name for x in (tmp_path / "run").iterdir()] == [REPORT]


@pytest.mark.parametrize(
    "content",
    [None, b"", WRITTEN[:-40], b"[]", b'{"node": 1}', b"".join(replace(FULL, version=99).pieces())],
    ids=["missing", "empty", "half", "a list", "other fields", "another version"],
)
def test_what_cannot_be_understood_is_no_report(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / REPORT).write_bytes(content)
    assert report.load(tmp_path) is None


@pytest.mark.parametrize(
    ("synced", "applied", "ready"),
    [
        (True, AppliedReport(at=1.0, verified_at=1.0), True),
        (False, AppliedReport(at=1.0, verified_at=1.0), False),
        (True, AppliedReport(), False),
        (True, AppliedReport(at=1.0), False),
        (True, AppliedReport(at=1.0, verified_at=1.0, error="table full"), False),
    ],
)
def test_ready_only_when_read_back(synced: bool, applied: AppliedReport, ready: bool) -> None:
    told = replace(FULL, source=replace(FULL.source, synced=synced), applied=applied, uplinks=("eth0",))
    assert told.ready == ready


def test_not_ready_without_an_uplink() -> None:
    """Nobody beyond the node is served, and a probe must be able to see it."""
    told = replace(FULL, applied=AppliedReport(at=1.0, verified_at=1.0))
    assert replace(told, uplinks=("eth0",)).ready
    assert not replace(told, uplinks=()).ready


@pytest.mark.parametrize(("address", "place"), [("10.0.0.1", "10.0.0.1:80"), ("fd00::1", "[fd00::1]:80")])
def test_place_of_an_endpoint(address: str, place: str) -> None:
    assert EndpointReport(2, address, 80, "active", 1.0, "").place == place
