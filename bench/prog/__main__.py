"""`python -m bench.prog`: writes docs/bench-prog.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import machine
from bench.prog import cases, remote, report, ring
from bench.prog.frames import Hook
from bench.prog.way import PODS, SOME_FLOWS, DataPath, Setup, data_path
from bench.site import BUILD
from lab.topology import FAMILIES, Lab, LabBusy, Shape
from loader.objects import Object
from loader.spec import ObjectSpec

SETUPS: Final = (
    Setup("`stack`, 2 listeners", "stack"),
    Setup("`stack`, 100 listeners", "stack", 98),
    Setup("`stack`, 10,000 listeners", "stack", 9_998),
    Setup("`redirect`, 2 listeners", "redirect"),
)
CROWDS: Final = tuple(Setup(f"{flows:,} flows", "stack", flows=flows) for flows in (1_000, 65_536, 1_000_000))
PASSES: Final = 9
CALLS: Final = 60
CONNECTIONS: Final = 300
"""Per pass, family and setup."""
_FLOOR: Final = BUILD / "floor.bpf.o"
_DOCS: Final = Path(__file__).resolve().parents[2] / "docs"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.prog", description=__doc__)
    parser.add_argument("--cpu", type=int, default=machine.last_cpu())
    parser.add_argument("--dry", action="store_true", help="print the table, leave docs/ alone")
    return parser.parse_args()


def _again_and_again(paths: list[DataPath], timings: report.Timings) -> None:
    """Every case of every path in turn, a few hundred short calls each."""
    for path in paths:
        cases.establish(path)
        for case in cases.CASES:
            if path.setup.delivery in case.deliveries:
                cases.check(path, case)
    for _ in range(PASSES):
        for case in cases.CASES:
            for path in paths:
                if path.setup.delivery in case.deliveries:
                    row = report.Row(case.title, case.hook.program)
                    timings[row, path.setup].extend(cases.once(path, case) for _ in range(CALLS))


def _connections(paths: list[DataPath], timings: report.Timings) -> None:
    """Connections from ever new ports; each segment is run once, first that of all connections, then the next one."""
    for number in range(PASSES):
        ports = range(10_000 + number * CONNECTIONS, 10_000 + (number + 1) * CONNECTIONS)
        for family in FAMILIES:
            for path in paths:
                for segment in cases.connection(path, family, "a"):
                    row = report.Row(segment.title, "")
                    all_frames = [segment.of_port(port) for port in ports]
                    timings[row, path.setup].extend(cases.run_segment(path, segment, x) for x in all_frames)


def _crowd(lab: Lab, setup: Setup, timings: report.Timings) -> int:
    """Requests of which each is another flow's; octets of kernel memory of the tables of IPv4 that they stand in."""
    hook, verdict, runs = Hook.UPLINK_INGRESS, "VERDICT_FORWARDED", cases.STACK_RUNS
    with (
        data_path(lab, setup) as path,
        Object.load(ObjectSpec(_FLOOR, {}, {}), lab.pins) as floor,
        lab.node.inside(),
    ):
        cases.establish(path)
        context = path.interfaces[hook].context()
        at = {family: ring.lay(path, family) for family in FAMILIES}
        looked_up, before = ring.lay_looked_up(path, floor.map("look_up_table")), path.counted(hook, verdict)
        for _ in range(PASSES * CALLS):
            for family in FAMILIES:
                result = path.program(hook).test_run(at[family], repeat=runs, ctx=context)
                at[family] = result.data
                row = report.Row(f"TCP, established, IPv{family}, request", hook.program)
                timings[row, setup].append(int(result.duration_ns))
            result = floor.program("look_up").test_run(looked_up, repeat=runs, ctx=context)
            looked_up = result.data
            timings[report.LOOK_UP, setup].append(int(result.duration_ns))
            if result.retval:
                raise cases.Broken(f"{setup.title}, {report.LOOK_UP.title}: a packet was of no flow")
        if path.counted(hook, verdict) - before != len(FAMILIES) * PASSES * CALLS * runs:
            raise cases.Broken(f"{setup.title}: not every packet was of a flow")
        return path.object.map("tcp_flows4").memory_bytes


def _crowds() -> report.Crowds:
    """By itself, one table after the other: a million flows take a gigabyte."""
    timings: report.Timings = defaultdict(list)
    with Lab("bprog", Shape(backends=PODS)) as lab:
        octets = [_crowd(lab, setup, timings) for setup in CROWDS]
    return report.Crowds(CROWDS, timings, octets[-1] / (CROWDS[-1].flows + SOME_FLOWS))


def _floors(lab: Lab, paths: list[DataPath]) -> list[tuple[str, report.Timing]]:
    """The harness itself: a program that does nothing, one that only reads headers, and a single run."""
    path = paths[0]
    interface = path.interfaces[Hook.UPLINK_INGRESS]
    frame = cases.CASES[0].frame(interface)
    timed: dict[str, list[int]] = defaultdict(list)
    with Object.load(ObjectSpec(_FLOOR, {}, {}), lab.pins) as loaded:
        for _ in range(PASSES * CALLS):
            for title, name, repeat in (
                ("does nothing", "nothing", cases.STACK_RUNS),
                ("reads Ethernet, IPv4 and TCP headers", "parse", cases.STACK_RUNS),
                ("does nothing, one single run", "nothing", 1),
            ):
                result = loaded.program(name).test_run(frame, repeat=repeat, ctx=interface.context())
                timed[title].append(int(result.duration_ns))
    return [(title, report.timing(values)) for title, values in timed.items()]


def main() -> int:
    """0: measured and written; 1: a packet did not do what its case says."""
    arguments = _arguments()
    machine.pin(arguments.cpu)
    timings: report.Timings = defaultdict(list)
    try:
        with ExitStack() as stack:
            lab = stack.enter_context(Lab("bprog", Shape(backends=PODS)))
            paths = [stack.enter_context(data_path(lab, setup)) for setup in SETUPS]
            stack.enter_context(lab.node.inside())
            _again_and_again(paths, timings)
            _connections(paths, timings)
            floors = _floors(lab, paths)
        with Lab("bprog", Shape(backends=PODS)) as lab:
            afar = remote.measure(lab)
        crowds = _crowds()
    except (cases.Broken, LabBusy) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    about = f"{time.strftime('%Y-%m-%d')}. {machine.description()}; load average {machine.load():.1f}."
    page = report.markdown(SETUPS, timings, floors, afar, crowds, about=about)
    if not arguments.dry:
        (_DOCS / "bench-prog.md").write_text(page)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
