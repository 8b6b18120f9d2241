"""How many connections at a time a policy lets a listener have, and one source there: who is let in, who is counted."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.l2 import Ether

from .ageing import start_ageing, wait_until
from .clients import Client
from .conftest import BOTH_BUILDS, OpenRig
from .loading import now
from .objects import (
    BACKEND_GONE,
    CLOSED,
    CLOSING,
    FORWARDED,
    LIMITED,
    MOVING,
    PASS,
    REFUSED_LIMITED,
    REJECTED_RST,
    RESET,
    RESET_LIMITED,
    UPLINK_INGRESS,
)
from .policies import IN_USE, POLICY, counted_sources, limited, open_at, policy
from .rig import Rig
from .services import SERVED, SERVICES, SPLIT, TCP
from .story import between
from .world import V4, V6, Net

pytestmark = BOTH_BUILDS

# ---- of a listener


def syn(rig: Rig, net: Net, port: int) -> int:
    """What becomes of it."""
    sent = between(net, TCP, (net.client, port), (net.gateway, SERVED), seq=100)
    return rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, sent)).verdict


def test_one_connection_too_many_is_reset_until_another_closes(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    first, second = (Client(rig, net, TCP, port) for port in (1001, 1002))
    with policy(rig, net, IN_USE, per_listener=2):
        first.connect()
        second.connect()
        assert open_at(rig, net) == 2
        assert (syn(rig, net, 1003), limited(rig, net)) == (REFUSED_LIMITED, 1)
        first.says("FA", seq=101, ack=501)
        assert (syn(rig, net, 1003), open_at(rig, net)) == (REFUSED_LIMITED, 2)  # half closed: open
        first.hears("FA", seq=501, ack=102)
        first.says("A", seq=102, ack=502)
        assert (syn(rig, net, 1003), open_at(rig, net)) == (FORWARDED, 1)


def test_without_an_answer_it_is_dropped_as_limited(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(reply_rate_limit=0)
    with policy(rig, net, IN_USE, per_listener=1):
        Client(rig, net, TCP, 1001).connect()
        assert syn(rig, net, 1002) == LIMITED


def test_handshakes_that_end_at_once_do_not_get_past_the_limit(open_rig: OpenRig, net: Net) -> None:
    """The backend of the one too many is reset, then the client, and so on: either may have missed it."""
    rig = open_rig()
    flows = [Client(rig, net, TCP, port) for port in (1001, 1002)]
    with policy(rig, net, IN_USE, per_listener=1):
        for flow in flows:
            flow.says("S", seq=100)
            flow.hears("SA", seq=500, ack=101)
        flows[0].says("A", seq=101, ack=501)
        assert (open_at(rig, net), limited(rig, net)) == (1, 0)
        sent = between(net, TCP, flows[1].far, flows[1].near, "A", seq=101, ack=501)
        frame = rig.frame(UPLINK_INGRESS, sent)
        for _ in range(2):
            outcome = rig.run(UPLINK_INGRESS, frame)
            came = Ether(outcome.packet).payload
            assert (outcome.verdict, outcome.action) == (RESET_LIMITED, PASS)
            assert (came.dst, came[TCPHeader].flags, came[TCPHeader].seq) == (net.pod, "RA", 101)
            told = came[TCPHeader].chksum
            del came[TCPHeader].chksum
            assert type(came)(bytes(came))[TCPHeader].chksum == told
            assert (open_at(rig, net), limited(rig, net)) == (1, 1)
            outcome = rig.run(UPLINK_INGRESS, frame)
            came = Ether(outcome.packet).payload
            assert outcome.verdict == REFUSED_LIMITED
            assert (came.dst, came[TCPHeader].flags, came[TCPHeader].seq) == (net.client, "R", 501)
        flows[1].hears("R", seq=501)  # the backend, asked once more
        closes(flows[0])
        assert open_at(rig, net) == 0
        rig.run(UPLINK_INGRESS, frame)  # there is room, but its backend has been told
        assert open_at(rig, net) == 0
        assert rig.usage()["tcp4"] + rig.usage()["tcp6"] == 1


def test_a_connection_that_nobody_could_age_does_not_get_past_the_limit(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(limit_closing=1799)  # nobody else has this one, so nothing ages in it
    queue = rig.map("ageing_tcp4" if net is V4 else "ageing_tcp6")
    for _ in range(queue.max_entries):
        queue.push(queue.value.zero)
    first, second = (Client(rig, net, TCP, port) for port in (1001, 1002))
    first.connect()  # without a limit it goes on half-open
    assert first.halves() == 2
    assert rig.usage()["tcp4"] + rig.usage()["tcp6"] == 0
    with policy(rig, net, IN_USE, per_listener=1, per_source=1, source4=32, source6=64):
        second.says("S", seq=100)
        second.hears("SA", seq=500, ack=101)
        for verdict in (RESET_LIMITED, REFUSED_LIMITED):
            second.says("A", verdict=verdict, seq=101, ack=501)
        assert (open_at(rig, net), counted_sources(rig)) == (0, [])


def test_a_reset_that_nobody_believed_does_not_get_past_the_limit(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    with policy(rig, net, IN_USE, per_listener=1):
        flow = Client(rig, net, TCP, 1001)
        flow.says("S", seq=100)
        flow.hears("SA", seq=500, ack=101)
        flow.says("R", seq=100)
        flow.says("A", seq=101, ack=501)
        assert open_at(rig, net) == 1
        sent = between(net, TCP, (net.client, 1002), (net.gateway, SERVED), "S", seq=100)
        assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, sent)).verdict == REFUSED_LIMITED


def test_while_flows_move_none_is_taken_off_for_its_copy_will_be(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    with policy(rig, net, IN_USE, per_listener=1, per_source=1, source4=32, source6=64):
        flow = Client(rig, net, TCP, 1001)
        flow.connect()
        rig.map("in_force").set(0, {"set": 0, "moving_until": now() + 60})
        flow.hears("FA", seq=501, ack=101)
        flow.says("FA", seq=101, ack=502)
        assert (flow.state(), open_at(rig, net), counted_sources(rig)) == (CLOSED, 1, [1])
        again = between(net, TCP, flow.far, flow.near, "S", seq=7000)
        assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, again)).verdict == MOVING
        rig.map("in_force").set(0, {"set": 0, "moving_until": 0})
        flow.hears("A", seq=502, ack=102)
        assert (open_at(rig, net), counted_sources(rig)) == (0, [])


def reset_by_backend(flow: Client) -> None:
    flow.hears("RA", seq=501, ack=101)


def ages(flow: Client) -> None:
    flow.rig.age(flow.net, TCP, 100)
    start_ageing(flow.rig)
    wait_until(lambda: not flow.halves())


def loses_backend(flow: Client) -> None:
    flow.rig.set_backend(SERVICES[flow.net, SERVED, TCP], state=BACKEND_GONE)
    sent = between(flow.net, TCP, flow.far, flow.near, "A", seq=101, ack=501)
    assert flow.rig.run(UPLINK_INGRESS, flow.rig.frame(UPLINK_INGRESS, sent)).verdict == REJECTED_RST
    flow.rig.set_backend(SERVICES[flow.net, SERVED, TCP])


def begins_again(flow: Client) -> None:
    """On the tuple of a connection that was reset."""
    reset_by_backend(flow)
    flow.says("S", seq=9000)


def loses_half(flow: Client) -> None:
    """Its reply half; what is left goes with the next FIN, which begins nothing that counts."""
    found = flow.rig.entry(flow.net, flow.key)
    assert found is not None
    flow.rig.map(found[0]).delete(flow.rig.twin(flow.net, flow.key, found[1]))
    flow.says("FA", seq=101, ack=501)


@pytest.mark.parametrize("end", [ages, loses_backend, begins_again, loses_half], ids=lambda x: x.__name__)
def test_whichever_way_a_connection_goes_it_is_taken_off_once(
    open_rig: OpenRig, net: Net, end: Callable[[Client], None]
) -> None:
    rig = open_rig(limit_tcp_established=60)
    goes, stays = (Client(rig, net, TCP, port) for port in (1001, 1002))
    with policy(rig, net, IN_USE, per_listener=9):
        goes.connect()
        assert open_at(rig, net) == 1
        end(goes)
        assert open_at(rig, net) == 0
        stays.connect()
        assert open_at(rig, net) == 1
    rig.reset()


def test_a_reset_connection_counts_as_long_as_it_may_be_revived(open_rig: OpenRig, net: Net) -> None:
    """Else a reset that the backend does not believe would be a way around the limit."""
    rig = open_rig()
    flow = Client(rig, net, TCP, 1001)
    with policy(rig, net, IN_USE, per_listener=9):
        flow.connect()
        reset_by_backend(flow)
        assert (flow.state(), open_at(rig, net)) == (RESET, 1)


def test_a_reset_that_no_backend_believes_does_not_end_the_count(open_rig: OpenRig, net: Net) -> None:
    """It is farther ahead than the client has come, as a FIN before it: the backend has the connection open."""
    rig = open_rig(limit_tcp_established=60)
    doubted, believed = (Client(rig, net, TCP, port) for port in (1001, 1002))
    with policy(rig, net, IN_USE, per_listener=9, per_source=9, source4=32, source6=64):
        for flow in (doubted, believed):
            flow.connect()
        doubted.says("FA", seq=101 + (5 << 20), ack=501)
        doubted.says("R", seq=102 + (5 << 20))
        believed.says("R", seq=101)
        rig.age(net, TCP, 40)
        start_ageing(rig)
        wait_until(lambda: not believed.halves())
        assert (doubted.state(), open_at(rig, net), counted_sources(rig)) == (CLOSING, 1, [1])
    rig.reset()


def test_half_open_flows_that_are_pushed_out_leave_no_count(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    with policy(rig, net, IN_USE, per_listener=9):
        for _ in range(2):
            assert {syn(rig, net, port) for port in range(1001, 1021)} == {FORWARDED}
            rig.age(net, TCP, 100)
        assert open_at(rig, net) == 0


def test_connections_from_before_a_policy_do_not_count(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    before, during = (Client(rig, net, TCP, port) for port in (1001, 1002))
    before.connect()
    with policy(rig, net, IN_USE, per_listener=9):
        during.connect()
        assert open_at(rig, net) == 1
    for flow in (before, during):
        flow.says("FA", seq=101, ack=501)
        flow.hears("FA", seq=501, ack=102)
    assert open_at(rig, net) == 0


# ---- of one source


def client_at(rig: Rig, net: Net, source: str, port: int) -> Client:
    flow = Client(rig, net, TCP, port)
    flow.far = (source, port)
    flow.key = rig.key(net, TCP, flow.far, flow.near)
    return flow


def beside(net: Net, prefix: int, *, inside: bool) -> str:
    """An address in the client's network of that prefix that is not its own, or one in the network after it."""
    width = (32 if net is V4 else 128) - prefix
    return str(ip_address(int(ip_address(net.client)) ^ (1 if inside else 1 << width)))


