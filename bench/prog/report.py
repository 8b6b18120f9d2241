"""docs/bench-prog.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.prog import cases
from bench.prog.way import Setup


@dataclass(frozen=True, slots=True)
class Row:
    """A packet and the program that it meets; "" where it goes to the one that its way of delivery has for it."""

    title: str
    program: str


LOOK_UP: Final = Row("*a look-up in a table like Katran's, alone, IPv4*", "look_up")


@dataclass(frozen=True, slots=True)
class Timing:
    """Nanoseconds: median and best of all calls."""

    median: float
    best: int


Timings = dict[tuple[Row, Setup], list[int]]


@dataclass(frozen=True, slots=True)
class Crowds:
    """The same packet with ever more flows of which each run meets another. `octets`: of kernel memory for a flow."""

    setups: Sequence[Setup]
    timings: Timings
    octets: float


def timing(values: Sequence[int]) -> Timing:
    """Of calls' means."""
    return Timing(statistics.median(values), min(values))


_METHOD = """\
## Method

- `BPF_PROG_TEST_RUN`: no interface, no interrupts; nanoseconds of the program alone, **median (best)** of many short
  calls, setups and packets in turn. One flow per family and protocol, all in cache: the best case, as all such figures.
- A repeated run sees the packet that the run before has made. So that every run does the whole work, two listeners are
  each other's backends, and a packet goes to and fro between two flows (`bench/prog/way.py`): look-up, state, counters,
  an address, a port and all checksums, every time. It is checked that each run ended in the verdict that the row names,
  and that the packet is the same after an even number of them. Frames of 60 octets of payload, checksum not offloaded
  (`CHECKSUM_NONE`).
- `redirect` calls are of {redirect} runs, since each takes one off the hop limit; the others of {stack}.
- Each packet of another flow: flows that rewrite a packet to the next one's, in a ring whose order is random in the
  table and in memory (`bench/prog/ring.py`), half a million steps of it. What they cost beyond flows that are all in
  cache, main memory costs: so beside them, in turn, stands a program that does one look-up and nothing more
  (`bench/floor.bpf.c`), in a table like Katran's (LRU, one entry a flow; ours are two, one for each direction).
- The segments of a connection are single runs on ever new ports, between system calls: caches are colder, and each
  holds the harness's cost of a single run (last line of the first table).
"""


def _cell(values: Sequence[int]) -> str:
    if not values:
        return "—"
    seen = timing(values)
    return f"**{seen.median:.0f}** ({seen.best})"


def _table(rows: Iterable[Row], setups: Sequence[Setup], timings: Timings, *, hooks: bool) -> list[str]:
    heading = ["packet", *(["program"] if hooks else []), *(x.title for x in setups)]
    lines = [f"| {' | '.join(heading)} |", f"| {' | '.join(['---'] * len(heading))} |"]
    for row in rows:
        cells = (_cell(timings.get((row, setup), [])) for setup in setups)
        names = [row.title, *([f"`{row.program}`"] if row.program else [])]
        lines.append(f"| {' | '.join([*names, *cells])} |")
    return lines


def _steepness(crowds: Crowds) -> str:
    """How much more each crowd costs than the smallest, as a ratio to what the look-up alone does."""
    medians = {key: timing(values).median for key, values in crowds.timings.items()}
    first, *others = crowds.setups
    row = next(row for row, _ in crowds.timings if row != LOOK_UP)
    ratios = ((medians[row, x] - medians[row, first]) / (medians[LOOK_UP, x] - medians[LOOK_UP, first]) for x in others)
    found = " and ".join(f"{ratio:.2f} at {x.title}" for ratio, x in zip(ratios, others, strict=True))
    return f"What {row.title} costs beyond {first.title}, by what the look-up alone does: **{found}**."


def markdown(
    setups: Sequence[Setup],
    timings: Timings,
    floors: Sequence[tuple[str, Timing]],
    remote: Timings,
    crowds: Crowds,
    *,
    about: str,
) -> str:
    """The whole page."""
    rows = list(dict.fromkeys(row for row, _ in timings))
    lines = [
        "# What a packet costs",
        "",
        "Written by `make bench-prog`; do not edit. Nanoseconds.",
        "",
        about,
        "",
        "| harness: a program that | |",
        "| --- | --- |",
        *(f"| {title} | **{x.median:.0f}** ({x.best}) |" for title, x in floors),
        "",
        *_table((x for x in rows if x.program), setups, timings, hooks=True),
        "",
        "To a remote backend (both addresses and ports and the hop limit change, and it leaves by a NIC):",
        "",
        *_table((row for row, _ in remote), [setup for _, setup in remote][:1], remote, hooks=True),
        "",
        "Each packet of another flow:",
        "",
        *_table(dict.fromkeys(row for row, _ in crowds.timings), crowds.setups, crowds.timings, hooks=True),
        "",
        _steepness(crowds),
        "",
        f"A TCP flow of IPv4 takes {crowds.octets:.0f} octets of the kernel's memory.",
        "",
        "The segments of a connection, each run once:",
        "",
        *_table((x for x in rows if not x.program), setups, timings, hooks=False),
        "",
        _METHOD.format(stack=cases.STACK_RUNS, redirect=cases.REDIRECT_RUNS),
    ]
    return "\n".join(lines)
