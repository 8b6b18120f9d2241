"""Whether an agent runs, asked from outside.

Rules: the lock is looked at, not touched: a process that tried to take it, even for a moment, could keep an agent from
starting.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from agent.run_dir import LOCK

_LOCKS = Path("/proc/locks")
_SOCKETS = Path("/proc/thread-self/net/unix")


@dataclass(frozen=True, slots=True)
class Holder:
    """What an agent's lock says of who took it last: its process id, in its own pid namespace, and the inode of its
    network namespace. 0: not said (yet)."""

    pid: int = 0
    network: int = 0


def running_agent(run_dir: Path) -> Holder | None:
    """Who holds the agent's lock in `run_dir`, None for nobody."""
    return None if holder(run_dir / LOCK) is None else last_holder(run_dir)


def last_holder(run_dir: Path) -> Holder:
    """Who holds the agent's lock in `run_dir`, or held it last."""
    try:
        found = [int(x) for x in (run_dir / LOCK).read_text("ascii").split()]
    except (OSError, ValueError):
        return Holder()
    return Holder(*found[:2])


def socket_holder(name: str) -> int | None:
    """A process that has the unix socket of that abstract name, in this network namespace; None if none is seen."""
    try:
        found = [x.split() for x in _SOCKETS.read_text().splitlines()]
    except OSError:
        return None
    opened = {f"socket:[{x[6]}]" for x in found if x[7:] == [f"@{name}"]}
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if os.readlink(fd) in opened:
                return int(fd.parts[2])
    return None


def holder(path: Path) -> int | None:
    """The process that holds the lock of file or folder `path`; 0 for one of another pid namespace, None for nobody.

    proc_locks(5): `1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF`, device numbers in hexadecimal.
    """
    try:
        status = path.stat()
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return next((int(x[4]) for x in map(str.split, lines) if x[1] == "FLOCK" and device in x), None)
