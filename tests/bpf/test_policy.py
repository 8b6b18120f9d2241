"""What a policy says of flows that begin: who may, which backend they get and how long they may be silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

import pytest
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.inet import UDP as UDPHeader
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from .conftest import OpenRig
from .exchange import answered, dropped
from .objects import (
    BACKEND_GONE,
    CLOSED,
    CLOSING,
    DENIED,
    FORWARDED,
    LIMITED,
    MOVING,
    NO_FLOW,
    PASS,
    REFUSED_DENIED,
    REFUSED_LIMITED,
    REJECTED_RST,
    REPLIED,
    RESET,
    RESET_LIMITED,
    UPLINK_INGRESS,
    PolicyFlag,
    SourceRule,
)
from .rig import FLOW_TABLES, SERVED, SERVICES, SPLIT, TCP, UDP, Rig, address, now
from .story import CLIENT_PORT, After, Story, backend, between, client, wait
from .test_ageing import Client, start_ageing, wait_until
from .test_refuse import ask, rst, unreachable
from .world import V4, V6, Net

POLICY = 5
IN_USE, SOURCES, ALLOW_ONLY, REJECT, AFFINITY = (
    PolicyFlag[f"POLICY_{x}"] for x in ("IN_USE", "SOURCES", "ALLOW_ONLY", "REJECT", "AFFINITY")
)

# Networks that the client is in, from wide to narrow, and one that it is not in.
ALL, WIDE, NARROW, SELF, OTHER = range(5)


def networks(net: Net) -> tuple[str, ...]:
    own = ip_network(net.client)
    widths = (0, 8, 24, 32) if net is V4 else (0, 32, 64, 128)
    return (*(str(own.supernet(new_prefix=x)) for x in widths), "203.0.113.0/24" if net is V4 else "2001:db8:f::/48")


@contextmanager
def policy(
    rig: Rig,
    net: Net,
    flags: int,
    *ranges: str,
    protocol: int = TCP,
    number: int = POLICY,
    port: int = SERVED,
    **says: int,
) -> Iterator[None]:
    """SERVED's listener of that family and protocol has it; "!" stands before a network that is denied."""
    service = SERVICES[net, port, protocol]
    keys = []
    for text in ranges:
        network = ip_network(text.removeprefix("!"))
        key = {
            "prefix": 64 + network.prefixlen,
            "policy_id": number,
            "family": net.family,
            "address": address(net, str(network.network_address)),
        }
        keys.append(key)
        rule = SourceRule["SOURCE_DENIED" if text.startswith("!") else "SOURCE_ALLOWED"]
        rig.map("source_ranges").set(key, {"rule": rule})
    rig.map("policies").set(number, {**rig.map("policies").value.zero, "flags": flags, **says})
    at = {"address": address(net, net.gateway), "port": port, "protocol": protocol}
    listener = {"listener_id": service.listener_id, "pool_id": service.pool_id, "policy_id": 0}
    rig.map("listeners").set(at, {**listener, "policy_id": number})
    try:
        yield
    finally:
        rig.map("listeners").set(at, listener)
        rig.map("policies").set(number, rig.map("policies").value.zero)
        for key in keys:
            rig.map("source_ranges").delete(key)


def begin(net: Net, protocol: int) -> Packet:
    header = TCPHeader(flags="S", seq=100) if protocol == TCP else UDPHeader()
    header.sport, header.dport = CLIENT_PORT, SERVED
    return ask(net, header)


