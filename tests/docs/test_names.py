"""Verdicts and metrics that the documents name are there under that name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent import metrics
from agent.dataplane.counters import Counters
from agent.dataplane.usage import TableUse
from agent.report import AppliedReport, Report, SourceReport
from agent.verdicts import MEANING
from agent.words import label

TREE = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted((TREE / "docs").glob("*.md")), TREE / "README.md"]
TEXTS = pytest.mark.parametrize("document", DOCUMENTS, ids=[x.name for x in DOCUMENTS])


@TEXTS
def test_verdicts(document: Path) -> None:
    named = set(re.findall(r"`((?:drop|refused|rejected)_[a-z_]+)`", document.read_text()))
    assert named <= {label(x) for x in MEANING}


@TEXTS
def test_metrics(document: Path) -> None:
    report = Report("n", 1, 0.0, 0.0, SourceReport("x", True, 0.0), AppliedReport())
    nothing = Counters({}, {}, {})
    there = {
        x.name
        for found in (
            metrics.agent_metrics(report, 0.0),
            metrics.verdict_metrics(nothing),
            metrics.listener_metrics((), nothing),
            metrics.backend_metrics((), nothing),
            metrics.table_metrics((TableUse("x", 0, 1, 1),)),
        )
        for x in found
    }
    named = re.findall(r"`(penstock_[a-z_]+)(?:\{[a-z]+\})?`", document.read_text())
    assert {x.removesuffix("_total") for x in named} <= there
