"""ICMP errors about packets of a flow: what each end is told, octet by octet."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from scapy.packet import Raw

from .conftest import OpenRig
from .exchange import carried, dropped, passed
from .fragments import cut
from .objects import (
    DELIVERY_REDIRECT,
    FORWARDED,
    LOCAL_EGRESS,
    NO_FLOW,
    PASS,
    POD_INGRESS,
    REDIRECT,
    RELATED,
    REPLIED,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
    Verdict,
)
from .rig import Rig, command
from .services import BACKEND_PORT, HAIRPIN, SERVED, TCP, UDP
from .story import CLIENT_PORT, between, ip
from .wire import ETH, layout, translated, with_checksums
from .world import V4, Net

ROUTER = {"ipv4": "203.0.113.9", "ipv6": "2001:db8:9::9"}

# What may be said, as (type, code, the four octets behind the checksum), by family.
ERRORS = {
    "ipv4": {
        "too big": (3, 4, b"\0\0\x05\x78"),
        "port unreachable": (3, 3, bytes(4)),
        "time exceeded": (11, 0, bytes(4)),
        "parameter problem": (12, 0, b"\x14\0\0\0"),
    },
    "ipv6": {
        "too big": (2, 0, b"\0\0\x05\x78"),
        "port unreachable": (1, 4, bytes(4)),
        "time exceeded": (3, 0, bytes(4)),
        "parameter problem": (4, 1, bytes(4)),
    },
}
SAID = tuple(ERRORS["ipv4"])


def made(rig: Rig, hook: int, net: Net, said: str, *where: str, about: bytes, quoted: int) -> bytes:
    """The error about the frame, quoting so many octets of its transport part."""
    at = layout(about)
    assert at is not None
    return quoting(rig, hook, net, said, *where, quote=about[ETH : min(at.l4 + quoted, at.end)])


def quoting(rig: Rig, hook: int, net: Net, said: str, *where: str, quote: bytes) -> bytes:
    """The error as a frame, every checksum right. `where`: source, destination."""
    type_, code, rest = ERRORS[net.name][said]
    packet = ip(net, *where, **({"proto": 1} if net is V4 else {"nh": 58}))
    return with_checksums(rig.frame(hook, packet / Raw(bytes([type_, code, 0, 0]) + rest + quote)))


@dataclass(frozen=True, slots=True)
class Talk:
    """One packet of a flow each way, as it came and as it went on."""

    request: bytes
    forwarded: bytes
    reply: bytes
    replied: bytes


def talk(rig: Rig, net: Net, protocol: int, *, whole: bool = True) -> Talk:
    """A flow of the client to a pod; TCP half-open if not `whole`."""
    far, near, pod = (net.client, CLIENT_PORT), (net.gateway, SERVED), (net.pod, BACKEND_PORT)
    data = b"something long enough to be quoted in part"
    asks = between(net, protocol, far, near, "S", seq=100)
    carried(rig, UPLINK_INGRESS, asks, FORWARDED, (far, pod))
    answers = between(net, protocol, pod, far, "SA", seq=500, ack=101)
    carried(rig, UPLINK_EGRESS, answers, REPLIED, (near, far))
    if whole:
        asks = between(net, protocol, far, near, "A", seq=101, ack=501, data=data)
        carried(rig, UPLINK_INGRESS, asks, FORWARDED, (far, pod))
        answers = between(net, protocol, pod, far, "A", seq=501, ack=101, data=data)
        carried(rig, UPLINK_EGRESS, answers, REPLIED, (near, far))
    request, reply = rig.frame(UPLINK_INGRESS, asks), rig.frame(UPLINK_EGRESS, answers)
    return Talk(request, translated(request, far, pod), reply, translated(reply, near, far))


def related(rig: Rig, hook: int, frame: bytes, expected: bytes, *, action: int = PASS) -> None:
    outcome = rig.run(hook, frame)
    said = f"{command(frame)} became {Verdict(outcome.verdict).name}"
    assert outcome.verdict == RELATED, said
    assert outcome.packet == expected, f"{said}: {command(outcome.packet)} instead of {command(expected)}"
    assert outcome.action == action, said


def flows(rig: Rig, net: Net, protocol: int) -> list[tuple[object, object]]:
    return [x for name in rig.tables(protocol, net) for x in rig.map(name).raw_items()]


@pytest.mark.parametrize("quoted", [8, 20, 1 << 16], ids=["8 octets", "20 octets", "all"])
@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
@pytest.mark.parametrize("said", SAID)
def test_about_a_request(rig: Rig, net: Net, said: str, protocol: int, quoted: int) -> None:
    """From a router on the way to the backend, and from the backend, which is the gateway to the client."""
    told = talk(rig, net, protocol)
    before = flows(rig, net, protocol)
    for source, seen in ((ROUTER[net.name], ROUTER[net.name]), (net.pod, net.gateway)):
        sent = made(rig, UPLINK_EGRESS, net, said, source, net.client, about=told.forwarded, quoted=quoted)
        expected = made(rig, UPLINK_EGRESS, net, said, seen, net.client, about=told.request, quoted=quoted)
        related(rig, UPLINK_EGRESS, sent, expected)
    assert flows(rig, net, protocol) == before


@pytest.mark.parametrize("quoted", [8, 20, 1 << 16], ids=["8 octets", "20 octets", "all"])
@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
@pytest.mark.parametrize("said", SAID)
def test_about_a_reply(rig: Rig, net: Net, said: str, protocol: int, quoted: int) -> None:
    """From a router on the way to the client, and from the client."""
    told = talk(rig, net, protocol)
    before = flows(rig, net, protocol)
    for source in (ROUTER[net.name], net.client):
        sent = made(rig, UPLINK_INGRESS, net, said, source, net.gateway, about=told.replied, quoted=quoted)
        expected = made(rig, UPLINK_INGRESS, net, said, source, net.pod, about=told.reply, quoted=quoted)
        related(rig, UPLINK_INGRESS, sent, expected)
    assert flows(rig, net, protocol) == before


@pytest.mark.parametrize("said", SAID)
def test_about_a_handshake(rig: Rig, net: Net, said: str) -> None:
    told = talk(rig, net, TCP, whole=False)
    router = ROUTER[net.name]
    sent = made(rig, UPLINK_EGRESS, net, said, router, net.client, about=told.forwarded, quoted=20)
    expected = made(rig, UPLINK_EGRESS, net, said, router, net.client, about=told.request, quoted=20)
    related(rig, UPLINK_EGRESS, sent, expected)


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_about_a_request_under_our_own_address(rig: Rig, net: Net, protocol: int) -> None:
    """It comes back to the gateway's address, from the clients' side or through the gateway's own interface."""
    said = "too big"
    far, seen, there = (net.client, CLIENT_PORT), (net.gateway, CLIENT_PORT), (net.neighbour, BACKEND_PORT)
    asks = rig.frame(UPLINK_INGRESS, between(net, protocol, far, (net.gateway, HAIRPIN), "S", seq=100))
    assert rig.run(UPLINK_INGRESS, asks).verdict == FORWARDED
    for hook in (UPLINK_INGRESS, LOCAL_EGRESS):
        about = translated(asks, seen, there)
        router = ROUTER[net.name]
        sent = made(rig, hook, net, said, router, net.gateway, about=about, quoted=8)
        expected = bytearray(made(rig, hook, net, said, router, net.client, about=asks, quoted=8))
        expected[ETH + (8 if net is V4 else 7)] -= hook != LOCAL_EGRESS
        outcome = rig.run(hook, sent)
        assert (outcome.verdict, outcome.action) == (RELATED, REDIRECT)
        assert outcome.packet[12:] == with_checksums(bytes(expected))[12:]


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_past_the_stack(open_rig: OpenRig, net: Net, protocol: int) -> None:
    """With redirect delivery it goes the way of the flow's packets, one hop less to live."""
    rig = open_rig(delivery=DELIVERY_REDIRECT)
    far, near, pod = (net.client, CLIENT_PORT), (net.gateway, SERVED), (net.pod, BACKEND_PORT)
    asks = rig.frame(UPLINK_INGRESS, between(net, protocol, far, near, "S", seq=100))
    assert rig.run(UPLINK_INGRESS, asks).verdict == FORWARDED
    answers = rig.frame(POD_INGRESS, between(net, protocol, pod, far, "SA", seq=500, ack=101))
    assert rig.run(POD_INGRESS, answers).verdict == REPLIED
    said = "too big"
    sent = made(rig, POD_INGRESS, net, said, net.pod, net.client, about=translated(asks, far, pod), quoted=8)
    expected = made(rig, POD_INGRESS, net, said, net.gateway, net.client, about=asks, quoted=8)
    outcome = rig.run(POD_INGRESS, sent)
    assert (outcome.verdict, outcome.action) == (RELATED, REDIRECT)
    hops = ETH + (8 if net is V4 else 7)
    less = bytearray(expected)
    less[hops] -= 1
    assert outcome.packet[ETH:] == with_checksums(bytes(less))[ETH:]


