"""Makes an interface lose packets, and send some twice, both ways, by a fixed seed: the same ones in every run.

Some of the segments that leave it others overtake, if wanted.

Decides: nothing; lab/loss.bpf.c does. Rules: the programs go when the context ends.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lab.netns import Namespace
from lab.topology import Lab
from loader.attach import attach, detach
from loader.hook import Attachment, Direction
from loader.objects import Object
from loader.spec import ObjectSpec

OBJECT: Final = Path(__file__).resolve().parent.parent / "build" / "loss.bpf.o"


class Loss:
    """Packets that were lost, that came twice, and that came late, so far; in both directions together."""

    def __init__(self, objects: list[Object]) -> None:
        self._objects = objects

    def _sum(self, name: str) -> int:
        return sum(count[name] for x in self._objects for _, count in x.map("count").items())

    def lost(self) -> int:
        """Packets that never arrived."""
        return self._sum("lost")

    def doubled(self) -> int:
        """Packets that arrived twice."""
        return self._sum("doubled")

    def late(self) -> int:
        """Segments that arrived behind others that were sent after them."""
        return self._sum("late")


@contextlib.contextmanager
def lossy(lab: Lab, end: Namespace, *, seed: int, lose: int = 0, double: int = 0, late: int = 0) -> Iterator[Loss]:
    """The wire at `eth0` of an end (a client, a backend) loses, and doubles, so many of each thousand IP packets.

    `late`: so many of each thousand segments of connections made meanwhile are overtaken on their way out.
    """
    with contextlib.ExitStack() as stack:
        with end.inside():
            ifindex = socket.if_nametoindex("eth0")
        if late:  # else the programs would see what TCP hands over, many segments at once
            end.ip("link set eth0 gso_max_segs 1")
            stack.callback(end.ip, "link set eth0 gso_max_segs 65535")
        objects = []
        for direction in (Direction.INGRESS, Direction.EGRESS):
            pins = lab.pins / f"loss-{end.name}-{direction.name.lower()}"
            values = {
                "seed": seed,
                "lose_per_thousand": lose,
                "double_per_thousand": double,
                "late_per_thousand": late,
                "incoming": direction is Direction.INGRESS,
            }
            loaded = stack.enter_context(Object.load(ObjectSpec(OBJECT, values, {}), pins))
            with end.inside():
                attachment = attach(loaded.program("lose"), ifindex, direction, pins)

            def undo(attachment: Attachment = attachment, pins: Path = pins) -> None:
                with end.inside():
                    detach(attachment, pins)
                shutil.rmtree(pins)

            stack.callback(undo)
            objects.append(loaded)
        yield Loss(objects)
