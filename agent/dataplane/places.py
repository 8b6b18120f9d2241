"""Where a packet that somebody asks about is seen: at which interface, by which program. Pure.

Rules: what was asked for counts, if one of our hooks is there. Else a reply of a known flow is where that flow's
replies pass, and what a backend on the node sends from its port, to no gateway's address, is looked for where replies
leave; anything else is at the uplink that leads to its source, or at penstock0 if its source is on this node or
behind one of its other interfaces: what comes from there without passing an uplink is routed to penstock0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.dataplane.errors import DataplaneError
from agent.dataplane.hooks import HOOKS, Role
from agent.dataplane.links import Link
from agent.dataplane.met import MetFlow
from loader.hook import Direction


class WrongPlace(DataplaneError):
    """No such interface, or none of our hooks is where the packet was said to be."""


@dataclass(frozen=True, slots=True)
class Place:
    """An interface, by its link, and the program that sees the packet there."""

    link: Link
    role: Role
    direction: Direction
    program: str

    @property
    def hook(self) -> str:
        """The name in `enum hook`: each program counts under its own."""
        return f"HOOK_{self.program.upper()}"

    def __str__(self) -> str:
        return f"{self.link.name} {self.direction.value}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`hooked`: role of each interface with hooks, by ifindex. `links`: every interface. `source_way`: the ifindex by
    which the packet's source is reached, 0 if that is on this node or cannot be reached. `from_backend`:
    whether the packet looks like a backend's reply."""

    hooked: Mapping[int, Role]
    links: Mapping[int, Link]
    source_way: int = 0
    source_here: bool = False
    from_backend: bool = False


def choose(around: Surroundings, met: MetFlow | None, interface: str = "", direction: Direction | None = None) -> Place:
    """The place of a packet of flow `met`. `interface` and `direction` as asked for, "" and None = neither.

    Raises WrongPlace.
    """
    there = list(_places(around))
    if not there:
        raise WrongPlace("no interface of this network namespace carries a hook of ours: run this on the node itself")
    if interface:
        there = _at(interface, around, there)
    if direction is not None:
        there = [x for x in there if x.direction is direction]
        if not there:
            raise WrongPlace(f"no hook of ours sees what {interface or 'a pod'} has at {direction.value}")
    role, wanted = _usual(around, met)
    return min(
        there,
        key=lambda x: (
            (x.role, x.direction) != (role, wanted),
            x.direction is not wanted,
            x.role is not Role.UPLINK,
            x.link.index != around.source_way,
            x.link.index,
        ),
    )


def _places(around: Surroundings) -> Iterator[Place]:
    for index, role in around.hooked.items():
        if index in around.links:
            for program, direction in HOOKS[role]:
                yield Place(around.links[index], role, direction, program)


def _at(interface: str, around: Surroundings, there: list[Place]) -> list[Place]:
    if interface not in {x.name for x in around.links.values()}:
        raise WrongPlace(f"there is no interface {interface!r}")
    found = [x for x in there if x.link.name == interface]
    if not found:
        names = ", ".join(sorted({x.link.name for x in there}))
        raise WrongPlace(f"{interface} carries no hook of ours, so no packet is seen there; these do: {names}")
    return found


def _usual(around: Surroundings, met: MetFlow | None) -> tuple[Role, Direction]:
    """Where such a packet passes a hook first."""
    if met is not None and met.is_reply:
        if "FLOW_REMOTE" in met.flags:
            return Role.UPLINK, Direction.INGRESS
        if "FLOW_SNAT" in met.flags:
            return Role.LOCAL, Direction.EGRESS
        return (Role.POD, Direction.INGRESS) if met.record.redirected else (Role.UPLINK, Direction.EGRESS)
    way = around.hooked.get(around.source_way)
    inside = around.source_here or (around.source_way != 0 and way not in (Role.UPLINK, Role.LOCAL))
    if inside and met is None and around.from_backend:
        return Role.UPLINK, Direction.EGRESS
    return (Role.LOCAL, Direction.EGRESS) if inside else (Role.UPLINK, Direction.INGRESS)
