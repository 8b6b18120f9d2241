"""ARP (RFC 826), neighbour discovery (RFC 4861) and ping for gateway addresses, which no interface holds."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from .conftest import OpenRig
from .exchange import answered, dropped, passed
from .objects import (
    LOCAL_EGRESS,
    NEIGHBOUR,
    PING,
    POD_INGRESS,
    PROTOCOL,
    RATE_LIMITED,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
)
from .rig import Rig
from .story import ip
from .world import CLIENT_MAC, V4, V6, Net

BROADCAST = "ff:ff:ff:ff:ff:ff"
SOLICITED_MAC, SOLICITED = "33:33:ff:00:00:01", "ff02::1:ff00:1"
ALL_NODES_MAC, ALL_NODES = "33:33:00:00:00:01", "ff02::1"
UPLINK_MAC = "02:00:00:00:01:01"


def who_has(target: str, *, to: str = BROADCAST, sender: str = V4.client, **fields: Any) -> bytes:
    request = ARP(op=1, hwsrc=CLIENT_MAC, psrc=sender, hwdst="00:00:00:00:00:00", pdst=target)
    for name, value in fields.items():
        setattr(request, name, value)
    return bytes(Ether(src=CLIENT_MAC, dst=to) / request)


def is_at(target: str, *, sender: str = V4.client) -> bytes:
    reply = ARP(op=2, hwsrc=UPLINK_MAC, psrc=target, hwdst=CLIENT_MAC, pdst=sender)
    return bytes(Ether(src=UPLINK_MAC, dst=CLIENT_MAC) / reply)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (who_has(V4.gateway), is_at(V4.gateway)),
        (who_has(V4.gateway, to=UPLINK_MAC), is_at(V4.gateway)),
        # RFC 5227 section 2.1.1: a probe, by somebody who would like to have the address
        (who_has(V4.gateway, sender="0.0.0.0"), is_at(V4.gateway, sender="0.0.0.0")),
        (who_has(V4.gateway) + bytes(18), is_at(V4.gateway) + bytes(18)),
    ],
    ids=["broadcast", "unicast", "probe", "padded"],
)
def test_arp_is_answered_with_the_uplinks_address(rig: Rig, asked: bytes, answer: bytes) -> None:
    answered(rig, UPLINK_INGRESS, asked, NEIGHBOUR, answer)


ARP_PASSES = {
    "for the node's own address": who_has(V4.node),
    "for somebody else": who_has(V4.client),
    "a reply": who_has(V4.gateway, op=2),
    "for another protocol": who_has(V4.gateway, ptype=0x86DD),
    "for another hardware": who_has(V4.gateway)[:14] + b"\0\6" + who_has(V4.gateway)[16:],
    "with another length of hardware addresses": who_has(V4.gateway)[:18] + b"\x08" + who_has(V4.gateway)[19:],
    "with another length of addresses": who_has(V4.gateway)[:19] + b"\x10" + who_has(V4.gateway)[20:],
    "cut short": who_has(V4.gateway)[:41],
}


@pytest.mark.parametrize("case", ARP_PASSES)
def test_other_arp_is_the_kernels(rig: Rig, case: str) -> None:
    passed(rig, UPLINK_INGRESS, ARP_PASSES[case])


@pytest.mark.parametrize("hook", [UPLINK_EGRESS, LOCAL_EGRESS, POD_INGRESS], ids=lambda x: x.name)
def test_arp_is_answered_on_the_uplink_only(rig: Rig, hook: int) -> None:
    passed(rig, hook, who_has(V4.gateway))


def solicitation(
    target: str,
    *,
    source: str = V6.client,
    mac: str = SOLICITED_MAC,
    destination: str = SOLICITED,
    option: bool = True,
    hops: int = 255,
    code: int = 0,
) -> bytes:
    asked: Packet = ICMPv6ND_NS(tgt=target, code=code)
    if option:
        asked /= ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC)
    return bytes(Ether(src=CLIENT_MAC, dst=mac) / IPv6(src=source, dst=destination, hlim=hops) / asked)


def advertisement(target: str, *, destination: str = V6.client, mac: str = CLIENT_MAC, solicited: int = 1) -> bytes:
    said = ICMPv6ND_NA(tgt=target, R=0, S=solicited, O=1) / ICMPv6NDOptDstLLAddr(lladdr=UPLINK_MAC)
    return bytes(Ether(src=UPLINK_MAC, dst=mac) / IPv6(src=target, dst=destination, hlim=255) / said)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (solicitation(V6.gateway), advertisement(V6.gateway)),
        (
            solicitation(V6.gateway, mac=UPLINK_MAC, destination=V6.gateway, option=False),
            advertisement(V6.gateway),
        ),
        # RFC 4862 section 5.4.3: a duplicate address probe is answered to all
        (
            solicitation(V6.gateway, source="::", option=False),
            advertisement(V6.gateway, destination=ALL_NODES, mac=ALL_NODES_MAC, solicited=0),
        ),
    ],
    ids=["multicast", "unicast without an option", "duplicate address probe"],
)
def test_a_solicitation_is_answered_with_the_uplinks_address(rig: Rig, asked: bytes, answer: bytes) -> None:
    answered(rig, UPLINK_INGRESS, asked, NEIGHBOUR, answer)


NDP_PASSES = {
    "for the node's own address": solicitation(V6.node),
    "for somebody else": solicitation(V6.client),
    # RFC 4861 section 7.1.1: it came from beyond a router
    "hop limit below 255": solicitation(V6.gateway, hops=254),
    "another code": solicitation(V6.gateway, code=1),
    "cut short": solicitation(V6.gateway, option=False)[:-1],
}


@pytest.mark.parametrize("case", NDP_PASSES)
def test_other_solicitations_are_the_kernels(rig: Rig, case: str) -> None:
    passed(rig, UPLINK_INGRESS, NDP_PASSES[case])


@pytest.mark.parametrize("hook", [UPLINK_EGRESS, LOCAL_EGRESS, POD_INGRESS], ids=lambda x: x.name)
def test_solicitations_are_answered_on_the_uplink_only(rig: Rig, hook: int) -> None:
    passed(rig, hook, solicitation(V6.gateway))


def echo(net: Net, data: bytes, *, to: str | None = None, hops: int = 64) -> Packet:
    asked = ICMP(id=7, seq=9) if net is V4 else ICMPv6EchoRequest(id=7, seq=9)
    fields = {"id": 99} if net is V4 else {}
    return ip(net, net.client, to or net.gateway, hops=hops, **fields) / asked / Raw(data)


def echo_reply(net: Net, data: bytes) -> Packet:
    said = ICMP(type=0, id=7, seq=9) if net is V4 else ICMPv6EchoReply(id=7, seq=9)
    fields = {"id": 99} if net is V4 else {}
    return ip(net, net.gateway, net.client, **fields) / said / Raw(data)


@pytest.mark.parametrize("hops", [1, 64, 65, 255])
@pytest.mark.parametrize("data", [b"", b"odd", b"x" * 56, b"y" * 1400], ids=len)
@pytest.mark.parametrize("hook", [UPLINK_INGRESS, LOCAL_EGRESS], ids=lambda x: x.name)
def test_a_ping_is_answered(rig: Rig, net: Net, data: bytes, hops: int, hook: int) -> None:
    answered(rig, hook, echo(net, data, hops=hops), PING, echo_reply(net, data))


def test_a_ping_to_the_nodes_own_address_is_the_kernels(rig: Rig, net: Net) -> None:
    passed(rig, UPLINK_INGRESS, echo(net, b"", to=net.node))


@pytest.mark.parametrize("hook", [UPLINK_EGRESS, POD_INGRESS], ids=lambda x: x.name)
def test_pings_are_answered_where_requests_come_in(rig: Rig, net: Net, hook: int) -> None:
    passed(rig, hook, echo(net, b""))


def test_pings_share_the_limit_of_own_answers(open_rig: OpenRig, net: Net) -> None:
    dropped(open_rig(reply_rate_limit=0), UPLINK_INGRESS, echo(net, b""), RATE_LIMITED)


@pytest.mark.parametrize(
    "packet",
    [
        IP(src=V4.client, dst=V4.gateway) / ICMP(type=0),
        IP(src=V4.client, dst=V4.gateway) / ICMP(type=13),
        IP(src=V4.client, dst=V4.gateway, proto=58) / Raw(bytes(ICMPv6EchoRequest(id=1, cksum=1))),
        IPv6(src=V6.client, dst=V6.gateway) / ICMPv6EchoReply(),
        IPv6(src=V6.client, dst=V6.gateway, nh=1) / Raw(bytes(ICMP(id=1))),
    ],
    ids=["echo reply", "timestamp", "ICMPv6 over IPv4", "ICMPv6 echo reply", "ICMP over IPv6"],
)
def test_other_icmp_to_a_gateway_is_dropped(rig: Rig, packet: Packet) -> None:
    dropped(rig, UPLINK_INGRESS, packet, PROTOCOL)
