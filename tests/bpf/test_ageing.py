"""Ageing by bpf_timer (bpf/age.bpf.c): idle pairs go, live ones stay, whoever is gone meanwhile.

The programs see real seconds: limits are short, and every wait is for a condition.
"""

from __future__ import annotations

import contextlib
import time

import pytest

from loader.errors import MapFull

from . import objects as o
from .ageing import start_ageing, wait_until
from .clients import Client
from .conftest import OpenRig
from .loading import now
from .objects import CLOSED, CLOSING, ESTABLISHED, RESET
from .rig import Rig
from .services import TCP, UDP
from .world import NETS, V4, Net

LIMITS = {"limit_tcp_established": 6, "limit_udp": 6, "limit_closed": 6, "limit_reset": 6}


@pytest.fixture
def rig(open_rig: OpenRig) -> Rig:
    return open_rig(**LIMITS)


def families_and_protocols(rig: Rig, ports: range) -> list[Client]:
    return [Client(rig, net, protocol, port) for net in NETS for protocol in (TCP, UDP) for port in ports]


def live_flows(rig: Rig) -> tuple[int, int]:
    usage = rig.usage()
    return usage["tcp4"], usage["tcp6"]


def test_idle_pairs_of_every_table_go_and_live_ones_stay(rig: Rig) -> None:
    idle, live = families_and_protocols(rig, range(1001, 1006)), families_and_protocols(rig, range(2001, 2004))
    for flow in (*idle, *live):
        flow.connect() if flow.protocol == TCP else flow.says()
    assert live_flows(rig) == (8, 8)
    start_ageing(rig)
    before = rig.usage()

    def goes_on() -> None:
        for flow in live:
            flow.says() if flow.key["sport"] % 2 else flow.hears()

    wait_until(lambda: not any(x.halves() for x in idle), meanwhile=goes_on)
    assert [x.halves() for x in live] == [2] * len(live)
    assert live_flows(rig) == (3, 3)
    after = rig.usage()
    assert after["expired"] - before["expired"] == len(idle)
    assert after["swept"] > before["swept"]
    assert after["last_sweep"] > before["last_sweep"]
    # ... and they too go when they are left alone; the program that was loaded is long closed.
    wait_until(lambda: not any(x.halves() for x in live))
    assert live_flows(rig) == (0, 0)
    assert all(rig.entries(x) == 0 for x in ("tcp_flows4", "tcp_flows6", "udp_flows4", "udp_flows6"))


def test_a_queue_that_others_fill_loses_nobody(open_rig: OpenRig) -> None:
    """What ageing took out and cannot put back it keeps in hand."""
    rig = open_rig(limit_tcp_established=4)
    flows = [Client(rig, V4, TCP, port) for port in range(1001, 1301)]
    for flow in flows:
        flow.connect()
    queue = rig.map("ageing_tcp4")
    stranger = {**queue.value.zero, "due": now() + 6}
    start_ageing(rig)
    until = time.monotonic() + 4
    pushed = 0
    while time.monotonic() < until:
        with contextlib.suppress(MapFull):
            queue.push(stranger)
            pushed += 1
    assert pushed >= queue.max_entries - len(flows)  # it was full; places that fell free were taken, if on another CPU
    wait_until(lambda: live_flows(rig) == (0, 0))


def test_closed_and_reset_flows_rest_for_a_short_time_only(open_rig: OpenRig) -> None:
    rig = open_rig(limit_tcp_established=100000, limit_closed=3, limit_reset=3, limit_closing=3)
    closed, reset, half, open_ = (Client(rig, V4, TCP, port) for port in (1001, 1002, 1004, 1003))
    for flow in (closed, reset, half, open_):
        flow.connect()
    half.hears("FA", seq=501, ack=101)  # its client is gone
    closed.says("FA", seq=101, ack=501)
    closed.hears("FA", seq=501, ack=102)
    reset.hears("RA", seq=501, ack=101)
    assert [x.state() for x in (closed, reset, half, open_)] == [CLOSED, RESET, CLOSING, ESTABLISHED]
    start_ageing(rig)
    wait_until(lambda: not any(x.halves() for x in (closed, reset, half)))
    assert open_.halves() == 2
    assert live_flows(rig) == (1, 0)
    rig.reset()


@pytest.mark.parametrize("half", ["request", "reply"])
def test_what_is_left_of_an_idle_udp_pair_goes_too(rig: Rig, half: str) -> None:
    flow = Client(rig, V4, UDP, 1001)
    flow.says()
    table = rig.map("udp_flows4")
    (twin,) = (key for key, entry in table.items() if entry["flags"] & o.FLOW_REPLY)
    assert table.delete(flow.key if half == "request" else twin)
    start_ageing(rig)
    # Ageing goes by the request's key: a reply half alone is the table's to evict.
    if half == "reply":
        wait_until(lambda: rig.entries("udp_flows4") == 0)
    else:
        seen = rig.usage()["last_sweep"]
        wait_until(lambda: rig.usage()["last_sweep"] > seen)
        assert rig.entries("udp_flows4") == 1


def test_a_flow_that_replaced_another_is_not_taken_for_it(rig: Rig) -> None:
    """The old one's ticket is still in the turnstile when the new one lives under the same key."""
    flow = Client(rig, V4, TCP, 1001)
    flow.connect()
    flow.says("FA", seq=101, ack=501)
    flow.hears("FA", seq=501, ack=102)
    start_ageing(rig)
    flow.says("S", seq=9000)
    flow.hears("SA", seq=7000, ack=9001)
    flow.says("A", seq=9001, ack=7001)
    before = rig.usage()
    wait_until(lambda: rig.usage()["swept"] >= before["swept"] + 3, meanwhile=flow.says)
    assert flow.halves() == 2
    assert live_flows(rig) == (1, 0)


def test_ageing_goes_on_when_nothing_is_left_but_the_map_of_its_timer(open_rig: OpenRig) -> None:
    """The program, neither open nor pinned, lives by its timer, and the other maps live by the program."""
    rig = open_rig(limit_tcp_established=2)
    start_ageing(rig)
    for pin in rig.pins.iterdir():
        if pin.name != "ageing":
            pin.unlink()
    flow = Client(rig, V4, TCP, 1001)
    flow.connect()
    wait_until(lambda: not flow.halves())
    assert live_flows(rig) == (0, 0)


def test_starting_again_is_no_harm(rig: Rig) -> None:
    for _ in range(3):
        start_ageing(rig)
    flow = Client(rig, V4, UDP, 1001)
    flow.says()
    wait_until(lambda: not flow.halves())


@pytest.mark.parametrize(
    ("fill", "idle", "stays"),
    [(0.5, 7000, True), (0.8, 3000, True), (0.8, 4000, False), (0.9, 800, True), (0.9, 1000, False)],
)
def test_idle_flows_make_room_as_the_table_fills(
    open_rig: OpenRig, net: Net, fill: float, idle: int, stays: bool
) -> None:
    """Above 3/4 an hour of silence is enough, above 7/8 a quarter of one; below, two hours are not."""
    rig = open_rig()
    flow = Client(rig, net, TCP, 40_000)
    flow.connect()
    rig.age(net, TCP, idle)
    usage = rig.usage()
    live = "tcp4" if net is V4 else "tcp6"
    rig.map("flow_usage").set(0, usage | {live: int(fill * 131_072)})
    start_ageing(rig)
    wait_until(lambda: rig.usage()["swept"] > usage["swept"])
    if stays:
        assert flow.halves() == 2
    else:
        wait_until(lambda: flow.halves() == 0)
