"""Which packets are timed.

Decides: the cases and how each is made ready. Rules: a case whose packet comes out changed must come out the same after
an even number of runs; every run must have been counted under the verdict that the case names, or the figure would be
of something else. Broken is raised otherwise.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Final

from bench.prog import frames
from bench.prog.frames import Hook, Interface
from bench.prog.way import PORTS, DataPath, pod
from lab.topology import CLIENT, FAMILIES

REDIRECT_RUNS: Final = 200
"""Of one call: `redirect` takes a hop off in each, and at the last hop the packet takes another way."""
STACK_RUNS: Final = 1000

_PORT: Final = 40000
_ELSEWHERE: Final = {4: (ip_address("192.0.2.1"), 443), 6: (ip_address("2001:db8::1"), 443)}
_CLOSED: Final = 9


class Broken(Exception):
    """A packet did not do what the case says."""


@dataclass(frozen=True, slots=True)
class Case:
    """A packet that is run again and again at a hook. `deliveries` in which it can come there."""

    title: str
    hook: Hook
    verdict: str
    frame: Callable[[Interface], bytes]
    deliveries: frozenset[str]


Maker = Callable[..., bytes]
"""frames.tcp or the like: (interface, source, destination) -> frame."""

BOTH: Final = frozenset({"stack", "redirect"})
_STACK: Final = frozenset({"stack"})
_REDIRECT: Final = frozenset({"redirect"})


def client(family: int) -> frames.End:
    """The one flow's client."""
    return CLIENT[family], _PORT


def gateway(name: str, family: int) -> frames.End:
    """A or B, with its port."""
    return pod(name, family), PORTS[name]


def _case(title: str, hook: Hook, verdict: str, deliveries: frozenset[str], make: Maker, *ends: frames.End) -> Case:
    return Case(title, hook, verdict, lambda interface: make(interface, *ends), deliveries)


def _family_cases(family: int) -> Iterator[Case]:
    here, there, back, elsewhere = client(family), gateway("a", family), gateway("b", family), _ELSEWHERE[family]
    ingress, egress, from_pod = Hook.UPLINK_INGRESS, Hook.UPLINK_EGRESS, Hook.POD_INGRESS
    for name, make in (("TCP, established", frames.tcp), ("UDP", frames.udp)):
        title = f"{name}, IPv{family}"
        yield _case(f"{title}, request", ingress, "VERDICT_FORWARDED", BOTH, make, here, there)
        yield _case(f"{title}, reply", egress, "VERDICT_REPLIED", _STACK, make, back, here)
        yield _case(f"{title}, reply", from_pod, "VERDICT_REPLIED", _REDIRECT, make, back, here)
    for hook in (ingress, egress):
        yield _case(f"TCP, not ours, IPv{family}", hook, "VERDICT_NOT_OURS", BOTH, frames.tcp, here, elsewhere)
    yield _case(f"UDP, not ours, IPv{family}", ingress, "VERDICT_NOT_OURS", BOTH, frames.udp, here, elsewhere)
    yield _case(
        f"SYN to a port without listener, over the limit, IPv{family}",
        ingress,
        "DROP_RATE_LIMITED",
        BOTH,
        partial(frames.tcp, flags="S", payload=b""),
        here,
        (there[0], _CLOSED),
    )


CASES: Final = (
    *(case for family in FAMILIES for case in _family_cases(family)),
    Case(
        "ARP for another",
        Hook.UPLINK_INGRESS,
        "VERDICT_NOT_OURS",
        lambda i: frames.arp(i, CLIENT[4], _ELSEWHERE[4][0]),
        BOTH,
    ),
)


def reply_hook(path: DataPath) -> Hook:
    """Where replies meet us first."""
    return Hook.POD_INGRESS if path.setup.delivery == "redirect" else Hook.UPLINK_EGRESS


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a connection, as a frame at its hook. `port_at`: where the client's port stands in it."""

    title: str
    hook: Hook
    frame: bytes
    port_at: int

    def of_port(self, port: int) -> bytes:
        """The same of another connection. Its checksum is off by as much: nobody looks, all changes are relative."""
        frame = bytearray(self.frame)
        struct.pack_into("!H", frame, self.port_at, port)
        return bytes(frame)


