"""From what the loop knows to what the world is told.

Decides: what is Programmed: a listener that the kernel was given as it is wanted now, and whose every entry was read
back. Rules: of what did not change nothing is made anew; the report on the disk is one that was in memory, soon the
same (publisher.py), and one that cannot be written is served over HTTP all the same. Times of conditions go on over a
restart, for the report published last is where they come from.
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
from agent.dataplane.interfaces import Wiring
from agent.loop import Outcome
from agent.narrate import news
from agent.publisher import Publisher
from agent.report import AppliedReport, ListenerReport, ObjectStatus, Report, SourceReport
from agent.status import Told

log = logging.getLogger(__name__)


class Reporter:
    """Keeps and publishes the current report; `current` may be read from any thread."""

    def __init__(self, run_dir: Path, source: str, settings: Mapping[str, str], features: Mapping[str, str]) -> None:
        """Takes up what was published last, so that nothing is forgotten until it is known better."""
        last = report.load(run_dir)
        now = time.time()
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
        self._statuses = Told(self.current.objects)
        self._told: Outcome | None = None
        self._held: frozenset[tuple[str, str]] = frozenset()
        self._publisher = Publisher(run_dir)
        self._publisher.publish(self.current)

    def close(self) -> None:
        """Publish what is not published yet."""
        self._publisher.close()

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
                absent=state.absent if state is not None else (),
            ),
            applied=AppliedReport(
                at=outcome.applied_at, verified_at=outcome.verified_at, seconds=outcome.seconds, error=outcome.error
            ),
            settings=before.settings,
            features=before.features,
            objects=self._objects(outcome, now),
            listeners=self._listeners(outcome),
            uplinks=outcome.wiring.uplinks,
            xdp=dict(outcome.wiring.xdp),
            notes=outcome.wiring.notes,
            unserved=_unserved(outcome),
        )
        for level, text in news(before, self.current):
            log.log(level, "%s", text)
        self._told = outcome
        self._publisher.publish(self.current)

    def _objects(self, outcome: Outcome, now: float) -> tuple[ObjectStatus, ...]:
        if outcome.wanted is None:
            return self.current.objects
        reasons = describe.left_out(outcome.image) if outcome.image is not None else {}
        lack = _lack(outcome.wiring)
        if lack:
            reasons |= {(x.gateway, x.name): lack for x in outcome.wanted.plan.listeners}
        held, before = self._held_now(outcome), self._told
        if before is not None and _same_statuses(before, outcome) and held is self._held:
            return self.current.objects
        self._held = held
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._statuses.now(outcome.wanted.statuses, held - reasons.keys() if reasons else held, reasons, stamp)

    def _held_now(self, outcome: Outcome) -> frozenset[tuple[str, str]]:
        """Gateway and name of the listeners that the kernel was given as they are wanted, and holds."""
        wanted, given, before = outcome.wanted, outcome.image_of, self._told
        if wanted is None or given is None:
            return frozenset()
        if (
            before is not None
            and before.wanted is not None
            and before.image_of is before.wanted
            and given is wanted
            and before.wanted.resolved.positions is wanted.resolved.positions
            and before.read_back is outcome.read_back
        ):  # the same listeners, by their names and addresses
            return self._held
        plan = frozenset(given.plan.listeners) if given.plan is not wanted.plan else None
        found = frozenset(
            place
            for place, position in wanted.resolved.positions.items()
            if (plan is None or wanted.plan.listeners[position] in plan)
            and describe.keys_of(wanted.plan.listeners[position]) <= outcome.read_back
        )
        return self._held if found == self._held else found

    def _listeners(self, outcome: Outcome) -> tuple[ListenerReport, ...]:
        if outcome.image_of is None or outcome.image is None:
            return self.current.listeners
        before = self._told
        if before is None or before.image is None:
            return describe.listeners(outcome.image_of, outcome.image)
        if before.image is outcome.image and before.image_of is outcome.image_of:
            return self.current.listeners
        return describe.listeners_after(self.current.listeners, outcome.image_of, outcome.image)


def _lack(wiring: Wiring) -> str:
    """Why no listener is served, whatever the tables hold; "" if nothing is lacking."""
    if wiring.faults:
        return wiring.faults[0]
    if wiring.uplinks:
        return ""
    return "no uplink is there: clients beyond this node are not served, or are seen as the gateway's address"


def _same_statuses(before: Outcome, now: Outcome) -> bool:
    """Whether nothing that statuses follow from is another, but for what is held."""
    if before.wanted is None or now.wanted is None:
        return False
    left_out = (before.image.left_out if before.image else {}) == (now.image.left_out if now.image else {})
    return before.wanted.statuses is now.wanted.statuses and left_out and _lack(before.wiring) == _lack(now.wiring)


def _unserved(outcome: Outcome) -> tuple[str, ...]:
    left_out = describe.left_out(outcome.image) if outcome.image is not None else {}
    return (
        *(f"listener {gateway} {name}: {why}" for (gateway, name), why in sorted(left_out.items())),
        *outcome.refused.reasons(),
        *(map(str, outcome.wanted.refused) if outcome.wanted is not None else ()),
    )
