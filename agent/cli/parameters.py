"""Words of the command line that are more than text.

Rules: what cannot be read is a ValueError, of which the command line makes a usage error that names option and word;
bounds are the settings' business.
"""

from __future__ import annotations


def port_range(text: str) -> tuple[int, int]:
    """`10000-29999`: the first and the last."""
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal()):
        raise ValueError(f"{text!r} is not FIRST-LAST")
    return int(first), int(last)
