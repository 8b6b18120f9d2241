"""Two packets at a time, one on each of two CPUs, that meet in the programs (lab/race.bpf.c).

Rules: both threads of a race run the same number of packets, in lock-step; which comes first, and by how much, is drawn
from a fixed seed. Where there is one CPU only the two take turns: what must hold holds then too.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab.lineup import LineUp
from loader.objects import Object
from loader.program import Program, RunResult
from loader.spec import ObjectSpec

from . import objects as o
from .rig import Rig, SkBuff

LEAD = 600
"""Steps that one may be late: a program's whole run, about."""

CPUS = (min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0)))

_CB = 48  # offset of cb in struct __sk_buff


@dataclass(frozen=True, slots=True)
class Shot:
    """A packet, and the hook that it comes to."""

    hook: int
    frame: bytes


Round = tuple[Shot, Shot]


class Races:
    """The starting line, in front of a rig's programs."""

    def __init__(self, rig: Rig, loaded: Object, racers: LineUp) -> None:
        self._rig = rig
        self._waited = loaded.map("starting_line")
        self._line: Program = loaded.program("race")
        self._chance = random.Random(1)
        self._started = 0
        self._threads = [ThreadPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, {x})) for x in CPUS]
        self._waited.set(0, {"come": 0, "in_vain": 0})
        self._racers = racers

    def close(self) -> None:
        """Ends the threads."""
        for thread in self._threads:
            thread.shutdown()

    def met(self) -> int:
        """Rounds so far in which neither started alone."""
        return self._started - int(self._waited.get(0)["in_vain"])

    def run(self, rounds: Sequence[Round]) -> list[tuple[RunResult, RunResult]]:
        """What became of the two packets of each round."""
        self._racers.fill()
        leads = [self._chance.randrange(-LEAD, LEAD) for _ in rounds]
        sides = [x.submit(self._side, n, [y[n] for y in rounds], leads) for n, x in enumerate(self._threads)]
        left, right = (x.result() for x in sides)
        self._started += len(rounds)
        return list(zip(left, right, strict=True))

    def _side(self, side: int, shots: Sequence[Shot], leads: Sequence[int]) -> list[RunResult]:
        results = []
        for number, (shot, lead) in enumerate(zip(shots, leads, strict=True), self._started + 1):
            context = bytearray(bytes(SkBuff(ifindex=self._rig.device(shot.hook).ifindex)))
            later = max(0, lead if side else -lead)
            struct.pack_into("=III", context, _CB, shot.hook, 2 * number, later)
            results.append(self._line.test_run(shot.frame, ctx=bytes(context)))
        return results


@contextlib.contextmanager
def races(rig: Rig) -> Iterator[Races]:
    """Races through the rig's programs. Inside the node, as every run of the rig is."""
    programs = {hook: rig.object.program(name).fd for hook, name in o.PROGRAMS.items()}
    with (
        Object.load(ObjectSpec(o.RACE_OBJECT), rig.pins / "race") as loaded,
        LineUp(loaded.program("race"), "racers", programs) as racers,
        contextlib.closing(Races(rig, loaded, racers)) as made,
    ):
        yield made
