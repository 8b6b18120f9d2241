"""One agent per node.

Decides: who may write. Rules: an exclusive flock on a file that holds the pid of its holder; the kernel lets go of it
when the holder dies, however it dies, so there is no stale lock. The file itself stays: removing it would let two
agents hold two files of the same name. Must never: be held over a fork, nor wait.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from agent.dataplane.errors import AlreadyRunning

LOCK_FILE = "agent.lock"


class AgentLock:
    """Held from `take` until `release`, or the end of the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def take(cls, run_dir: Path) -> AgentLock:
        """Raises AlreadyRunning naming the holder, OSError when the folder cannot be written."""
        run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        path = run_dir / LOCK_FILE
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            os.close(fd)
            pid = int(text) if text.isdigit() else None
            raise AlreadyRunning(
                f"another agent (pid {pid or 'unknown'}) runs on this node and holds {path}; stop it first", pid
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        return cls(fd)

    def release(self) -> None:
        """Let another agent in. Twice is once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> AgentLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
