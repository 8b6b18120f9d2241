"""Packets as they end, one by one: a tracer beside the hooked programs (bpf/trace.h), made by bcc.

Decides: which program arrays the tracer is put into, when that must be done again, and what a node lacks for it.
bcc compiles bpf/bcc/tracer.c with the filter in it, when it is wanted: packets that nobody looks for cost a comparison
with a constant, and what comes up is little. It loads it as a classifier, and once more for XDP, like the programs that
it follows, and reads its ring buffer. Attaching is not bcc's: it knows of programs in the kernel only what it loaded
itself. What else it could have attached to was tried: there are kernels without kprobes, and one (6.18, in lockdown)
was seen to refuse fentry, fexit and freplace with EPERM. A tail call needs none of it.
Rules: no headers of the kernel are needed, whatever bcc says: bpf/bcc has what it asks for. One tracer at a time, for
there is one slot: the folder of the pins is locked meanwhile. Nothing is pinned: arrays and tracer are there as long as
their fds are, so a process that is killed leaves nothing. An array that was emptied by a tracer of before, a moment too
late, is filled again; and so is that of programs that an agent has hooked since.
Must never: outlive its process; decide what becomes of a packet.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib
import os
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from agent.compile.image import BackendEntry
from agent.dataplane.errors import KernelRefused, NodeUnfit, NotInstalled, SlotTaken, translated
from agent.dataplane.network import require_hooks
from agent.dataplane.tables import Tables
from agent.dataplane.trace_filter import TraceFilter, expression
from agent.installed import SOURCES
from agent.packet import ICMP, ICMPV6, TCP, UDP, Tuple
from agent.running import holder
from loader import xdp
from loader.attach import attachments
from loader.errors import KernelError
from loader.layout import difference
from loader.maps import Map
from loader.program import Program
from loader.running import program_array

_ARRAY: Final = "tracers"
_LOOK: Final = 0.1
"""Seconds after which the arrays are looked at again."""
_REWRITTEN: Final = frozenset(  # is_rewritten() in tracer.c
    {"VERDICT_FORWARDED", "VERDICT_REPLIED", "VERDICT_RESET_LIMITED", "VERDICT_RELATED"}
)


@dataclass(frozen=True, slots=True)
class Ended:
    """One packet that ended. `hook` and `verdict` are names of the enums; `at`: seconds since boot, when it did.

    `tuple`: as it came, None if it was not looked at so far; `became`: what it was rewritten to, None if it was not.
    `flags`: TCP's, by bit. `icmp`: the message's type, None for others. `listener_id`: of a new flow; else 0.
    `backend_id`: 0 = none. `packets`, `bytes`: as they are counted.
    """

    at: float
    hook: str
    verdict: str
    ifindex: int
    tuple: Tuple | None
    became: Tuple | None
    flags: int
    icmp: int | None
    listener_id: int
    backend_id: int
    packets: int
    bytes: int


class Tracer:
    """Owns the tables' fds, the tracer and the arrays that it is in: a context manager."""

    def __init__(self, tables: Tables, bpf: Any) -> None:
        self._tables = tables
        self._bpf = bpf
        self._at_tc = Program(bpf.load_func("tracer", bpf.SCHED_CLS).fd, "tracer")
        # Kernels from 6.18 on let no program call one of another attach type, and bcc would leave it at none.
        xdp_tracer = bpf.load_func("xdp_tracer", bpf.XDP, attach_type=xdp.ATTACH_TYPE)
        self._at_xdp = Program(xdp_tracer.fd, "xdp_tracer")
        self._read = _Reader(tables)
        self._arrays: dict[int, tuple[Map, Program]] = {}
        self._came: list[bytes] = []
        self._look_at = 0.0
        self._owned = contextlib.ExitStack()

    @classmethod
    @translated()
    def open(cls, pin_dir: Path, object_dir: Path, wanted: TraceFilter, rate: int) -> Self:
        """`rate`: packets per second and CPU at most; of others it is counted how many they were.

        Raises NotInstalled when nothing is pinned or hooked, NodeUnfit without bcc or the rights, SlotTaken when
        somebody traces already, KernelRefused.
        """
        make = _bcc()
        with contextlib.ExitStack() as owned:
            tables = owned.enter_context(Tables.open(pin_dir, object_dir))
            require_hooks(tables.pins)
            _require_same_layout(tables)
            owned.callback(os.close, _locked(tables.pins))
            bpf = _compiled(make, tables, wanted, rate)
            owned.callback(bpf.cleanup)
            try:
                tracer = cls(tables, bpf)
            except Exception as error:  # bcc's own, of no type
                raise KernelRefused(f"bcc cannot load the tracer: {error}") from error
            owned.callback(tracer._leave)
            bpf["events"].open_ring_buffer(tracer._take)
            tracer._put()
            tracer._owned = owned.pop_all()
            return tracer

    @translated()
    def poll(self, timeout: float) -> list[Ended]:
        """What ended since the last time, oldest first; waits up to `timeout` seconds for the first."""
        if time.monotonic() >= self._look_at:
            self._put()
        self._bpf.ring_buffer_poll(int(timeout * 1000))
        came, self._came = self._came, []
        return [self._read(x) for x in came]

    @property
    def lost(self) -> int:
        """Packets that were wanted and not shown: beyond the rate, or there was no room for them."""
        return sum(x.lost for x in self._bpf["budgets"][0])

    @translated()
    def backend(self, number: int) -> BackendEntry | None:
        """The endpoint of that number, as it is now."""
        return self._tables.endpoint(number)

    def close(self) -> None:
        """Twice is once."""
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _take(self, _context: Any, data: int, size: int) -> None:
        self._came.append(ctypes.string_at(data, size))

    def _put(self) -> None:
        """The tracer into the array of each program that is hooked, where it is not yet."""
        hooked = {x.program_id: self._at_tc for x in attachments(self._tables.pins) if x.alive}
        if not hooked:
            raise NotInstalled("no program is hooked, so no packet is seen; an agent puts them back")
        hooked |= {x.program_id: self._at_xdp for x in xdp.attachments(self._tables.pins) if x.alive}
        there = {array.id: (array, tracer) for array, tracer in _arrays(hooked)}
        for number in self._arrays.keys() - there.keys():
            self._arrays.pop(number)[0].close()
        for number, found in there.items():
            if number in self._arrays:
                found[0].close()
            else:
                self._arrays[number] = found
        for array, tracer in self._arrays.values():
            if array.get(0) != tracer.id:
                array.set(0, tracer.fd)
        self._look_at = time.monotonic() + _LOOK

    def _leave(self) -> None:
        for array, tracer in self._arrays.values():
            if array.get(0) == tracer.id:
                array.delete(0)
            array.close()
        self._arrays.clear()