def comes(rig: Rig, net: Net, source: str, port: int) -> int:
    sent = between(net, TCP, (source, port), (net.gateway, SERVED), seq=100)
    return rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, sent)).verdict


def closes(flow: Client) -> None:
    flow.says("FA", seq=101, ack=501)
    flow.hears("FA", seq=501, ack=102)
    flow.says("A", seq=102, ack=502)


@pytest.mark.parametrize("narrow", [False, True], ids=["network", "address"])
def test_a_source_has_so_many_and_others_have_theirs(open_rig: OpenRig, net: Net, narrow: bool) -> None:
    rig = open_rig()
    prefix = {(V4, False): 24, (V4, True): 32, (V6, False): 64, (V6, True): 128}[net, narrow]
    other = beside(net, prefix, inside=False)
    first = client_at(rig, net, net.client, 1001)
    prefixes = {"source4": prefix, "source6": 1} if net is V4 else {"source4": 1, "source6": prefix}
    with policy(rig, net, IN_USE, per_source=1, **prefixes):
        first.connect()
        assert (comes(rig, net, net.client, 1002), limited(rig, net)) == (REFUSED_LIMITED, 1)
        if not narrow:
            assert comes(rig, net, beside(net, prefix, inside=True), 1002) == REFUSED_LIMITED
        client_at(rig, net, other, 1001).connect()
        assert comes(rig, net, other, 1002) == REFUSED_LIMITED
        assert counted_sources(rig) == [1, 1]
        closes(first)
        assert (comes(rig, net, net.client, 1002), counted_sources(rig)) == (FORWARDED, [1])


