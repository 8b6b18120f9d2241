"""Names and counters in, rows out."""

from __future__ import annotations

from agent.dataplane.counters import BackendCount, Counters, ListenerCount, PacketCount
from agent.dataplane.seen import Seen
from agent.dataplane.usage import TableUse
from agent.report import BackendReport, EndpointReport, ListenerReport
from agent.traffic import BackendTraffic, Sight, addresses, traffic, with_rates


def endpoint(number: int, state: str = "active") -> EndpointReport:
    return EndpointReport(number, f"10.0.0.{number}", 8080, state, 0.5, "")


def listener(*backends: BackendReport) -> ListenerReport:
    return ListenerReport(1, "default/edge", "web", ("192.0.2.1",), 80, "TCP", "default/web", "TCPRoute", backends)


def backends_of(listeners: ListenerReport, counters: Counters) -> tuple[BackendTraffic, ...]:
    return traffic([listeners], counters, ()).listeners[0].backends


TWO = listener(
    BackendReport(0, "a", 3, 0.75, "", (endpoint(2), endpoint(3), endpoint(4, "draining"))),
    BackendReport(1, "b", 1, 0.25, "", (endpoint(5),)),
)


def test_endpoints_add_up_to_backends() -> None:
    counters = Counters(
        {},
        {1: ListenerCount(connections=100)},
        {
            2: BackendCount(40, 400, 4000, 300, 3000),
            3: BackendCount(30, 10, 100, 20, 200),
            4: BackendCount(10, 1, 1, 1, 1),
            5: BackendCount(20, 5, 50, 5, 50),
            9: BackendCount(999, 999, 999, 999, 999),  # of another listener
        },
    )
    a, b = backends_of(TWO, counters)
    assert (a.connections, a.packets, a.bytes, a.seen) == (80, 732, 7302, 0.8)
    assert (b.connections, b.packets, b.bytes, b.seen) == (20, 10, 100, 0.2)
    assert a.endpoints == {"active": 2, "draining": 1}


def test_whose_address_backends_see_is_told_where_flows_go() -> None:
    here, there = Seen("client", "", (), "here"), Seen("node", "eth1", ("10.9.9.9",), "there")
    listeners = [
        listener(
            BackendReport(0, "a", 3, 0.75, "", (endpoint(2), endpoint(3, "draining"), endpoint(4, "gone"))),
            BackendReport(1, "b", 1, 0.25, "", (endpoint(5),)),
        )
    ]
    asked = addresses(listeners)
    assert list(map(str, asked)) == ["10.0.0.2", "10.0.0.3", "10.0.0.5"]
    told = traffic(listeners, Counters({}, {}, {}), (), dict(zip(asked, (here, there, here), strict=True)))
    assert [x.sees for x in told.listeners[0].backends] == [("client", "node (eth1)"), ("client",)]
    assert told.sights == (Sight(here, ("10.0.0.2", "10.0.0.5")), Sight(there, ("10.0.0.3",)))


def test_nothing_was_seen_before_the_first_flow() -> None:
    assert [x.seen for x in backends_of(TWO, Counters({}, {}, {}))] == [None, None]


def test_flows_of_backends_that_are_gone_spoil_no_share() -> None:
    counters = Counters({}, {1: ListenerCount(connections=1000)}, {2: BackendCount(3), 5: BackendCount(1)})
    assert [x.seen for x in backends_of(TWO, counters)] == [0.75, 0.25]


def test_a_rejected_share_is_seen_as_what_was_rejected() -> None:
    rejecting = listener(
        BackendReport(0, "a", 2, 0.5, "", (endpoint(2),)),
        BackendReport(1, "b", 1, 0.25, "no such Service", ()),
        BackendReport(2, "c", 1, 0.25, "no ready endpoint", ()),
    )
    counters = Counters({}, {1: ListenerCount(connections=60, rejected=40)}, {2: BackendCount(60)})
    rows = backends_of(rejecting, counters)
    assert [x.seen for x in rows] == [0.6, 0.2, 0.2]
    assert [x.why for x in rows] == ["", "no such Service", "no ready endpoint"]


def test_a_service_that_stands_twice_has_two_rows_and_two_rates() -> None:
    twice = listener(
        BackendReport(0, "a", 1, 0.5, "", (endpoint(2),)), BackendReport(1, "a", 1, 0.5, "", (endpoint(3),))
    )
    before, now = (
        traffic([twice], Counters({}, {}, {2: BackendCount(x), 3: BackendCount(y)}), ())
        for x, y in ((0, 100), (10, 120))
    )
    rows = with_rates(now, before, 1.0).listeners[0].backends
    assert [(x.position, x.name, x.connection_rate) for x in rows] == [(0, "a", 10.0), (1, "a", 20.0)]


def test_verdicts_that_never_happened_are_left_out() -> None:
    counters = Counters(
        {
            ("HOOK_UPLINK_INGRESS", "VERDICT_FORWARDED"): PacketCount(3, 300),
            ("HOOK_UPLINK_INGRESS", "DROP_TABLE_FULL"): PacketCount(1, 60),
            ("HOOK_UPLINK_INGRESS", "VERDICT_REJECTED_RST"): PacketCount(2, 80),
            ("HOOK_UPLINK_EGRESS", "VERDICT_REPLIED"): PacketCount(),
        },
        {},
        {},
    )
    rows = traffic((), counters, ()).verdicts
    assert {(x.verdict, x.packets, x.dropped, x.turned_away) for x in rows} == {
        ("VERDICT_FORWARDED", 3, False, False),
        ("DROP_TABLE_FULL", 1, True, False),
        ("VERDICT_REJECTED_RST", 2, False, True),
    }


def test_rates_are_differences_over_time_and_never_negative() -> None:
    def at(connections: int, octets: int, packets: int) -> Counters:
        return Counters(
            {("HOOK_UPLINK_INGRESS", "VERDICT_FORWARDED"): PacketCount(packets, 0)},
            {},
            {2: BackendCount(connections, 0, octets, 0, 0), 5: BackendCount(100 - connections)},
        )

    table = TableUse("tcp_flows4", 1, 2, 3)
    before, now = (traffic([TWO], x, [table]) for x in (at(10, 1000, 5), at(30, 3000, 25)))
    rated = with_rates(now, before, 2.0)
    a, b = rated.listeners[0].backends
    assert (a.connection_rate, a.bit_rate, b.connection_rate) == (10.0, 8000.0, 0.0)
    assert rated.verdicts[0].packet_rate == 10.0
    assert with_rates(now, before, 0.0) == now
    assert rated.tables == (table,)
