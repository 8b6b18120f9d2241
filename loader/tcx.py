"""Attaching by TCX links (kernel 6.6), pinned so that they outlive us.

Rules: one pin per program and interface (links.py) in links/. At ingress we come first, before anyone who may take the
packet away; at egress last, to see what really leaves. Of two sets of ours the later one stands behind the earlier: a
packet that has passed the earlier one as not in force any more then meets the later one, never the other way round.
Other programs on the hook are not touched.
libbpf 1.1 knows no TCX, hence the raw system call to create a link.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from loader import bpffs, links
from loader.errors import InterfaceGone
from loader.hook import Attachment, Direction, Mechanism
from loader.libbpf import bpf, ffi, pinned_fd
from loader.program import Program

ATTACH_TYPE = {Direction.INGRESS: 46, Direction.EGRESS: 47}  # BPF_TCX_INGRESS, BPF_TCX_EGRESS
_DIRECTION = {number: direction for direction, number in ATTACH_TYPE.items()}
_PROG_QUERY = 16
_LINK_TYPE = 11  # BPF_LINK_TYPE_TCX
_BEFORE, _AFTER, _LINK = 1 << 3, 1 << 4, 1 << 13  # BPF_F_BEFORE, BPF_F_AFTER: all others, or the link that is named
_POSITION = {Direction.INGRESS: _BEFORE, Direction.EGRESS: _AFTER}
_MOST = 64  # linux/bpf_mprog.h: BPF_MPROG_MAX, programs at one hook


def attach(
    program: Program, ifindex: int, direction: Direction, pin_dir: Path, behind: Path | None = None
) -> Attachment:
    """Attaches, or replaces the program of the link that is pinned. InterfaceGone, NoBpffs, PermissionDenied.

    `behind`: the pins of another set, whose program of that name on that interface is to be asked first.
    """
    directory = _directory(pin_dir)
    bpffs.make_directory(directory)
    pin = links.pin_of(directory, program.name, ifindex)
    wanted = (ifindex, ATTACH_TYPE[direction])
    if not links.replace(pin, program, _LINK_TYPE, lambda about: (about.ifindex, about.attach_type) == wanted):
        pin.unlink(missing_ok=True)
        _create(pin, program, ifindex, direction, _directory(behind) / pin.name if behind else None)
    return Attachment(program.name, ifindex, direction, Mechanism.TCX, program.id)


def attachments(pin_dir: Path) -> Iterator[Attachment]:
    """Every link that is pinned, dead ones too."""
    for program, ifindex, about in links.pinned(_directory(pin_dir), _LINK_TYPE):
        direction = _DIRECTION[about.attach_type]
        yield Attachment(program, ifindex, direction, Mechanism.TCX, about.prog_id, alive=bool(about.ifindex))


def is_here(attachment: Attachment) -> bool:
    """Whether it is on an interface of this network namespace: a link tells its ifindex, which others have as well."""
    programs = ffi.new("uint32_t[]", _MOST)
    attr = ffi.new(
        "struct tcx_query *",
        {
            "target_ifindex": attachment.ifindex,
            "attach_type": ATTACH_TYPE[attachment.direction],
            "prog_ids": int(ffi.cast("uintptr_t", programs)),
            "count": _MOST,
        },
    )
    try:
        bpf(_PROG_QUERY, attr, f"asking for the programs of interface {attachment.ifindex}")
    except InterfaceGone:
        return False
    return attachment.program_id in programs[0 : attr.count]


def detach(attachment: Attachment, pin_dir: Path) -> None:
    """Removes the link and its pin; nothing if they have gone."""
    links.remove(links.pin_of(_directory(pin_dir), attachment.program, attachment.ifindex))


def create(program_fd: int, ifindex: int, direction: Direction, behind_fd: int | None = None) -> int:
    """A new link's fd, `behind_fd` the link asked before it. Attached as long as that fd, or a pin of it, exists."""
    attr = ffi.new(
        "struct tcx_link_create *",
        {
            "prog_fd": program_fd,
            "target_ifindex": ifindex,
            "attach_type": ATTACH_TYPE[direction],
            "flags": _POSITION[direction] if behind_fd is None else _AFTER | _LINK,
            "relative_fd": behind_fd or 0,
        },
    )
    return bpf(links.CREATE, attr, f"attaching to the {direction.value} of interface {ifindex}")


def _create(pin: Path, program: Program, ifindex: int, direction: Direction, behind: Path | None) -> None:
    behind_fd = pinned_fd(behind, "link") if behind else None
    try:
        fd = create(program.fd, ifindex, direction, behind_fd)
    finally:
        if behind_fd is not None:
            os.close(behind_fd)
    links.pin(fd, pin)


def _directory(pin_dir: Path) -> Path:
    return pin_dir / "links"