def test_about_a_fragment(rig: Rig, net: Net) -> None:
    """A router that cannot pass it quotes the first one, which has the ports (IPv6: behind a fragment header)."""
    far, near, pod = (net.client, CLIENT_PORT), (net.gateway, SERVED), (net.pod, BACKEND_PORT)
    asks = rig.frame(UPLINK_INGRESS, between(net, UDP, far, near))
    assert rig.run(UPLINK_INGRESS, asks).verdict == FORWARDED
    whole = rig.frame(UPLINK_EGRESS, between(net, UDP, pod, far, data=bytes(3000)))
    first, sent = cut(whole)[0], cut(translated(whole, near, far))[0]
    router = ROUTER[net.name]
    asked = quoting(rig, UPLINK_INGRESS, net, "too big", router, net.gateway, quote=sent[ETH : ETH + 300])
    expected = quoting(rig, UPLINK_INGRESS, net, "too big", router, net.pod, quote=first[ETH : ETH + 300])
    related(rig, UPLINK_INGRESS, asked, expected)


def test_to_somebody_else_than_who_sent_what_it_quotes(rig: Rig, net: Net) -> None:
    told = talk(rig, net, TCP)
    for address in (net.pod2, net.node):
        sent = made(rig, UPLINK_INGRESS, net, "too big", net.client, address, about=told.replied, quoted=8)
        passed(rig, UPLINK_INGRESS, sent)


