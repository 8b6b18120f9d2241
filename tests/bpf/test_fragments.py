"""Fragments of datagrams: put together, what comes out is the whole datagram translated, octet by octet."""

from __future__ import annotations

import itertools

import pytest
from scapy.layers.inet import UDP as UDPHeader
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN
from scapy.packet import Raw

from .conftest import OpenRig
from .exchange import dropped, passed
from .fragments import PIECE, cut, piece
from .kernel import Checksums
from .objects import (
    DELIVERY_REDIRECT,
    FORWARDED,
    FRAGMENT,
    HELD,
    LOCAL_EGRESS,
    MALFORMED,
    NOT_OURS,
    POD_INGRESS,
    REPLIED,
    SHOT,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
    Verdict,
)
from .rig import Rig, SkBuff
from .services import BACKEND_PORT, CLOSED_PORT, HAIRPIN, REJECTED, SERVED, UDP
from .story import CLIENT_PORT, End, between, ip
from .taps import attached
from .wire import ETH, translated
from .world import V4, V6, Net, World

HELD_AT_ONCE = 8


def datagram(rig: Rig, hook: int, net: Net, source: End, destination: End, *, octets: int = 3000) -> bytes:
    """A frame that is larger than any wire takes."""
    return rig.frame(hook, between(net, UDP, source, destination, data=bytes(x * 7 % 251 for x in range(octets))))


def run(rig: Rig, hook: int, frame: bytes, verdict: int) -> bytes:
    outcome = rig.run(hook, frame)
    assert outcome.verdict == verdict, f"{Verdict(outcome.verdict).name} instead of {Verdict(verdict).name}"
    return outcome.packet


def ends(net: Net) -> tuple[End, End, End]:
    return (net.client, CLIENT_PORT), (net.gateway, SERVED), (net.pod, BACKEND_PORT)


@pytest.mark.parametrize("size", [8, 1200, 1480])
def test_a_request_in_order(rig: Rig, net: Net, size: int) -> None:
    far, near, pod = ends(net)
    whole = datagram(rig, UPLINK_INGRESS, net, far, near, octets=100 if size == 8 else 3000)
    expected = cut(translated(whole, far, pod), size=size)
    for sent, due in zip(cut(whole, size=size), expected, strict=True):
        assert run(rig, UPLINK_INGRESS, sent, FORWARDED) == due
    count = rig.counted("backend_counts")
    assert [(x["connections"], x["request_packets"]) for x in count.values()] == [(1, len(expected))]
    assert rig.entries("datagrams") == 0


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_request_in_any_order(rig: Rig, net: Net, order: tuple[int, ...]) -> None:
    """What comes before the first is kept, and comes once more after it (here by hand: no program is attached)."""
    far, near, pod = ends(net)
    whole = datagram(rig, UPLINK_INGRESS, net, far, near)
    pieces, expected = cut(whole), cut(translated(whole, far, pod))
    early = order[: order.index(0)]
    for number in early:
        outcome = rig.run(UPLINK_INGRESS, pieces[number])
        assert (outcome.verdict, outcome.action) == (HELD, SHOT)
    assert rig.entries("held_fragments") == len(early)
    rig.checksums = (
        Checksums.NONE
    )  # to change its length costs the first its sum, which the kernel's check does not know
    for number in (*order[len(early) :], *early):
        assert run(rig, UPLINK_INGRESS, pieces[number], FORWARDED) == expected[number]
    assert (rig.entries("held_fragments"), rig.entries("datagrams")) == (0, 0)


@pytest.mark.parametrize(("hook", "delivery"), [(UPLINK_EGRESS, 0), (POD_INGRESS, DELIVERY_REDIRECT)])
def test_a_reply(open_rig: OpenRig, net: Net, hook: int, delivery: int) -> None:
    rig = open_rig(delivery=delivery)
    far, near, pod = ends(net)
    run(rig, UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, between(net, UDP, far, near)), FORWARDED)
    whole = datagram(rig, hook, net, pod, far)
    for sent, due in zip(cut(whole), cut(translated(whole, near, far, hops=bool(delivery))), strict=True):
        assert run(rig, hook, sent, REPLIED)[ETH:] == due[ETH:]
    assert rig.entries("datagrams") == 0


