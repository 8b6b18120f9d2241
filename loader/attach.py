"""Attaching programs to interfaces, by what the kernel has: TCX where it can (6.6), clsact where it must.

Rules: what is attached stays attached when we go; attaching again replaces the program in place, so no packet passes
unseen. Lists and detaches both kinds whatever the kernel, so that nothing of ours is ever left behind.
"""

from __future__ import annotations

from pathlib import Path

from loader import clsact, tcx
from loader.features import probe
from loader.hook import Attachment, Direction, Mechanism
from loader.program import Program

__all__ = ["Attachment", "Direction", "Mechanism", "attach", "attachments", "detach", "inherit", "is_here"]


def attach(
    program: Program, ifindex: int, direction: Direction, pin_dir: Path, behind: Path | None = None
) -> Attachment:
    """Attaches `program` to interface `ifindex` of this network namespace, or replaces what we attached there.

    `behind`: the pins of a set that is to be asked first.
    InterfaceGone, NoBpffs, PermissionDenied; on kernels without TCX also HookTaken.
    """
    attach_by = tcx.attach if probe().tcx else clsact.attach
    return attach_by(program, ifindex, direction, pin_dir, behind)


def attachments(pin_dir: Path) -> tuple[Attachment, ...]:
    """Everything of ours that is attached: links pinned under `pin_dir`, its filters in this network namespace."""
    return (*tcx.attachments(pin_dir), *clsact.attachments(pin_dir))


def is_here(attachment: Attachment) -> bool:
    """Whether it is in this network namespace: a pinned link may well be in another."""
    return attachment.mechanism is Mechanism.CLSACT or (attachment.alive and tcx.is_here(attachment))


def inherit(pin_dir: Path, predecessor: Path) -> None:
    """Have `pin_dir`, a new set of pins, undo in the end what the set before it did. Before it attaches anything."""
    clsact.inherit(pin_dir, predecessor)


def detach(attachment: Attachment, pin_dir: Path) -> None:
    """Undoes one; no error if it has gone already."""
    detach_by = tcx.detach if attachment.mechanism is Mechanism.TCX else clsact.detach
    detach_by(attachment, pin_dir)
