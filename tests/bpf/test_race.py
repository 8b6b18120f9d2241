"""Two packets of one flow, or two flows that want the same thing, on two CPUs at the same moment.

Whatever the order: both halves of a pair are there or neither, no two flows have one reply tuple, and what is counted
is what stands in the tables.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from lab.wait import until
from loader.program import RunResult

from .conftest import OpenRig
from .fragments import cut
from .objects import (
    CLOSED,
    CLOSING,
    FLOW_FIN,
    FLOW_REPLY,
    FORWARDED,
    FRAGMENT,
    LOCAL_EGRESS,
    REPLIED,
    RESET,
    UPLINK_EGRESS,
    UPLINK_INGRESS,
    Verdict,
)
from .policies import IN_USE, counted_sources, limited, policy
from .race import CPUS, Races, Round, Shot, races
from .remote import lend
from .rig import Rig
from .services import BACKEND_PORT, FAR, SERVED, SERVICES, SPLIT, TCP, UDP, Json
from .story import End, between
from .taps import attached
from .world import V4, Net, World

ROUNDS = 1000
PORTS = range(10_000, 10_200)


# More than the flows of a test: an LRU table is split per CPU, and what is free on the one is not on the other. Sources
# fall into buckets by chance.
SIZES = {f"{name}{family}": 1 << 14 for name in ("half_open", "udp_flows") for family in "46"}
SIZES["source_connections"] = 512


@pytest.fixture
def rig(open_rig: OpenRig) -> Rig:
    return open_rig(sizes=SIZES)


@pytest.fixture
def raced(rig: Rig) -> Iterator[Races]:
    with races(rig) as made:
        yield made
        assert made.met() > 0 or CPUS[0] == CPUS[1], "no two packets have met"


# ---- The packets of a client's flow


def source_of(net: Net, number: int) -> End:
    return net.client, 2000 + number


@functools.cache
def template(rig: Rig, hook: int, net: Net, ends: tuple[End, End], said: tuple[tuple[str, Any], ...]) -> bytes:
    """A frame to be changed in its ports: scapy takes longer to make one than a race lasts."""
    fields = dict(said)
    return rig.frame(hook, between(net, fields.pop("protocol"), *ends, **fields))


def shot(rig: Rig, hook: int, net: Net, ends: tuple[End, End], **said: Any) -> Shot:
    """A packet of these ends. Its checksum is that of others: nobody looks at it."""
    (source, sport), (destination, dport) = ends
    frame = template(rig, hook, net, ((source, 0), (destination, 0)), tuple(said.items()))
    at = 34 if net is V4 else 54
    return Shot(hook, frame[:at] + struct.pack(">HH", sport, dport) + frame[at + 4 :])


def client(rig: Rig, net: Net, number: int, flags: str, *, port: int = SERVED, **said: Any) -> Shot:
    ends = (source_of(net, number), (net.gateway, port))
    return shot(rig, UPLINK_INGRESS, net, ends, **{"protocol": TCP, "flags": flags, **said})


def backend(rig: Rig, net: Net, number: int, flags: str, **numbers: int) -> Shot:
    ends = ((net.pod, BACKEND_PORT), source_of(net, number))
    return shot(rig, UPLINK_EGRESS, net, ends, protocol=TCP, flags=flags, **numbers)


def syn(rig: Rig, net: Net, number: int) -> Shot:
    return client(rig, net, number, "S", seq=100)


def syn_ack(rig: Rig, net: Net, number: int) -> Shot:
    return backend(rig, net, number, "SA", seq=500, ack=101)


def ack(rig: Rig, net: Net, number: int) -> Shot:
    return client(rig, net, number, "A", seq=101, ack=501)


def play(rig: Rig, shots: Iterable[Shot]) -> None:
    """One after the other."""
    counted = rig.flood((x.hook, x.frame) for x in shots)
    assert set(counted) <= {(UPLINK_INGRESS, FORWARDED), (UPLINK_EGRESS, REPLIED)}


# ---- What must hold in the end


def pairs(rig: Rig, net: Net, protocol: int) -> dict[str, int]:
    """How many flows stand in each table; fails if anything stands there that is no half of a whole pair, or if the
    tuple of a reply is that of two flows."""
    found, replies = {}, dict[bytes, bytes]()
    for name in rig.tables(protocol, net):
        table = rig.map(name)
        entries = {table.key.pack(key): (key, entry) for key, entry in table.items()}
        for octets, (key, entry) in entries.items():
            assert entry["generation"] != 0, (name, key, entry)
            assert entry["key_check"] == rig.key_check(key), (name, key, entry)
            twin = entries.get(table.key.pack(rig.twin(net, key, entry)))
            assert twin is not None, f"{name}: half a pair: {key} {entry}"
            assert twin[1]["generation"] == entry["generation"]
            assert (twin[1]["flags"] ^ entry["flags"]) & FLOW_REPLY
            if entry["flags"] & FLOW_REPLY:
                request = table.key.pack(twin[0])
                assert replies.setdefault(octets, request) == request, f"{name}: replies of two flows: {key} {entry}"
        found[name.rstrip("46")] = len(entries) // 2
    return found


def check(rig: Rig, net: Net, protocol: int, wanted: dict[str, int], *, connections: int) -> None:
    assert pairs(rig, net, protocol) == wanted
    live = wanted.get("tcp_flows", 0)
    assert (rig.usage()["tcp4"], rig.usage()["tcp6"]) == ((live, 0) if net is V4 else (0, live))
    assert sum(x["connections"] for x in rig.counted("listener_counts").values()) == connections
    assert sum(x["connections"] for x in rig.counted("backend_counts").values()) == connections


def counted(
    rig: Rig, raced: Races, rounds: Sequence[Round]
) -> tuple[list[tuple[RunResult, RunResult]], dict[str, int]]:
    """Runs the rounds; what became of the packets, and how many were counted as what."""
    before = rig.verdicts()
    results = raced.run(rounds)
    moved = {key: n - before[key] for key, n in rig.verdicts().items() if n != before[key]}
    assert sum(moved.values()) == 2 * len(rounds)
    by_verdict: dict[str, int] = {}
    for (_, verdict), n in moved.items():
        by_verdict[Verdict(verdict).name] = by_verdict.get(Verdict(verdict).name, 0) + n
    return results, by_verdict


# ---- The races


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
@pytest.mark.parametrize("port", [2000, 1], ids=["port kept", "port chosen"])
def test_a_first_packet_twice_begins_one_flow(rig: Rig, raced: Races, net: Net, protocol: int, port: int) -> None:
    rounds = []
    for number in range(ROUNDS):
        who = (net.pod2 if number % 2 else net.unhooked, port + number // 2)
        first = shot(rig, LOCAL_EGRESS, net, (who, (net.gateway, SERVED)), protocol=protocol, flags="S")
        rounds.append((first, first))
    results, verdicts = counted(rig, raced, rounds)
    assert verdicts == {"VERDICT_FORWARDED": 2 * ROUNDS}
    assert all(one.data == other.data for one, other in results), "two packets of one flow went different ways"
    if protocol == TCP:
        check(rig, net, TCP, {"tcp_flows": 0, "half_open": ROUNDS}, connections=0)
    else:
        check(rig, net, UDP, {"udp_flows": ROUNDS}, connections=ROUNDS)


@pytest.fixture
def nearly_full(open_rig: OpenRig, net: Net) -> Iterator[Rig]:
    rig = open_rig(snat_port_min=PORTS[0], snat_port_max=PORTS[-1])
    lend(rig, net, [net.node])
    yield rig
    lend(rig, net, [])


def to_far(rig: Rig, net: Net, source: End, protocol: int) -> Shot:
    """The first packet of a flow to the backend out there."""
    return shot(rig, UPLINK_INGRESS, net, (source, (net.gateway, FAR)), protocol=protocol, flags="S")


def take(rig: Rig, net: Net, protocol: int, ports: Iterable[int]) -> None:
    """Flows of other clients that hold these ports towards the backend out there."""
    for port in ports:
        first = to_far(rig, net, (net.neighbour, port), protocol)
        assert rig.run(first.hook, first.frame).verdict == FORWARDED


def forget(rig: Rig, net: Net, protocol: int, keys: Iterable[Json]) -> None:
    """As if the flows had aged."""
    for key in keys:
        found = rig.entry(net, key)
        if found:
            table = rig.map(found[0])
            assert table.delete(rig.twin(net, key, found[1]))
            assert table.delete(key)


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=["TCP", "UDP"])
@pytest.mark.parametrize(("free", "clients"), [(1, 1), (1, 2), (2, 2)], ids=["1 for 1", "1 for 2", "2 for 2"])
def test_the_last_ports_are_given_once(nearly_full: Rig, net: Net, protocol: int, free: int, clients: int) -> None:
    """A range that is 99 % full, and packets of one new flow or two on two CPUs."""
    rig = nearly_full
    take(rig, net, protocol, PORTS[free:])
    rig.age(net, protocol, -60)  # else they would give up their ports where these rounds take seconds
    refusal = {TCP: "VERDICT_REFUSED_COLLISION", UDP: "DROP_COLLISION"}[protocol]
    with races(rig) as raced:
        for number in range(150):
            whos = [(net.client, 1000 + 2 * number + x) for x in range(clients)]
            shots = [to_far(rig, net, x, protocol) for x in whos]
            searches = rig.map("vain_searches")  # no limit to them here
            searches.set(0, [{"second": 0, "count": 0}] * len(searches.get(0)))
            _, verdicts = counted(rig, raced, [(shots[0], shots[-1])])
            assert verdicts.keys() <= {"VERDICT_FORWARDED", refusal}
            forwarded = verdicts["VERDICT_FORWARDED"]
            served = (
                forwarded if clients == 2 else 1
            )  # of two that look for two ports, one may miss the other's leavings
            assert forwarded == 2 if clients == 1 else 1 <= forwarded <= free, f"round {number}"
            standing = pairs(rig, net, protocol)
            assert sum(standing.values()) == len(PORTS) - free + served, f"round {number}: {standing}"
            forget(rig, net, protocol, [rig.key(net, protocol, x, (net.gateway, FAR)) for x in whos])
        assert raced.met() > 0 or CPUS[0] == CPUS[1], "no two packets have met"


MEETING = {
    "ACK": ack,
    "data": lambda rig, net, number: client(rig, net, number, "PA", seq=101, ack=501, data=b"ping"),
    "SYN-ACK": syn_ack,
    "SYN": syn,
}


@pytest.mark.parametrize("other", MEETING)
def test_a_flow_is_promoted_once(rig: Rig, raced: Races, net: Net, other: str) -> None:
    play(rig, (x(rig, net, number) for number in range(ROUNDS) for x in (syn, syn_ack)))
    rounds = [(ack(rig, net, number), MEETING[other](rig, net, number)) for number in range(ROUNDS)]
    _, verdicts = counted(rig, raced, rounds)
    assert verdicts.keys() <= {"VERDICT_FORWARDED", "VERDICT_REPLIED"}
    check(rig, net, TCP, {"tcp_flows": ROUNDS, "half_open": 0}, connections=ROUNDS)


def test_a_new_flow_does_not_take_the_tuple_of_one_that_is_promoted(rig: Rig, raced: Races, net: Net) -> None:
    """Of two listeners with one backend, the client uses one port to both: the replies would be the same tuple."""
    service = SERVICES[net, SPLIT, TCP]
    rig.fill_pool(service, service.backends[:1])
    play(rig, (x(rig, net, number) for number in range(ROUNDS) for x in (syn, syn_ack)))
    rounds = [(ack(rig, net, x), client(rig, net, x, "S", port=SPLIT, seq=900)) for x in range(ROUNDS)]
    _, verdicts = counted(rig, raced, rounds)
    assert verdicts == {"VERDICT_FORWARDED": 2 * ROUNDS}
    check(rig, net, TCP, {"tcp_flows": ROUNDS, "half_open": ROUNDS}, connections=ROUNDS)


def test_a_handshake_that_begins_anew_while_the_old_one_ends(rig: Rig, raced: Races, net: Net) -> None:
    play(rig, (x(rig, net, number) for number in range(ROUNDS) for x in (syn, syn_ack)))
    rounds = [(ack(rig, net, x), client(rig, net, x, "S", seq=900)) for x in range(ROUNDS)]
    _, verdicts = counted(rig, raced, rounds)
    assert verdicts.keys() <= {"VERDICT_FORWARDED", "DROP_NO_FLOW"}  # the flow of the other was gone: it is sent again
    standing = pairs(rig, net, TCP)
    assert (
        standing["tcp_flows"] <= ROUNDS <= sum(standing.values())
    )  # a new handshake may stand beside what it replaced
    check(rig, net, TCP, standing, connections=standing["tcp_flows"])


def test_a_connection_that_both_ends_close_at_once_is_closed(rig: Rig, raced: Races, net: Net) -> None:
    play(rig, (x(rig, net, number) for number in range(ROUNDS) for x in (syn, syn_ack, ack)))
    fins = [
        (client(rig, net, x, "FA", seq=101, ack=501), backend(rig, net, x, "FA", seq=501, ack=101))
        for x in range(ROUNDS)
    ]
    counted(rig, raced, fins)
    last = [
        x
        for number in range(ROUNDS)
        for x in (client(rig, net, number, "A", seq=102, ack=502), backend(rig, net, number, "A", seq=502, ack=102))
    ]
    play(rig, last)
    table = rig.map(rig.tables(TCP, net)[0])
    assert [x["flags"] & FLOW_FIN for _, x in table.items()] == [FLOW_FIN] * 2 * ROUNDS
    assert {x["state"] for _, x in table.items()} == {CLOSED}


ENDING = {
    "client's FIN": (lambda rig, net, x: client(rig, net, x, "FA", seq=101, ack=501), CLOSING),
    "client's RST": (lambda rig, net, x: client(rig, net, x, "RA", seq=101, ack=501), RESET),
    "backend's FIN": (lambda rig, net, x: backend(rig, net, x, "FA", seq=501, ack=101), CLOSING),
    "backend's RST": (lambda rig, net, x: backend(rig, net, x, "RA", seq=501, ack=101), RESET),
}


@pytest.mark.parametrize("ending", ENDING)
def test_a_connection_that_ends_as_it_is_promoted_ends(rig: Rig, raced: Races, net: Net, ending: str) -> None:
    end, state = ENDING[ending]
    play(rig, (x(rig, net, number) for number in range(ROUNDS) for x in (syn, syn_ack)))
    counted(rig, raced, [(ack(rig, net, number), end(rig, net, number)) for number in range(ROUNDS)])
    check(rig, net, TCP, {"tcp_flows": ROUNDS, "half_open": 0}, connections=ROUNDS)
    assert {x["state"] for _, x in rig.map(rig.tables(TCP, net)[0]).items()} == {state}


def test_a_closed_connection_is_opened_again_once(rig: Rig, raced: Races, net: Net) -> None:
    closing = (
        lambda rig, net, number: client(rig, net, number, "FA", seq=101, ack=501),
        lambda rig, net, number: backend(rig, net, number, "FA", seq=501, ack=102),
    )
    play(rig, (x(rig, net, number) for number in range(ROUNDS) for x in (syn, syn_ack, ack, *closing)))
    again = [client(rig, net, number, "S", seq=9000) for number in range(ROUNDS)]
    _, verdicts = counted(rig, raced, [(x, x) for x in again])
    assert verdicts == {"VERDICT_FORWARDED": 2 * ROUNDS}
    check(rig, net, TCP, {"tcp_flows": 0, "half_open": ROUNDS}, connections=ROUNDS)


# ---- Connections that are counted at their source


def handshakes(rig: Rig, net: Net, sources: Sequence[str], port: int) -> list[tuple[Shot, Shot, Shot]]:
    """The three packets of a connection of each source."""
    made = []
    for source in sources:
        ends = ((source, port), (net.gateway, SERVED))
        back = ((net.pod, BACKEND_PORT), (source, port))
        made.append(
            (
                shot(rig, UPLINK_INGRESS, net, ends, protocol=TCP, flags="S", seq=100),
                shot(rig, UPLINK_EGRESS, net, back, protocol=TCP, flags="SA", seq=500, ack=101),
                shot(rig, UPLINK_INGRESS, net, ends, protocol=TCP, flags="A", seq=101, ack=501),
            )
        )
    return made


def many_sources(net: Net) -> list[str]:
    """Of as many networks as a test has time for."""
    return [str(ip_address(net.client) + (i << (8 if net is V4 else 64))) for i in range(500)]


def test_the_last_place_of_a_source_is_given_once(rig: Rig, raced: Races, net: Net) -> None:
    sources = many_sources(net)
    one, other = (handshakes(rig, net, sources, port) for port in (2000, 2001))
    with policy(rig, net, IN_USE, per_source=1, source4=32, source6=64):
        play(rig, (x for made in (*one, *other) for x in made[:2]))
        counted(rig, raced, [(x[2], y[2]) for x, y in zip(one, other, strict=True)])
    assert counted_sources(rig) == [1] * len(sources)
    standing = {"tcp_flows": len(sources), "half_open": len(sources)}
    check(rig, net, TCP, standing, connections=len(sources))
    assert limited(rig, net) == len(sources)


@pytest.mark.parametrize("says", [{"per_listener": 1}, {"per_source": 1}], ids=lambda x: next(iter(x)))
def test_the_last_place_is_not_taken_from_a_flow_by_itself(
    rig: Rig, raced: Races, net: Net, says: dict[str, int]
) -> None:
    """Its ACK, and its first data, or the ACK once more."""
    sources = many_sources(net)[: 1 if "per_listener" in says else None]
    for port in range(2000, 2300 if len(sources) == 1 else 2001):
        rig.reset()
        made = handshakes(rig, net, sources, port)
        with policy(rig, net, IN_USE, source4=32, source6=64, **says):
            play(rig, (x for shots in made for x in shots[:2]))
            counted(rig, raced, [(x[2], x[2]) for x in made])
        assert (limited(rig, net), rig.entries("tcp_flows4") + rig.entries("tcp_flows6")) == (0, 2 * len(sources))


def test_one_comes_as_the_other_of_its_source_goes(rig: Rig, raced: Races, net: Net) -> None:
    sources = many_sources(net)
    goes, comes = (handshakes(rig, net, sources, port) for port in (2000, 2001))
    near = (net.gateway, SERVED)
    fins = [
        (
            shot(rig, UPLINK_INGRESS, net, ((x, 2000), near), protocol=TCP, flags="FA", seq=101, ack=501),
            shot(rig, UPLINK_EGRESS, net, ((net.pod, BACKEND_PORT), (x, 2000)), protocol=TCP, flags="FA", seq=501),
        )
        for x in sources
    ]
    with policy(rig, net, IN_USE, per_source=2, source4=32, source6=64):
        play(rig, (x for made in (*goes, *(x[:2] for x in comes)) for x in made))
        play(rig, (x for x, _ in fins))
        counted(rig, raced, [(x, y[2]) for (_, x), y in zip(fins, comes, strict=True)])
    assert counted_sources(rig) == [1] * len(sources)
    assert limited(rig, net) == 0


@pytest.mark.parametrize("other", ["ACK", "data"])
def test_a_flow_that_is_promoted_once_is_counted_once(rig: Rig, raced: Races, net: Net, other: str) -> None:
    with policy(rig, net, IN_USE, per_source=2 * ROUNDS, source4=32, source6=64):
        play(rig, (x(rig, net, number) for number in range(ROUNDS) for x in (syn, syn_ack)))
        counted(rig, raced, [(ack(rig, net, number), MEETING[other](rig, net, number)) for number in range(ROUNDS)])
    assert counted_sources(rig) == [ROUNDS]
    check(rig, net, TCP, {"tcp_flows": ROUNDS, "half_open": 0}, connections=ROUNDS)


# ---- Fragments


def fragments(rig: Rig, net: Net, number: int) -> list[Shot]:
    """A datagram of two."""
    ends = (source_of(net, number), (net.gateway, SERVED))
    frame = shot(rig, UPLINK_INGRESS, net, ends, protocol=UDP, flags="", data=bytes(2000)).frame
    return [Shot(UPLINK_INGRESS, x) for x in cut(frame, number)]


@pytest.mark.parametrize("known", [True, False], ids=["of a flow", "that begins its flow"])
def test_two_fragments_of_a_datagram(rig: Rig, world: World, net: Net, known: bool) -> None:
    """The one with the ports and the other: both are forwarded, each once, and nothing is kept of them."""
    if known:
        play(rig, (client(rig, net, number, "", protocol=UDP) for number in range(ROUNDS)))
    rounds = [(first, last) for first, last in (fragments(rig, net, number) for number in range(ROUNDS))]
    before = rig.verdicts()

    def forwarded() -> int:
        key = (UPLINK_INGRESS, FORWARDED)
        return rig.verdicts()[key] - before[key]

    with (
        attached(world, rig.object, rig.pins),
        races(rig) as raced,
    ):  # on the interface too: what is kept comes in there
        raced.run(rounds)
        until(lambda: forwarded() >= 2 * ROUNDS, "every fragment is forwarded", patience=10, seen=forwarded)
    assert forwarded() == 2 * ROUNDS
    assert rig.verdicts()[UPLINK_INGRESS, FRAGMENT] == before[UPLINK_INGRESS, FRAGMENT]
    assert (rig.entries("datagrams"), rig.entries("held_fragments")) == (0, 0)
    check(rig, net, UDP, {"udp_flows": ROUNDS}, connections=ROUNDS)


def test_a_fragment_twice_is_forwarded_once(rig: Rig, raced: Races, net: Net) -> None:
    firsts = [fragments(rig, net, number)[0] for number in range(ROUNDS)]
    _, verdicts = counted(rig, raced, [(x, x) for x in firsts])
    assert verdicts == {"VERDICT_FORWARDED": ROUNDS, "DROP_FRAGMENT": ROUNDS}
    check(rig, net, UDP, {"udp_flows": ROUNDS}, connections=ROUNDS)
