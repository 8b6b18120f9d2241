"""What README.md shows of the demo is what the demo would show: its tables, and what the quickstart serves in them."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from agent.cli import table
from agent.dataplane.seen import Seen
from agent.traffic import ListenerTraffic, Sight
from agent.verdicts import MEANING
from agent.words import words
from routes.resolved import resolved
from tests.routes.decoded import decoded

TREE = Path(__file__).resolve().parents[2]
MANIFESTS = sorted((TREE / "examples" / "quickstart").glob("*.yaml"))
LISTENERS = resolved(decoded(y for x in MANIFESTS for y in yaml.safe_load_all(x.read_text()))[0]).plan.listeners


def sample() -> list[list[list[str]]]:
    """Cells of the lines of each table: its title, its columns, the line below them, its rows."""
    text = re.search(r"shows what happens[^\n]*\n\n(.*?)\n(?=\S)", (TREE / "README.md").read_text(), re.DOTALL)
    assert text is not None
    lines = [re.split(r" {2,}", x.strip()) for x in text[1].splitlines() if x.strip()]
    starts = [number - 2 for number, cells in enumerate(lines) if set(cells[0]) == {"─"}]
    return [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def test_titles_and_columns() -> None:
    first = LISTENERS[0]
    addresses = tuple(map(str, first.addresses))
    drawn = (
        *table.listeners([ListenerTraffic(first.gateway, "", addresses, 1, "TCP", None, None, 0, 0, 0, 0, 0, 0, ())]),
        *table.sights([Sight(Seen("client", "", (), ""), ())]),
        table.verdicts([]),
    )
    assert [(title, columns) for (title,), columns, *_ in sample()] == [
        (x.title, [column.header for column in x.columns]) for x in drawn
    ]


def test_listeners_and_the_weights_of_their_backends() -> None:
    expected: list[tuple[str, ...]] = []
    for x in LISTENERS:
        expected.append((f"{x.name} {x.protocol.name}/{x.port}", f"{x.route_kind} {x.route}"))
        total = sum(ref.weight for ref in x.backends)
        expected += [(ref.name, str(ref.weight), f"{ref.weight / total:.1%}") for ref in x.backends]
    rows = sample()[0][3:]
    assert [tuple(x[:3]) if x[2].endswith("%") else (x[0], x[-1]) for x in rows] == expected


def test_verdicts() -> None:
    assert {x[1] for x in sample()[-1][3:]} <= {words(x) for x in MEANING}
