"""An established flow of a remote backend, at TC and at XDP: address, port, source address and source port change.

Decides: how a packet can be translated for ever where its source changes too. Two connections are made by the programs,
C -> A:80 and D -> B:8080; then their entries are made to undo each other:

    C -> A:80   becomes   D -> B:8080   becomes   C -> A:80 ...

and to leave by a next hop behind an uplink that does not expire and has the MAC of the interface that they came by. All
else of the entries is the programs' own.
Rules: as in cases.py: every run is counted under the verdict, and the packet is what it was after an even number.
"""

from __future__ import annotations

import socket
import struct
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.prog import cases, frames, report
from bench.prog.frames import Hook
from bench.prog.way import DataPath, Setup, data_path, entry_of
from lab.topology import CLIENT, FAMILIES, Lab
from loader.objects import Object
from loader.program import Program

SETUP: Final = Setup("remote backend", "stack")
_XDP: Final = Path(__file__).resolve().parents[2] / "build" / "xdp.bpf.o"
_PROGRAM: Final = "uplink_xdp"
_NEVER: Final = (1 << 31) - 1
_CALLS: Final = 540


def _octets(end: frames.End) -> dict[str, bytes]:
    return {"octets": end[0].packed.ljust(16, b"\0")}


def _key(source: frames.End, destination: frames.End) -> dict[str, Any]:
    return {
        "saddr": source[0].packed,
        "daddr": destination[0].packed,
        "sport": source[1],
        "dport": destination[1],
        "protocol": socket.IPPROTO_TCP,
        "zone": 0,
    }


def _cycle(path: DataPath, family: int) -> tuple[frames.End, frames.End]:
    """Both connections, and their entries as they are to be; the ends of the first packet."""
    one, other = cases.client(family), (CLIENT[family] + 1, 50_000)
    there, beyond = cases.gateway("a", family), cases.gateway("b", family)
    for here, name in ((one, "a"), (other, "b")):
        for segment in cases.connection(path, family, name, here)[: cases.HANDSHAKE]:
            cases.run_segment(path, segment, segment.frame)
    table, flags = path.object.map(f"tcp_flows{family}"), path.object.btf.enum("flow_flag")
    back, out = path.interfaces[Hook.UPLINK_INGRESS], path.interfaces[Hook.POD_INGRESS]
    hop = {"ifindex": out.ifindex, "expires": _NEVER, "dmac": back.mac, "smac": out.mac, "mtu": 1500}
    for key, source, destination in ((_key(one, there), other, beyond), (_key(other, beyond), one, there)):
        entry = table.get(key)
        if not entry:
            raise cases.Broken(f"{SETUP.title}: no flow became established")
        entry |= {"to_saddr": _octets(source), "to_sport": source[1]}
        entry |= {"to_daddr": _octets(destination), "to_dport": destination[1]}
        entry["flags"] = int(flags["FLOW_REMOTE"]) | int(flags["FLOW_SNAT"])
        entry["nexthop"] = {**entry["nexthop"], **hop}
        table.set(key, entry)
    return one, there


def _forwarded(path: DataPath, hook: str) -> int:
    index = path.hooks[hook] * path.verdicts["VERDICT_COUNT"] + path.verdicts["VERDICT_FORWARDED"]
    return sum(x["packets"] for x in path.object.map("verdicts").get(int(index)))


def measure(lab: Lab) -> report.Timings:
    """Rows of both programs, in turn. Raises cases.Broken."""
    timings: report.Timings = defaultdict(list)
    runs = cases.REDIRECT_RUNS
    with data_path(lab, SETUP) as path, lab.node.inside():
        uplink, out = path.interfaces[Hook.UPLINK_INGRESS], path.interfaces[Hook.POD_INGRESS]
        laid = {family: frames.tcp(uplink, *_cycle(path, family)) for family in FAMILIES}
        role = path.object.btf.enum("interface_role")["INTERFACE_UPLINK"]
        for interface in (uplink, out):
            path.object.map("interfaces").set(interface.ifindex, entry_of(role, interface.mac) | {"has_xdp": 1})
        with Object.load(replace(path.spec, path=_XDP), path.pins) as xdp:
            for _ in range(_CALLS):
                for family, frame in laid.items():
                    # struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
                    met = struct.pack("=6I", 0, len(frame), 0, uplink.ifindex, 0, 0)
                    programs: tuple[tuple[str, Program, bytes], ...] = (
                        (Hook.UPLINK_INGRESS.value, path.program(Hook.UPLINK_INGRESS), uplink.context()),
                        ("HOOK_UPLINK_XDP", xdp.program(_PROGRAM), met),
                    )
                    for hook, program, context in programs:
                        before = _forwarded(path, hook)
                        result = program.test_run(frame, repeat=runs, ctx=context)
                        if _forwarded(path, hook) - before != runs or result.data[26:] != frame[26:]:
                            raise cases.Broken(f"{SETUP.title}, {hook}: not every run was translated")
                        row = report.Row(f"TCP, established, IPv{family}, request", program.name)
                        timings[row, SETUP].append(int(result.duration_ns))
    return timings