def connection(path: DataPath, family: int, name: str, here: frames.End | None = None) -> list[Segment]:
    """A whole connection of the client (or of `here`) to A or B, whose backend is the other one."""
    here = here or client(family)
    there, backend = gateway(name, family), gateway("b" if name == "a" else "a", family)
    transport = 14 + (20 if family == 4 else 40)
    back = reply_hook(path)

    def segment(title: str, flags: str, seq: int, ack: int) -> Segment:
        frame = frames.tcp(path.interfaces[Hook.UPLINK_INGRESS], here, there, flags, seq=seq, ack=ack, payload=b"")
        return Segment(f"{title}, IPv{family}", Hook.UPLINK_INGRESS, frame, transport)

    def answer(title: str, flags: str, seq: int, ack: int) -> Segment:
        frame = frames.tcp(path.interfaces[back], backend, here, flags, seq=seq, ack=ack, payload=b"")
        return Segment(f"{title}, IPv{family}", back, frame, transport + 2)

    return [
        segment("SYN: a new flow", "S", 1000, 0),
        answer("SYN-ACK", "SA", 5000, 1001),
        segment("ACK: becomes established", "A", 1001, 5001),
        answer("FIN of the backend", "FA", 5001, 1001),
        segment("FIN of the client", "FA", 1001, 5002),
        answer("ACK of the last FIN", "A", 5002, 1002),
    ]


HANDSHAKE: Final = 3
"""So many segments of a connection make it."""


def run_segment(path: DataPath, segment: Segment, frame: bytes) -> int:
    """Run it once: nanoseconds."""
    context = path.interfaces[segment.hook].context()
    return int(path.program(segment.hook).test_run(frame, ctx=context).duration_ns)


def establish(path: DataPath) -> None:
    """Both flows of both families and protocols. Raises Broken."""
    for family in FAMILIES:
        for name in PORTS:
            for segment in connection(path, family, name)[:HANDSHAKE]:
                run_segment(path, segment, segment.frame)
            if not path.is_established(family, client(family), gateway(name, family)):
                raise Broken(f"no flow became established to {gateway(name, family)}")
            interface = path.interfaces[Hook.UPLINK_INGRESS]
            datagram = frames.udp(interface, client(family), gateway(name, family))
            path.program(Hook.UPLINK_INGRESS).test_run(datagram, ctx=interface.context())


def runs(path: DataPath) -> int:
    """How often a packet may be run in one call."""
    return REDIRECT_RUNS if path.setup.delivery == "redirect" else STACK_RUNS


def check(path: DataPath, case: Case) -> None:
    """Raise Broken unless all runs do the whole work, and leave the packet as it was."""
    interface, repeat = path.interfaces[case.hook], runs(path)
    frame = case.frame(interface)
    before = path.counted(case.hook, case.verdict)
    result = path.program(case.hook).test_run(frame, repeat=repeat, ctx=interface.context())
    counted = path.counted(case.hook, case.verdict) - before
    where = f"{path.setup.title}, {case.hook.program}, {case.title}"
    if counted != repeat:
        raise Broken(f"{where}: {counted} of {repeat} ended as {case.verdict}")
    # From the addresses on; before them is the header's checksum, which follows the hops.
    if case.verdict in {"VERDICT_FORWARDED", "VERDICT_REPLIED"} and result.data[26:] != frame[26:]:
        raise Broken(f"{where}: the packet did not come back as it was")


def once(path: DataPath, case: Case) -> int:
    """Nanoseconds of a run, mean over one call."""
    interface = path.interfaces[case.hook]
    result = path.program(case.hook).test_run(case.frame(interface), repeat=runs(path), ctx=interface.context())
    return int(result.duration_ns)
