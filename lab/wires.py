"""What joins two namespaces of a laboratory: a veth, or a cable between two network cards.

Decides: which card goes where, in the order in which they are asked for.
Rules: a card that its namespace takes along when it goes comes back to the root namespace, as the kernel has it for all
that has hardware. Cards are known by their MACs: names they get here.
Must never: take a card that it was not given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Protocol

from lab.netns import Namespace
from lab.process import run

End = tuple[Namespace, str]
"""A namespace, and what the interface is called there."""


class Wires(Protocol):
    """Joins two ends by a wire; both are down then."""

    def join(self, one: End, other: End) -> None:
        """Raises CommandFailed."""


class Veths:
    """As many as there are wanted."""

    def join(self, one: End, other: End) -> None:
        """Makes a veth."""
        (here, name), (there, peer) = one, other
        here.ip(f"link add {name} type veth peer name {peer} netns {there.name}")


class Cards:
    """Network cards, two by two at the ends of a cable: `macs` in that order."""

    def __init__(self, macs: Sequence[str]) -> None:
        self._free: Iterator[str] = iter(macs)

    def join(self, one: End, other: End) -> None:
        """Moves the next two. StopIteration when there are none."""
        for (namespace, name), mac in zip((one, other), (next(self._free), next(self._free)), strict=True):
            found = json.loads(run("ip", "-j", "link", "show").stdout)
            (card,) = (x["ifname"] for x in found if x.get("address") == mac)
            run("ip", "link", "set", card, "down", "netns", namespace.name, "name", name)
