"""How many slots of a pool each gets; which ones, says maglev.py.

Decides the counts: of backendRefs by their weights, of a ref's endpoints evenly. Rules: names are hashed, never ids or
positions; integers only: every node must come to the same. Must never know what the names stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b


def by_weight(weights: Sequence[int], slots: int) -> list[int]:
    """Slots of each weight: largest remainder, at least one slot for a weight that is not 0; all 0 if all weights are.

    Within one slot of weight * slots / sum, except that the largest give way where others would have none.
    """
    total = sum(weights)
    if total == 0:
        return [0] * len(weights)
    counts = [weight * slots // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(weights[i] * slots % total))
    for i in by_remainder[: slots - sum(counts)]:
        counts[i] += 1
    for i, weight in enumerate(weights):
        if weight and not counts[i]:
            most = max(
                (j for j in range(len(counts)) if counts[j] > 1), key=lambda j: counts[j] * total - weights[j] * slots
            )
            counts[most] -= 1
            counts[i] = 1
    return counts


def even(names: Sequence[str], count: int) -> list[int]:
    """How many of `count` slots each name gets: even within one, the names' hashes decide who gets one more."""
    each, over = divmod(count, len(names))
    found = [each] * len(names)
    if over:
        for i in sorted(range(len(names)), key=lambda i: hashed(names[i], b"quota"))[:over]:
            found[i] += 1
    return found


def hashed(name: str, salt: bytes) -> int:
    """The same on every node."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8, salt=salt).digest(), "little")