class _Reader:
    """Octets of `struct packet` -> Ended."""

    def __init__(self, tables: Tables) -> None:
        self._packet = tables.btf.struct("packet")
        self._tuples = {4: tables.btf.struct("tuple4"), 6: tables.btf.struct("tuple6")}
        self._hooks, self._verdicts = tables.names("hook"), tables.names("verdict")

    def __call__(self, octets: bytes) -> Ended:
        packet = self._packet.unpack(octets[: self._packet.size])
        version, verdict = packet["version"], self._verdicts[packet["verdict"]]
        own = self._own(packet) if packet["l4"] and version in self._tuples else None
        return Ended(
            at=packet["at"] / 1e9,
            hook=self._hooks[packet["hook"]],
            verdict=verdict,
            ifindex=packet["ifindex"],
            tuple=own,
            became=_became(packet, own) if own and verdict in _REWRITTEN else None,
            flags=packet["tcp_flags"] if own and own.protocol == TCP else 0,
            icmp=packet["icmp_type"] if own and own.protocol == (ICMP if version == 4 else ICMPV6) else None,
            listener_id=packet["listener_id"],
            backend_id=packet["backend_id"],
            packets=packet["packets"],
            bytes=packet["bytes"],
        )

    def _own(self, packet: Mapping[str, Any]) -> Tuple:
        codec = self._tuples[packet["version"]]
        found = codec.unpack(packet["tuple"][: codec.size])
        source, destination = ip_address(found["saddr"]), ip_address(found["daddr"])
        return Tuple(packet["protocol"], source, found["sport"], destination, found["dport"])


def _became(packet: Mapping[str, Any], own: Tuple) -> Tuple:
    words = 1 if own.source.version == 4 else 4
    source, destination = (
        ip_address(struct.pack(f"={words}I", *packet["to"][name][:words])) for name in ("saddr", "daddr")
    )
    ports = (packet["to"]["sport"], packet["to"]["dport"]) if own.protocol in (TCP, UDP) else (0, 0)
    return Tuple(own.protocol, source, ports[0], destination, ports[1])


def _arrays(hooked: Mapping[int, Program]) -> Iterator[tuple[Map, Program]]:
    """The arrays of these programs, each once, opened, with the tracer for it."""
    seen = set()
    for number, tracer in hooked.items():
        try:
            array = program_array(number, _ARRAY)
        except KernelError:  # an agent that starts put another in its place, this very moment
            continue
        if array is None:
            raise NodeUnfit(
                (f"program {number}, which is hooked, is of a version that cannot be traced: start an agent",)
            )
        if array.id in seen:
            array.close()
            continue
        seen.add(array.id)
        yield array, tracer


def _require_same_layout(tables: Tables) -> None:
    """Of what the hooked programs know of a packet, and what bpf/packet.h says of it."""
    differs = difference(tables.all["packet_scratch"].value.fields, tables.btf.struct("packet").fields)
    if differs:
        raise NodeUnfit((f"the hooked programs are of another version (struct packet, {differs[0]}): start an agent",))


def _locked(pins: Path) -> int:
    """An fd that holds the lock."""
    fd = os.open(pins, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise SlotTaken(
            f"another trace runs on this node (pid {holder(pins) or 'unknown'}), and there is room for one"
        ) from None
    return fd


def _bcc() -> Any:
    """Class BPF of bcc."""
    try:
        return importlib.import_module("bcc").BPF
    except (ImportError, OSError, AttributeError) as error:  # AttributeError: another module of that name
        raise NodeUnfit(
            (f"bcc is not there ({error}): install Debian's python3-bpfcc where this Python looks for packages",)
        ) from None


def _compiled(make: Any, tables: Tables, wanted: TraceFilter, rate: int) -> Any:
    os.environ["BCC_KERNEL_SOURCE"] = str(SOURCES / "bcc")
    flags = [
        f"-I{SOURCES}",
        f'-DPACKETS="{tables.pins / "packet_scratch"}"',
        f"-DRATE={rate}",
        f"-DWANTED=({expression(wanted, tables.names('verdict'), tables.names('hook'))})",
    ]
    try:
        return make(src_file=os.fsencode(SOURCES / "bcc" / "tracer.c"), cflags=flags)
    except Exception as error:  # bcc's own, of no type
        raise KernelRefused(f"bcc cannot compile the tracer: {error}; what it says of it is above") from error
