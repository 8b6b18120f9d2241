"""The console that commands draw on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.live import Live

_WIDE = 100_000  # columns, where nobody's terminal says otherwise: in a pipe or a file nothing is cut or folded


def console() -> Console:
    """As wide as the terminal; in a pipe as wide as the rows need, unless COLUMNS says otherwise.

    Text is shown as it is: to rich's markup an IPv6 address in brackets would be a style, and vanish.
    """
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_WIDE if piped else None, highlight=False, markup=False)


def show(drawings: Iterable[RenderableType], screen: Console) -> None:
    """Each in the place of the one before, until Ctrl-C; in a pipe below it, and as soon as it is there."""
    with contextlib.suppress(KeyboardInterrupt):
        if not screen.is_terminal:
            for drawing in drawings:
                screen.print(drawing)
            return
        with Live(console=screen, auto_refresh=False) as live:
            for drawing in drawings:
                live.update(drawing, refresh=True)