def test_a_source_has_its_connections_at_each_listener(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    says = {"per_source": 1, "source4": 32, "source6": 64}
    elsewhere = Client(rig, net, TCP, 1001)
    elsewhere.near = (net.gateway, SPLIT)
    service = SERVICES[net, SPLIT, TCP]
    rig.fill_pool(service, service.backends[:1])
    with policy(rig, net, IN_USE, **says), policy(rig, net, IN_USE, number=POLICY + 1, port=SPLIT, **says):
        Client(rig, net, TCP, 1002).connect()
        elsewhere.connect()
        assert counted_sources(rig) == [1, 1]


def test_a_limit_that_is_lowered_and_taken_away_is_that_of_those_who_come(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    first, second, uncounted = (Client(rig, net, TCP, port) for port in (1001, 1002, 1003))
    with policy(rig, net, IN_USE, per_source=2, source4=32, source6=64):
        first.connect()
        second.connect()
    uncounted.connect()
    with policy(rig, net, IN_USE, number=POLICY + 1, per_source=1, source4=32, source6=64):
        assert comes(rig, net, net.client, 1004) == REFUSED_LIMITED
        closes(first)
        assert (comes(rig, net, net.client, 1004), counted_sources(rig)) == (REFUSED_LIMITED, [1])
        closes(second)
        assert (comes(rig, net, net.client, 1004), counted_sources(rig)) == (FORWARDED, [])
        closes(uncounted)
        assert counted_sources(rig) == []


@pytest.mark.parametrize(("per_listener", "per_source"), [(9, 1), (1, 9)], ids=["its own", "the listener's"])
def test_handshakes_that_end_at_once_get_past_neither_limit(
    open_rig: OpenRig, net: Net, per_listener: int, per_source: int
) -> None:
    rig = open_rig()
    flows = [Client(rig, net, TCP, port) for port in (1001, 1002)]
    with policy(rig, net, IN_USE, per_listener=per_listener, per_source=per_source, source4=32, source6=64):
        for flow in flows:
            flow.says("S", seq=100)
            flow.hears("SA", seq=500, ack=101)
        flows[0].says("A", seq=101, ack=501)
        flows[1].says("A", verdict=RESET_LIMITED, seq=101, ack=501)
        assert (counted_sources(rig), open_at(rig, net), limited(rig, net)) == ([1], 1, 1)
        assert rig.usage()["tcp4"] + rig.usage()["tcp6"] == 1


@pytest.mark.parametrize("end", [closes, ages, loses_backend, begins_again, loses_half], ids=lambda x: x.__name__)
def test_whichever_way_it_goes_it_is_taken_off_its_source_once(
    open_rig: OpenRig, net: Net, end: Callable[[Client], None]
) -> None:
    """Whatever the policy says by then."""
    rig = open_rig(limit_tcp_established=60)
    goes, stays = (Client(rig, net, TCP, port) for port in (1001, 1002))
    with policy(rig, net, IN_USE, per_source=9, source4=32, source6=64):
        goes.connect()
        stays.connect()
        assert counted_sources(rig) == [2]
    if end is ages:
        end(goes)
        wait_until(lambda: not stays.halves())
        assert counted_sources(rig) == []
    else:
        end(goes)
        assert counted_sources(rig) == [1]
    rig.reset()


def test_a_source_that_two_slots_count_has_its_limit_all_the_same(open_rig: OpenRig, net: Net) -> None:
    """Two CPUs may give it two, if one falls free while both look."""
    rig = open_rig()
    first, second = (Client(rig, net, TCP, port) for port in (1001, 1002))
    with policy(rig, net, IN_USE, per_source=2, source4=32, source6=64):
        first.connect()
        second.connect()
        sources = rig.map("source_connections")
        number, bucket, used = next(
            (key, bucket, i) for key, bucket in sources.items() for i, slot in enumerate(bucket["slots"]) if slot
        )
        other = (used + 5) % len(bucket["slots"])
        bucket["slots"][used] -= 1
        bucket["slots"][other] = bucket["slots"][used]
        sources.set(number, bucket)
        table, entry = rig.entry(net, second.key) or ("", {})
        rig.map(table).set(second.key, {**entry, "source_place": number * len(bucket["slots"]) + other + 1})
        assert counted_sources(rig) == [1, 1]
        assert comes(rig, net, net.client, 1003) == REFUSED_LIMITED
        closes(first)
        assert (comes(rig, net, net.client, 1003), counted_sources(rig)) == (FORWARDED, [1])
        closes(second)
        assert counted_sources(rig) == []


def test_who_finds_no_room_to_be_counted_is_let_in(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(source_buckets=1)
    sources = [str(ip_address(net.client) + (i << (8 if net is V4 else 64))) for i in range(18)]
    with policy(rig, net, IN_USE, per_source=1, source4=24, source6=64):
        for source in sources:
            client_at(rig, net, source, 1001).connect()
        assert counted_sources(rig) == [1] * 16
        assert comes(rig, net, sources[15], 1002) == REFUSED_LIMITED
        assert comes(rig, net, sources[17], 1002) == FORWARDED
    counted = rig.counted("listener_counts")[SERVICES[net, SERVED, TCP].listener_id]
    assert (counted["uncounted"], counted["limited"]) == (2, 1)
