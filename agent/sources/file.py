"""One manifest file on the disk: is it different, is it finished, what does it say.

Decides: when a file may be read. A file that a process holds open for writing is not finished: a part of it may well
be good YAML, and reading that part would delete what the rest describes.
Rules: regular files only (a FIFO would hang the agent); UTF-8; a read that a write overtook counts as unfinished.
Must never: raise for anything that a file can be; the outcome is a value.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

MAX_BYTES = 64 * 1024 * 1024

_F_SETSIG = 10  # fcntl.h; Python 3.11 does not name it

Signature: TypeAlias = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Text:
    """A finished file. `signature` tells it from what it was before."""

    text: str
    signature: Signature


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Somebody is writing to the file."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The file is there and cannot be read; `why` is for people."""

    why: str
    signature: Signature | None


def signature(path: Path) -> Signature | None:
    """What changes when the file (behind symbolic links) is written or replaced; None = it is not there."""
    try:
        return _signature(path.stat())
    except OSError:
        return None


def read(path: Path) -> Text | Unfinished | Unreadable:
    """Read the file at `path`, following symbolic links."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        why = "is a symbolic link to nothing" if path.is_symlink() and not path.exists() else _reason(error)
        return Unreadable(why, None)
    try:
        status = os.fstat(fd)
        mark = _signature(status)
        content = _content(fd, status)
    finally:
        os.close(fd)
    if not isinstance(content, bytes):
        return content
    try:
        return Text(content.decode("utf-8-sig"), mark)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Unreadable(f"is not UTF-8 at line {line}", mark)


def _content(fd: int, status: os.stat_result) -> bytes | Unfinished | Unreadable:
    mark = _signature(status)
    if not stat.S_ISREG(status.st_mode):
        return Unreadable("is not a regular file", mark)
    if status.st_size > MAX_BYTES:
        return Unreadable(f"is larger than {MAX_BYTES // 1024 // 1024} MiB", mark)
    if _has_writer(fd):
        return Unfinished()
    try:
        with os.fdopen(fd, "rb", closefd=False) as file:
            content = file.read()
    except OSError as error:
        return Unreadable(_reason(error), mark)
    overtaken = _has_writer(fd) or _signature(os.fstat(fd)) != mark
    return Unfinished() if overtaken else content


def _has_writer(fd: int) -> bool:
    """Whether any process holds the file open for writing: a read lease is refused then (fcntl(2), F_SETLEASE).

    A file system without leases (some network ones) cannot tell; then nobody is.
    """
    # A process that opens the file while we hold the lease would have us sent SIGIO, which kills; SIGURG does nothing.
    try:
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _signature(status: os.stat_result) -> Signature:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
