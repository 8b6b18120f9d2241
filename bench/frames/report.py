"""docs/bench-frames.md and docs/bench-frames.svg (of a virtual machine: docs/bench-frames-vm.md)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench import chart, figures, machine
from bench.figures import Figure
from bench.frames.shot import FRAME
from bench.frames.site import Sample, Where
from bench.frames.ways import PROTOCOLS, Way

LOST: Final = 0.02
"""Share of frames that may be lost without a word about it."""
_METHOD: Final = f"""\
## Method

- `client | node | far end`, network namespaces joined by veths, three for each row. A real client opens a flow with a
  real server at the far end, through what the row names, and keeps it. Then frames of that flow are injected where the
  client's wire begins: `BPF_PROG_TEST_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES`, in batches of 64. They meet the driver of
  the node's NIC (native XDP, or NAPI with GRO), go the row's way, and an XDP program in the far end's driver (at a pod:
  a TC program) counts them and ends them. There is no process, no socket and no wake-up between, and no reply.
- A frame has {FRAME} octets and continues the flow by its sequence numbers. Before each sample the client asks once
  more, and is answered. Nothing is offloaded to the veths: no checksum, no segmentation; every frame is a packet.
- Figures are frames that *arrived* per second of CPU time (this process and ksoftirqd, all on one CPU), divided by
  plain forwarding's of the same round: the median of the rounds, in brackets the quartiles. **Plain kernel forwarding
  without NAT is 1**, higher is better. Rows take turns, each round begins one further. Where more than {LOST:.0%} of
  a row's frames were lost it says so.
- *Bare XDP drop* counts in the driver of the node's NIC and goes no further: so much of each row's nanoseconds are the
  injection's. *Bare redirects* put two MACs into the frame and send it on: the floors of their hooks.
- To a machine behind another NIC Penstock and nftables change all of address, port, source address and source port; the
  floors and plain forwarding change nothing. Penstock goes from uplink to uplink there, in both ways of delivery; with
  `--xdp force` in the drivers of both. To a pod the client's address stays.

## Caveats

- One flow, one CPU, requests only: best case for every row. `bench-prog.md` has many flows, `bench.md` both directions
  and new connections; `bench-frames-vm.md` has IPVS and a flowtable, on a kernel that has them.
- A veth's driver has no DMA and no doorbell. A NIC's adds the same to each row, which brings all ratios nearer to 1.
- Plain forwarding here has no connection tracking, no firewall and no kube-proxy.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured, where and how."""

    ways: Sequence[Way]
    samples: Mapping[tuple[Way, str], Sequence[Sample]]
    family: int
    cpu: int
    machine: str
    load: float

    def to(self, where: Where) -> list[Way]:
        """The ways to that far end; the first is the reference, the second the control."""
        return [x for x in self.ways if x.where is where]


def figure(run: Run, way: Way, protocol: str) -> Figure | None:
    """The row's figure, None if nothing came."""
    reference = run.to(way.where)[0]
    return figures.ratio(_rates(run, way, protocol), _rates(run, reference, protocol))


def _rates(run: Run, way: Way, protocol: str) -> list[float | None]:
    return [x.arrived / x.cpu for x in run.samples[way, protocol]]


def lost(samples: Sequence[Sample]) -> float:
    """The share of frames that did not come."""
    return 1 - sum(x.arrived for x in samples) / sum(x.sent for x in samples)


def _ratio(run: Run, way: Way, protocol: str) -> str:
    seen, gone = figure(run, way, protocol), lost(run.samples[way, protocol])
    if seen is None:
        return "nothing came"
    shown = "1" if way is run.to(way.where)[0] else f"**{seen.median:.2f}** ({seen.low:.2f}–{seen.high:.2f})"
    return f"{shown} *{gone:.0%} lost*" if gone > LOST else shown


def _cost(run: Run, way: Way, protocol: str) -> str:
    costs = [x.cpu / x.arrived * 1e9 for x in run.samples[way, protocol] if x.arrived]
    return f"{statistics.median(costs):,.0f}" if costs else "—"


def tables(run: Run) -> Iterator[str]:
    """A Markdown table for each far end."""
    for where in Where:
        yield from ("", f"To {where.value}:", "")
        yield f"| | {' | '.join(PROTOCOLS)} | {' | '.join(f'ns a frame, {x}' for x in PROTOCOLS)} |"
        yield f"| {' | '.join(['---'] * (1 + 2 * len(PROTOCOLS)))} |"
        for way in run.to(where):
            cells = [make(run, way, protocol) for make in (_ratio, _cost) for protocol in PROTOCOLS]
            yield f"| {way.title} | {' | '.join(cells)} |"


def noisy(run: Run) -> list[str]:
    """The columns that the A/A control distrusts."""
    controls = [(run.to(where)[1], protocol) for where in Where for protocol in PROTOCOLS]
    return [f"{x}, to {way.where.value}" for way, x in controls if figures.is_noisy(figure(run, way, x))]


def markdown(run: Run, picture_name: str) -> str:
    """The whole page."""
    rounds = len(run.samples[run.ways[0], PROTOCOLS[0]])
    frames = run.samples[run.ways[0], PROTOCOLS[0]][0].sent
    distrusted = noisy(run)
    verdict = (
        f"Noisy by the A/A control: {'; '.join(distrusted)}."
        if distrusted
        else "The A/A control is within 10 % everywhere."
    )
    lines = [
        "# What a frame costs the node",
        "",
        f"Written by `make {'vm-bench' if machine.runner() else 'bench-frames'}`; do not edit.",
        "",
        f"{time.strftime('%Y-%m-%d')}. {run.machine}; everything on CPU {run.cpu}; IPv{run.family}; {rounds} rounds of "
        f"{frames:,} frames; load average before the run {run.load:.1f}. {verdict}",
        *tables(run),
        "",
        f"![The same as bars]({picture_name})",
        "",
        _METHOD + machine.caveat(),
    ]
    return "\n".join(lines)


def picture(run: Run) -> str:
    """The chart."""
    groups = []
    for where in Where:
        ways = [x for x in run.to(where) if x.complete]
        for protocol in PROTOCOLS:
            rows = ((_plain(way.title), figure(run, way, protocol)) for way in ways)
            groups.append((f"{protocol}, to {where.value}", [(title, seen) for title, seen in rows if seen]))
    colours = [""] * len(chart.COLOURS) * len(Where)
    for number, where in enumerate(Where):
        for way in run.to(where):
            colours[number * len(chart.COLOURS) + way.colour] = _plain(way.title)
    return chart.svg(groups, colours)


def _plain(title: str) -> str:
    return title.replace("`", "")