# flags beside IN_USE and SOURCES, (which network, whether it is denied), is the client denied?
RULES: dict[str, tuple[int, tuple[tuple[int, bool], ...], bool]] = {
    "denied itself": (0, ((SELF, True),), True),
    "another is denied": (0, ((OTHER, True),), False),
    "allowed itself": (ALLOW_ONLY, ((SELF, False),), False),
    "another is allowed": (ALLOW_ONLY, ((OTHER, False),), True),
    "all are denied": (0, ((ALL, True),), True),
    "all are allowed": (ALLOW_ONLY, ((ALL, False),), False),
    "nobody is allowed": (ALLOW_ONLY, (), True),
    "an exception of those denied": (0, ((WIDE, True), (NARROW, False)), False),
    "an exception of those allowed": (ALLOW_ONLY, ((WIDE, False), (NARROW, True)), True),
    "an exception of the exception": (0, ((ALL, True), (NARROW, False), (SELF, True)), True),
    "an exception elsewhere": (0, ((WIDE, True), (OTHER, False)), True),
}


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
@pytest.mark.parametrize("case", RULES)
def test_the_longest_prefix_decides(open_rig: OpenRig, net: Net, protocol: int, case: str) -> None:
    rig = open_rig()
    flags, which, is_denied = RULES[case]
    ranges = [("!" if denied else "") + networks(net)[x] for x, denied in which]
    with policy(rig, net, IN_USE | SOURCES | flags, *ranges, protocol=protocol):
        if is_denied:
            dropped(rig, UPLINK_INGRESS, begin(net, protocol), DENIED)
            assert {rig.entries(x) for x in FLOW_TABLES} == {0}
        else:
            assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, begin(net, protocol))).verdict == FORWARDED
    counted = rig.counted("listener_counts").get(SERVICES[net, SERVED, protocol].listener_id, {"denied": 0})
    assert counted["denied"] == is_denied


def test_tcp_is_answered_if_it_is_to_be(rig: Rig, net: Net) -> None:
    with policy(rig, net, IN_USE | SOURCES | REJECT, "!" + networks(net)[SELF]):
        answered(rig, UPLINK_INGRESS, begin(net, TCP), REFUSED_DENIED, rst(net, SERVED, ("RA", 0, 101)))


def test_udp_is_answered_if_it_is_to_be(rig: Rig, net: Net) -> None:
    with policy(rig, net, IN_USE | SOURCES | REJECT, "!" + networks(net)[SELF], protocol=UDP):
        sent = begin(net, UDP)
        answered(rig, UPLINK_INGRESS, sent, REFUSED_DENIED, unreachable(net, sent))


def test_what_cannot_be_answered_is_dropped_as_denied(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(reply_rate_limit=0)
    with policy(rig, net, IN_USE | SOURCES | REJECT, "!" + networks(net)[SELF]):
        dropped(rig, UPLINK_INGRESS, begin(net, TCP), DENIED)


def test_a_stray_rst_is_none_of_a_policys_business(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    with policy(rig, net, IN_USE | SOURCES, "!" + networks(net)[SELF]):
        dropped(rig, UPLINK_INGRESS, ask(net, TCPHeader(sport=CLIENT_PORT, dport=SERVED, flags="R")), NO_FLOW)
    assert rig.counted("listener_counts") == {}


def test_a_policy_that_is_gone_denies_without_an_answer(open_rig: OpenRig, net: Net) -> None:
    """A packet that found its listener just before it was switched: it is sent again, and meets the new policy."""
    rig = open_rig()
    with policy(rig, net, 0):
        dropped(rig, UPLINK_INGRESS, begin(net, TCP), DENIED)


def test_ranges_are_those_of_one_policy_and_family(open_rig: OpenRig) -> None:
    rig = open_rig()
    with policy(rig, V6, IN_USE | SOURCES, "!::/0"), policy(rig, V4, IN_USE | SOURCES | ALLOW_ONLY, number=POLICY + 1):
        dropped(rig, UPLINK_INGRESS, begin(V6, TCP), DENIED)
        dropped(rig, UPLINK_INGRESS, begin(V4, TCP), DENIED)
    with policy(rig, V6, IN_USE | SOURCES, "!::/0"), policy(rig, V4, IN_USE | SOURCES, number=POLICY):
        assert rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, begin(V4, TCP))).verdict == FORWARDED


def test_a_flow_that_has_begun_goes_on_when_its_source_is_denied(rig: Rig, net: Net) -> None:
    story = Story(rig, net, TCP)
    story.play(client("S", 100), FORWARDED)
    with policy(rig, net, IN_USE | SOURCES, "!" + networks(net)[ALL]):
        story.play(backend("SA", 300, 101), REPLIED)
        story.play(client("A", 101, 301), FORWARDED)
        story.play(client("PA", 101, 301, b"more"), FORWARDED)
        story.check(After(connections=1, established=1))


# ---- idle limits


