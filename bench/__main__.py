"""`python -m bench`: one run of all peers; writes docs/bench.md and docs/bench.svg, or another page and its picture."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import machine, report, rounds
from bench.measures import MEASURES
from bench.peers import bare, envoy, haproxy, ipvs, nftables, penstock, plain
from bench.site import Site
from lab.process import CommandFailed
from lab.topology import FAMILIES, LabBusy

PEERS: Final = (
    plain.PLAIN,
    plain.AGAIN,
    plain.DIRECT,
    bare.REDIRECT,
    bare.REDIRECT_PEER,
    penstock.STACK,
    penstock.REDIRECT,
    nftables.NFTABLES,
    haproxy.HAPROXY,
    envoy.ENVOY,
)
NAMED_ONLY: Final = (ipvs.WRR, ipvs.MAGLEV)
"""Those that not every kernel has."""
_CONTROLS: Final = (plain.PLAIN, plain.AGAIN)
_PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "bench.md"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each sample")
    parser.add_argument("--family", type=int, choices=FAMILIES, default=4)
    parser.add_argument("--cpu", type=int, default=machine.last_cpu(), help="that everything is pinned to")
    parser.add_argument("--nice", type=int, default=0, help="of all ends: -20 to measure next to other work")
    names = [x.site for x in (*PEERS, *NAMED_ONLY)]
    parser.add_argument("--peers", nargs="+", metavar="PEER", choices=names, help=f"only these of {', '.join(names)}")
    parser.add_argument("--measures", nargs="+", choices=[x.name for x in MEASURES], help="only these")
    parser.add_argument("--page", type=Path, default=_PAGE, help="write there; the picture beside it")
    parser.add_argument("--dry", action="store_true", help="print the table, write nothing")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure(arguments: argparse.Namespace) -> report.Run:
    """Build every peer's site, try them out, take all rounds."""
    wanted = arguments.peers or [x.site for x in PEERS]
    peers = [x for x in (*PEERS, *NAMED_ONLY) if x.site in wanted or x in _CONTROLS]
    measures = [x for x in MEASURES if not arguments.measures or x.name in arguments.measures]
    plan = rounds.Plan(measures, arguments.rounds, round(arguments.seconds * 1000), arguments.family, arguments.cpu)
    load = machine.load()
    machine.pin(arguments.cpu)
    machine.prefer(arguments.nice)
    with ExitStack() as stack:
        ways = []
        for peer in peers:
            _say(f"building {peer.title}")
            site = stack.enter_context(Site(peer.site))
            peer.start(site)
            ways.append((peer, site))
        rounds.try_out(ways, plan)
        samples = rounds.run(ways, plan, _say)
    return report.Run(plan, peers, plain.PLAIN, plain.AGAIN, samples, machine.description(), load)


def main() -> int:
    """0: measured and written; 1: a peer does not work, or another bench runs."""
    arguments = _arguments()
    try:
        run = measure(arguments)
    except (rounds.PeerDoesNotWork, CommandFailed, LabBusy) as error:
        _say(f"error: {error}")
        return 1
    _say(f"the run got {report.share_of_cpu(run):.0%} of CPU {arguments.cpu}")
    if arguments.dry:
        print("\n".join(report.table(run)))
        return 0
    picture = arguments.page.with_suffix(".svg")
    arguments.page.write_text(report.markdown(run, picture.name))
    picture.write_text(report.picture(run))
    print("\n".join(report.table(run)))
    _say(f"written: {arguments.page}, {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
