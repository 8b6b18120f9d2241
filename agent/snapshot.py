"""Report and traffic as one JSON value: what `penstock status -o json` prints and /status answers.

Decides: the keys at the top. Rules: everything of the report, plus what only the moment knows; hooks and
verdicts are spelled as in the metrics.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agent.report import Report
from agent.traffic import Traffic
from agent.words import label


def snapshot(report: Report, traffic: Traffic, agent: int | None, now: float) -> dict[str, Any]:
    """Plain values. `agent`: the process that runs, None if there is none; it may not have reported yet, for `pid` is
    whose report it is. `now` is seconds since the epoch."""
    age = None if report.applied.verified_at is None else round(max(0.0, now - report.applied.verified_at), 3)
    said: dict[str, Any] = msgspec.to_builtins(report)
    flowing: dict[str, Any] = msgspec.to_builtins(traffic)
    tables = [{**told, "fill": use.fill} for told, use in zip(flowing["tables"], traffic.tables, strict=True)]
    verdicts = [
        {**told, "hook": label(told["hook"]), "verdict": label(told["verdict"])} for told in flowing["verdicts"]
    ]
    return {
        "ready": report.ready,
        "agent_running": agent is not None,
        "agent_pid": agent,
        "state_age_seconds": age,
        **said,
        "traffic": {**flowing, "tables": tables, "verdicts": verdicts},
    }