@pytest.mark.parametrize("idle", [5, 600], ids=["shorter", "longer"])
def test_a_udp_flow_is_chosen_again_after_its_policys_limit(open_rig: OpenRig, net: Net, idle: int) -> None:
    rig = open_rig(limit_udp=60)
    with policy(rig, net, IN_USE, protocol=UDP, idle_udp=idle):
        story = established(rig, net, UDP)
    generation = story.halves()[0][2]["generation"]
    wait(idle - 2)(story)
    story.play(client(), FORWARDED)
    assert story.halves()[0][2]["generation"] == generation
    wait(idle + 2)(story)
    story.play(client(), FORWARDED)
    assert story.halves()[0][2]["generation"] != generation


def test_a_tcp_flow_is_forgotten_after_its_policys_limit(open_rig: OpenRig) -> None:
    """The one that began before the policy keeps the node's limit."""
    rig = open_rig(limit_tcp_established=100_000)
    limited, other = (Client(rig, V4, TCP, port) for port in (1001, 1002))
    other.connect()
    with policy(rig, V4, IN_USE, idle_tcp=2):
        limited.connect()
    start_ageing(rig)
    wait_until(lambda: not limited.halves())
    assert other.halves() == 2
    rig.reset()


def test_a_limit_is_of_its_protocol_alone(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig(limit_tcp_established=60, limit_udp=60)
    with policy(rig, net, IN_USE, idle_udp=5):
        story = established(rig, net, TCP)
    assert [x["idle_limit"] for _, _, x in story.halves()] == [0, 0]


def established(rig: Rig, net: Net, protocol: int) -> Story:
    """A flow that both ends have spoken in."""
    story = Story(rig, net, protocol)
    if protocol == UDP:
        story.play(client(), FORWARDED)
        story.play(backend(), REPLIED)
        return story
    story.play(client("S", 100), FORWARDED)
    story.play(backend("SA", 300, 101), REPLIED)
    story.play(client("A", 101, 301), FORWARDED)
    return story


# ---- affinity


def chosen(rig: Rig, net: Net, source: str, port: int, protocol: int) -> str:
    """The backend of a new flow."""
    sent = between(net, protocol, (source, port), (net.gateway, SPLIT), seq=100)
    outcome = rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, sent))
    assert outcome.verdict == FORWARDED
    found: str = Ether(outcome.packet).payload.dst
    return found


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_one_source_has_one_backend(open_rig: OpenRig, net: Net, protocol: int) -> None:
    rig = open_rig()
    service = SERVICES[net, SPLIT, protocol]
    rig.fill_pool(service, service.backends)
    ports = range(20_000, 20_032)
    assert len({chosen(rig, net, net.client, x, protocol) for x in ports}) == 2
    rig.reset()
    with policy(rig, net, IN_USE | AFFINITY, protocol=protocol, port=SPLIT, affinity4=32, affinity6=128):
        assert len({chosen(rig, net, net.client, x, protocol) for x in ports}) == 1
        neighbours = [str(ip_address(net.client) + i) for i in range(1, 33)]
        assert len({chosen(rig, net, x, 20_000, protocol) for x in neighbours}) == 2


def test_a_network_is_one_source_if_it_is_to_be(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    service = SERVICES[net, SPLIT, TCP]
    rig.fill_pool(service, service.backends)
    neighbours = [str(ip_address(net.client) + i) for i in range(32)]
    apart = [str(ip_address(net.client) + (i << (8 if net is V4 else 64))) for i in range(1, 33)]
    with policy(rig, net, IN_USE | AFFINITY, port=SPLIT, affinity4=24, affinity6=64):
        assert len({chosen(rig, net, x, 20_000 + i, TCP) for i, x in enumerate(neighbours)}) == 1
        assert len({chosen(rig, net, x, 20_000, TCP) for x in apart}) == 2


# ---- connections at a time


def open_at(rig: Rig, net: Net) -> int:
    """Connections that SERVED's listener is counted to have."""
    number: int = rig.map("listener_connections").get(SERVICES[net, SERVED, TCP].listener_id)["open"]
    return number


def limited(rig: Rig, net: Net) -> int:
    counted = rig.counted("listener_counts").get(SERVICES[net, SERVED, TCP].listener_id, {"limited": 0})
    return int(counted["limited"])


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


# ---- connections at a time of one source


def counted_sources(rig: Rig) -> list[int]:
    """What stands in each slot that is in use."""
    slots = [x for _, bucket in rig.map("source_connections").items() for x in bucket["slots"] if x]
    return sorted(x & 0xFFFFFF for x in slots)


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
