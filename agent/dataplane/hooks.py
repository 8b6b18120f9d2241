"""Programs on interfaces, and the table that tells the programs which interfaces those are.

Decides: what each role has hooked, and in which order hook and table entry come and go.
  uplink  entry, egress, ingress: a request that is let in must find its reply hook on, and the interface known
  local   entry, egress
  pod     ingress, entry: the entry says "its hook is on, redirect to it", so it is there only while that is true
What goes, goes in the opposite order.
Rules: a hook that is missing, or that runs another program than this agent's, is put on; the loader replaces a program
in place, so no packet passes unhooked; whether it is on is read back afterwards. An interface that vanishes takes its
hooks along; only its pins and its entry are swept up. Must never: raise for an interface that is gone; touch a program
that is not ours.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.dataplane import snat
from agent.dataplane.links import Link
from agent.dataplane.tables import Tables
from loader.attach import Attachment, Direction, attach, attachments, detach
from loader.errors import InterfaceGone, LoaderError
from loader.program import Program
from routes.plan import Address


class Role(enum.Enum):
    """What an interface is to the gateway; INTERFACE_<name> in `enum interface_role`."""

    UPLINK = "uplink"
    LOCAL = "local"
    POD = "pod"


# In the order in which they are put on.
HOOKS: Mapping[Role, tuple[tuple[str, Direction], ...]] = {
    Role.UPLINK: (("uplink_egress", Direction.EGRESS), ("uplink_ingress", Direction.INGRESS)),
    Role.LOCAL: (("local_egress", Direction.EGRESS),),
    Role.POD: (("pod_ingress", Direction.INGRESS),),
}
_ORDER = [program for hooks in HOOKS.values() for program, _ in hooks]


@dataclass(frozen=True, slots=True)
class Wire:
    """An interface and its role. `sources`: addresses that it lends to flows whose backend cannot see the client.
    `has_xdp`: our XDP program is on it, and its driver takes frames from other interfaces (xdp.py)."""

    role: Role
    link: Link
    sources: tuple[Address, ...] = ()
    has_xdp: bool = False


class Hooks:
    """Reconciles hooks and table `interfaces`, with these programs by name."""

    def __init__(self, programs: Mapping[str, Program], tables: Tables) -> None:
        self._programs = programs
        self._tables = tables
        self._pins = tables.pins
        self._entries = tables.interfaces
        self._roles = tables.btf.enum("interface_role")

    def attached(self) -> tuple[Attachment, ...]:
        """Every hook of ours on this node, dead ones too."""
        return attachments(self._pins)

    def reconcile(self, wires: Mapping[int, Wire], attached: tuple[Attachment, ...]) -> Iterator[str]:
        """Hook exactly `wires` (by ifindex), given what is `attached`. Yields a note for each that cannot be."""
        entries = dict(self._entries.items())
        for index in sorted(entries.keys() | {x.ifindex for x in attached}):
            wire, entry = wires.get(index), entries.get(index)
            wanted = {program for program, _ in HOOKS[wire.role]} if wire else set()
            leaves = wire is None or (entry is not None and entry["role"] != self._number(wire.role))
            here = [x for x in attached if x.ifindex == index and (leaves or x.program not in wanted or not x.alive)]
            if leaves:
                self._take_down(index, entry, here)
            else:
                self._detach(here)
        for index, wire in sorted(wires.items()):
            snat.lend(self._tables, index, wire.sources)
            yield from self._put_up(index, wire, entries.get(index), attached)
        snat.take_back(self._tables, {index: wire.sources for index, wire in wires.items()})

    def faults(self, wires: Mapping[int, Wire]) -> Iterator[str]:
        """What `wires` lack, read back, so that packets miss the gateway; a pod's hook only makes their way shorter."""
        entries = dict(self._entries.items())
        running = {(x.program, x.ifindex, x.program_id) for x in self.attached() if x.alive}
        for index, wire in sorted(wires.items()):
            if wire.role is Role.POD:
                continue
            if entries.get(index) != self._entry(wire):
                yield f"table interfaces does not have {wire.link.name}"
            for name, _ in HOOKS[wire.role]:
                if (name, index, self._programs[name].id) not in running:
                    yield f"{name} is not hooked to {wire.link.name}"

    def _put_up(
        self, index: int, wire: Wire, entry: Mapping[str, object] | None, attached: tuple[Attachment, ...]
    ) -> Iterator[str]:
        wanted = self._entry(wire)
        running = {x.program: x.program_id for x in attached if x.ifindex == index and x.alive}
        try:
            if entry != wanted and wire.role is not Role.POD:
                self._entries.set(index, wanted)
            for name, direction in HOOKS[wire.role]:
                program = self._programs[name]
                if running.get(name) != program.id:
                    attach(program, index, direction, self._pins)
                if name not in running and entry is not None and entry["role"] == wanted["role"]:
                    yield f"{name} had gone from {wire.link.name} and was put back"
            if entry != wanted and wire.role is Role.POD:
                self._entries.set(index, wanted)
        except InterfaceGone:
            self._entries.delete(index)
        except LoaderError as error:
            if wire.role is Role.POD:
                self._entries.delete(index)
            yield f"{wire.link.name} is not (fully) hooked: {error}"

    def _take_down(self, index: int, entry: Mapping[str, object] | None, hooks: list[Attachment]) -> None:
        if entry and entry["role"] == self._number(Role.POD):
            self._entries.delete(index)
        self._detach(hooks)
        self._entries.delete(index)

    def _detach(self, hooks: list[Attachment]) -> None:
        for hook in sorted(hooks, key=lambda x: _ORDER.index(x.program) if x.program in _ORDER else -1, reverse=True):
            detach(hook, self._pins)

    def _entry(self, wire: Wire) -> Mapping[str, object]:
        lent = {version: sum(x.version == version for x in wire.sources) for version in (4, 6)}
        return {
            "role": self._number(wire.role),
            "mac": wire.link.mac,
            "snat_sources4": lent[4],
            "snat_sources6": lent[6],
            "has_xdp": int(wire.has_xdp),
        }

    def _number(self, role: Role) -> int:
        return int(self._roles[f"INTERFACE_{role.name}"])


def hooked_uplinks(attached: tuple[Attachment, ...]) -> frozenset[int]:
    """Interfaces that carry a hook of an uplink."""
    programs = {program for program, _ in HOOKS[Role.UPLINK]}
    return frozenset(x.ifindex for x in attached if x.alive and x.program in programs)
