"""Which slot of a pool goes to whom: weights between backendRefs, then evenness between endpoints.

Decides the two levels of a pool's table, `place` for the backendRefs and `spread` for the endpoints of one ref, and the
rule that both follow:
  - A name prefers the slots in an order of its own, which is Maglev's permutation (Eisenbud et al., NSDI 2016, 3.4): it
    is hashed to an offset and a skip, the order is offset, offset + skip, ... modulo the prime number of slots.
  - A slot goes to the name that is nearest to it. The distance is the logarithm of a time less that of a weight; the
    time is when the so-manieth of as many random arrivals as there are slots is expected, by the slot's rank in the
    name's order. So a name is nearest to about as many slots as its weight says: rendezvous hashing with weights.
  - Quotas (quota.py) are exact. A name that is nearest to more slots than its quota gives up those that another is
    nearly as near to. Of these slots and the names that have room, the nearest pair comes together first.
So hardly more moves than must. Weights: between two refs exactly the slots that the shares say, among more about what
rendezvous hashing moves. Removing one of N endpoints moves about 0.1 % of the other endpoints' slots for N = 3, 0.7 %
for 10, 1.3 % for 50, 1.5 % for 100 (4093 slots), that is less than 2/N for N up to 100. Plain Maglev, whose turns all
shift when one endpoint goes, moves 3.1 % for N = 100.
Rules: names are hashed, never ids or positions; ties fall to the name that sorts first, so callers sort. Integers only,
logarithms too: every node must build the same table. Must never know what the names stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agent.compile import quota

Slots: TypeAlias = NDArray[np.uint32]
"""Numbers of slots."""
Owners: TypeAlias = NDArray[np.int32]
"""Of each slot, the number of the name that has it."""

# How far a name is from a slot is an i32: the distance, from -4 to 24 as a fixed-point number, then the name's number.
_NAME_BITS: Final = 12
_FRACTION_BITS: Final = 14
_NAME: Final = (1 << _NAME_BITS) - 1


def place(names: Sequence[str], counts: Sequence[int]) -> Owners:
    """Level 1: who has each slot. The counts, none of them 0, add up to the slots, a prime."""
    slots = sum(counts)
    weights = [_logarithms(slots)[count] for count in counts]
    return _owners(names, weights, counts, np.arange(slots, dtype=np.uint32), slots)


def spread(names: Sequence[str], chosen: Slots, slots: int) -> Owners:
    """Level 2: who has each of the chosen slots (of a table with this many, a prime). At most 4,096 names."""
    return _owners(names, [0] * len(names), quota.even(names, len(chosen)), chosen, slots)


def _owners(names: Sequence[str], weights: Sequence[int], counts: Sequence[int], chosen: Slots, slots: int) -> Owners:
    """Who has each of the chosen slots; `weights` as `_logarithms` gives them."""
    if len(names) == 1:
        return np.zeros(len(chosen), np.int32)
    rows = []
    for number, (name, weight) in enumerate(zip(names, weights, strict=True)):
        row = _distances(slots).take(_ranks(name, chosen, slots))
        row += number - weight
        rows.append(row)
    first, second = np.minimum(rows[0], rows[1]), np.maximum(rows[0], rows[1])
    for row in rows[2:]:
        np.minimum(second, np.maximum(first, row), out=second)
        np.minimum(first, row, out=first)
    owners = first & _NAME
    room = (np.array(counts) - np.bincount(owners, minlength=len(names))).tolist()
    regrets = second - first
    homeless = [_given_up(owners == i, regrets, -left) for i, left in enumerate(room) if left < 0]
    if homeless:
        _rehouse(np.sort(np.concatenate(homeless)), rows, room, owners)
    return owners


def _given_up(own: NDArray[np.bool_], regrets: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Of the own slots those, so many, that are regretted least; of equal ones the first."""
    mine = np.flatnonzero(own)
    order = (regrets[mine].astype(np.int64) << 32) + mine  # no two are equal, so every way of sorting comes to the same
    return np.partition(order, count - 1)[:count] & 0xFFFFFFFF


def _rehouse(
    homeless: NDArray[np.int64], rows: Sequence[NDArray[np.int32]], room: Sequence[int], owners: Owners
) -> None:
    """Homeless slots go where there is room: of all pairs, the nearest first."""
    open_ = [i for i, left in enumerate(room) if left > 0]
    left = [room[i] for i in open_]
    pairs = np.concatenate([rows[i][homeless] for i in open_]).argsort(kind="stable")
    waiting = set(range(len(homeless)))
    for pair in pairs.tolist():
        owner, slot = divmod(pair, len(homeless))
        if left[owner] and slot in waiting:
            left[owner] -= 1
            waiting.remove(slot)
            owners[homeless[slot]] = open_[owner]
            if not waiting:
                return


def _ranks(name: str, chosen: Slots, slots: int) -> NDArray[np.uint32]:
    """For each chosen slot its place in the name's permutation: (slot - offset) / skip in the field of `slots`."""
    inverse = pow(quota.hashed(name, b"skip") % (slots - 1) + 1, -1, slots)
    ranks = chosen * inverse
    ranks += -quota.hashed(name, b"offset") * inverse % slots
    ranks -= ranks // slots * slots  # numpy's % is slow
    return ranks


@lru_cache(maxsize=4)
def _distances(slots: int) -> NDArray[np.int32]:
    """By rank: the first of `slots` random arrivals is expected after 1/slots, the next 1/(slots - 1) later, ..."""
    return _log2(np.cumsum((1 << 20) // np.arange(slots, 0, -1)))


@lru_cache(maxsize=4)
def _logarithms(slots: int) -> list[int]:
    """Of the numbers up to `slots`; of 0 it is 0."""
    return [0, *_log2(np.arange(1, slots + 1)).tolist()]


def _log2(numbers: NDArray[np.int64]) -> NDArray[np.int32]:
    """Of numbers from 1 to 2**31 - 1, rounded down, with room for a name's number. Each squaring gives one bit."""
    found = np.array([number.bit_length() - 1 for number in numbers.tolist()])
    powers = numbers << (31 - found)  # from 2**31 to 2**32 - 1, that is from 1 to 2
    for _ in range(_FRACTION_BITS):
        powers = (powers.astype(np.uint64) ** 2 >> 31).astype(np.int64)
        found = (found << 1) + (powers >> 32)
        powers >>= powers >> 32
    return (found << _NAME_BITS).astype(np.int32)
