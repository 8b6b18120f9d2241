"""Network namespaces: which one this is, and going into another.

Decides: where a namespace is looked for that is known by its inode only: among those of processes, and among those that
ip-netns(8) keeps. Rules: proc(5): two processes are in one namespace if the inodes of their /proc/PID/ns/net are equal.
A namespace goes with its last reference, and its interfaces with it; one that is found nowhere may still be kept in
another mount or pid namespace. Must never: make one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from pyroute2.netns import setns

from agent.dataplane.errors import NodeUnfit
from agent.running import last_holder
from loader.attach import attachments, is_here

_OWN = Path("/proc/thread-self/ns/net")
_NAMED = Path("/run/netns")


def own() -> int:
    """Inode of the calling thread's."""
    return _OWN.stat().st_ino


@contextlib.contextmanager
def entered(inode: int) -> Iterator[None]:
    """Has the calling thread in that namespace. Raises ProcessLookupError when it is not found."""
    if inode == own():
        yield
        return
    there = _find(inode)
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(there)
        yield
    finally:
        setns(home)
        os.close(home)
        os.close(there)


@contextlib.contextmanager
def beside_agent(run_dir: Path) -> Iterator[None]:
    """Has the calling thread where the agent runs, or ran last; where it is, if no agent has said. Interfaces, routes
    and addresses are that one's then. Raises NodeUnfit when it is not found."""
    inode = last_holder(run_dir).network or own()
    with contextlib.ExitStack() as inside:
        try:
            inside.enter_context(entered(inode))
        except ProcessLookupError as error:
            raise NodeUnfit(
                (
                    f"the agent's network namespace, net:[{inode}], is not found: it is gone, or kept where this "
                    "process cannot look; run this command in it",
                )
            ) from error
        yield


def require_hooks(pins: Path) -> None:
    """Raises NodeUnfit when the hooks of these pins are in another network namespace than the calling thread is in:
    who was told another agent's folder, or a new one, would take the interfaces here for those."""
    hooked = [x for x in attachments(pins) if x.alive]
    if hooked and not any(map(is_here, hooked)):
        raise NodeUnfit(
            (
                f"the hooks that are pinned in {pins} are in another network namespace than net:[{own()}]: say the "
                "agent's own --run-dir, which tells where it runs, or run this command there",
            )
        )


def _find(inode: int) -> int:
    """A descriptor of it."""
    for path in chain(Path("/proc").glob("[0-9]*/ns/net"), _NAMED.glob("*")):
        with contextlib.suppress(OSError):  # it ended meanwhile
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if os.fstat(fd).st_ino == inode:
                return fd
            os.close(fd)
    raise ProcessLookupError(f"no network namespace with inode {inode} was found")
