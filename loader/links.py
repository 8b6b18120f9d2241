"""Links that are pinned and so outlive us: one pin per program and interface, DIRECTORY/<program>-<ifindex>.

Decides: whether a pin that is there can go on, with another program in place of its own: no packet passes unseen.
Rules: a pinned link whose interface has gone is dead, and is replaced by a new one. What kind of link it is, and on
which hook, the caller checks. libbpf 1.1 does not know every kind, hence one struct for what the kernel tells of any.
Must never: detach what no pin of ours holds.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loader.errors import LoaderError
from loader.libbpf import checked, ffi, info, lib, pinned_fd
from loader.program import Program

CREATE = 28
"""BPF_LINK_CREATE."""


def pin_of(directory: Path, program: str, ifindex: int) -> Path:
    """Where the link of a program on an interface is pinned."""
    return directory / f"{program}-{ifindex}"


def pin(fd: int, at: Path) -> None:
    """Pins a new link and closes its fd; it goes if that fails. NoBpffs, PermissionDenied."""
    try:
        checked(lib().bpf_obj_pin(fd, os.fsencode(at)), f"pinning {at}")
    finally:
        os.close(fd)


def pinned(directory: Path, kind: int) -> Iterator[tuple[str, int, Any]]:
    """Every link that is pinned there, dead ones too: its program's name, its ifindex, what the kernel tells of it.

    `kind`: enum bpf_link_type. LoaderError for a link of another.
    """
    for name in sorted(os.listdir(directory)) if directory.is_dir() else []:
        fd = pinned_fd(directory / name, "link")
        if fd is None:  # removed meanwhile
            continue
        try:
            about = _about(fd, directory / name, kind)
        finally:
            os.close(fd)
        program, _, ifindex = name.rpartition("-")
        yield program, int(ifindex), about


def replace(at: Path, program: Program, kind: int, is_wanted: Callable[[Any], bool]) -> bool:
    """Replaces the program of the pinned link (BPF_LINK_UPDATE); False if there is none, or none that is alive.

    One that is not wanted, by what the kernel tells of it, is detached.
    """
    fd = pinned_fd(at, "link")
    if fd is None:
        return False
    try:
        if not is_wanted(_about(fd, at, kind)):
            _detach(fd, at)
            return False
        result = lib().bpf_link_update(fd, program.fd, ffi.NULL)
        if result == -errno.ENOLINK:  # the interface went since
            return False
        checked(result, f"replacing the program of {at}")
    finally:
        os.close(fd)
    return True


def remove(at: Path) -> None:
    """Removes the link and its pin; nothing if they have gone."""
    fd = pinned_fd(at, "link")
    if fd is None:
        return
    try:
        _detach(fd, at)
    finally:
        os.close(fd)
    at.unlink(missing_ok=True)


def _detach(fd: int, at: Path) -> None:
    """At once: closing a link's last reference does so some time later."""
    result = lib().bpf_link_detach(fd)
    if result not in (-errno.ENOLINK, -errno.EINVAL):  # its interface has gone
        checked(result, f"detaching {at}")


def _about(fd: int, at: Path, kind: int) -> Any:
    about = info("tcx_link_info", fd)[0]
    if about.type != kind:
        raise LoaderError(f"{at} is a link of another kind ({about.type}, not {kind})")
    return about
