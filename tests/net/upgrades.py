"""An upgrade, by an agent that follows another, and what is in the kernel before and after it."""

from __future__ import annotations

from dataclasses import dataclass

from agent.dataplane.sets import folders, in_force, tables_in
from lab.gateway import Gateway
from lab.process import Argument, run
from lab.wait import until
from loader.attach import attachments
from loader.maps import Map
from loader.running import tag

SMALL: tuple[Argument, ...] = ("--tcp-flows", 8192, "--half-open", 8192, "--udp-flows", 8192)


@dataclass(frozen=True, slots=True)
class InKernel:
    """Numbers of what is pinned and hooked."""

    maps: frozenset[int]
    programs: frozenset[int]
    tags: frozenset[bytes]


def in_kernel(gateway: Gateway) -> InKernel:
    """Of the only set there is."""
    (folder,) = folders(gateway.pins)
    assert folder == in_force(gateway.pins)
    maps = set()
    for name in tables_in(folder):
        with Map.open_pinned(folder / name) as table:
            maps.add(table.id)
    with gateway.lab.node.inside():
        programs = frozenset(x.program_id for x in attachments(folder))
    return InKernel(frozenset(maps), programs, frozenset(map(tag, programs)))


def upgrade(gateway: Gateway, *options: Argument) -> None:
    """Another agent follows the one that runs; of what it replaced nothing is left."""
    before = in_kernel(gateway)
    gateway.stop()
    gateway.options = (*SMALL, *options)
    gateway.start()
    after = in_kernel(gateway)
    for kind, gone in (("map", before.maps - after.maps), ("prog", before.programs - after.programs)):
        for number in gone:
            until(lambda kind=kind, number=number: not exists(kind, number), f"{kind} {number} is gone")


def exists(kind: str, number: int) -> bool:
    return run("bpftool", kind, "show", "id", str(number), check=False).returncode == 0
