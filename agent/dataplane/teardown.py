"""Removing every trace of the gateway from a node.

Decides: the order: hooks first, so that no packet meets half a gateway; then routes, memberships and our own interface;
then the pins, with which the tables and the ageing timer go; then our files, the lock last. Rules: every step works
without the others' things, so that a half-removed gateway, or one whose pins were lost, is removed as well, and twice
is no error. Interfaces, routes and memberships are those of the network namespace that the agent ran in, wherever we
are; if it is not found, that is told, for it may still be kept where we cannot look. Refused while an agent runs, for
it would put everything back. Must never: touch what is not ours.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from pathlib import Path

from pyroute2 import IPRoute

from agent.dataplane import own_interface
from agent.dataplane.errors import translated
from agent.dataplane.gateway_routes import remove_gateway_routes
from agent.dataplane.lock import AgentLock
from agent.dataplane.memory import recall
from agent.dataplane.multicast import reconcile_memberships
from agent.dataplane.network import entered, own
from agent.dataplane.sets import folders, unhook, unpin
from agent.run_dir import clear
from agent.running import last_holder


@dataclass(frozen=True, slots=True)
class Removed:
    """What was found and removed. `unreached`: inode of the network namespace that the agent ran in, if it was not
    found; whatever of ours is in it is still there."""

    hooks: int
    routes: int
    pins: int
    interface: bool
    unreached: int | None = None

    def __bool__(self) -> bool:
        return bool(self.hooks or self.routes or self.pins or self.interface)


@translated()
def down(pin_dir: Path, run_dir: Path) -> Removed:
    """Remove everything. Ends all flows. Raises AlreadyRunning, KernelRefused."""
    last = last_holder(run_dir).network
    try:
        with entered(last or own()):
            return _down(pin_dir, run_dir, is_here=True)
    except ProcessLookupError:
        return replace(_down(pin_dir, run_dir, is_here=False), unreached=last)


def _down(pin_dir: Path, run_dir: Path, *, is_here: bool) -> Removed:
    """Of a gateway that is in this network namespace; else what is not in any."""
    lock = AgentLock.take(run_dir, pin_dir)
    routes, interface = 0, False
    try:
        sets = folders(pin_dir)
        # Filters of a clsact qdisc are found without pins, here only; links by their pins, from anywhere.
        hooks = sum(unhook(x, links_only=not is_here) for x in (*sets, pin_dir))
        if is_here:
            with IPRoute(strict_check=True) as netlink:
                routes = remove_gateway_routes(netlink)
                reconcile_memberships((), (), recall(run_dir).memberships)
                interface = own_interface.remove(netlink)
        pins = sum(unpin(x) for x in sets)
        clear(run_dir)
    finally:
        lock.discard()
    for folder in (pin_dir, run_dir):
        _remove_if_empty(folder)
    return Removed(hooks, routes, pins, interface)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:  # what somebody else put there stays
        if error.errno != errno.ENOTEMPTY:
            raise
