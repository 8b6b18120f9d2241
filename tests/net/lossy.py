"""Patience with what goes over a wire that loses packets: TCP makes up for them, in its own time."""

from __future__ import annotations

from collections import Counter

from lab.netns import Namespace
from lab.topology import GATEWAY
from lab.traffic import stream
from lab.traffic.ask import outcomes_tcp
from lab.wait import until


def served(client: Namespace, family: int, port: int, times: int) -> Counter[str]:
    """How so many connections fare over a wire that loses packets."""
    return outcomes_tcp(client, GATEWAY[family], port, times, patience=stream.PATIENCE)


def until_closed(*ends: Namespace) -> None:
    """Wait until no connection of the ends is open, or half so, over a wire that loses packets."""

    def still_open() -> list[str]:
        lines = [x.run("ss", "-Htn", "state", "connected", "exclude", "time-wait").stdout.splitlines() for x in ends]
        return [line for of_end in lines for line in of_end]

    until(
        lambda: not still_open(),
        "every connection closed in order",
        every=0.2,
        patience=stream.PATIENCE,
        seen=still_open,
    )
