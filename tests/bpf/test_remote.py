"""Backends behind an uplink, on other nodes: they see an address of the node's own, or the client where the operator
says that replies pass this node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from scapy.layers.inet import TCP as TCPHeader
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from .conftest import BOTH_BUILDS, OpenRig
from .exchange import Way, answered, carried, out_to, passed
from .loading import now
from .objects import (
    CLOSED,
    COLLISION,
    FLOW_BACKEND_FIRST,
    FORWARDED,
    LOCAL_EGRESS,
    NOT_OURS,
    RATE_LIMITED,
    REDIRECT,
    REFUSED_COLLISION,
    REJECTED_RST,
    REPLIED,
    TOO_BIG,
    UPLINK_INGRESS,
)
from .remote import IN_RANGE, SECOND, begin, half, lend
from .rig import Rig
from .services import BACKEND_PORT, CLOSED_PORT, FAR, NOWHERE, TCP, UDP, address
from .story import between, ip
from .wire import with_checksums
from .world import CLIENT_MAC, ROUTER_MAC, V4, Net, World

pytestmark = BOTH_BUILDS

PORTS = range(10_000, 30_000)
OUT_OF_RANGE = 40_000
PENSTOCK0 = "02:00:00:00:02:01"
OUT, BACK = out_to(ROUTER_MAC), out_to(CLIENT_MAC)
BACK_INTO_THE_NODE = Way(action=REDIRECT, dmac=PENSTOCK0)


@pytest.fixture
def lent(rig: Rig, net: Net) -> Iterator[Rig]:
    """The rig, with the node's address to lend."""
    lend(rig, net, [net.node])
    yield rig
    lend(rig, net, [])


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
@pytest.mark.parametrize(("hook", "who"), [(UPLINK_INGRESS, "client"), (LOCAL_EGRESS, "pod2"), (LOCAL_EGRESS, "node")])
def test_the_backend_sees_the_node_both_ways(lent: Rig, net: Net, hook: int, who: str, protocol: int) -> None:
    client, gateway, backend = (getattr(net, who), IN_RANGE), (net.gateway, FAR), (net.far, BACKEND_PORT)
    seen = (net.node, IN_RANGE)
    back = BACK if who == "client" else BACK_INTO_THE_NODE
    carried(lent, hook, between(net, protocol, client, gateway, "S", seq=100), FORWARDED, (seen, backend), way=OUT)
    answers = between(net, protocol, backend, seen, "SA", seq=500, ack=101)
    carried(lent, UPLINK_INGRESS, answers, REPLIED, (gateway, client), way=back)
    goes_on = between(net, protocol, client, gateway, "A", seq=101, ack=501)
    carried(lent, hook, goes_on, FORWARDED, (seen, backend), way=OUT)
    carried(lent, UPLINK_INGRESS, answers, REPLIED, (gateway, client), way=back)


def test_a_listener_on_the_nodes_own_address_reaches_them_too(lent: Rig, net: Net) -> None:
    client, gateway = (net.client, IN_RANGE), (net.node, FAR)
    seen, backend = (net.node, IN_RANGE), (net.far, BACKEND_PORT)
    asks = between(net, TCP, client, gateway, "S", seq=100)
    carried(lent, UPLINK_INGRESS, asks, FORWARDED, (seen, backend), way=OUT)
    answers = between(net, TCP, backend, seen, "SA", seq=500, ack=101)
    carried(lent, UPLINK_INGRESS, answers, REPLIED, (gateway, client), way=BACK)


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_a_port_out_of_the_range_or_taken_is_another(lent: Rig, net: Net, protocol: int) -> None:
    _, port = begin(lent, net, (net.client, OUT_OF_RANGE), protocol=protocol)
    assert port in PORTS
    assert begin(lent, net, (net.client, IN_RANGE), protocol=protocol) == (net.node, IN_RANGE)
    _, other = begin(lent, net, (net.neighbour, IN_RANGE), protocol=protocol)
    assert other in PORTS
    assert other != IN_RANGE


def test_several_addresses_are_used(lent: Rig, net: Net) -> None:
    lend(lent, net, [net.node, SECOND[net.name]])
    seen = {begin(lent, net, (net.client, port))[0] for port in range(30_000, 30_040)}
    assert seen == {net.node, SECOND[net.name]}


