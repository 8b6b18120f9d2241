"""Records and a report in, rows out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Any

import pytest

from agent.dataplane.flows import FlowRecord
from agent.report import BackendReport, EndpointReport, ListenerReport
from agent.top import By, Numbers, OfBackend, OfFlow, OfRoute, OfSource, Question, Sort, Top, Who, read
from routes.plan import Protocol
from tests.agent.flow_records import end, flow


def endpoint(number: int, address: str = "") -> EndpointReport:
    return EndpointReport(number, address or f"10.0.0.{number}", 8080, "active", 0.5, "")


WEB = ListenerReport(
    id=1,
    gateway="default/edge",
    name="web",
    addresses=("192.0.2.1", "2001:db8::1"),
    port=80,
    protocol="TCP",
    route="default/web",
    route_kind="TCPRoute",
    backends=(
        BackendReport(0, "default/a:80", 1, 0.5, "", (endpoint(2), endpoint(3))),
        BackendReport(1, "default/b:80", 1, 0.5, "", (endpoint(4), endpoint(6, "fd00::6"))),
    ),
    leftover=(endpoint(5),),
)
ALONE = ListenerReport(7, "other/edge", "web", ("192.0.2.9",), 80, "UDP", None, None, (), (endpoint(8),))
LISTENERS = (WEB, ALONE)

A, A2, B, LEFT = (flow(f"198.51.100.{x}:4000", backend=x, at=f"10.0.0.{x}:8080") for x in (2, 3, 4, 5))
SIX = flow("[2001:db8:1::1]:4000", backend=6, at="[fd00::6]:8080", table="tcp_flows6")
LONELY = flow("203.0.113.1:53", backend=8, at="10.0.0.8:8080", protocol=Protocol.UDP, state="FLOW_UDP")
STRANGE = flow("203.0.113.2:4000", backend=99, at="10.9.9.9:8080")
REUSED = flow("203.0.113.3:4000", backend=2, at="10.9.9.8:8080")
ALL = (A, A2, B, LEFT, SIX, LONELY, STRANGE, REUSED)


def first(flows: Sequence[FlowRecord], **question: Any) -> Top:
    return read(flows, Question(**question), LISTENERS).top(1.0)


def after(before: Sequence[FlowRecord], now: Sequence[FlowRecord], seconds: float = 2.0, **question: Any) -> Top:
    asked = Question(**question)
    return read(now, asked, LISTENERS, read(before, asked, LISTENERS)).top(seconds)


def connections(top: Top) -> dict[Who, int]:
    return {x.who: x.numbers.connections for x in top.rows}


def test_by_route() -> None:
    assert connections(first(ALL)) == {OfRoute("TCPRoute", "default/web"): 5, OfRoute("", ""): 3}


def test_by_backend() -> None:
    assert connections(first(ALL, by=By.BACKEND)) == {
        OfBackend("default/edge", "web", "default/a:80", "10.0.0.2:8080"): 1,
        OfBackend("default/edge", "web", "default/a:80", "10.0.0.3:8080"): 1,
        OfBackend("default/edge", "web", "default/b:80", "10.0.0.4:8080"): 1,
        OfBackend("default/edge", "web", "default/b:80", "[fd00::6]:8080"): 1,
        OfBackend("default/edge", "web", "", "10.0.0.5:8080"): 1,
        OfBackend("other/edge", "web", "", "10.0.0.8:8080"): 1,
        OfBackend("", "", "", "10.9.9.9:8080"): 1,
        OfBackend("", "", "", "10.9.9.8:8080"): 1,
    }


def test_by_source_ports_add_up() -> None:
    flows = (A, flow("198.51.100.2:4001"), SIX)
    assert connections(first(flows, by=By.SOURCE)) == {OfSource("198.51.100.2"): 2, OfSource("2001:db8:1::1"): 1}


def test_by_flow() -> None:
    (row,) = first([A], by=By.FLOW).rows
    assert row.who == OfFlow(
        protocol="TCP",
        state="established",
        client="198.51.100.2:4000",
        address="192.0.2.1:80",
        gateway="default/edge",
        listener="web",
        backend="default/a:80",
        endpoint="10.0.0.2:8080",
    )
    assert row.numbers == Numbers(connections=1, half_open=0, packets=5, bytes=2300)


@pytest.mark.parametrize(
    ("state", "table", "counts"),
    [
        ("FLOW_ESTABLISHED", "tcp_flows4", (1, 0)),
        ("FLOW_CLOSING", "tcp_flows4", (1, 0)),
        ("FLOW_CLOSED", "tcp_flows4", (0, 0)),
        ("FLOW_RESET", "tcp_flows4", (0, 0)),
        ("FLOW_UDP", "udp_flows4", (1, 0)),
        ("FLOW_SYN", "half_open4", (0, 1)),
        ("FLOW_SYN_ACK", "half_open4", (0, 1)),
        ("FLOW_ADOPTED", "half_open4", (0, 1)),
        ("FLOW_ADOPTED_BOTH", "half_open4", (0, 1)),
    ],
)
def test_what_counts_as_a_connection(state: str, table: str, counts: tuple[int, int]) -> None:
    together = first([flow(state=state, table=table)]).together
    assert (together.connections, together.half_open) == counts
    assert (together.packets, together.bytes) == (5, 2300)


def test_half_a_pair_does_not_count() -> None:
    assert first([flow(whole=False)]) == Top((), Numbers(0, 0, 0, 0), 0, 0)


def test_there_are_no_rates_at_the_first_reading() -> None:
    assert first([A]).together == Numbers(1, 0, 5, 2300)


@pytest.mark.parametrize("by", By)
def test_rates_are_what_moved_over_the_time_between(by: By) -> None:
    moved = flow("198.51.100.2:4000", packets=(13, 12), octets=(1300, 4000))
    top = after([A], [moved], by=by)
    expected = Numbers(
        connections=1,
        half_open=0,
        packets=25,
        bytes=5300,
        connection_rate=0.0,
        packet_rate=10.0,
        bit_rate=12000.0,
        request_bit_rate=4000.0,
        reply_bit_rate=8000.0,
    )
    assert [x.numbers for x in top.rows] == [expected]
    assert top.together == expected


@pytest.mark.parametrize("by", By)
def test_a_flow_that_began_counts_whole_and_one_that_ended_not_at_all(by: By) -> None:
    together = after([A], [A2], by=by).together
    assert (together.connection_rate, together.packet_rate, together.bit_rate) == (0.5, 2.5, 9200.0)


def test_a_tuple_used_again_is_another_flow() -> None:
    before = flow(packets=(1000, 1000), octets=(10**6, 10**6))
    together = after([before], [flow(generation=2)]).together
    assert (together.connection_rate, together.packet_rate, together.bit_rate) == (0.5, 2.5, 9200.0)


def test_no_time_no_rates() -> None:
    assert after([A], [A], seconds=0.0).together.bit_rate is None


BIG = flow("198.51.100.2:1", packets=(1, 1), octets=(9000, 0))
MANY_PACKETS = flow("198.51.100.3:1", packets=(90, 0), octets=(5000, 0))
FAST = flow("198.51.100.4:1", packets=(2, 0), octets=(200, 0))
TWO = [flow(f"198.51.100.5:{x}", packets=(1, 0), octets=(40, 0)) for x in (1, 2)]
FAST_BEFORE = flow("198.51.100.4:1", packets=(1, 0), octets=(100, 0))


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        (Sort.RATE, ["4", "2", "3", "5"]),
        (Sort.CONNECTIONS, ["5", "2", "3", "4"]),
        (Sort.PACKETS, ["3", "2", "4", "5"]),
        (Sort.BYTES, ["2", "3", "4", "5"]),
    ],
)
def test_order(sort: Sort, order: list[str]) -> None:
    now = [*TWO, FAST, MANY_PACKETS, BIG]
    top = after([*TWO, FAST_BEFORE, MANY_PACKETS, BIG], now, by=By.SOURCE, sort=sort)
    assert [x.who for x in top.rows] == [OfSource(f"198.51.100.{x}") for x in order]


@pytest.mark.parametrize("by", [By.SOURCE, By.FLOW])
def test_equals_stand_in_the_same_order_in_every_reading(by: By) -> None:
    flows = [flow(f"198.51.100.{x}:4000") for x in range(20)]
    top, again = first(flows, by=by, count=5), first(flows[::-1], by=by, count=5)
    assert top == again


@pytest.mark.parametrize("by", By)
def test_what_has_no_room_is_in_what_all_have_together(by: By) -> None:
    top, whole = first(ALL, by=by, count=1), first(ALL, by=by, count=100)
    assert (len(top.rows), top.rows_in_all, top.flows) == (1, len(whole.rows), len(ALL))
    assert top.together == whole.together
    assert top.rows == whole.rows[:1]


@pytest.mark.parametrize(
    ("name", "flows"),
    [
        ("web", 6),
        ("edge/web", 6),
        ("default/edge/web", 5),
        ("other/edge/web", 1),
        ("eb", 0),
        ("ault/edge/web", 0),
        ("", 8),
    ],
)
def test_only_one_listener(name: str, flows: int) -> None:
    assert first(ALL, listener=name).flows == flows


@pytest.mark.parametrize(
    ("network", "flows"),
    [("198.51.100.0/24", 4), ("198.51.100.2", 1), ("0.0.0.0/0", 7), ("::/0", 1), ("2001:db8:1::/64", 1)],
)
def test_only_some_clients(network: str, flows: int) -> None:
    top = first(ALL, source=ip_network(network), by=By.FLOW)
    assert (top.flows, len(top.rows)) == (flows, flows)


def test_flows_are_taken_as_they_come() -> None:
    taken = 0

    def stream() -> Iterator[FlowRecord]:
        nonlocal taken
        for port in range(1, 1001):
            taken += 1
            yield flow(client=f"198.51.100.1:{port}", gateway=end("192.0.2.1:80"))

    top = read(stream(), Question(by=By.FLOW, count=3), LISTENERS).top(1.0)
    assert (taken, len(top.rows), top.rows_in_all, top.together.connections) == (1000, 3, 1000, 1000)
