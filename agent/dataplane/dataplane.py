"""The agent's one handle on its node's kernel.

Decides: the order of starting (fit node, lock, own interface, programs, ageing) and the steps of a pass, each of which
takes what the one before gave: `held`, `admit`, `apply`, `reconcile_interfaces`, `read_back`; so a pass judges by one
picture of the node. Counters and flows are view.py's.
Rules: opening adopts whatever an agent before pinned, and takes nothing away; closing leaves everything pinned, hooked
and running. Not thread-safe: one thread at a time, in one network namespace.
Must never: unpin or detach on the way out, whatever the way.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from types import TracebackType

from pyroute2 import IPRoute

from agent.compile.image import GATEWAY_NODE_ADDRESS, BackendState, Held, ListenerKey, MapImage
from agent.dataplane import checks, own_interface, sysctl
from agent.dataplane.apply import write_image
from agent.dataplane.changes import Changes, changes
from agent.dataplane.counters import name_verdicts
from agent.dataplane.errors import NodeUnfit, translated
from agent.dataplane.flows import backends_in_use
from agent.dataplane.guards import Admitted, NodeFacts, admit
from agent.dataplane.hooks import Hooks
from agent.dataplane.interfaces import Interfaces, Wiring
from agent.dataplane.links import node_addresses, read_links
from agent.dataplane.lock import AgentLock
from agent.dataplane.memory import Memory, lives, recall, remember
from agent.dataplane.objects import load, start_ageing
from agent.dataplane.readback import read_backends, read_listeners, read_state, room
from agent.dataplane.snat import declare_symmetric
from agent.dataplane.sockets import used_ports
from agent.dataplane.tables import Tables
from agent.dataplane.watch import InterfaceWatch
from agent.settings import Settings
from loader import bpffs
from loader.objects import Object
from routes.plan import Address


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What the kernel was read to hold: entries of table `listeners`, and one line for each thing that is otherwise."""

    listeners: frozenset[ListenerKey]
    differences: tuple[str, ...]


class Dataplane:
    """Open while an agent runs. `watch` tells when `reconcile_interfaces` is due.

    All methods raise KernelRefused when the kernel does not do what it should, NodeUnfit when the node cannot.
    """

    def __init__(
        self, settings: Settings, netlink: IPRoute, tables: Tables, interfaces: Interfaces, owner: contextlib.ExitStack
    ) -> None:
        self.watch = owner.enter_context(InterfaceWatch())
        self._settings = settings
        self._netlink = netlink
        self._tables = tables
        self._interfaces = interfaces
        self._memory = recall(settings.run_dir)
        self._owner = owner

    @classmethod
    @translated()
    def open(cls, settings: Settings) -> Dataplane:
        """Make this node ready, or adopt it as another agent left it.

        Raises NodeUnfit, AlreadyRunning, PinsOfAnother, HookOfAnother, KernelRefused (a rejected program, too).
        """
        if faults := tuple(checks.faults()):
            raise NodeUnfit(faults)
        with contextlib.ExitStack() as stack:
            bpffs.make_directory(settings.pin_dir)
            stack.callback(AgentLock.take(settings.run_dir, settings.pin_dir).release)
            netlink = stack.enter_context(IPRoute(strict_check=True))
            programs, ageing, local_ifindex = _load(netlink, settings)
            stack.callback(programs.close)
            stack.callback(ageing.close)
            start_ageing(ageing)
            tables = stack.enter_context(Tables.open(settings.pin_dir, settings.object_dir))
            name_verdicts(tables)
            declare_symmetric(tables, settings.symmetric)
            hooks = Hooks(programs.programs, tables)
            interfaces = Interfaces(netlink, settings, hooks, local_ifindex)
            return cls(settings, netlink, tables, interfaces, stack.pop_all())

    @translated()
    def held(self, *, expired: frozenset[int] = frozenset(), scan: bool = False) -> Held:
        """What the kernel holds, for `compile`.

        `scan` reads all flows to find backend ids that none refers to: it costs as much as there are flows, so ask for
        it seldom (a minute apart), and only while some backend is not ACTIVE.
        """
        backends = read_backends(self._tables)
        waiting = frozenset(number for number, x in backends.items() if x.state > BackendState.ACTIVE)
        return Held(
            listeners=read_listeners(self._tables),
            backends=backends,
            expired=expired,
            unused=waiting - backends_in_use(self._tables) if scan and waiting else frozenset(),
            node_addresses=node_addresses(self._netlink),
            names=self._memory.names(backends),
            room=room(self._tables),
        )

    @translated()
    def node_addresses(self) -> frozenset[Address]:
        """The node's own addresses, as in `held` but at the price of one netlink dump."""
        return node_addresses(self._netlink)

    @translated()
    def admit(self, image: MapImage, held: Held) -> Admitted:
        """What of `image` this node may hold. `held` is what it was compiled from: the same picture of the node."""
        own = held.node_addresses
        on_node = any(x in own or flags & GATEWAY_NODE_ADDRESS for x, flags in image.gateways.items())
        facts = NodeFacts(own, used_ports() if on_node else (), sysctl.ipv6_enabled())
        return admit(image, facts, held.listeners)

    @translated()
    def apply(self, image: MapImage) -> Changes:
        """Write an image that was admitted; what was written. Raises TableFull with nothing written."""
        ours = lives(image)
        # Before writing, since a process may die in between: then the kernel holds lives of both images.
        self._remember(
            replace(self._memory, listeners=image.names.listeners, backends={**self._memory.backends, **ours})
        )
        written = write_image(self._tables, image)
        self._memory = replace(self._memory, backends=ours)
        return written

    @translated()
    def read_back(self, image: MapImage) -> ReadBack:
        """What the kernel holds, compared with an image that was admitted."""
        state = read_state(self._tables, image.pools)
        return ReadBack(frozenset(state.listeners), tuple(changes(state, image).differences()))

    @translated()
    def reconcile_interfaces(self, image: MapImage) -> Wiring:
        """Hook what must be hooked, route what must be routed, for an image that was admitted."""
        wiring = self._interfaces.reconcile(image, self._memory.memberships)
        self._remember(replace(self._memory, memberships=wiring.memberships))
        notes = checks.notes(self._settings.delivery, wiring.uplinks, self._settings.snat_ports)
        return replace(wiring, notes=(*wiring.notes, *notes))

    def close(self) -> None:
        """Let go of everything and take nothing away. Twice is once."""
        self._owner.close()

    def __enter__(self) -> Dataplane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _remember(self, memory: Memory) -> None:
        if memory != self._memory:
            remember(memory, self._settings.run_dir)
            self._memory = memory


def _load(netlink: IPRoute, settings: Settings) -> tuple[Object, Object, int]:
    """The programs need our own interface first; if they cannot be loaded, one made for them goes again."""
    adopted = own_interface.find(read_links(netlink)) is not None
    own = own_interface.ensure(netlink)
    try:
        return *load(settings, own.index), own.index
    except BaseException:
        if not adopted:
            own_interface.remove(netlink)
        raise
