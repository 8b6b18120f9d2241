"""What is worth a line in the log when one report follows another.

Decides: which differences are news. Rules: pure; said once when it begins, not at every pass.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

from agent.report import ObjectStatus, Report
from agent.sources.base import SourceError
from routes.objects.gateway import Gateway
from routes.objects.route import TCPRoute, UDPRoute


class News(NamedTuple):
    """One line. `level` is one of `logging`."""

    level: int
    text: str


def news(before: Report, after: Report) -> Iterator[News]:
    """Lines for what `after` says and `before` did not."""
    for error in after.source.errors:
        if error not in before.source.errors:
            yield News(logging.ERROR, f"{error} ({_goes_on(error, after)})")
    if before.source.errors and not after.source.errors:
        yield News(logging.INFO, f"{after.source.name} can be read in full again")
    for note in after.source.notes:
        if note not in before.source.notes:
            yield News(logging.INFO, str(note))
    yield from _taken(before, after)
    yield from _routes(before, after)
    for text in after.unserved:
        if text not in before.unserved:
            yield News(logging.WARNING, text)
    for text in after.notes:
        if text not in before.notes:
            yield News(logging.WARNING, text)
    if after.uplinks != before.uplinks:
        yield News(logging.INFO, f"uplinks: {', '.join(after.uplinks) or 'none'}")
    changed = after.xdp.items() - before.xdp.items()
    yield from (News(logging.INFO, f"XDP on {name}: {text}") for name, text in sorted(changed))
    if after.ready and after.applied.at != before.applied.at:
        programmed = f"{len(after.listeners)} listeners are held by the kernel"
        yield News(logging.INFO, f"{programmed} (applied and read back in {after.applied.seconds * 1000:.0f} ms)")


def _goes_on(error: SourceError, after: Report) -> str:
    if error.origin in after.source.absent:
        return "there is no last good state of it: NONE of its objects is in force"
    return "its last good state goes on"


def _taken(before: Report, after: Report) -> Iterator[News]:
    """Listeners whose address and port another Gateway has; which one that is, is in the message."""
    if after.objects == before.objects:
        return
    known, served = set(_unavailable(before)), {(x.gateway, x.name) for x in before.listeners}
    for gateway, name, why in _unavailable(after):
        if (gateway, name, why) not in known:
            more = " any more" if (gateway, name) in served else ""
            yield News(logging.WARNING, f"Gateway {gateway} listener {name} is not served{more}: {why}")


def _routes(before: Report, after: Report) -> Iterator[News]:
    """Routes that lost, or found again, a listener or a backendRef. An endpoint that goes is none of it."""
    same = set(map(id, before.objects))  # of what did not change nothing is made anew (agent/status.py)
    changed = {
        (x.kind, x.namespace, x.name): x
        for x in after.objects
        if x.kind in (TCPRoute.KIND, UDPRoute.KIND) and id(x) not in same
    }
    if not changed:
        return
    old = {key: x for x in before.objects if (key := (x.kind, x.namespace, x.name)) in changed}
    for key, route in changed.items():
        bad, was = _false(route), _false(old[key]) if key in old else {}
        for (kind, why), reason in bad.items():
            if (kind, why) not in was:
                yield News(logging.WARNING, f"{route}: {kind}=False ({reason}): {why}")
        for kind in sorted({kind for kind, _ in was} - {kind for kind, _ in bad}):
            yield News(logging.INFO, f"{route}: {kind}=True again")


def _false(route: ObjectStatus) -> dict[tuple[str, str], str]:
    """(condition, message) -> reason, of those that are False at any parent."""
    return {(x.type, x.message): x.reason for place in route.places for x in place.conditions if x.status == "False"}


def _unavailable(report: Report) -> Iterator[tuple[str, str, str]]:
    """Gateway, listener, message."""
    for status in report.objects:
        if status.kind != Gateway.KIND:
            continue
        for place in status.places:
            for x in place.conditions:
                if (x.type, x.status, x.reason) == ("Accepted", "False", "PortUnavailable"):
                    yield f"{status.namespace}/{status.name}", place.place.removeprefix("listener "), x.message