@pytest.mark.parametrize("hook", [UPLINK_INGRESS, LOCAL_EGRESS])
def test_under_our_own_address_both_ways(rig: Rig, net: Net, hook: int) -> None:
    far, near, there = (net.client, CLIENT_PORT), (net.gateway, HAIRPIN), (net.neighbour, BACKEND_PORT)
    seen = (net.gateway, CLIENT_PORT)
    whole = datagram(rig, hook, net, far, near)
    for sent, due in zip(cut(whole), cut(translated(whole, seen, there, hops=hook != LOCAL_EGRESS)), strict=True):
        assert run(rig, hook, sent, FORWARDED)[ETH:] == due[ETH:]
    whole = datagram(rig, hook, net, there, seen)
    for sent, due in zip(cut(whole, 8), cut(translated(whole, near, far, hops=hook != LOCAL_EGRESS), 8), strict=True):
        assert run(rig, hook, sent, REPLIED)[ETH:] == due[ETH:]


def test_of_others_nothing_is_kept(rig: Rig, net: Net) -> None:
    """Neither the node's own, in any order, nor what passes through it, nor replies that are none."""
    _, _, pod = ends(net)
    for hook, source, destination in (
        (UPLINK_INGRESS, (net.client, CLIENT_PORT), (net.pod, BACKEND_PORT)),
        (UPLINK_EGRESS, pod, (net.client, CLIENT_PORT)),
        (POD_INGRESS, pod, (net.client, CLIENT_PORT)),
        (LOCAL_EGRESS, (net.node, CLIENT_PORT), pod),
    ):
        for sent in reversed(cut(datagram(rig, hook, net, source, destination))):
            passed(rig, hook, sent)
    own = cut(datagram(rig, UPLINK_INGRESS, net, (net.client, CLIENT_PORT), (net.node, CLOSED_PORT)))
    for sent in (*reversed(own), *own, *own):
        passed(rig, UPLINK_INGRESS, sent)
    assert rig.entries("held_fragments") == 0


def test_a_datagram_that_nobody_serves(rig: Rig, net: Net) -> None:
    """Its first fragment is treated as any packet, the others have nowhere to go."""
    far = (net.client, CLIENT_PORT)
    first, *others = cut(datagram(rig, UPLINK_INGRESS, net, far, (net.gateway, REJECTED)))
    dropped(rig, UPLINK_INGRESS, first, Verdict["DROP_REJECT_SHARE"])
    for other in others:
        dropped(rig, UPLINK_INGRESS, other, FRAGMENT)


def test_what_overlaps_is_dropped(rig: Rig, net: Net) -> None:
    far, near, _ = ends(net)
    whole = datagram(rig, UPLINK_INGRESS, net, far, near)
    first, second, third = cut(whole)
    run(rig, UPLINK_INGRESS, first, FORWARDED)
    run(rig, UPLINK_INGRESS, second, FORWARDED)
    for start, length in (
        (0, 8),
        (0, PIECE),
        (8, 16),
        (PIECE - 8, 16),
        (PIECE, PIECE),
        (2 * PIECE - 8, 8),
        (0, 2 * PIECE),
    ):
        dropped(rig, UPLINK_INGRESS, piece(whole, bytes(length), start, 7, more=True), FRAGMENT)
    run(rig, UPLINK_INGRESS, third, FORWARDED)


