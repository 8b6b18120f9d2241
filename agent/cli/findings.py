"""Conditions that are not as they should be."""

from __future__ import annotations

from collections.abc import Iterator

from agent.report import Condition, ObjectStatus

# Conditions that are good when they are not True (Gateway API: "negative polarity").
NEGATIVE = frozenset({"Conflicted", "OverlappingTLSConfig", "PartiallyInvalid", "InsecureFrontendValidationMode"})


def findings(status: ObjectStatus) -> Iterator[str]:
    """One sentence per condition that is not as it should be; Unknown is not yet a finding."""
    for place in status.places:
        for x in place.conditions:
            if x.status == ("True" if x.type in NEGATIVE else "False") or _is_unserved(x):
                where = f"{status} {place.place}".rstrip()
                yield f"{where}: {x.type}={x.status} ({x.reason}): {x.message}"


def _is_unserved(x: Condition) -> bool:
    """Of a route: accepted, and yet not the one that serves (routes/resolved.py)."""
    return (x.type, x.status) == ("Accepted", "True") and x.message.startswith("accepted, but ")
