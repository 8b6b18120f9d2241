"""Where a program can be attached and what an attachment is: the words that tcx.py, clsact.py and attach.py share."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Direction(enum.Enum):
    """Which packets of an interface a program sees: those it receives, or those it sends."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Mechanism(enum.Enum):
    """How a program is attached: by a pinned TCX link (kernel 6.6), or as a cls_bpf filter of a clsact qdisc."""

    TCX = "tcx"
    CLSACT = "clsact"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A program on an interface. Plain data: the pin, or the qdisc, keeps it there.

    `program_id` is the kernel's number for the program. `alive` is False for a pinned link whose interface has gone.
    """

    program: str
    ifindex: int
    direction: Direction
    mechanism: Mechanism
    program_id: int
    alive: bool = True
