"""One packet and what must come of it: an answer, a drop, nothing at all, or the same packet with other ends."""

from __future__ import annotations

from dataclasses import dataclass

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from . import objects as o
from .kernel import Checksums
from .rig import Outcome, Rig, command
from .story import REDIRECT_MARK, End
from .wire import translated
from .world import MACS


def answered(rig: Rig, hook: int, packet: Packet | bytes, verdict: int, answer: Packet | bytes) -> Outcome:
    """The packet is turned into `answer`, octet by octet, and sent back the way it came. Returns the run."""
    frame = _frame(rig, hook, packet)
    device = rig.device(hook)
    expected = answer if isinstance(answer, bytes) else bytes(Ether(src=device.mac, dst=device.peer_mac) / answer)
    # A packet that changes its length loses its sum (ip_summed becomes NONE); the kernel's check does not know that.
    outcome = rig.run(hook, frame, checksums=None if len(expected) == len(frame) else Checksums.NONE)
    _expect(frame, outcome, verdict)
    assert outcome.action == o.REDIRECT, _said(frame, outcome)
    assert outcome.packet == expected, (
        f"{_said(frame, outcome)}: {command(outcome.packet)} instead of {command(expected)}"
    )
    assert outcome.mark == (0 if hook == o.LOCAL_EGRESS else REDIRECT_MARK), _said(frame, outcome)
    return outcome


def dropped(rig: Rig, hook: int, packet: Packet | bytes, verdict: int) -> None:
    frame = _frame(rig, hook, packet)
    outcome = rig.run(hook, frame)
    _expect(frame, outcome, verdict)
    assert outcome.action == o.SHOT, _said(frame, outcome)


def passed(rig: Rig, hook: int, packet: Packet | bytes) -> None:
    """Not ours: the packet goes on as it is."""
    frame = _frame(rig, hook, packet)
    outcome = rig.run(hook, frame, mark=0x1234)
    _expect(frame, outcome, o.NOT_OURS)
    assert (outcome.action, outcome.packet, outcome.mark) == (o.PASS, frame, 0x1234), _said(frame, outcome)


def _frame(rig: Rig, hook: int, packet: Packet | bytes) -> bytes:
    return packet if isinstance(packet, bytes) else rig.frame(hook, packet)


def _expect(frame: bytes, outcome: Outcome, verdict: int) -> None:
    assert outcome.verdict == verdict, f"{_said(frame, outcome)} instead of {o.Verdict(verdict).name}"


def _said(frame: bytes, outcome: Outcome) -> str:
    return f"{command(frame)} became {o.Verdict(outcome.verdict).name}"


@dataclass(frozen=True, slots=True)
class Way:
    """How a carried packet leaves: what the program returns, the mark, and what happened to the frame."""

    action: int = o.PASS
    mark: int = 0
    hops: int = 0  # taken off TTL or hop limit; none of what the stack has just sent
    dmac: str | None = None  # None: both MAC addresses as they were
    smac: str | None = None  # None: not looked at if `dmac` is given
    or_asks: bool = False  # or both MAC addresses as they were, and the kernel fills them in


STACK = Way()


def out_to(mac: str) -> Way:
    """Straight out of the uplink to the machine of that MAC address, one hop less to live. At first, and once a second,
    the kernel is asked for it, and writes it itself."""
    return Way(action=o.REDIRECT, mark=REDIRECT_MARK, hops=1, dmac=mac, smac=MACS["uplink"][0], or_asks=True)


def carried(
    rig: Rig,
    hook: int,
    packet: Packet | bytes,
    verdict: int,
    ends: tuple[End, End],
    *,
    way: Way = STACK,
    gso_size: int = 0,
    gso_segs: int = 0,
) -> None:
    """The packet goes on with these ends (source, destination) and right checksums, and is otherwise what it was."""
    frame = _frame(rig, hook, packet)
    outcome = rig.run(hook, frame, gso_size=gso_size, gso_segs=gso_segs)
    _expect(frame, outcome, verdict)
    macs = (way.dmac, way.smac or outcome.packet[6:12].hex(":")) if way.dmac else None
    if way.or_asks and outcome.packet[:12] == frame[:12]:
        macs = None
    expected = translated(frame, *ends, hops=way.hops if hook != o.LOCAL_EGRESS else 0, macs=macs)
    assert outcome.packet == expected, (
        f"{_said(frame, outcome)}: {command(outcome.packet)} instead of {command(expected)}"
    )
    assert (outcome.action, outcome.mark) == (way.action, way.mark), _said(frame, outcome)