@pytest.mark.parametrize(
    ("start", "length", "more"),
    [(8, 9, True), (65528, 8, False), (65000, 1000, False), (8, 0, False)],
    ids=["no whole units", "too long by one", "too long", "empty"],
)
def test_what_cannot_be_is_malformed(rig: Rig, net: Net, start: int, length: int, more: bool) -> None:
    far, near, _ = ends(net)
    whole = datagram(rig, UPLINK_INGRESS, net, far, near)
    dropped(rig, UPLINK_INGRESS, piece(whole, bytes(length), start, 7, more=more), MALFORMED)


def test_a_number_is_used_again_when_the_datagram_is_complete(rig: Rig, net: Net) -> None:
    far, near, pod = ends(net)
    for octets in (3000, 2500, 4000):
        whole = datagram(rig, UPLINK_INGRESS, net, far, near, octets=octets)
        for sent, due in zip(cut(whole), cut(translated(whole, far, pod)), strict=True):
            assert run(rig, UPLINK_INGRESS, sent, FORWARDED) == due


def test_a_duplicate_of_a_complete_datagram_is_not_kept(rig: Rig, net: Net) -> None:
    """It would be put into the next one of that number. (That one may come at once, in order.)"""
    far, near, pod = ends(net)
    whole = datagram(rig, UPLINK_INGRESS, net, far, near)
    for sent in cut(whole):
        run(rig, UPLINK_INGRESS, sent, FORWARDED)
    for sent in cut(whole)[1:]:
        dropped(rig, UPLINK_INGRESS, sent, FRAGMENT)
    assert rig.entries("held_fragments") == 0
    for sent, due in zip(cut(whole), cut(translated(whole, far, pod)), strict=True):
        assert run(rig, UPLINK_INGRESS, sent, FORWARDED) == due
    table = rig.map("complete_datagrams")
    for key, since in list(table.items()):
        table.set(key, since - 2)
    assert run(rig, UPLINK_INGRESS, cut(whole)[1], HELD)


@pytest.mark.parametrize("octets", [2000, 3500])
def test_those_that_are_kept_are_sent_behind_a_first_of_any_length(open_rig: OpenRig, net: Net, octets: int) -> None:
    """The test run's own frame may be no longer than a page."""
    rig = open_rig()
    far, near, pod = ends(net)
    whole = datagram(rig, UPLINK_INGRESS, net, far, near, octets=octets + 400)
    first, later = cut(whole, size=octets - octets % 8 - 64)[:2]
    assert rig.run(UPLINK_INGRESS, later).verdict == HELD
    due = cut(translated(whole, far, pod), size=octets - octets % 8 - 64)[0]
    assert run(rig, UPLINK_INGRESS, first, FORWARDED) == due
    assert rig.entries("held_fragments") == 0


def test_two_datagrams_at_once_are_told_apart(rig: Rig, net: Net) -> None:
    far, near, pod = ends(net)
    wholes = [datagram(rig, UPLINK_INGRESS, net, far, near, octets=x) for x in (3000, 3100)]
    sent = zip(*(cut(x, number) for number, x in enumerate(wholes)), strict=True)
    due = zip(*(cut(translated(x, far, pod), number) for number, x in enumerate(wholes)), strict=True)
    for frame, expected in zip(itertools.chain(*sent), itertools.chain(*due), strict=True):
        assert run(rig, UPLINK_INGRESS, frame, FORWARDED) == expected


def test_what_is_kept_is_bounded(rig: Rig, net: Net) -> None:
    """Of one datagram, and of all: fragments without a first push out only each other."""
    far, near, pod = ends(net)
    whole = datagram(rig, UPLINK_INGRESS, net, far, near, octets=65_000)
    for number, frame in enumerate(cut(whole)[1 : HELD_AT_ONCE + 3]):
        assert rig.run(UPLINK_INGRESS, frame).verdict == (HELD if number < HELD_AT_ONCE else FRAGMENT)
    rig.flood((UPLINK_INGRESS, piece(whole, bytes(800), 800, number, more=True)) for number in range(100, 6_000))
    assert 0 < rig.entries("held_fragments") <= 1024
    for sent, due in zip(cut(whole, 99), cut(translated(whole, far, pod), 99), strict=True):
        assert run(rig, UPLINK_INGRESS, sent, FORWARDED) == due
    rig.flood((UPLINK_INGRESS, cut(whole, number)[0]) for number in range(100, 4_000))
    assert 0 < rig.entries("datagrams") <= 2048


