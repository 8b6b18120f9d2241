"""A top in, text out."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from agent.cli.ranking import WIDE, render
from agent.top import By, Numbers, OfBackend, OfFlow, OfRoute, OfSource, Question, Row, Sort, Top, Who

NUMBERS = Numbers(12, 3, 12345, 2 << 20, 7.0, 1234.4, 3e6, 1e6, 2e6)
LARGE = Numbers(1_310_720, 1_310_720, 10**15, 10**16, 1e6, 1e8, 99.9e9, 99.9e9, 99.9e9)

ROUTE = OfRoute("TCPRoute", "default/web")
BACKEND = OfBackend("default/edge", "web", "default/web-blue:8080", "10.201.0.11:8080")
SOURCE = OfSource("198.51.100.1")
FLOW = OfFlow(
    *("TCP", "closing", "198.51.100.1:4000", "192.0.2.1:80"),
    *("default/edge", "web", "default/web-blue:8080", "10.201.0.11:8080"),
)
SIX = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"
LONG = {
    By.ROUTE: OfRoute("TCPRoute", "a-long-namespace/" + "x" * 63),
    By.BACKEND: OfBackend("ns/" + "g" * 63, "l" * 63, "ns/" + "b" * 63, f"[{SIX}]:65535"),
    By.SOURCE: OfSource(SIX),
    By.FLOW: OfFlow(
        *("TCP", "adopted_both", f"[{SIX}]:65535", f"[{SIX}]:65535"),
        *("ns/" + "g" * 63, "l" * 63, "ns/" + "b" * 63, f"[{SIX}]:65535"),
    ),
}


def drawn(who: Who, question: Question, width: int, numbers: Numbers = NUMBERS, rows_in_all: int = 1) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(Top((Row(who, numbers),), numbers, rows_in_all, 1), question, width))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.splitlines()


def cells(lines: list[str]) -> list[list[str]]:
    """Of each line that has any; cells stand two or more spaces apart."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines if line.strip()]


COUNTED = ["12", "3", "7", "12,345", "2.0 MiB", "1,234", "1.0 Mbit/s", "2.0 Mbit/s", "3.0 Mbit/s"]


@pytest.mark.parametrize(
    ("by", "who", "names"),
    [
        (By.ROUTE, ROUTE, ["TCPRoute default/web"]),
        (By.ROUTE, OfRoute("", ""), ["no route, or not in the report"]),
        (By.BACKEND, BACKEND, ["default/edge web", "default/web-blue:8080", "10.201.0.11:8080"]),
        (
            By.BACKEND,
            OfBackend("default/edge", "web", "", "10.201.0.11:8080"),
            ["default/edge web", "no backendRef any more", "10.201.0.11:8080"],
        ),
        (By.BACKEND, OfBackend("", "", "", "10.201.0.11:8080"), ["not in the report", "10.201.0.11:8080"]),
        (By.SOURCE, SOURCE, ["198.51.100.1"]),
    ],
)
def test_all_numbers_where_there_is_room(by: By, who: Who, names: list[str]) -> None:
    title, head, _, row, together = cells(drawn(who, Question(by), 200))
    assert title == [f"Flows by {by.value}, most bits a second first"]
    assert head[-9:] == [
        *("connections", "half-open", "new/s", "packets", "bytes", "packets/s", "requests", "replies", "rate")
    ]
    assert row == [*names, *COUNTED]
    assert together == ["together", *COUNTED]


def test_a_flow_has_a_state_and_is_one() -> None:
    title, head, _, row, _ = cells(drawn(FLOW, Question(By.FLOW), 200))
    assert title == ["Flows, most bits a second first"]
    assert head == [
        *("state", "client", "gateway", "backend", "name"),
        *("packets", "bytes", "packets/s", "requests", "replies", "rate"),
    ]
    assert row == [
        *("TCP closing", "198.51.100.1:4000", "192.0.2.1:80", "10.201.0.11:8080", "default/web-blue:8080"),
        *COUNTED[3:],
    ]


@pytest.mark.parametrize(
    ("by", "who", "heads", "names"),
    [
        (By.ROUTE, ROUTE, ["route", "connections"], ["TCPRoute default/web", "12"]),
        (
            By.BACKEND,
            BACKEND,
            ["backend", "endpoint", "connections"],
            ["default/web-blue:8080", "10.201.0.11:8080", "12"],
        ),
        (By.SOURCE, SOURCE, ["source", "connections"], ["198.51.100.1", "12"]),
        (By.FLOW, FLOW, ["client", "backend"], ["198.51.100.1:4000", "10.201.0.11:8080"]),
    ],
)
def test_what_matters_on_eighty_columns(by: By, who: Who, heads: list[str], names: list[str]) -> None:
    _, head, _, row, _ = cells(drawn(who, Question(by), 80))
    assert head == [*heads, "packets/s", "rate"]
    assert row == [*names, "1,234", "3.0 Mbit/s"]


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("by", By)
@pytest.mark.parametrize("width", [80, 100, WIDE - 1])
def test_nothing_is_cut(by: By, sort: Sort, width: int) -> None:
    lines = drawn(LONG[by], Question(by, sort), width, LARGE)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    assert "99.9 Gbit/s" in "".join(lines)


@pytest.mark.parametrize(("sort", "number"), [(Sort.PACKETS, "12,345"), (Sort.BYTES, "2.0 MiB")])
def test_the_number_that_rows_are_sorted_by_is_there(sort: Sort, number: str) -> None:
    _, head, _, row, _ = cells(drawn(ROUTE, Question(sort=sort), 80))
    assert (head[2], row[2]) == (sort.value, number)


def test_it_is_said_that_there_are_more_rows() -> None:
    assert cells(drawn(SOURCE, Question(By.SOURCE), 80, rows_in_all=1234))[-1][0] == "all 1,234"


def test_no_rates_at_the_first_reading() -> None:
    assert cells(drawn(ROUTE, Question(), 80, Numbers(1, 0, 2, 3)))[3] == ["TCPRoute default/web", "1"]
