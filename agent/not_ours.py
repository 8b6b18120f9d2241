"""Why a packet is none of the gateway's.

Decides: which of the reasons of bpf/tc.bpf.c is named; they are asked in its order. Rules: pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.compile.image import GATEWAY_NODE_ADDRESS
from agent.dataplane.hooks import Role
from agent.dataplane.trial import Outcome
from agent.packet import ARP, ICMPV6, IPV4, IPV6, SOLICITATION, VLANS, Packet, Part
from loader.hook import Direction


def why_not_ours(packet: Packet, outcome: Outcome) -> str:
    """The first reason that holds, "" if none of these does."""
    return next((x for x in (*_frame(packet, outcome), *_packet(packet, outcome)) if x), "")


def _frame(packet: Packet, outcome: Outcome) -> Iterator[str]:
    link = outcome.place.link
    if packet.to_mac != link.mac:
        if packet.to_mac[0] & 1:
            if packet.ethertype != ARP:
                yield "it was sent to a group or to all, not to one host"
        else:
            yield f"the frame is for {packet.to_mac.hex(':')}, and {link.name} is {link.mac.hex(':')}"
    if packet.ethertype in VLANS:
        yield "it has a VLAN tag, so it is the VLAN's interface that it belongs to"
    if packet.ethertype == ARP:
        yield "it asks for no gateway's address, or for one that is the node's own"
    elif packet.ethertype not in (IPV4, IPV6):
        yield "it is not IP"


def _packet(packet: Packet, outcome: Outcome) -> Iterator[str]:
    asked, place = outcome.asked, outcome.place
    if packet.tuple is None:
        yield packet.fault
        return
    if packet.is_error and outcome.met is None:
        yield "an ICMP error, and about no flow of ours"
    if outcome.met is not None:
        if place.role is Role.POD and outcome.met.is_reply:
            yield "a reply that cannot be redirected here: it goes up the stack, and is rewritten where it leaves"
        if outcome.flow is not None:
            yield f"a flow has that tuple, but its packets do not pass {place} on the gateway's behalf"
        yield "the flow that has that tuple is over, or half of it is gone"
    if place.role is Role.POD or (place.role is Role.UPLINK and place.direction is Direction.EGRESS):
        yield "what passes here is ours if it is a reply, and it is a reply of no flow"
    if packet.tuple.protocol == ICMPV6 and packet.icmp == SOLICITATION:
        yield "it asks for no gateway's address, or for one that is the node's own"
    if asked is None or asked.gateway is None:
        yield f"{packet.tuple.destination} is no gateway's address"
    elif asked.gateway & GATEWAY_NODE_ADDRESS:
        if {"S", "A"} <= set(packet.flags):
            yield "it accepts a connection, and none of ours: one of the node's own"
        if asked.listener is not None and packet.part is Part.WHOLE:
            yield f"the node has a socket of its own there, for what comes from {packet.tuple.source}"
        part = "a fragment of a datagram that is none of ours" if packet.part is not Part.WHOLE else "its other ports"
        yield f"{packet.tuple.destination} is the node's own address too: {part} and ICMP stay the kernel's"
