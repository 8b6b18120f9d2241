"""The run: short rounds, peers interleaved, everything on one CPU.

Decides: the order, and what a sample is: work done per second of CPU time that all ends together used (clients,
servers, proxies, the agent, the kernel's own packet work). On one CPU that is what the clock on the wall would show
on an idle machine, and it stays right when something else runs there too. In each round every measure is taken through
every peer once, beginning one peer further each round, so that what disturbs the machine for a while disturbs all
alike. Ratios are made within a round (figures.py).
Rules: a sample that fails is left out and said, it is never a zero; a peer that gives none of a measure in the trial
before the rounds is an error, not a gap in the table.
Must never: run two measurements at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import cpu_time
from bench.measures import Measure, NoSample
from bench.peers.base import Peer
from bench.site import Site
from lab.wait import TookTooLong, until

TRIAL = 100
"""Milliseconds of the trial."""

Way = tuple[Peer, Site]


@dataclass(frozen=True, slots=True)
class Sample:
    """Work in the measure's unit, CPU time of all ends and time on the wall in seconds."""

    work: float
    cpu: float
    wall: float


Samples = dict[tuple[str, str], list[Sample | None]]
"""(measure, peer's site) -> one sample per round, None where it failed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured, and on which CPU."""

    measures: Sequence[Measure]
    rounds: int
    milliseconds: int
    family: int
    cpu: int


class PeerDoesNotWork(Exception):
    """A peer passes nothing of a measure; the message says which and what was seen."""


def does(peer: Peer, measure: Measure) -> bool:
    """Whether the peer can do the measure's protocol at all."""
    return measure.service.protocol in peer.protocols


def _work(way: Way, measure: Measure, plan: Plan, milliseconds: int) -> float:
    peer, site = way
    return measure.work(site.lab.client, peer.address[plan.family], peer.port(measure.service), milliseconds)


def _sample(way: Way, measure: Measure, plan: Plan) -> Sample:
    pids = [cpu_time.ksoftirqd(plan.cpu), *(x.pid for x in way[1].processes)]
    cpu = cpu_time.of_processes(pids) + cpu_time.of_children()
    wall = time.monotonic()
    work = _work(way, measure, plan, plan.milliseconds)
    wall = time.monotonic() - wall
    return Sample(work, cpu_time.of_processes(pids) + cpu_time.of_children() - cpu, wall)


def try_out(ways: Sequence[Way], plan: Plan) -> None:
    """Every measure through every peer once, shortly. Raises PeerDoesNotWork."""
    for way in ways:
        for measure in plan.measures:
            if does(way[0], measure):
                _until_works(way, measure, plan)


def _until_works(way: Way, measure: Measure, plan: Plan) -> None:
    failures = [""]

    def works() -> bool:
        try:
            _work(way, measure, plan, TRIAL)
        except NoSample as failure:
            failures.append(str(failure))
            return False
        return True

    try:
        until(works, "a sample", patience=10, every=0.2)
    except TookTooLong:
        raise PeerDoesNotWork(f"{way[0].title}: {measure.title}: {failures[-1]}") from None


def run(ways: Sequence[Way], plan: Plan, say: Callable[[str], None]) -> Samples:
    """All rounds. `say` is told of each round and of each failed sample."""
    samples: Samples = {(m.name, peer.site): [] for m in plan.measures for peer, _ in ways if does(peer, m)}
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}")
        for measure in plan.measures:
            able = [way for way in ways if does(way[0], measure)]
            first = number % len(able)
            for way in (*able[first:], *able[:first]):
                sample: Sample | None = None
                try:
                    sample = _sample(way, measure, plan)
                except NoSample as failure:
                    say(f"  no sample: {way[0].title}: {failure}")
                samples[measure.name, way[0].site].append(sample)
    return samples
