"""Whether a split seen is the split asked for.

Decides: how far off is too far. A backend with share p of the slots is chosen by a hash of the connection's addresses
and ports, so of n connections it serves a binomial number: mean np, standard deviation sqrt(np(1-p)). Five of those
are allowed, passed by chance about once in two million; and one slot, since shares are exact only to one slot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

SIGMAS: Final = 5
SLOTS: Final = 4093


def wrong_shares(seen: Mapping[str, int], weights: Mapping[str, int]) -> list[str]:
    """What is wrong with the split `seen` (name -> connections), in words; empty if nothing is.

    A name that is not in `weights`, and one of weight 0, may not have been seen at all.
    """
    connections, whole = sum(seen.values()), sum(weights.values())
    if not connections:
        return ["no connection was served"]
    wrong = []
    for name in sorted({*seen, *weights}):
        share = weights.get(name, 0) / whole
        deviation = math.sqrt(connections * share * (1 - share))
        allowed = SIGMAS * deviation + (connections / SLOTS if 0 < share < 1 else 0)
        off = abs(seen.get(name, 0) - connections * share)
        if off > allowed:
            wrong.append(
                f"{name}: {seen.get(name, 0)} of {connections}, but {connections * share:.0f} ± {allowed:.0f} expected"
            )
    return wrong
