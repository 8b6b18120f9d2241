"""Attaching by TCX links (kernel 6.6), pinned so that they outlive us.

Rules: one pin per program and interface, links/<program>-<ifindex>. A pin that is there is adopted and its program
replaced in place (BPF_LINK_UPDATE): no packet passes unseen. A pinned link whose interface has gone is dead and is
replaced by a new one. At ingress we come first, before anyone who may take the packet away; at egress last, to see what
really leaves. Of two sets of ours the later one stands behind the earlier: a packet that has passed the earlier one as
not in force any more then meets the later one, never the other way round. Other programs on the hook are not touched.
libbpf 1.1 knows no TCX, hence the raw system call to create a link.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loader import bpffs
from loader.errors import InterfaceGone, LoaderError
from loader.hook import Attachment, Direction, Mechanism
from loader.libbpf import bpf, checked, ffi, info, lib, pinned_fd
from loader.program import Program

ATTACH_TYPE = {Direction.INGRESS: 46, Direction.EGRESS: 47}  # BPF_TCX_INGRESS, BPF_TCX_EGRESS
_DIRECTION = {number: direction for direction, number in ATTACH_TYPE.items()}
_PROG_QUERY = 16
_LINK_CREATE = 28
_LINK_TYPE_TCX = 11
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
    name = f"{program.name}-{ifindex}"
    if not _update(directory / name, program, ifindex, direction):
        (directory / name).unlink(missing_ok=True)
        _create(directory / name, program, ifindex, direction, _directory(behind) / name if behind else None)
    return Attachment(program.name, ifindex, direction, Mechanism.TCX, program.id)


def attachments(pin_dir: Path) -> Iterator[Attachment]:
    """Every link that is pinned, dead ones too."""
    directory = _directory(pin_dir)
    for name in sorted(os.listdir(directory)) if directory.is_dir() else []:
        fd = pinned_fd(directory / name, "link")
        if fd is None:  # removed meanwhile
            continue
        try:
            about = _about(fd, directory / name)
        finally:
            os.close(fd)
        program, _, ifindex = name.rpartition("-")
        direction = _DIRECTION[about.attach_type]
        yield Attachment(program, int(ifindex), direction, Mechanism.TCX, about.prog_id, alive=bool(about.ifindex))


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
    pin = _directory(pin_dir) / f"{attachment.program}-{attachment.ifindex}"
    fd = pinned_fd(pin, "link")
    if fd is None:
        return
    try:
        _cut(fd, pin)
    finally:
        os.close(fd)
    pin.unlink(missing_ok=True)


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
    return bpf(_LINK_CREATE, attr, f"attaching to the {direction.value} of interface {ifindex}")


def _create(pin: Path, program: Program, ifindex: int, direction: Direction, behind: Path | None) -> None:
    behind_fd = pinned_fd(behind, "link") if behind else None
    try:
        fd = create(program.fd, ifindex, direction, behind_fd)
    finally:
        if behind_fd is not None:
            os.close(behind_fd)
    try:
        checked(lib().bpf_obj_pin(fd, os.fsencode(pin)), f"pinning {pin}")
    finally:
        os.close(fd)


def _update(pin: Path, program: Program, ifindex: int, direction: Direction) -> bool:
    """Replaces the program of the pinned link; False if there is no such link or it is dead."""
    fd = pinned_fd(pin, "link")
    if fd is None:
        return False
    try:
        about = _about(fd, pin)
        if (about.ifindex, about.attach_type) != (ifindex, ATTACH_TYPE[direction]):
            _cut(fd, pin)
            return False
        result = lib().bpf_link_update(fd, program.fd, ffi.NULL)
        if result == -errno.ENOLINK:  # the interface went since
            return False
        checked(result, f"replacing the program of {pin}")
    finally:
        os.close(fd)
    return True


def _cut(fd: int, pin: Path) -> None:
    """Detaches the link at once: closing its last reference does so some time later."""
    result = lib().bpf_link_detach(fd)
    if result != -errno.ENOLINK:  # its interface has gone
        checked(result, f"detaching {pin}")


def _about(fd: int, pin: Path) -> Any:
    about = info("tcx_link_info", fd)[0]
    if about.type != _LINK_TYPE_TCX:
        raise LoaderError(f"{pin} is no TCX link")
    return about


def _directory(pin_dir: Path) -> Path:
    return pin_dir / "links"
