"""Namespaces of the calling thread's own, without a name: they end with whoever is the last in them, however it ends.

Decides: nothing; Python 3.11 has neither unshare(2) nor setns(2), and none has mount(2).
Rules: what is mounted in a mount namespace that was made here is seen nowhere else.
Must never: be asked for a mount namespace by a process of several threads: setns(2) refuses to bring one back.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MS_REC_PRIVATE: Final = 0x4000 | 0x40000
_PATIENCE: Final = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


class Kind(enum.IntFlag):
    """CLONE_NEW...; what a namespace is of."""

    MNT = 0x00020000
    NET = 0x40000000


def unshare(kinds: Kind) -> None:
    """From now on in new ones. Raises OSError."""
    _checked(_libc.unshare(int(kinds)))
    if Kind.MNT in kinds:
        _checked(_libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None))


def enter(namespace: int, kind: Kind) -> None:
    """From now on in that one, which is an open file. Raises OSError."""
    # setns(2) wants a file-system context of one thread only; one that was joined lets go of it a moment later.
    deadline = time.monotonic() + _PATIENCE
    while _libc.setns(namespace, int(kind)) != 0:
        if kind is not Kind.MNT or ctypes.get_errno() != errno.EINVAL or time.monotonic() > deadline:
            _checked(-1)


@contextlib.contextmanager
def own(kind: Kind) -> Iterator[None]:
    """Meanwhile in a new one."""
    with open(f"/proc/thread-self/ns/{str(kind.name).lower()}") as home:
        unshare(kind)
        try:
            yield
        finally:
            enter(home.fileno(), kind)


def own_network() -> int:
    """A new one that nobody is in yet, as an open file."""
    with own(Kind.NET):
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def own_bpffs(place: Path) -> Iterator[None]:
    """Meanwhile a BPF file system is mounted on the folder, for this thread only."""
    here = os.getcwd()
    try:
        with own(Kind.MNT):
            mount_bpffs(place)
            yield
    finally:
        os.chdir(here)


def mount_bpffs(place: Path) -> None:
    """Raises OSError."""
    _checked(_libc.mount(b"bpf", os.fsencode(place), b"bpf", 0, None))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
