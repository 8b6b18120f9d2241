"""A problem: why something is not accepted, not resolved or not programmed, as a condition's reason and message."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """`reason` is CamelCase, from the Gateway API's lists where they have one; `message` is for people."""

    reason: str
    message: str
