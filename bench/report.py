"""docs/bench.md and docs/bench.svg (of a virtual machine: docs/bench-vm.md), written anew by every run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench import chart, figures, machine
from bench.figures import Figure
from bench.measures import Measure
from bench.peers.base import Peer
from bench.rounds import Plan, Samples

_METHOD = """\
## Method

- `client | node | backend`, three network namespaces per peer joined by veths. Every peer has its own three and its
  own servers, so no peer's rules, connection tracking or programs are in another's way. Idle ones cost nothing.
- Everything (clients, servers, proxies, the agent, all packet work) is pinned to **one** CPU: a wake-up across CPUs
  costs more here than any of the ways. What is compared is work done per second of CPU time that they all used
  together: on one CPU the same as the rate that an idle machine shows, but it stays right when the machine is not
  idle. So 0.5 does not mean that the way itself costs twice as much: client and server are in every figure.
- Peers are interleaved in short rounds; each sample is divided by plain forwarding's of the same round; the figure is
  the median of the rounds, in brackets the quartiles. **Plain kernel forwarding without NAT is 1**, higher is better.
- A/A control: plain forwarding is there twice, in two labs. A column where it is off by more than 10 % is marked.
- Two endpoints, weights 1 and 3, chosen for each flow; both are addresses of one backend. Plain forwarding,
  no hop and the bare redirects change no address; all others rewrite address and port. Stock settings, one worker for
  the proxies.
- *TCP ping-pong*: a byte to and fro on one connection. *TCP connections*: connect, a byte to and fro, the server
  closes, then the client. *In a SYN flood*: the same, and before each connection ten SYNs that nobody follows up, from
  100,000 senders in turn (`bench/flood.h`); what they cost is in the figure. *TCP bulk*: iperf3, one
  stream. *UDP round trip*: a byte to and fro, one flow. *UDP one-way*: 64-byte datagrams in bursts of 64, each burst
  acknowledged by one datagram. *HTTP*: wrk, 16 kept connections, nginx.

## Caveats

- veths, not NICs: no DMA, no interrupts, checksums are never computed and TCP segments stay 64 kB super-packets all
  the way. What a packet costs shows in ping-pong, connections and UDP; bulk shows little of it.
- Plain forwarding here has no connection tracking, no firewall and no kube-proxy. On a node that has them, the
  kernel's own way (and so `stack`, which goes it) is slower than here, while `redirect` passes them by.
- One client, one flow at a time: nothing is said of many cores or many flows. `bench-frames.md` has the node's part
  alone, `bench-frames-vm.md` IPVS's and a flowtable's, `bench-prog.md` the cost of a packet.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured, where and how."""

    plan: Plan
    peers: Sequence[Peer]
    reference: Peer
    control: Peer
    samples: Samples
    machine: str
    load: float


def _rates(run: Run, measure: Measure, peer: Peer) -> list[float | None]:
    """Work per second of CPU time, by round; empty if the peer cannot do the measure."""
    return [x.work / x.cpu if x else None for x in run.samples.get((measure.name, peer.site), [])]


def figure(run: Run, measure: Measure, peer: Peer) -> Figure | None:
    """The figure of a peer in a measure, None if there is none."""
    rates = _rates(run, measure, peer)
    return figures.ratio(rates, _rates(run, measure, run.reference)) if rates else None


def share_of_cpu(run: Run) -> float:
    """How much of the CPU's time the ends got: 1 on a machine that does nothing else."""
    return statistics.median(x.cpu / x.wall for samples in run.samples.values() for x in samples if x)


def _cell(run: Run, measure: Measure, peer: Peer) -> str:
    if peer is run.reference:
        return "1"
    seen = figure(run, measure, peer)
    if not seen:
        return "—"
    missing = f" *{seen.rounds} rounds*" if seen.rounds < run.plan.rounds else ""
    return f"**{seen.median:.2f}** ({seen.low:.2f}–{seen.high:.2f}){missing}"


def _heading(run: Run, measure: Measure) -> str:
    noisy = figures.is_noisy(figure(run, measure, run.control))
    return measure.title + (" *(noisy)*" if noisy else "")


def _rate(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value / 1e9:.1f} G" if value >= 1e9 else f"{value:,.0f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(run: Run) -> Iterator[str]:
    """The Markdown table of ratios, and the reference's own rates in its last row."""
    measures = run.plan.measures
    yield _row(["", *(_heading(run, x) for x in measures)])
    yield _row(["---"] * (len(measures) + 1))
    for peer in run.peers:
        yield _row([peer.title, *(_cell(run, x, peer) for x in measures)])
    rates = (_rate(figures.rate(_rates(run, x, run.reference))) for x in measures)
    units = (x.unit for x in measures)
    yield _row(["*plain forwarding itself, per s*", *(f"*{x} {y}*" for x, y in zip(rates, units, strict=True))])


def markdown(run: Run, picture_name: str) -> str:
    """The whole page."""
    plan = run.plan
    noisy = [x.title for x in plan.measures if figures.is_noisy(figure(run, x, run.control))]
    verdict = (
        f"Noisy by the A/A control: {', '.join(noisy)}." if noisy else "The A/A control is within 10 % everywhere."
    )
    lines = [
        "# What it costs to go through Penstock",
        "",
        f"Written by `make {'vm-bench' if machine.runner() else 'bench'}`; do not edit.",
        "",
        f"{time.strftime('%Y-%m-%d')}. {run.machine}; everything on CPU {plan.cpu}; IPv{plan.family}; {plan.rounds} "
        f"rounds of {plan.milliseconds / 1000:g} s; load average before the run {run.load:.1f}, and the run got "
        f"{share_of_cpu(run):.0%} of its CPU. {verdict}",
        "",
        *table(run),
        "",
        f"![The same as bars]({picture_name})",
        "",
        _METHOD + machine.caveat(),
    ]
    return "\n".join(lines)


def picture(run: Run) -> str:
    """The chart."""
    groups = []
    for measure in run.plan.measures:
        rows = ((peer.title.replace("`", ""), figure(run, measure, peer)) for peer in run.peers)
        groups.append((measure.title, [(title, seen) for title, seen in rows if seen]))
    return chart.svg(groups, [x.title.replace("`", "") for x in run.peers])
