"""`python -m bench.frames`: writes docs/bench-frames.md and docs/bench-frames.svg, or another page and its picture."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import machine
from bench.frames import report
from bench.frames.site import Flow, Sample, Site
from bench.frames.ways import PROTOCOLS, WAYS, Way
from lab.process import CommandFailed
from lab.topology import FAMILIES, LabBusy

_PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "bench-frames.md"
_TRIAL: Final = 10_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.frames", description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--frames", type=int, default=50_000, help="of each sample")
    parser.add_argument("--family", type=int, choices=FAMILIES, default=4)
    parser.add_argument("--cpu", type=int, default=machine.last_cpu(), help="that everything is pinned to")
    parser.add_argument("--all", action="store_true", help="the ways too that not every kernel has")
    parser.add_argument("--page", type=Path, default=_PAGE, help="write there; the picture beside it")
    parser.add_argument("--dry", action="store_true", help="print the tables, write nothing")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _measured(arguments: argparse.Namespace) -> report.Run:
    """Build all ways, open a flow of each protocol through each, and take all rounds."""
    ways = [x for x in WAYS if x.everywhere or arguments.all]
    load = machine.load()
    machine.pin(arguments.cpu)
    samples: dict[tuple[Way, str], list[Sample]] = {}
    with ExitStack() as stack:
        flows: dict[tuple[Way, str], Flow] = {}
        for way in ways:
            _say(f"building {way.title}, to {way.where.value}")
            site = stack.enter_context(Site(way.name, way.where))
            way.start(site)
            addresses, port = way.asked
            for protocol in PROTOCOLS:
                flow = stack.enter_context(site.flow(protocol, addresses[arguments.family], port))
                flow.sample(_TRIAL, arguments.cpu)
                flows[way, protocol], samples[way, protocol] = flow, []
        for number in range(arguments.rounds):
            _say(f"round {number + 1} of {arguments.rounds}")
            for protocol in PROTOCOLS:
                first = number % len(ways)
                for way in (*ways[first:], *ways[:first]):
                    sample = flows[way, protocol].sample(arguments.frames, arguments.cpu)
                    samples[way, protocol].append(sample)
    return report.Run(ways, samples, arguments.family, arguments.cpu, machine.description(), load)


def main() -> int:
    """0: measured and written; 1: a way does not work, or another bench runs."""
    arguments = _arguments()
    try:
        run = _measured(arguments)
    except (CommandFailed, LabBusy) as error:
        _say(f"error: {error}")
        return 1
    print("\n".join(report.tables(run)))
    if not arguments.dry:
        picture = arguments.page.with_suffix(".svg")
        arguments.page.write_text(report.markdown(run, picture.name))
        picture.write_text(report.picture(run))
        _say(f"written: {arguments.page}, {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
