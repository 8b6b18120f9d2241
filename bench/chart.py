"""Figures as horizontal bars in a small SVG: one group per measure, one bar per peer, a line at 1.

Rules: plain SVG text that a reviewer can diff; readable on a white and on a dark page; no script, no font of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from bench.figures import Figure

_BAR: Final = 13
_GAP: Final = 14
_LEFT: Final = 210
_WIDTH: Final = 420
COLOURS: Final = (
    "#9aa0a6",
    "#c4c7cb",
    "#80868b",
    "#6f9ceb",
    "#a3c2f5",
    "#0b7a4b",
    "#12b76a",
    "#e8a33d",
    "#d9534f",
    "#8e5bb5",
)

Row = tuple[str, Figure]
"""A peer's title and its figure."""


def svg(groups: Sequence[tuple[str, Sequence[Row]]], colours: Sequence[str]) -> str:
    """The chart. `groups`: measure's title -> rows; `colours`: titles of all peers, in the order of their colours."""
    rows = sum(len(x) for _, x in groups)
    height = rows * _BAR + len(groups) * (_GAP + 18) + 20
    most = max((row[1].high for _, x in groups for row in x), default=1.0)
    scale = _WIDTH / max(most, 1.0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 70}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="#777">'
    ]
    top = 10.0
    for title, group in groups:
        lines.append(f'<text x="4" y="{top + 12:.0f}" font-weight="bold">{escape(title)}</text>')
        top += 18
        lines += _bars(group, colours, top, scale)
        bottom = top + len(group) * _BAR
        lines.append(
            f'<line x1="{_LEFT + scale:.1f}" x2="{_LEFT + scale:.1f}" y1="{top:.0f}" y2="{bottom:.0f}" '
            f'stroke="#777" stroke-dasharray="2 2"/>'
        )
        top = bottom + _GAP
    return "\n".join([*lines, "</svg>", ""])


def _bars(group: Sequence[Row], colours: Sequence[str], top: float, scale: float) -> Iterator[str]:
    for number, (title, figure) in enumerate(group):
        y = top + number * _BAR
        colour = COLOURS[colours.index(title) % len(COLOURS)]
        middle = y + _BAR / 2 - 1
        yield f'<text x="{_LEFT - 6}" y="{y + 9:.0f}" text-anchor="end">{escape(title)}</text>'
        yield (
            f'<rect x="{_LEFT}" y="{y:.0f}" width="{figure.median * scale:.1f}" height="{_BAR - 2}" fill="{colour}"/>'
        )
        yield (
            f'<line x1="{_LEFT + figure.low * scale:.1f}" x2="{_LEFT + figure.high * scale:.1f}" '
            f'y1="{middle:.1f}" y2="{middle:.1f}" stroke="#333"/>'
        )
        yield f'<text x="{_LEFT + _WIDTH + 8}" y="{y + 9:.0f}">{figure.median:.2f}</text>'
