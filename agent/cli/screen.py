"""The console that commands draw on."""

from __future__ import annotations

import os
import sys

from rich.console import Console

_WIDE = 160  # columns, where nobody's terminal says otherwise: in a pipe or a file nothing need be cut


def console() -> Console:
    """As wide as the terminal; in a pipe wide enough for everything, unless COLUMNS says otherwise.

    Text is shown as it is: to rich's markup an IPv6 address in brackets would be a style, and vanish.
    """
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_WIDE if piped else None, highlight=False, markup=False)
