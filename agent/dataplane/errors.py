"""What can go wrong between the agent and the kernel, in words an operator can act on.

Decides: which of what the loader, netlink and the file system raise becomes which of ours; so nobody above this package
needs to know theirs. Rules: every message says what was found and what to do about it; nothing here carries a kernel
object; what was raised first is the cause (`__cause__`), with a rejected program's log on it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pyroute2.netlink.exceptions import NetlinkError

from loader.errors import HookTaken, InterfaceGone, LoaderError, NoBpffs, NotSupported, PermissionDenied


class DataplaneError(Exception):
    """Base of all errors of agent.dataplane."""


class NodeUnfit(DataplaneError):
    """The node lacks something without which nothing works. `faults` has one sentence each."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class AlreadyRunning(DataplaneError):
    """Another agent holds this node. `pid` is its process id, None when it has not written one yet."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class HookOfAnother(DataplaneError):
    """A program that is not ours is where one of ours must be."""


class SlotTaken(DataplaneError):
    """Somebody traces already, and there is room for one."""


class KernelRefused(DataplaneError):
    """The kernel or the file system did not do what was asked."""


class PinsOfAnother(DataplaneError):
    """What is pinned cannot be carried over into this agent's tables."""


class TablesOfAnother(DataplaneError):
    """The tables in force are another version's, and lack what this one would read there."""


class NotInstalled(DataplaneError):
    """No pinned tables: no agent has run on this node since it booted, or `penstock down` was run."""


class TableFull(DataplaneError):
    """The image needs more room than a table has. Nothing of it was written."""

    def __init__(self, table: str, wanted: int, room: int, option: str) -> None:
        super().__init__(
            f"table {table} has room for {room}, {wanted} are wanted; start the agent again with a larger {option}"
        )
        self.table = table
        self.wanted = wanted
        self.room = room


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Around everything that this package offers; as a decorator too. What is none of ours or theirs is a defect."""
    try:
        yield
    except (NoBpffs, NotSupported, PermissionDenied, InterfaceGone) as error:
        raise NodeUnfit((str(error),)) from error
    except PermissionError as error:
        raise NodeUnfit((f"{error}: this needs root",)) from error
    except HookTaken as error:
        raise HookOfAnother(str(error)) from error
    except (LoaderError, NetlinkError, OSError) as error:
        raise KernelRefused(str(error)) from error
