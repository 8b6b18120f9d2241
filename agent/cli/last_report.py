"""The report that the agent published last, for commands that cannot do without."""

from __future__ import annotations

from pathlib import Path

from agent import report as reports
from agent.cli.exits import NotThere
from agent.report import Report


def last_report(run_dir: Path) -> Report:
    """Raises NotThere when there is none."""
    report = reports.load(run_dir)
    if report is None:
        raise NotThere(f"no report in {run_dir}: no agent has run on this node, or it uses another --run-dir")
    return report