def test_what_waits_for_a_first_that_is_dropped_goes_with_it(rig: Rig, net: Net) -> None:
    """Else it would be joined to the next datagram of that number."""
    far, near, _ = ends(net)
    first, later = cut(datagram(rig, UPLINK_INGRESS, net, far, (near[0], REJECTED)))[:2]
    assert rig.run(UPLINK_INGRESS, later).verdict == HELD
    dropped(rig, UPLINK_INGRESS, first, Verdict["DROP_REJECT_SHARE"])
    assert rig.entries("held_fragments") == 0


def test_a_frame_that_is_too_long_to_be_kept(rig: Rig, net: Net) -> None:
    far, near, _ = ends(net)
    whole = datagram(rig, UPLINK_INGRESS, net, far, near, octets=9_000)
    dropped(rig, UPLINK_INGRESS, cut(whole, size=2048)[1], FRAGMENT)


def test_behind_another_extension_header(rig: Rig) -> None:
    """It is stepped over before the fragment header (it is part of every fragment), and not looked for behind it."""
    far, near, pod = ends(V6)
    options = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
    data = Raw(bytes(1192))
    first = ip(V6, *(x for x, _ in (far, near))) / options / IPv6ExtHdrFragment(m=1, id=5)
    first /= UDPHeader(sport=CLIENT_PORT, dport=SERVED, len=1400, chksum=0x1234) / data
    later = (
        ip(V6, *(x for x, _ in (far, near))) / options / IPv6ExtHdrFragment(offset=150, id=5, nh=UDP) / Raw(bytes(200))
    )
    assert run(rig, UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, first), FORWARDED)[38:54] == V6.octets(pod[0])
    assert run(rig, UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, later), FORWARDED)[38:54] == V6.octets(pod[0])
    inside = ip(V6, *(x for x, _ in (far, near))) / IPv6ExtHdrFragment(m=1, id=6) / options / data
    dropped(rig, UPLINK_INGRESS, inside, FRAGMENT)


def test_a_listener_on_the_nodes_own_address_has_them_in_order_only(rig: Rig) -> None:
    """What comes before its first may be the node's own: it is left to the kernel."""
    far, pod = (V4.client, CLIENT_PORT), (V4.pod, BACKEND_PORT)
    whole = datagram(rig, UPLINK_INGRESS, V4, far, (V4.node, SERVED))
    for sent, due in zip(cut(whole), cut(translated(whole, far, pod)), strict=True):
        assert run(rig, UPLINK_INGRESS, sent, FORWARDED) == due
    assert rig.run(UPLINK_INGRESS, cut(whole, 8)[1]).verdict == NOT_OURS


def test_early_fragments_that_pass_an_egress_hook_again(open_rig: OpenRig, net: Net, world: World) -> None:
    """There the program runs anew while the first fragment is in hand, and keeps the duplicate of what it let pass."""
    rig = open_rig()
    client, near = (net.pod2, CLIENT_PORT), (net.gateway, SERVED)
    whole = datagram(rig, LOCAL_EGRESS, net, client, near, octets=2000)
    first, later = cut(whole)
    expected = cut(translated(whole, (net.gateway, CLIENT_PORT), (net.pod, BACKEND_PORT)))[0]
    with attached(world, rig.object, rig.pins):
        rig.flood([(LOCAL_EGRESS, later), (LOCAL_EGRESS, later)])
        assert rig.entries("held_fragments") == 2
        context = bytes(SkBuff(ifindex=rig.device(LOCAL_EGRESS).ifindex))
        passed_on = rig.object.program("local_egress").test_run(first, ctx=context)
    assert passed_on.data == expected
    rig.flood([])
