"""Why a packet is none of ours: the first reason that holds, in the programs' order."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from agent.compile.image import GATEWAY_NODE_ADDRESS
from agent.dataplane.hooks import Role
from agent.dataplane.trial import Outcome
from agent.not_ours import why_not_ours
from agent.packet import ICMP, ICMPV6, Packet, Tuple, addressed, framed, made, read
from loader.hook import Direction
from tests.agent.outcomes import MAC, asked, met, outcome, packet, place

OTHER, GROUP = bytes.fromhex("0200000000ff"), bytes.fromhex("01005e000001")


def tagged() -> Packet:
    frame = packet().frame
    return read(frame[:12] + bytes.fromhex("81000005") + frame[12:])


def kind(ethertype: int, to: bytes = MAC) -> Packet:
    return read(to + MAC + ethertype.to_bytes(2, "big") + bytes(46))


def icmp(protocol: int, destination: str, message: int) -> Packet:
    source = "10.0.0.1" if protocol == ICMP else "fd00::1"
    octets = bytearray(made(Tuple(protocol, ip_address(source), 0, ip_address(destination), 0)))
    octets[20 if protocol == ICMP else 40] = message
    return read(framed(bytes(octets), MAC))


@pytest.mark.parametrize(
    ("asked_about", "came_to", "says"),
    [
        (addressed(packet(), OTHER), outcome(), "the frame is for 02:00:00:00:00:ff, and eth0 is 02:00:00:00:00:01"),
        (addressed(packet(), GROUP), outcome(), "sent to a group or to all"),
        (tagged(), outcome(asked=None), "VLAN tag"),
        (kind(0x0806), outcome(asked=None), "it asks for no gateway's address"),
        (kind(0x0806, b"\xff" * 6), outcome(asked=None), "it asks for no gateway's address"),
        (kind(0x88CC), outcome(asked=None), "it is not IP"),
        (packet(destination="203.0.113.1"), outcome(asked=asked(None)), "203.0.113.1 is no gateway's address"),
        (packet(port=22), outcome(asked=asked(GATEWAY_NODE_ADDRESS, listener=False)), "its other ports and ICMP stay"),
        (packet(flags="SA"), outcome(asked=asked(GATEWAY_NODE_ADDRESS)), "it accepts a connection, and none of ours"),
        (packet(), outcome(asked=asked(GATEWAY_NODE_ADDRESS)), "the node has a socket of its own there, for"),
        (packet(), outcome(place=place(direction=Direction.EGRESS)), "it is a reply of no flow"),
        (packet(), outcome(place=place(Role.POD)), "it is a reply of no flow"),
        (packet(), outcome(met=met(), flow=met()), "its packets do not pass eth0 ingress"),
        (packet(), outcome(place=place(Role.POD), met=met(is_reply=True), flow=met()), "it goes up the stack"),
        (packet(), outcome(met=met()), "is over, or half of it is gone"),
        (icmp(ICMP, "203.0.113.1", 3), outcome(asked=asked(None)), "an ICMP error, and about no flow of ours"),
        (icmp(ICMPV6, "fd00::2", 135), outcome(asked=asked(None)), "it asks for no gateway's address"),
        (icmp(ICMPV6, "fd00::2", 128), outcome(asked=asked(None)), "fd00::2 is no gateway's address"),
    ],
)
def test_reason(asked_about: Packet, came_to: Outcome, says: str) -> None:
    assert says in why_not_ours(asked_about, came_to)