@pytest.mark.parametrize("hook", [UPLINK_INGRESS, LOCAL_EGRESS])
def test_about_no_flow(rig: Rig, net: Net, hook: int) -> None:
    """To a gateway: dropped; to anybody else, or to the node itself: not ours."""
    about = rig.frame(hook, between(net, TCP, (net.gateway, SERVED), (net.client, CLIENT_PORT), "SA"))
    said = "port unreachable"
    dropped(rig, hook, made(rig, hook, net, said, net.client, net.gateway, about=about, quoted=8), NO_FLOW)
    for address in (net.node, net.pod, net.client):
        passed(rig, hook, made(rig, hook, net, said, ROUTER[net.name], address, about=about, quoted=8))


@pytest.mark.parametrize("hook", [UPLINK_EGRESS, POD_INGRESS])
def test_on_its_way_out_about_no_flow(rig: Rig, net: Net, hook: int) -> None:
    about = rig.frame(hook, between(net, UDP, (net.client, CLIENT_PORT), (net.pod, BACKEND_PORT)))
    passed(rig, hook, made(rig, hook, net, "port unreachable", net.pod, net.client, about=about, quoted=8))


def test_where_no_packet_of_that_direction_can_be(rig: Rig, net: Net) -> None:
    """From outside, in the name of a pod: nobody there can have seen a request that we rewrote."""
    told = talk(rig, net, TCP)
    said = "port unreachable"
    passed(
        rig, UPLINK_INGRESS, made(rig, UPLINK_INGRESS, net, said, net.pod, net.client, about=told.forwarded, quoted=8)
    )


@pytest.mark.parametrize("quoted", [0, 2, 3, 4, 6])
def test_a_quotation_cut_short(rig: Rig, net: Net, quoted: int) -> None:
    """Four octets of ports are enough; without them nobody knows whose it is."""
    told = talk(rig, net, UDP)
    said = "port unreachable"
    sent = made(rig, UPLINK_INGRESS, net, said, net.client, net.gateway, about=told.replied, quoted=quoted)
    if quoted < 4:
        dropped(rig, UPLINK_INGRESS, sent, NO_FLOW)
    else:
        expected = made(rig, UPLINK_INGRESS, net, said, net.client, net.pod, about=told.reply, quoted=quoted)
        related(rig, UPLINK_INGRESS, sent, expected)


def test_a_quoted_datagram_without_a_checksum(rig: Rig) -> None:
    """IPv4 allows it (RFC 768), and it stays 0."""
    told = talk(rig, V4, UDP)
    at = layout(told.replied)
    assert at is not None

    def bare(frame: bytes) -> bytes:
        return frame[: at.l4 + 6] + b"\0\0" + frame[at.l4 + 8 :]

    said = "port unreachable"
    sent = made(rig, UPLINK_INGRESS, V4, said, V4.client, V4.gateway, about=bare(told.replied), quoted=8)
    expected = made(rig, UPLINK_INGRESS, V4, said, V4.client, V4.pod, about=bare(told.reply), quoted=8)
    related(rig, UPLINK_INGRESS, sent, expected)


@pytest.mark.parametrize("type_", [4, 5, 13, 17])
def test_other_messages_to_a_gateway_are_no_errors_about_flows(rig: Rig, type_: int) -> None:
    packet = ip(V4, V4.client, V4.gateway, proto=1) / Raw(bytes([type_, 0, 0, 0]) + bytes(4 + 28))
    dropped(rig, UPLINK_INGRESS, with_checksums(rig.frame(UPLINK_INGRESS, packet)), Verdict["DROP_PROTOCOL"])
