"""The agent's one handle on its node's kernel.

Decides: the order of starting (fit node, lock, own interface, programs, ageing) and what an image goes through (guards,
tables, memory). Rules: opening adopts whatever an agent before pinned, and takes nothing away; closing leaves
everything pinned, hooked and running. Not thread-safe: one thread at a time, in one network namespace.
Must never: unpin or detach on the way out, whatever the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType

from pyroute2 import IPRoute

from agent.compile.image import GATEWAY_NODE_ADDRESS, BackendState, Held, MapImage
from agent.dataplane import checks, own_interface, sysctl
from agent.dataplane.apply import Applied, write_image
from agent.dataplane.changes import changes
from agent.dataplane.counters import Counters, name_verdicts, read_counters
from agent.dataplane.errors import NodeUnfit
from agent.dataplane.flows import FlowRecord, backends_in_use, read_flows
from agent.dataplane.guards import NodeFacts, Refusals, admit
from agent.dataplane.hooks import Hooks
from agent.dataplane.interfaces import Interfaces, Wiring
from agent.dataplane.links import read_links
from agent.dataplane.lock import AgentLock
from agent.dataplane.memory import Memory, lives, recall, remember
from agent.dataplane.objects import load, start_ageing
from agent.dataplane.readback import read_backends, read_listeners, read_state
from agent.dataplane.sockets import node_addresses, used_ports
from agent.dataplane.tables import Tables
from agent.dataplane.usage import TableUse, UsageMeter
from agent.dataplane.watch import InterfaceWatch
from agent.settings import Settings
from loader import bpffs
from loader.objects import Object
from routes.plan import Address


class Dataplane:
    """Open while an agent runs. `watch` tells when `reconcile_interfaces` is due."""

    def __init__(
        self, settings: Settings, netlink: IPRoute, tables: Tables, interfaces: Interfaces, owner: contextlib.ExitStack
    ) -> None:
        self.watch = owner.enter_context(InterfaceWatch())
        self._settings = settings
        self._netlink = netlink
        self._tables = tables
        self._interfaces = interfaces
        self._meter = UsageMeter(tables)
        self._memory = recall(settings.run_dir)
        self._owner = owner

    @classmethod
    def open(cls, settings: Settings) -> Dataplane:
        """Make this node ready, or adopt it as another agent left it.

        Raises NodeUnfit, AlreadyRunning, PinsOfAnother, and LoaderError (NoBpffs, NotSupported, VerifierRejected ...).
        """
        if faults := tuple(checks.faults()):
            raise NodeUnfit(faults)
        bpffs.require(settings.pin_dir)
        with contextlib.ExitStack() as stack:
            stack.callback(AgentLock.take(settings.run_dir).release)
            netlink = stack.enter_context(IPRoute(strict_check=True))
            programs, ageing, local_ifindex = _load(netlink, settings)
            stack.callback(programs.close)
            stack.callback(ageing.close)
            start_ageing(ageing)
            tables = stack.enter_context(Tables.open(settings.pin_dir, settings.object_dir))
            name_verdicts(tables)
            hooks = Hooks(programs.programs, tables)
            interfaces = Interfaces(netlink, settings, hooks, local_ifindex)
            return cls(settings, netlink, tables, interfaces, stack.pop_all())

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
        )

    def node_addresses(self) -> frozenset[Address]:
        """The node's own addresses, as in `held` but at the price of one netlink dump."""
        return node_addresses(self._netlink)

    def apply(self, image: MapImage) -> Applied:
        """Write what of `image` the guards let through. Raises TableFull with nothing written, LoaderError, OSError."""
        admitted, refused = self._admit(image)
        ours = lives(image)
        # Before writing, since a process may die in between: then the kernel holds lives of both images.
        self._remember(
            replace(self._memory, listeners=image.names.listeners, backends={**self._memory.backends, **ours})
        )
        applied = write_image(self._tables, admitted, refused)
        self._memory = replace(self._memory, backends=ours)
        return applied

    def differences(self, image: MapImage) -> tuple[str, ...]:
        """What the kernel holds otherwise than `image` wants, after the guards; one line each."""
        admitted, _ = self._admit(image)
        return tuple(changes(read_state(self._tables, admitted.pools), admitted).differences())

    def matches(self, image: MapImage) -> bool:
        """Whether the kernel, read back, holds `image`."""
        return not self.differences(image)

    def reconcile_interfaces(self, image: MapImage) -> Wiring:
        """Hook what must be hooked, route what must be routed. Raises NodeUnfit, LoaderError, NetlinkError, OSError."""
        admitted, _ = self._admit(image)
        wiring = self._interfaces.reconcile(admitted, self._memory.memberships)
        self._remember(replace(self._memory, memberships=wiring.memberships))
        return replace(wiring, notes=(*wiring.notes, *checks.notes(self._settings.delivery, wiring.uplinks)))

    def counters(self) -> Counters:
        """Counters of every verdict, and of every listener and backend that the tables hold."""
        return read_counters(self._tables)

    def usage(self) -> tuple[TableUse, ...]:
        """How full the tables are."""
        return self._meter.read()

    def flows(self) -> Iterator[FlowRecord]:
        """Every flow that is alive."""
        return read_flows(self._tables)

    def close(self) -> None:
        """Let go of everything and take nothing away. Twice is once."""
        self._owner.close()

    def __enter__(self) -> Dataplane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _admit(self, image: MapImage) -> tuple[MapImage, Refusals]:
        own = node_addresses(self._netlink)
        on_node = any(x in own or flags & GATEWAY_NODE_ADDRESS for x, flags in image.gateways.items())
        facts = NodeFacts(own, used_ports() if on_node else (), sysctl.ipv6_enabled())
        return admit(image, facts, read_listeners(self._tables) if on_node else ())

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
