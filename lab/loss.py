"""Makes an interface lose packets, in both directions, by a fixed seed: the same packets are lost in every run.

Decides: nothing; lab/loss.bpf.c does. Rules: the programs go when the context ends.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.topology import Lab
from loader.attach import attach, detach
from loader.hook import Attachment, Direction
from loader.objects import Object
from loader.spec import ObjectSpec

OBJECT: Final = Path(__file__).resolve().parent.parent / "build" / "loss.bpf.o"


class Loss:
    """Packets that were lost so far."""

    def __init__(self, objects: list[Object]) -> None:
        self._objects = objects

    def lost(self) -> int:
        """In both directions together."""
        return sum(count["lost"] for x in self._objects for _, count in x.map("count").items())


@contextlib.contextmanager
def lossy_clients(lab: Lab, *, per_thousand: int, seed: int) -> Iterator[Loss]:
    """The clients' wire loses so many of each thousand IP packets, each way."""
    with contextlib.ExitStack() as stack:
        with lab.client.inside():
            ifindex = socket.if_nametoindex("eth0")
        objects = []
        for direction in (Direction.INGRESS, Direction.EGRESS):
            pins = lab.pins / f"loss-{direction.name.lower()}"
            spec = ObjectSpec(OBJECT, {"seed": seed, "per_thousand": per_thousand}, {})
            loaded = stack.enter_context(Object.load(spec, pins))
            with lab.client.inside():
                attachment = attach(loaded.program("lose"), ifindex, direction, pins)

            def undo(attachment: Attachment = attachment, pins: Path = pins) -> None:
                with lab.client.inside():
                    detach(attachment, pins)

            stack.callback(undo)
            objects.append(loaded)
        yield Loss(objects)
