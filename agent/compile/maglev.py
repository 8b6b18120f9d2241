"""Which slot of a pool goes to whom: weights between backendRefs, then evenness between endpoints.

Decides the two levels of a pool's table. Both rest on Maglev's permutations (Eisenbud et al., NSDI 2016, 3.4): a
name is hashed to an offset and a skip, and so prefers the slots in the order offset, offset + skip, ... modulo the
prime number of slots.
  - Level 1, `shares` and `place`: each backendRef gets its share of the slots within one slot, and at least one if
    its weight is not 0. The refs take turns, a ref of twice the weight twice as often, each taking the free slot
    that it prefers most. A change of weights moves hardly more slots than the weights say.
  - Level 2, `quotas` and `spread`: the slots of one ref go to its endpoints, evenly within one slot. A slot goes to
    the endpoint in whose permutation it comes earliest; where an endpoint has more than its quota, the slots that it
    prefers least move on to the best endpoint that has room. Removing one of N endpoints moves about 0.1 % of the
    other endpoints' slots for N = 3, 1.2 % for 10, 1.1 % for 50, 1.5 % for 100 (4093 slots), that is less than 2/N
    for N up to 100. Plain Maglev, whose turns all shift when one endpoint goes, moves 3.1 % for N = 100.
Rules: names are hashed, never ids or positions; ties fall to the name that sorts first, so callers sort. Integers
and correctly rounded divisions only: every node must build the same table. Must never know what the names stand for.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b


def shares(weights: Sequence[int], slots: int) -> list[int]:
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


@lru_cache(maxsize=128)
def place(names: tuple[str, ...], counts: tuple[int, ...]) -> bytes:
    """Level 1: the number of the name (at most 256) that has each slot; the counts add up to the slots, a prime."""
    slots = sum(counts)
    wanted = [_permutation(name, slots) for name in names]
    cursors = [offset for offset, _ in wanted]
    owners = [-1] * slots
    for i in _turns(counts):
        slot, skip = cursors[i], wanted[i][1]
        while owners[slot] >= 0:
            slot = (slot + skip) % slots
        owners[slot] = i
        cursors[i] = (slot + skip) % slots
    return bytes(owners)


@lru_cache(maxsize=32)
def _turns(counts: tuple[int, ...]) -> bytes:
    """Whose turn it is, evenly mixed: of c turns the j-th comes at (j + 1/2) / c of the way."""
    order = sorted(((2 * turn + 1) / (2 * count), i) for i, count in enumerate(counts) for turn in range(count))
    return bytes(i for _, i in order)


def quotas(names: Sequence[str], count: int) -> list[int]:
    """How many of `count` slots each name gets: even within one, the names' hashes decide who gets one more."""
    each, over = divmod(count, len(names))
    found = [each] * len(names)
    if over:
        for i in sorted(range(len(names)), key=lambda i: _hash(names[i], b"quota"))[:over]:
            found[i] += 1
    return found


def spread(names: Sequence[str], chosen: Sequence[int], slots: int) -> list[int]:
    """Level 2: the number of the name that has each of the chosen slots (of a table with this many, a prime)."""
    if len(names) == 1:
        return [0] * len(chosen)
    room = quotas(names, len(chosen))
    ranks = [_ranks(name, chosen, slots) for name in names]
    owners: list[int] = []
    firsts: list[int] = []
    for row in zip(*ranks, strict=True):
        first = min(row)
        firsts.append(first)
        owners.append(row.index(first))
    homeless: list[int] = []
    for slot in sorted(range(len(chosen)), key=firsts.__getitem__):
        owner = owners[slot]
        if room[owner]:
            room[owner] -= 1
        else:
            homeless.append(slot)
    _rehouse(homeless, owners, room, ranks)
    return owners


def _rehouse(homeless: Sequence[int], owners: list[int], room: list[int], ranks: Sequence[Sequence[int]]) -> None:
    """Homeless slots go where there is room: of all pairs, the one with the smallest rank first."""
    open_ = [i for i, left in enumerate(room) if left]

    def best(slot: int) -> tuple[int, int, int]:
        rank, owner = min((ranks[i][slot], i) for i in open_)
        return rank, slot, owner

    queue = [best(slot) for slot in homeless]
    heapq.heapify(queue)
    while queue:
        _, slot, owner = queue[0]
        if not room[owner]:
            heapq.heapreplace(queue, best(slot))
            continue
        heapq.heappop(queue)
        owners[slot] = owner
        room[owner] -= 1
        if not room[owner]:
            open_.remove(owner)


def _ranks(name: str, chosen: Sequence[int], slots: int) -> array[int]:
    """For each chosen slot its place in the name's permutation: (slot - offset) / skip in the field of `slots`."""
    offset, skip = _permutation(name, slots)
    inverse = pow(skip, -1, slots)
    shift = -offset * inverse
    return array("H", [(slot * inverse + shift) % slots for slot in chosen])


def _permutation(name: str, slots: int) -> tuple[int, int]:
    return _hash(name, b"offset") % slots, _hash(name, b"skip") % (slots - 1) + 1


def _hash(name: str, salt: bytes) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8, salt=salt).digest(), "little")
