"""Two sets of programs at one hook: one acts; and flows that are under way from the one's tables to the other's."""

from __future__ import annotations

import time

import pytest

from loader.objects import Object
from loader.spec import ObjectSpec

from . import objects as o
from .conftest import BOTH_BUILDS, OpenRig
from .objects import (
    ESTABLISHED,
    FORWARDED,
    MOVING,
    REPLIED,
    SYN,
    SYN_ACK,
    UDP_FLOW,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
)
from .rig import Rig
from .services import BACKEND_PORT, SERVED, SIZES, TCP, UDP
from .story import After, Do, Row, Story, backend, between, client, tell
from .world import Net

pytestmark = BOTH_BUILDS

FRAME = bytes(64)
FOR_EVER = 2**32 - 1
TICKS = 0.5  # seconds; the sweep ticks ten times in one


def set_in_force(rig: Rig, number: int, moving_until: int = 0) -> None:
    rig.map("in_force").set(0, {"set": number, "moving_until": moving_until})


def moving(until: int) -> Do:
    return lambda story: set_in_force(story.rig, 0, until)


MOVES, MOVED = (moving(FOR_EVER),), (moving(0),)


def test_a_handshake_waits_and_goes_on_when_it_is_sent_again(rig: Rig, net: Net) -> None:
    rows: tuple[Row, ...] = (
        MOVES,
        (client("S", seq=100), MOVING, None),
        MOVED,
        (client("S", seq=100), FORWARDED, SYN),
        MOVES,
        (backend("SA", seq=500, ack=101), MOVING, SYN),
        MOVED,
        (backend("SA", seq=500, ack=101), REPLIED, SYN_ACK),
        MOVES,
        (client("A", seq=101, ack=501), MOVING, SYN_ACK),
        (client("PA", seq=101, ack=501, data=b"early"), MOVING, SYN_ACK),
        MOVED,
        (client("A", seq=101, ack=501), FORWARDED, ESTABLISHED),
        MOVES,
        (client("PA", seq=101, ack=501, data=b"ping"), FORWARDED, ESTABLISHED),
        (backend("PA", seq=501, ack=105, data=b"pong"), REPLIED, ESTABLISHED),
    )
    tell(rig, net, TCP, rows, After(connections=1, established=1))


def test_datagrams_of_a_flow_go_on_and_no_flow_begins(rig: Rig, net: Net) -> None:
    rows: tuple[Row, ...] = (
        MOVES,
        (client(data=b"who"), MOVING, None),
        MOVED,
        (client(data=b"who"), FORWARDED, UDP_FLOW),
        MOVES,
        (backend(data=b"me"), REPLIED, UDP_FLOW),
        (client(data=b"and"), FORWARDED, UDP_FLOW),
    )
    tell(rig, net, UDP, rows, After(connections=1, udp=1))


def test_a_stream_that_nobody_knows_is_neither_reset_nor_adopted(rig: Rig, net: Net) -> None:
    rows: tuple[Row, ...] = (MOVES, (client("PA", seq=9, ack=8, data=b"x"), MOVING, None))
    tell(rig, net, TCP, rows, After())


def test_nothing_waits_for_longer_than_was_said(rig: Rig, net: Net) -> None:
    now = int(time.clock_gettime(time.CLOCK_MONOTONIC))
    rows: tuple[Row, ...] = ((moving(now),), (client("S", seq=100), FORWARDED, SYN))
    tell(rig, net, TCP, rows, After(half_open=1))


def test_programs_of_another_set_see_nothing(rig: Rig, net: Net) -> None:
    story = Story(rig, net, TCP)
    story.play(client("S", seq=100), FORWARDED)
    before = rig.verdicts()
    set_in_force(rig, 7)
    for hook, packet in (
        (UPLINK_INGRESS, between(net, TCP, (net.client, 40000), (net.gateway, SERVED), "S", seq=100)),
        (UPLINK_EGRESS, between(net, TCP, (net.pod, BACKEND_PORT), (net.client, 40000), "SA", seq=5, ack=101)),
    ):
        frame = rig.frame(hook, packet)
        ran = rig.object.program(o.PROGRAMS[hook]).test_run(frame)
        assert (ran.retval - (1 << 32), ran.data) == (o.PASS, frame)
    assert rig.verdicts() == before
    assert story.state() == SYN


@pytest.mark.parametrize(("number", "until"), [(0, FOR_EVER), (7, 0)], ids=["moving", "of another set"])
def test_ageing_takes_nothing_out(open_rig: OpenRig, number: int, until: int) -> None:
    rig = open_rig()
    with Object.load(ObjectSpec(o.AGE_OBJECT, dict(rig.settings), SIZES), rig.pins) as loaded:
        assert loaded.program("start_ageing").test_run(FRAME).retval == 0
    set_in_force(rig, number, until)
    time.sleep(TICKS)  # one may be under way
    before = rig.usage()["last_sweep"]
    time.sleep(TICKS)
    assert rig.usage()["last_sweep"] == before
    set_in_force(rig, 0)
    deadline = time.monotonic() + 30
    while rig.usage()["last_sweep"] == before:
        assert time.monotonic() < deadline, "ageing does not go on"
        time.sleep(0.05)
