"""A hundred thousand spoilt packets: none may crash a program, be counted as anything but what the model allows, or
leave with a wrong checksum when it came with a right one.

Fixed seeds: a failure is there again at the next run. The frame in the message, run alone, need not fail: it may need
the flows that those before it left.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, IPOption_NOP
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.inet import UDP as UDPHeader
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6PacketTooBig,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from .conftest import OpenRig
from .kernel import Checksums, checksum_modes
from .model import Parsed, allowed, is_answer, is_carried
from .objects import (
    DELIVERY_REDIRECT,
    DELIVERY_STACK,
    HELD,
    LOCAL_EGRESS,
    MALFORMED,
    NEIGHBOUR,
    NOT_OURS,
    PASS,
    PING,
    POD_INGRESS,
    REDIRECT,
    SHOT,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
    Verdict,
)
from .rig import Outcome, Rig, command
from .services import BACKEND_PORT, CLOSED_PORT, HAIRPIN, HOLE, REJECTED, SERVED, TCP, UDP
from .spoilt import can_be_run, mutated
from .story import CLIENT_PORT, between, ip
from .wire import ip_checksum_is_right, l4_checksum_is_right, layout
from .world import CLIENT_MAC, NETS, V4, V6, Net

PACKETS = 25_000
RUNS = [(family, delivery) for family in NETS for delivery in (DELIVERY_STACK, DELIVERY_REDIRECT)]
HOOKS = (UPLINK_INGRESS, UPLINK_INGRESS, UPLINK_EGRESS, LOCAL_EGRESS, POD_INGRESS)


def seeds(rig: Rig, net: Net) -> list[bytes]:
    """Well-formed packets of every kind, as frames for the uplink."""
    far, pod = (net.client, CLIENT_PORT), (net.pod, BACKEND_PORT)
    packets = [
        between(net, protocol, far, (destination, port), flags, seq=101, ack=501, data=data)
        for protocol in (TCP, UDP)
        for destination in (net.gateway, net.node)
        for port in (SERVED, REJECTED, HOLE, HAIRPIN, CLOSED_PORT)
        for flags, data in (("S", b""), ("A", b""), ("PA", b"some data"), ("FA", b""), ("R", b""), ("SA", b""))
        if protocol == TCP or flags == "PA"
    ]
    packets += [
        between(net, protocol, pod, far, flags, seq=500, ack=101, data=b"an answer")
        for protocol in (TCP, UDP)
        for flags in ("SA", "A", "FA", "RA")
    ]
    packets += [
        between(net, TCP, (net.neighbour, BACKEND_PORT), (net.gateway, CLIENT_PORT), "SA", seq=500, ack=101),
        between(net, UDP, (net.gateway, SERVED), (net.gateway, SERVED), data=b"in circles"),
        ip(net, net.client, net.gateway) / (ICMP(id=1) if net is V4 else ICMPv6EchoRequest(id=1)) / Raw(b"ping" * 14),
    ]
    # Errors about packets of flows that those above begin, from either side.
    near = (net.gateway, SERVED)
    for protocol in (TCP, UDP):
        for source, destination, quoted in (
            (net.client, net.gateway, between(net, protocol, near, far, "A", seq=500, ack=101)),
            (net.pod, net.client, between(net, protocol, far, pod, "A", seq=101, ack=500)),
            (net.far, net.client, between(net, protocol, far, pod, "A", seq=101, ack=500)),
        ):
            header = ip(net, source, destination)
            said = ICMP(type=3, code=4, nexthopmtu=1400) if net is V4 else ICMPv6PacketTooBig(mtu=1400)
            packets.append(header / said / quoted)
    segment = TCPHeader(sport=CLIENT_PORT, dport=SERVED, flags="S", seq=1, options=[("MSS", 1460), ("WScale", 7)])
    datagram = UDPHeader(sport=CLIENT_PORT, dport=SERVED) / Raw(b"datagram")
    for transport in (segment, datagram):
        if net is V4:
            packets.append(IP(src=net.client, dst=net.gateway, options=[IPOption_NOP()] * 8) / transport)
            packets.append(IP(src=net.client, dst=net.gateway, flags="MF") / transport)
        else:
            options = IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
            packets.append(ip(net, net.client, net.gateway) / options / transport)
            packets.append(ip(net, net.client, net.gateway) / IPv6ExtHdrFragment(id=1) / transport)
    frames = [rig.frame(UPLINK_INGRESS, packet) for packet in packets]
    own, all_hosts = rig.device(UPLINK_INGRESS).mac, "ff:ff:ff:ff:ff:ff"
    if net is V4:
        frames.append(bytes(Ether(src=CLIENT_MAC, dst=all_hosts) / ARP(hwsrc=CLIENT_MAC, pdst=V4.gateway)))
    else:
        ask = ip(net, net.client, net.gateway, hops=255) / ICMPv6ND_NS(tgt=V6.gateway)
        frames.append(bytes(Ether(src=CLIENT_MAC, dst=own) / ask))
    return frames


def checksums_are_right(frame: bytes) -> bool:
    at = layout(frame)
    return at is not None and ip_checksum_is_right(frame, at) and l4_checksum_is_right(frame, at)


def macs_of(rig: Rig) -> dict[int, bytes]:
    return {hook: bytes.fromhex(rig.device(hook).mac.replace(":", "")) for hook in HOOKS}


def frames(dice: random.Random, rig: Rig, net: Net) -> Iterator[tuple[int, bytes]]:
    """(hook, frame), without end."""
    corpus = seeds(rig, net)
    macs = macs_of(rig)
    uplink = macs[UPLINK_INGRESS]
    while True:
        hook = dice.choice(HOOKS)
        frame = mutated(dice, dice.choice(corpus))
        if frame[0:6] == uplink:
            frame = macs[hook] + frame[6:]
        if can_be_run(frame):
            yield hook, frame


def what_is_wrong(frame: bytes, outcome: Outcome, right: frozenset[int], net: Net) -> str:
    """Empty when nothing is."""
    verdict = outcome.verdict
    if verdict not in right:
        return f"not one of {[Verdict(x).name for x in right]}"
    actions = {PASS, REDIRECT} if is_carried(verdict) else {REDIRECT}
    if verdict == NOT_OURS:
        actions = {PASS}
    elif verdict >= MALFORMED or verdict == HELD:
        actions = {SHOT}
    if outcome.action not in actions:
        return f"the program returned {outcome.action}"
    if verdict == NOT_OURS and outcome.packet != frame:
        return f"the packet was changed into {command(outcome.packet)}"
    # What is written anew has right checksums; what is changed has them if it had them.
    is_new = is_answer(verdict) and verdict != PING and not (verdict == NEIGHBOUR and net is V4)
    is_changed = (is_carried(verdict) or verdict == PING) and checksums_are_right(frame)
    if (is_new or is_changed) and not checksums_are_right(outcome.packet):
        return f"a checksum is wrong: {command(outcome.packet)}"
    return ""


@pytest.mark.parametrize(("net", "delivery"), RUNS, ids=[f"{x.name}-{'redirect' if y else 'stack'}" for x, y in RUNS])
def test_every_verdict_is_allowed_and_every_checksum_right(open_rig: OpenRig, net: Net, delivery: int) -> None:
    rig = open_rig(delivery=delivery, reply_rate_limit=1 << 30)
    dice = random.Random(f"{net.name} {delivery}")
    modes = checksum_modes()
    tables = {protocol: [rig.map(x) for x in rig.tables(protocol, net)] for protocol in (TCP, UDP)}
    key_codec = tables[TCP][0].key
    flags_at = tables[TCP][0].value.unpack

    def flags_of_flow(p: Parsed) -> int | None:
        key = key_codec.pack(
            {
                "saddr": p.source,
                "daddr": p.destination,
                "sport": p.sport,
                "dport": p.dport,
                "protocol": p.protocol,
                "zone": 0,
            }
        )
        for table in tables[p.protocol]:
            entry = table.get_raw(key)
            if entry is not None:
                flags: int = flags_at(entry)["flags"]
                return flags
        return None

    macs = macs_of(rig)
    seen: set[int] = set()
    source = frames(dice, rig, net)
    for number in range(PACKETS):
        hook, frame = next(source)
        right = allowed(hook, frame, macs[hook], flags_of_flow)
        # The kernel's check of CHECKSUM_COMPLETE does not know that a packet which was made shorter has no sum.
        rig.checksums = Checksums.NONE if any(map(is_answer, right)) else modes[number % len(modes)]
        outcome = rig.run(hook, frame)
        seen.add(outcome.verdict)
        wrong = what_is_wrong(frame, outcome, right, net)
        assert not wrong, (
            f"packet {number} at {hook!r}: {command(frame)} became {Verdict(outcome.verdict).name}: {wrong}"
        )
    reached = {Verdict(x).name for x in seen}
    missed = {x.name for x in Verdict} - reached - _NOT_REACHED
    assert not missed, f"the packets are too tame: none became {missed}"


# By settings (rates, room), by an upgrade, by a mark, by a size, by a defect, or by ports that are all taken.
_NOT_REACHED = {
    "VERDICT_COUNT",
    "VERDICT_REDIRECTED",
    "VERDICT_REFUSED_TABLE_FULL",
    "VERDICT_TOO_BIG",
    "VERDICT_REFUSED_COLLISION",
    "DROP_COLLISION",
    "VERDICT_REFUSED_MIDSTREAM",
    "DROP_MIDSTREAM",
    "DROP_RATE_LIMITED",
    "DROP_TABLE_FULL",
    "DROP_MOVING",
    "DROP_DENIED",  # no listener there has a policy
    "VERDICT_REFUSED_DENIED",
    "DROP_LIMITED",
    "VERDICT_REFUSED_LIMITED",
    "VERDICT_RESET_LIMITED",
    "DROP_INTERNAL",
}
