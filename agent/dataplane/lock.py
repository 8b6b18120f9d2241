"""One agent per node.

Decides: who may write. Rules: an exclusive flock on a file that says who holds it, or held it last (running.py);
another on the folder of the pins, for two agents may be told different run folders and still share the tables; and a
socket of an abstract name, which a network namespace has once, for with pins of their own they would still share its
interfaces. The kernel lets go of all three when the holder dies, however it dies, so there is no stale lock. The file
may be removed by a holder only; who then gets the lock of the file that is gone notices and tries again. Who is refused
takes away what it made; the socket comes first, for it makes nothing.
Must never: be held over a fork, nor wait for the holder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from agent.dataplane import network
from agent.dataplane.errors import AlreadyRunning
from agent.run_dir import LOCK
from agent.running import holder, socket_holder
from loader import bpffs

_NETWORK = "penstock-agent"


class AgentLock:
    """Held from `take` until `release`, or the end of the process."""

    def __init__(self, held: contextlib.ExitStack, path: Path, made: contextlib.ExitStack) -> None:
        self._held = held
        self._path = path
        self._made = made

    @classmethod
    def take(cls, run_dir: Path, pin_dir: Path, *, make_pins: bool = False) -> AgentLock:
        """`pin_dir` is made if that is wanted; else it need not exist: then there is nothing to fight over.

        Raises AlreadyRunning naming the holder, OSError when `run_dir` cannot be written, LoaderError when `pin_dir`
        cannot be made.
        """
        path = run_dir / LOCK
        with contextlib.ExitStack() as held:
            network_socket = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            _lock_network(network_socket, (path, pin_dir))
            made = [x for x in (run_dir, path) if not x.exists()]
            fd = _locked_file(path)
            held.callback(os.close, fd)
            with contextlib.ExitStack() as undo:
                for x in made:
                    undo.callback(_unmake, x)
                if make_pins:
                    bpffs.make_directory(pin_dir)
                if pin_dir.is_dir():
                    pins = os.open(pin_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    held.callback(os.close, pins)
                    _lock(pins, pin_dir)
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()} {network.own()}\n".encode("ascii"), 0)
                return cls(held.pop_all(), path, undo.pop_all())

    def discard(self) -> None:
        """Release, and leave no file behind; for `down`."""
        self._path.unlink(missing_ok=True)
        self.release()

    def undo(self) -> None:
        """Release, and take away what taking it made; for whoever only asked whether it can be had."""
        self._made.close()
        self.release()

    def release(self) -> None:
        """Let another agent in. Twice is once."""
        self._held.close()

    def __enter__(self) -> AgentLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _locked_file(path: Path) -> int:
    while True:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(fd, path)
            if _is_at(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _held(path, holder(path)) from None


def _held(path: Path, pid: int | None) -> AlreadyRunning:
    return AlreadyRunning(
        f"another agent (pid {pid or 'unknown'}) runs on this node and holds {path}; stop it first", pid
    )


def _lock_network(held: socket.socket, places: Sequence[Path]) -> None:
    """`places`: what its holder may hold as well, which says more."""
    try:
        held.bind(f"\0{_NETWORK}")  # unix(7): an abstract name
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        for path in places:
            if (pid := holder(path)) is not None:
                raise _held(path, pid) from None
        pid = socket_holder(_NETWORK)
        raise AlreadyRunning(
            f"another agent (pid {pid or 'unknown'}) runs in this network namespace, with folders of its own; stop it "
            "first",
            pid,
        ) from None


def _unmake(path: Path) -> None:
    """What somebody else needs by now stays."""
    with contextlib.suppress(OSError):
        path.rmdir() if path.is_dir() else path.unlink()


def _is_at(fd: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(fd)
    return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)