def test_where_the_operator_says_so_the_backend_sees_the_client(open_rig: OpenRig, net: Net) -> None:
    """Its reply comes in by an uplink, and goes out by the client's."""
    lent = open_rig(has_symmetric=1)
    lend(lent, net, [net.node])
    client, gateway, backend = (net.client, OUT_OF_RANGE), (net.gateway, FAR), (net.far, BACKEND_PORT)
    bits = 24 if net is V4 else 64
    network = net.octets(net.far)[: bits // 8].ljust(16, b"\0")
    key = {"prefix": 32 + bits, "family": int(net.family), "address": {"octets": network}}
    lent.map("symmetric").set(key, 1)
    try:
        asks = between(net, TCP, client, gateway, "S", seq=100)
        carried(lent, UPLINK_INGRESS, asks, FORWARDED, (client, backend), way=OUT)
        answers = between(net, TCP, backend, client, "SA", seq=500, ack=101)
        carried(lent, UPLINK_INGRESS, answers, REPLIED, (gateway, client), way=BACK)
        goes_on = between(net, TCP, client, gateway, "A", seq=101, ack=501)
        carried(lent, UPLINK_INGRESS, goes_on, FORWARDED, (client, backend), way=OUT)
    finally:
        lent.map("symmetric").delete(key)
        lend(lent, net, [])


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_whom_the_backend_sees_is_decided_when_there_is_a_way(lent: Rig, net: Net, world: World, protocol: int) -> None:
    """The route is missing when the flow begins: the stack says so; when the first packet comes again it is there."""
    bits, router = (32, "10.231.0.254") if net is V4 else (128, "fd00:231::fe")
    client, near, there = (net.client, IN_RANGE), (net.gateway, NOWHERE), (net.nowhere, BACKEND_PORT)
    sent = between(net, protocol, client, near, "S", seq=100)
    carried(lent, UPLINK_INGRESS, sent, FORWARDED, (client, there))
    world.node.ip(f"route delete unreachable {net.nowhere}/{bits}\nroute add {net.nowhere}/{bits} via {router}")
    try:
        lent.age(net, protocol, 1)
        carried(lent, UPLINK_INGRESS, sent, FORWARDED, ((net.node, IN_RANGE), there), way=OUT)
        carried(lent, UPLINK_INGRESS, sent, FORWARDED, ((net.node, IN_RANGE), there), way=OUT)
    finally:
        world.node.ip(f"route delete {net.nowhere}/{bits}\nroute add unreachable {net.nowhere}/{bits}")


# ---- A range that is nearly full


def take(rig: Rig, net: Net, ports: Sequence[int]) -> None:
    """Live pairs of another client hold these ports towards the backend."""
    begin(rig, net, (net.client, IN_RANGE))
    table = rig.map(rig.tables(TCP, net)[1])
    request = {**half(rig, net, (net.client, IN_RANGE)), "seen": now() + 600}
    key = rig.key(net, TCP, (net.client, IN_RANGE), (net.gateway, FAR))
    reply = {**table.get(rig.twin(net, key, request)), "seen": now() + 600}
    rig.reset()
    halves = []
    for port in ports:
        asks = rig.key(net, TCP, (net.neighbour, port), (net.gateway, FAR))
        answers = rig.key(net, TCP, (net.far, BACKEND_PORT), (net.node, port))
        to = {"to_daddr": address(net, net.neighbour), "to_dport": port}
        halves.append((asks, request | {"to_sport": port, "key_check": rig.key_check(asks)}))
        halves.append((answers, reply | to | {"key_check": rig.key_check(answers)}))
    established = rig.map(rig.tables(TCP, net)[0])
    established.set_many_raw([(established.key.pack(x), established.value.pack(y)) for x, y in halves])


STRETCH = 10
"""Of 1 % that is free, so many ports are in every stretch that is searched (SNAT_SEARCH)."""


def all_are_found(rig: Rig, net: Net, free: set[int]) -> None:
    """Fifty new flows find as many of the free ports; never so many at a time that a stretch of them could be taken."""
    for first in range(40_000, 40_050, STRETCH):
        ports = range(first, first + STRETCH)
        found = {begin(rig, net, (net.client, port))[1] for port in ports}
        assert len(found) == STRETCH
        assert found <= free
        for port in ports:
            key = rig.key(net, TCP, (net.client, port), (net.gateway, FAR))
            twin = rig.twin(net, key, half(rig, net, (net.client, port)))
            rig.map(rig.tables(TCP, net)[1]).delete_many([key, twin])


@pytest.fixture
def large(open_rig: OpenRig, net: Net) -> Iterator[Rig]:
    """Tables that hold a whole range."""
    rig = open_rig(sizes={f"{x}{family}": 1 << 17 for x in ("tcp_flows", "half_open") for family in "46"})
    lend(rig, net, [net.node])
    yield rig
    lend(rig, net, [])


def test_of_one_per_cent_that_is_free_every_port_is_found(large: Rig, net: Net) -> None:
    free = set(PORTS[50::100])
    take(large, net, [x for x in PORTS if x not in free])
    all_are_found(large, net, free)


def test_a_port_whose_flow_is_dead_is_free(large: Rig, net: Net) -> None:
    dead = set(PORTS[50::100])
    take(large, net, [x for x in PORTS if x not in dead])
    table = large.map(large.tables(TCP, net)[1])
    begin(large, net, (net.client, 39_999))  # a SYN that nobody answered, and others of long ago
    request = {**half(large, net, (net.client, 39_999)), "seen": (now() - 100) % (1 << 32)}
    reply = {**table.get(large.twin(net, large.key(net, TCP, (net.client, 39_999), (net.gateway, FAR)), request))}
    for port in dead:
        answers = large.key(net, TCP, (net.far, BACKEND_PORT), (net.node, port))
        to = {"to_daddr": address(net, net.neighbour), "to_dport": port, "seen": (now() - 100) % (1 << 32)}
        table.set(answers, reply | to | {"key_check": large.key_check(answers)})
    all_are_found(large, net, dead)


@pytest.mark.parametrize("parts", [0, 3, 5], ids=["none", "three fifths", "all"])
def test_the_tries_tell_how_many_ports_are_taken(large: Rig, net: Net, parts: int) -> None:
    take(large, net, [x for x in PORTS if x % 5 < parts])
    for number in range(400):
        sent = between(net, TCP, (net.client, 40_000 + number), (net.gateway, FAR), "S", seq=100)
        large.run(UPLINK_INGRESS, large.frame(UPLINK_INGRESS, sent))
    seen = large.map("snat_ports").get(0)
    assert 400 <= seen["tries"] <= 1024
    assert abs(seen["taken"] / seen["tries"] - parts / 5) < 0.15  # of 400 by chance: six standard deviations


def test_without_a_free_port_a_new_flow_is_refused_at_once(large: Rig, net: Net) -> None:
    take(large, net, PORTS)
    fields = {"id": 0, "flags": "DF"} if net is V4 else {}
    rst = TCPHeader(sport=FAR, dport=OUT_OF_RANGE, flags="RA", seq=0, ack=101, window=0)
    sent = between(net, TCP, (net.client, OUT_OF_RANGE), (net.gateway, FAR), "S", seq=100)
    answered(large, UPLINK_INGRESS, sent, REFUSED_COLLISION, ip(net, net.gateway, net.client, **fields) / rst)
    lend(large, net, [net.node, SECOND[net.name]])  # another address has a range of its own
    assert begin(large, net, (net.client, OUT_OF_RANGE))[0] == SECOND[net.name]


@pytest.fixture
def few(open_rig: OpenRig, net: Net) -> Iterator[Rig]:
    """Ten ports."""
    rig = open_rig(snat_port_min=10_000, snat_port_max=10_009)
    lend(rig, net, [net.node])
    yield rig
    lend(rig, net, [])


def asked(rig: Rig, net: Net, protocol: int, port: int) -> int:
    """What becomes of a client's first packet to the backend out there."""
    sent = between(net, protocol, (net.client, port), (net.gateway, FAR), "S", seq=100)
    searches = rig.map("vain_searches")
    searches.set(0, [{"second": 0, "count": 0}] * len(searches.get(0)))
    return rig.run(UPLINK_INGRESS, rig.frame(UPLINK_INGRESS, sent)).verdict


# protocol, did the backend answer, seconds ago: does it give up its port for another?
HOLDERS = {
    "a handshake": (TCP, True, 2, False),
    "a handshake that nobody goes on with": (TCP, True, 5, True),
    "a SYN": (TCP, False, 5, True),
    "datagrams": (UDP, True, 20, False),
    "datagrams of a while ago": (UDP, True, 40, True),
    "datagrams without an answer": (UDP, False, 5, True),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_whoever_proves_nothing_gives_up_the_last_port(few: Rig, net: Net, holder: str) -> None:
    """A forged source could hold all ports else."""
    protocol, is_answered, ago, gives_up = HOLDERS[holder]
    for port in range(1001, 1011):
        assert asked(few, net, protocol, port) == FORWARDED
        if is_answered:
            taken = few.entry(net, few.key(net, protocol, (net.client, port), (net.gateway, FAR)))
            assert taken is not None
            answer = between(
                net, protocol, (net.far, BACKEND_PORT), (net.node, taken[1]["to_sport"]), "SA", seq=500, ack=101
            )
            assert few.run(UPLINK_INGRESS, few.frame(UPLINK_INGRESS, answer)).verdict == REPLIED
    few.last_seen(net, protocol, ago)
    became = {asked(few, net, protocol, port) for port in (2001, 2002, 2003)}
    refused = REFUSED_COLLISION if protocol == TCP else COLLISION
    assert became == ({FORWARDED} if gives_up else {refused})
    assert few.entries(few.tables(protocol, net)[-1]) == 20


def test_an_established_connection_keeps_its_port(few: Rig, net: Net) -> None:
    for port in range(1001, 1011):
        seen = begin(few, net, (net.client, port))
        for source, destination, flags, seq, ack in (
            ((net.far, BACKEND_PORT), seen, "SA", 500, 101),
            ((net.client, port), (net.gateway, FAR), "A", 101, 501),
        ):
            sent = between(net, TCP, source, destination, flags, seq=seq, ack=ack)
            assert few.run(UPLINK_INGRESS, few.frame(UPLINK_INGRESS, sent)).verdict in (FORWARDED, REPLIED)
    few.age(net, TCP, 1000)
    assert asked(few, net, TCP, 2001) == REFUSED_COLLISION
    assert few.entries(few.tables(TCP, net)[0]) == 20


# ---- TIME_WAIT


@pytest.mark.parametrize("first", ["client", "backend", "both", "both, the handshake's last ACK was lost"])
def test_a_port_rests_while_the_backend_may_hold_time_wait(lent: Rig, net: Net, first: str) -> None:
    client, gateway, backend = (net.client, IN_RANGE), (net.gateway, FAR), (net.far, BACKEND_PORT)
    seen = begin(lent, net, client)
    rows = [(False, "SA", 500, 101)]
    rows += [] if "lost" in first else [(True, "A", 101, 501)]
    rows += {
        "client": [(True, "FA", 101, 501), (False, "FA", 501, 102)],
        "backend": [(False, "FA", 501, 101), (True, "FA", 101, 502)],
        "both": [(True, "FA", 101, 501), (False, "FA", 501, 101), (True, "A", 102, 502), (False, "A", 502, 102)],
    }[first.split(",", maxsplit=1)[0]]
    for is_request, flags, seq, ack in rows:
        source, destination = (client, gateway) if is_request else (backend, seen)
        frame = lent.frame(UPLINK_INGRESS, between(net, TCP, source, destination, flags, seq=seq, ack=ack))
        assert lent.run(UPLINK_INGRESS, frame).verdict == (FORWARDED if is_request else REPLIED)
    request = half(lent, net, client)
    assert request["state"] == CLOSED
    twin = lent.twin(net, lent.key(net, TCP, client, gateway), request)
    reply = lent.map(lent.tables(TCP, net)[0]).get(twin)
    assert bool(reply["flags"] & FLOW_BACKEND_FIRST) == (first != "client")
    lent.age(net, TCP, 15)
    _, port = begin(lent, net, (net.neighbour, IN_RANGE))
    assert (port == IN_RANGE) == (first == "client")
    lent.age(net, TCP, 70)
    assert begin(lent, net, (net.client, IN_RANGE))[1] == IN_RANGE


# ---- Too large


def too_big(rig: Rig, net: Net, protocol: int, mtu: int) -> None:
    """The client sends what is larger than that by one octet, and is told so; and what is not."""
    client, near = (net.client, IN_RANGE), (net.gateway, FAR)
    headers, transport = (20 if net is V4 else 40), (20 if protocol == TCP else 8)
    fields = {"flags": "DF"} if net is V4 else {}

    def of(octets: int) -> Packet:
        data = bytes(octets - headers - transport)
        return (
            ip(net, net.client, net.gateway, **fields)
            / between(net, protocol, client, near, "A", seq=101, data=data).payload
        )

    carried(rig, UPLINK_INGRESS, of(mtu), FORWARDED, ((net.node, IN_RANGE), (net.far, BACKEND_PORT)), way=OUT)
    packet = of(mtu + 1)
    said = bytes([3, 4] if net is V4 else [2, 0]) + bytes(2) + mtu.to_bytes(4) + bytes(packet)[: headers + transport]
    fields = {"id": 0, "flags": "DF", "proto": 1} if net is V4 else {"nh": 58}
    expected = ip(net, net.gateway, net.client, **fields) / Raw(said)
    device = rig.device(UPLINK_INGRESS)
    frame = with_checksums(bytes(Ether(src=device.mac, dst=device.peer_mac) / expected))
    answered(rig, UPLINK_INGRESS, packet, TOO_BIG, frame)


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_what_is_larger_than_the_way_out_is_said_to_be(lent: Rig, net: Net, protocol: int) -> None:
    """The stack would tell the node itself, whose address is the source."""
    begin(lent, net, (net.client, IN_RANGE), protocol=protocol)
    too_big(lent, net, protocol, 1500)


@pytest.mark.parametrize(
    ("mtus", "mtu"),
    [
        ({0: 1300}, 1300),
        ({0: 1300, 16: 1350}, 1350),
        ({0: 1300, 32: 0}, 1500),
        ({32: 1600}, 1500),
    ],
    ids=["default route", "more specific", "more specific without", "larger than the interface's"],
)
def test_the_way_out_is_as_narrow_as_its_route_says(lent: Rig, net: Net, mtus: dict[int, int], mtu: int) -> None:
    table = lent.map("route_mtus")
    for bits, value in mtus.items():
        octets = net.octets(net.far)[: bits // 8].ljust(16, b"\0")
        table.set({"prefix": 32 + bits, "family": int(net.family), "address": {"octets": octets}}, value)
    try:
        begin(lent, net, (net.client, IN_RANGE))
        too_big(lent, net, TCP, mtu)
    finally:
        table.delete_many([key for key, _ in table.items()])


def test_what_is_said_of_sizes_has_a_limit_of_its_own(open_rig: OpenRig, net: Net) -> None:
    """A flood of refusals leaves it alone, and the other way round."""
    rig = open_rig(reply_rate_limit=3)
    lend(rig, net, [net.node])
    client, fields = (net.client, IN_RANGE), {"flags": "DF"} if net is V4 else {}
    large = between(net, TCP, client, (net.gateway, FAR), "A", seq=101, data=bytes(1500))
    large = rig.frame(UPLINK_INGRESS, ip(net, net.client, net.gateway, **fields) / large.payload)
    closed = rig.frame(UPLINK_INGRESS, between(net, TCP, client, (net.gateway, CLOSED_PORT), "S"))
    second = -1
    while second != now():  # again, if a new second began meanwhile
        second = now()
        rig.reset()
        begin(rig, net, client)
        sizes, refusals = [[rig.run(UPLINK_INGRESS, x).verdict for _ in range(5)] for x in (large, closed)]
    assert sizes == [TOO_BIG] * 3 + [RATE_LIMITED] * 2
    assert refusals == [REJECTED_RST] * 3 + [RATE_LIMITED] * 2
    lend(rig, net, [])


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
def test_a_request_whose_hops_are_spent_is_left_to_the_stack(lent: Rig, net: Net, protocol: int) -> None:
    """As it came, so that the stack tells the client of its own packet."""
    client = (net.client, IN_RANGE)
    for gateway, verdict in ((net.gateway, NOT_OURS), (net.node, FORWARDED)):
        sent = between(net, protocol, client, (gateway, FAR), "S", seq=100)
        setattr(sent, "ttl" if net is V4 else "hlim", 1)
        if verdict == NOT_OURS:
            passed(lent, UPLINK_INGRESS, sent)
        else:
            assert lent.run(UPLINK_INGRESS, lent.frame(UPLINK_INGRESS, sent)).verdict == verdict


def test_what_may_be_cut_is_left_to_the_stack(lent: Rig) -> None:
    client, seen, backend = (V4.client, IN_RANGE), (V4.node, IN_RANGE), (V4.far, BACKEND_PORT)
    lend(lent, V4, [V4.node])
    begin(lent, V4, client, protocol=UDP)
    sent = between(V4, UDP, client, (V4.gateway, FAR), data=bytes(1500))
    carried(lent, UPLINK_INGRESS, sent, FORWARDED, (seen, backend), way=BACK_INTO_THE_NODE)
