"""The agent's one handle on its node's kernel.

Decides: the order of starting (fit node, lock, own interface, programs, ageing) and the steps of a pass, each of which
takes what the one before gave: `held`, `admit`, `apply`, `reconcile_interfaces`, `read_back`; so a pass judges by one
picture of the node. A small change has `apply_touched` and `read_back_touched` alone, which look at nothing else.
Counters and flows are view.py's.
Rules: opening adopts whatever an agent before pinned, and takes nothing away; closing leaves everything pinned, hooked
and running. Not thread-safe: one thread at a time, in one network namespace.
Must never: unpin or detach on the way out, whatever the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from pyroute2 import IPRoute

from agent.compile.image import (
    GATEWAY_NODE_ADDRESS,
    BackendEntry,
    BackendName,
    BackendState,
    Held,
    ListenerKey,
    MapImage,
    Names,
    Room,
)
from agent.dataplane import checks, memory, own_interface, sysctl
from agent.dataplane.apply import write_image, write_touched
from agent.dataplane.changes import Changes, changes, narrowed
from agent.dataplane.counters import name_verdicts
from agent.dataplane.errors import NodeUnfit, translated
from agent.dataplane.flows import backends_in_use
from agent.dataplane.guards import Admitted, NodeFacts, admit
from agent.dataplane.hooks import Hooks
from agent.dataplane.interfaces import Interfaces, Wiring
from agent.dataplane.links import node_addresses, read_links
from agent.dataplane.lock import AgentLock
from agent.dataplane.memory import Life, Memory, life, lives, recall
from agent.dataplane.objects import load, load_xdp, start_ageing
from agent.dataplane.policies import read_policies
from agent.dataplane.readback import read_backends, read_listeners, read_part, read_state, room
from agent.dataplane.snat import declare_symmetric
from agent.dataplane.sockets import used_ports
from agent.dataplane.tables import Tables, require_objects
from agent.dataplane.walk import differences
from agent.dataplane.watch import InterfaceWatch
from agent.dataplane.xdp import XDP_PROGRAM, Accelerator
from agent.settings import Delivery, Settings, Xdp
from loader.errors import LoaderError
from loader.objects import Object
from routes.plan import Address

_JOURNAL_MOST = 1 << 20  # octets of the memory's journal from which on it is written anew


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
        self._recalled = recall(settings.run_dir)
        self._memberships = self._recalled.memberships
        self._xdp_waits = False
        self._named: tuple[MapImage, ...] = ()  # whose names are remembered: of these, the kernel holds some lives
        self._edition: int | None = None  # of our own, None before there is one
        self._applied: MapImage | None = None  # what the tables hold, None while that is not sure
        self._owner = owner

    @classmethod
    @translated()
    def open(cls, settings: Settings) -> Dataplane:
        """Make this node ready, or adopt it as another agent left it.

        Raises NodeUnfit, AlreadyRunning, PinsOfAnother, HookOfAnother, KernelRefused (a rejected program, too).
        """
        if faults := tuple(checks.faults()):
            raise NodeUnfit(faults)
        require_objects(settings.object_dir)
        with contextlib.ExitStack() as stack:
            stack.callback(AgentLock.take(settings.run_dir, settings.pin_dir, make_pins=True).release)
            netlink = stack.enter_context(IPRoute(strict_check=True))
            programs, ageing, local_ifindex = _load(netlink, settings)
            stack.callback(programs.close)
            stack.callback(ageing.close)
            start_ageing(ageing)
            tables = stack.enter_context(Tables.open(settings.pin_dir, settings.object_dir))
            name_verdicts(tables)
            declare_symmetric(tables, settings.symmetric)
            hooks = Hooks(programs.programs, tables)
            accelerator = _accelerator(settings, local_ifindex, tables, stack)
            interfaces = Interfaces(
                netlink, settings, tables, hooks=hooks, accelerator=accelerator, local_ifindex=local_ifindex
            )
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
            names=self._names(backends),
            room=room(self._tables),
            policies=read_policies(self._tables),
        )

    @property
    def room(self) -> Room:
        """The sizes of the tables."""
        return room(self._tables)

    @property
    def hooks_follow_backends(self) -> bool:
        """Whether `reconcile_interfaces` is due when backends changed, and not only when interfaces did."""
        return self._settings.delivery is Delivery.REDIRECT or self._xdp_waits

    @translated()
    def unused(self, waiting: Collection[int]) -> frozenset[int]:
        """Those of the backend ids that no flow refers to. Costs what `held` with `scan` does."""
        return frozenset(waiting) - backends_in_use(self._tables) if waiting else frozenset()

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
        # Before writing, since a process may die in between: then the kernel holds lives of both images.
        self._remember(image)
        self._applied = None
        written = write_image(self._tables, image)
        self._recalled, self._named, self._applied = Memory(), (image,), image
        return written

    @translated()
    def apply_touched(self, image: MapImage) -> Changes | None:
        """The same for an image that was recompiled from the one applied last; at the price of what it touched.

        None, and nothing was done, when it is not sure that the tables hold that one.
        """
        before, touched = self._applied, image.touched
        if before is None or touched is None or self._edition is None:
            return None
        words = {x: image.names.listeners[x] for x in touched.listeners if x in image.names.listeners}
        self._applied = None
        new = lives(image, sorted(touched.backends))
        size = memory.append(self._edition, Names(words), new, self._settings.run_dir)
        written = write_touched(self._tables, image, touched, before)
        self._named, self._applied = (image,), image
        if size > _JOURNAL_MOST:
            self._edition = None  # the next image is written whole
        return written

    @translated()
    def read_back(self, image: MapImage) -> ReadBack:
        """What the kernel holds, compared with an image that was admitted."""
        state = read_state(self._tables, image.pools)
        found = tuple(changes(state, image).differences())
        if found:
            self._applied = None
        asked = {x: x for x in image.listeners}
        return ReadBack(frozenset(asked.get(x, x) for x in state.listeners), found)  # none a second time in memory

    def read_back_slowly(self, image: Callable[[], MapImage]) -> Iterator[tuple[str, ...]]:
        """`read_back` in slices of some milliseconds: what is otherwise in each. `image()` may change in between."""
        with translated():
            for found in differences(self._tables, image):
                if found:
                    self._applied = None
                yield found

    @translated()
    def read_back_touched(self, image: MapImage) -> tuple[str, ...]:
        """One line for each thing that the image touched and that is otherwise in the kernel."""
        if image.touched is None:
            return self.read_back(image).differences
        state = read_part(self._tables, image.touched.pools, image.touched.backends)
        found = tuple(changes(state, narrowed(image, image.touched)).differences())
        if found:
            self._applied = None
        return found

    @translated()
    def reconcile_interfaces(self, image: MapImage) -> Wiring:
        """Hook what must be hooked, route what must be routed, for an image that was admitted."""
        wiring = self._interfaces.reconcile(image, self._memberships)
        if wiring.memberships != self._memberships:
            self._memberships = wiring.memberships
            self._write_memory(*self._named)
        self._xdp_waits = wiring.xdp_waits
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

    def _names(self, held: Mapping[int, BackendEntry]) -> Names:
        if not self._named:
            return self._recalled.names(held)
        found: dict[int, BackendName] = {}
        for image in self._named:
            for number, entry in held.items():
                known = image.backends.get(number)
                if known is not None and number in image.names.backends and life(0, known) == life(0, entry):
                    found[number] = image.names.backends[number]
        recalled = self._recalled.names(held)
        return Names({**recalled.listeners, **self._named[-1].names.listeners}, {**recalled.backends, **found})

    def _remember(self, image: MapImage) -> None:
        """The names of an image, and those that were remembered: it is not known which lives the kernel will hold."""
        last = self._named[-1] if self._named else None
        known = last is not None and self._edition is not None and last.names == image.names
        if not known or last is None or last.backends != image.backends:
            self._named = (*self._named, image)[-2:]
            self._write_memory(*self._named)

    def _write_memory(self, *images: MapImage) -> None:
        listeners = {**self._recalled.listeners, **(images[-1].names.listeners if images else {})}
        self._edition = memory.write(listeners, self._lives(images), self._memberships, self._settings.run_dir)

    def _lives(self, images: Sequence[MapImage]) -> Iterator[tuple[Life, BackendName]]:
        yield from self._recalled.backends.items()
        for number, image in enumerate(images, 1):
            later = images[number].backends if number < len(images) else {}
            yield from lives(image, [x for x in image.names.backends if image.backends[x] != later.get(x)])


def _accelerator(settings: Settings, local_ifindex: int, tables: Tables, owner: contextlib.ExitStack) -> Accelerator:
    """What cannot be loaded is no reason not to start: all goes on without, and is told."""
    if settings.xdp is Xdp.OFF:
        return Accelerator(settings.xdp, None, tables.pins)
    try:
        loaded = owner.enter_context(load_xdp(settings, local_ifindex))
    except LoaderError as error:
        return Accelerator(settings.xdp, None, tables.pins, f"its program cannot be loaded: {error}")
    return Accelerator(settings.xdp, loaded.program(XDP_PROGRAM), tables.pins)


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
