"""One packet and what must come of it, where no flow is involved: an answer, a drop, or nothing at all."""

from __future__ import annotations

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from . import objects as o
from .kernel import Checksums
from .rig import Outcome, Rig, command
from .story import REDIRECT_MARK


def answered(rig: Rig, hook: int, packet: Packet | bytes, verdict: int, answer: Packet | bytes) -> Outcome:
    """The packet is turned into `answer`, octet by octet, and sent back the way it came. Returns the run."""
    frame = _frame(rig, hook, packet)
    device = rig.device(hook)
    expected = answer if isinstance(answer, bytes) else bytes(Ether(src=device.mac, dst=device.peer_mac) / answer)
    # A packet that changes its length loses its sum (ip_summed becomes NONE); the kernel's check does not know that.
    outcome = rig.run(hook, frame, checksums=None if len(expected) == len(frame) else Checksums.NONE)
    said = _expect(frame, outcome, verdict)
    assert outcome.action == o.REDIRECT, said
    assert outcome.packet == expected, f"{said}: {command(outcome.packet)} instead of {command(expected)}"
    assert outcome.mark == (0 if hook == o.LOCAL_EGRESS else REDIRECT_MARK), said
    return outcome


def dropped(rig: Rig, hook: int, packet: Packet | bytes, verdict: int) -> None:
    frame = _frame(rig, hook, packet)
    outcome = rig.run(hook, frame)
    said = _expect(frame, outcome, verdict)
    assert outcome.action == o.SHOT, said


def passed(rig: Rig, hook: int, packet: Packet | bytes) -> None:
    """Not ours: the packet goes on as it is."""
    frame = _frame(rig, hook, packet)
    outcome = rig.run(hook, frame, mark=0x1234)
    said = _expect(frame, outcome, o.NOT_OURS)
    assert (outcome.action, outcome.packet, outcome.mark) == (o.PASS, frame, 0x1234), said


def _frame(rig: Rig, hook: int, packet: Packet | bytes) -> bytes:
    return packet if isinstance(packet, bytes) else rig.frame(hook, packet)


def _expect(frame: bytes, outcome: Outcome, verdict: int) -> str:
    said = f"{command(frame)} became {o.Verdict(outcome.verdict).name}"
    assert outcome.verdict == verdict, f"{said} instead of {o.Verdict(verdict).name}"
    return said
