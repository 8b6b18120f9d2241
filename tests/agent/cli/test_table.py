"""Traffic and reports in, text out."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from agent.cli import table
from agent.cli.overview import gateways, overview, policies
from agent.cli.size import bits, size
from agent.dataplane.seen import Seen
from agent.dataplane.usage import TableUse
from agent.report import AppliedReport, Condition, Conditions, ListenerReport, ObjectStatus, Report, SourceReport
from agent.sources.base import SourceError
from agent.traffic import BackendTraffic, ListenerTraffic, Sight, Traffic, VerdictTraffic

BACKENDS = (
    BackendTraffic(
        0,
        "default/blue:80",
        70,
        0.7,
        0.695,
        {"active": 2, "draining": 1},
        139,
        1390,
        4096,
        "",
        12.0,
        98304.0,
        ("client", "node (eth1)"),
    ),
    BackendTraffic(1, "default/none:80", 30, 0.3, None, {}, 0, 0, 0, "no ready endpoint"),
)
LISTENER = ListenerTraffic(
    "default/edge", "web", ("192.0.2.1",), 80, "TCP", "default/web", "TCPRoute", 139, 61, 2, 4, 5, 6, BACKENDS
)
TRAFFIC = Traffic(
    (LISTENER,),
    (
        VerdictTraffic("HOOK_UPLINK_INGRESS", "DROP_TABLE_FULL", 3, 180),
        VerdictTraffic("HOOK_UPLINK_INGRESS", "VERDICT_FORWARDED", 12345, 2_000_000, 7.0),
    ),
    (TableUse("tcp_flows4", 70, 100, 1 << 20, 456), TableUse("other", 0, 0, 1 << 20)),
)


def lines(drawn: RenderableType) -> list[list[str]]:
    """Cells of each line that has any; cells stand two or more spaces apart."""
    console = Console(file=io.StringIO(), width=200)
    console.print(drawn)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines() if line.strip()]


def test_listeners_and_their_backends() -> None:
    (drawn,) = table.listeners(TRAFFIC.listeners, rates=True)
    title, head, _, listener, first, second = lines(drawn)
    assert title == ["Gateway default/edge at 192.0.2.1"]
    assert head[:7] == ["listener, backend", "weight", "share", "seen", "connections", "packets", "bytes"]
    assert listener == [
        "web TCP/80",
        "139",
        "1,390",
        "4.0 KiB",
        "12",
        "98.3 kbit/s",
        "TCPRoute default/web, 61 rejected, 2 refused, 4 denied, 5 limited, 6 uncounted",
    ]
    assert first == [
        "default/blue:80",
        "70",
        "70.0%",
        "69.5%",
        "139",
        "1,390",
        "4.0 KiB",
        "12",
        "98.3 kbit/s",
        "client, node (eth1)",
        "2 active, 1 draining",
    ]
    assert second == ["default/none:80", "30", "30.0%", "0", "0", "0 B", "rejected: no ready endpoint"]


def test_a_service_that_stands_twice_is_told_apart_by_position() -> None:
    twice = replace(LISTENER, backends=(BACKENDS[0], BACKENDS[1], replace(BACKENDS[0], position=2)))
    (drawn,) = table.listeners([twice])
    names = [x[0] for x in lines(drawn)[4:]]
    assert names == ["default/blue:80 (backendRefs[0])", "default/none:80", "default/blue:80 (backendRefs[2])"]


def test_one_table_for_each_gateway() -> None:
    other = replace(LISTENER, gateway="default/other")
    assert len(list(table.listeners([LISTENER, LISTENER, other]))) == 2


def test_whose_address_backends_see_and_why() -> None:
    seen = (
        Sight(Seen("client", "", (), "on this node"), ("10.0.0.1", "10.0.0.2")),
        Sight(Seen("node", "eth1", ("10.9.9.9",), "behind eth1"), ("10.0.0.3",)),
    )
    (drawn,) = table.sights(seen)
    assert lines(drawn)[3:] == [["client", "2", "on this node"], ["node (eth1)", "1", "behind eth1"]]
    assert list(table.sights(())) == []


def test_drops_come_last() -> None:
    drawn = lines(table.verdicts(TRAFFIC.verdicts))
    assert drawn[3:] == [
        ["uplink ingress", "forwarded", "12,345", "1.9 MiB"],
        ["uplink ingress", "drop table full", "3", "180 B"],
    ]


def test_alarms_are_words_too() -> None:
    drawn = lines(table.tables(TRAFFIC))
    assert drawn[3:] == [
        ["tcp_flows4", "70", "100", "70.0% ALARM", "1.0 MiB", "456"],
        ["other", "1.0 MiB"],
        ["together", "2.0 MiB"],
    ]


REPORT = Report(
    node="node-1",
    pid=7,
    started_at=0.0,
    written_at=0.0,
    source=SourceReport("folder x", True, 0.0),
    applied=AppliedReport(at=90.0, verified_at=90.0),
    settings={"delivery": "stack", "metrics_address": "127.0.0.1:9464"},
    features={"kernel": "6.1.0", "tcx": "no", "batch": "yes"},
    uplinks=("eth0",),
)
BAD = SourceError("a.yaml", 3, "", "", "bad")
REJECTED = ObjectStatus(
    "TCPRoute",
    "default",
    "web",
    (Conditions("parent edge", (Condition("Accepted", "False", "NoMatchingParent", "no such listener", 1, ""),)),),
)
UNSERVED = ObjectStatus(
    "TCPRoute",
    "default",
    "web",
    (
        Conditions(
            "parent edge",
            (Condition("Accepted", "True", "Accepted", "accepted, but listener web is not served: taken", 1, ""),),
        ),
    ),
)


@pytest.mark.parametrize(
    ("changes", "agent", "says"),
    [
        ({}, 7, "node-1: ready; agent 7 runs; read back from the kernel 10 s ago"),
        ({}, None, "node-1: ready; NO AGENT RUNS (the kernel goes on with what it has)"),
        ({}, 8, "node-1: ready; agent 8 starts (until it has, this is what agent 7 said, which ended); read back"),
        ({"applied": AppliedReport()}, 7, "node-1: NOT READY; agent 7 runs; read back from the kernel never"),
        ({"applied": AppliedReport(error="table full")}, 7, "error: table full"),
        ({}, 7, "kernel 6.1.0, without tcx"),
        (
            {"source": SourceReport("x", True, 0.0, (SourceError("a.yaml", 3, "", "", "bad"),))},
            7,
            "error: a.yaml:3: bad",
        ),
        (
            {"source": SourceReport("x", True, 0.0, (SourceError("a.yaml", 3, "", "", "bad"),), (), ("a.yaml",))},
            7,
            "NOT IN FORCE: a.yaml: it has errors and no last good state: none of its objects counts",
        ),
        ({"unserved": ("port taken",)}, 7, "unserved: port taken"),
        ({"notes": ("rp_filter",)}, 7, "note: rp_filter"),
        (
            {"objects": (UNSERVED,)},
            7,
            "warning: TCPRoute default/web parent edge: Accepted=True (Accepted): accepted, but listener web is not",
        ),
        (
            {"objects": (REJECTED,)},
            7,
            "warning: TCPRoute default/web parent edge: Accepted=False (NoMatchingParent): no such listener",
        ),
    ],
)
def test_what_is_wrong_is_said_first(changes: dict[str, object], agent: int | None, says: str) -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(overview(replace(REPORT, **changes), agent=agent, now=100.0))  # type: ignore[arg-type]
    assert says in console.file.getvalue()  # type: ignore[attr-defined]


def test_objects_with_their_conditions() -> None:
    assert lines(gateways([REJECTED]))[3:] == [["TCPRoute default/web", "Accepted=False"]]


def asking(policy: str) -> ListenerReport:
    return ListenerReport(1, "default/edge", "web", ("10.0.0.1",), 80, "TCP", None, None, (), policies=(policy,))


def test_policies_with_their_targets_and_what_is_in_effect() -> None:
    accepted = Condition("Accepted", "True", "Accepted", "accepted", 1, "")
    partly = Condition("Effective", "False", "PartlyEffective", "in effect: sources; without effect: ...", 1, "")
    places = (Conditions("target Gateway edge", (accepted, partly)), Conditions("target UDPRoute dns", (accepted,)))
    policy = ObjectStatus("FlowPolicy", "default", "inside", places)
    (drawn,) = policies([REJECTED, policy], [asking("default/inside")])
    assert lines(drawn)[1:2] == [["policy", "target", "in effect", "conditions"]]
    assert lines(drawn)[3:] == [
        ["default/inside", "Gateway edge", partly.message, "Accepted=True, Effective=False"],
        ["default/inside", "UDPRoute dns", "Accepted=True"],
    ]
    assert list(policies([REJECTED], [])) == []
    (drawn,) = policies([policy], [asking("default/other")])
    assert lines(drawn)[3][2].startswith("nowhere, no listener that is served asks it (in effect: sources;")
    assert lines(gateways([policy]))[3:] == []


@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 20, "1.0 MiB"), (1 << 51, "2048.0 TiB")]
)
def test_sizes(octets: int, text: str) -> None:
    assert size(octets) == text


@pytest.mark.parametrize(("rate", "text"), [(0, "0 bit/s"), (1000, "1.0 kbit/s"), (2.5e9, "2.5 Gbit/s")])
def test_rates(rate: float, text: str) -> None:
    assert bits(rate) == text
