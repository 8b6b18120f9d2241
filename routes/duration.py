"""Durations as the Gateway API writes them (GEP-2257): `1h30m`, `500ms`.

Decides nothing. Must never: take what an API server would refuse.
"""

from __future__ import annotations

import re
from typing import Final

_DURATION: Final = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")
_PART: Final = re.compile(r"([0-9]+)(ms|h|m|s)")
_MILLISECONDS: Final = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def milliseconds(text: str) -> int:
    """Raises ValueError that says what is wrong with `text`."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 30s or 1h30m")
    return sum(int(number) * _MILLISECONDS[unit] for number, unit in _PART.findall(text))
