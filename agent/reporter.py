"""From what the loop knows to what the world is told.

Decides: what is Programmed: a listener that the kernel was given as it is wanted now, and whose every entry was read
back. Rules: the report in memory and
the one on the disk are the same value; one that cannot be written is logged and served over HTTP all the same. Times of
conditions go on over a restart, for the report published last is where they come from.
Must never: hold up the loop.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from agent import describe, report
from agent.loop import Outcome
from agent.narrate import news
from agent.report import AppliedReport, ListenerReport, ObjectStatus, Report, SourceReport
from agent.status import with_times
from routes.status import programmed

log = logging.getLogger(__name__)


class Reporter:
    """Keeps and publishes the current report; `current` may be read from any thread."""

    def __init__(self, run_dir: Path, source: str, settings: Mapping[str, str], features: Mapping[str, str]) -> None:
        """Takes up what was published last, so that nothing is forgotten until it is known better."""
        last = report.load(run_dir)
        now = time.time()
        self._run_dir = run_dir
        self.current = Report(
            node=socket.gethostname(),
            pid=os.getpid(),
            started_at=now,
            written_at=now,
            source=SourceReport(source, synced=False, changed_at=now),
            applied=AppliedReport(),
            settings=dict(settings),
            features=dict(features),
            objects=last.objects if last is not None else (),
            listeners=last.listeners if last is not None else (),
        )
        self._publish()

    def tell(self, outcome: Outcome) -> None:
        """Make and publish the report of `outcome`."""
        before, now = self.current, time.time()
        state = outcome.state
        self.current = Report(
            node=before.node,
            pid=before.pid,
            started_at=before.started_at,
            written_at=now,
            source=SourceReport(
                name=before.source.name,
                synced=state is not None and state.synced,
                changed_at=state.changed_at if state is not None else before.source.changed_at,
                errors=state.errors if state is not None else (),
                notes=state.notes if state is not None else (),
            ),
            applied=AppliedReport(
                at=outcome.applied_at, verified_at=outcome.verified_at, seconds=outcome.seconds, error=outcome.error
            ),
            settings=before.settings,
            features=before.features,
            objects=_statuses(outcome, before.objects, now),
            listeners=_listeners(outcome, before.listeners),
            uplinks=outcome.wiring.uplinks,
            notes=outcome.wiring.notes,
            refused=_refused(outcome),
        )
        for level, text in news(before, self.current):
            log.log(level, "%s", text)
        self._publish()

    def _publish(self) -> None:
        try:
            report.save(self.current, self._run_dir)
        except OSError as error:
            log.warning("cannot write the report: %s", error)


def _statuses(outcome: Outcome, before: tuple[ObjectStatus, ...], now: float) -> tuple[ObjectStatus, ...]:
    if outcome.wanted is None:
        return before
    given = frozenset(outcome.image_of.plan.listeners if outcome.image_of is not None else ())
    held = {
        (x.gateway, x.name)
        for x in outcome.wanted.plan.listeners
        if x in given and describe.keys_of(x) <= outcome.read_back
    }
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reasons = describe.left_out(outcome.image) if outcome.image is not None else {}
    if outcome.wiring.faults:
        reasons |= {(x.gateway, x.name): outcome.wiring.faults[0] for x in outcome.wanted.plan.listeners}
    return with_times(programmed(outcome.wanted.statuses, held - reasons.keys(), reasons), before, stamp)


def _refused(outcome: Outcome) -> tuple[str, ...]:
    left_out = describe.left_out(outcome.image) if outcome.image is not None else {}
    return (
        *(f"listener {gateway} {name}: {why}" for (gateway, name), why in sorted(left_out.items())),
        *outcome.refused.reasons(),
        *(map(str, outcome.wanted.refused) if outcome.wanted is not None else ()),
    )


def _listeners(outcome: Outcome, before: tuple[ListenerReport, ...]) -> tuple[ListenerReport, ...]:
    if outcome.image_of is None or outcome.image is None:
        return before
    return describe.listeners(outcome.image_of, outcome.image)
