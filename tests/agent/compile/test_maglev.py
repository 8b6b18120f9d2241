"""Shares are exact within a slot, and little moves when something changes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.compile import maglev, quota
from agent.compile.image import POOL_SLOTS as SLOTS

weights = st.lists(st.integers(0, 1_000_000), min_size=1, max_size=16)


@given(weights)
def test_shares_add_up_and_are_within_one_slot(found: list[int]) -> None:
    counts = quota.by_weight(found, SLOTS)
    total = sum(found)
    assert sum(counts) == (SLOTS if total else 0)
    assert [count > 0 for count in counts] == [weight > 0 for weight in found]
    exact = [weight * SLOTS / total if total else 0 for weight in found]
    lifted = sum(0 < x < 1 for x in exact)  # each has a slot that others must give
    for count, share in zip(counts, exact, strict=True):
        assert -1 - lifted < count - share < 1


@pytest.mark.parametrize(
    ("given_weights", "counts"),
    [
        ([1], [4093]),
        ([0], [0]),
        ([0, 0], [0, 0]),
        ([70, 30], [2865, 1228]),
        ([1, 1], [2047, 2046]),
        ([1, 0, 1], [2047, 0, 2046]),
        ([1_000_000, 1], [4092, 1]),
        ([1_000_000] + [1] * 15, [4078] + [1] * 15),
        ([1_000_000] * 16, [256] * 13 + [255] * 3),
    ],
)
def test_shares(given_weights: list[int], counts: list[int]) -> None:
    assert quota.by_weight(given_weights, SLOTS) == counts


@settings(max_examples=30, deadline=None)
@given(weights.filter(any))
def test_placing_gives_each_its_count(found: list[int]) -> None:
    counts = [x for x in quota.by_weight(found, SLOTS) if x]
    owners = maglev.place(tuple(f"ref {i}" for i in range(len(counts))), tuple(counts))
    assert Counter(owners) == dict(enumerate(counts))


@pytest.mark.parametrize(
    ("before", "after", "most"),
    [
        ((70, 30), (60, 40), 0.101),
        ((70, 30), (71, 29), 0.012),
        ((90, 10), (10, 90), 0.801),
        ((50, 50), (100, 0), 0.501),
        ((1, 1, 1, 1), (1, 1, 1, 2), 0.160),
        ((10, 20, 30, 40), (10, 20, 0, 40), 0.315),
        ((1,) * 16, (1,) * 15 + (0,), 0.085),
    ],
)
def test_a_change_of_weights_moves_hardly_more_than_it_must(
    before: tuple[int, ...], after: tuple[int, ...], most: float
) -> None:
    def placed(given_weights: tuple[int, ...]) -> list[str]:
        counts = quota.by_weight(given_weights, SLOTS)
        used = [(f"default/svc-{i}:80", count) for i, count in enumerate(counts) if count]
        return [used[i][0] for i in maglev.place(tuple(x for x, _ in used), tuple(x for _, x in used))]

    changed = sum(x != y for x, y in zip(placed(before), placed(after), strict=True))
    assert changed / SLOTS <= most


@settings(max_examples=50, deadline=None)
@given(st.integers(1, SLOTS - 1), st.integers(1, SLOTS - 1))
def test_of_two_nothing_moves_that_need_not(before: int, after: int) -> None:
    first, then = (maglev.place(("default/a:80", "default/b:80"), (x, SLOTS - x)) for x in (before, after))
    assert np.count_nonzero(first != then) == abs(before - after)


@pytest.mark.parametrize("count", [1, 2, 7, 1228, SLOTS])
@pytest.mark.parametrize("number", [1, 2, 3, 10, 100])
def test_spreading_is_even_within_one_slot(number: int, count: int) -> None:
    names = _names(number)
    owners = maglev.spread(names, _first(count), SLOTS)
    quotas = quota.even(names, count)
    assert Counter(owners) == {i: quota for i, quota in enumerate(quotas) if quota}
    assert max(quotas) - min(quotas) <= 1
    assert sum(quotas) == count


@pytest.mark.parametrize(
    ("number", "removed"),
    [
        (2, (0, 1)),
        (3, (0, 1, 2)),
        (5, (0, 1, 2, 3, 4)),
        (10, range(0, 10, 2)),
        (20, range(0, 20, 4)),
        (50, range(0, 50, 10)),
        (100, range(0, 100, 10)),
    ],
)
def test_removing_one_of_n_moves_less_than_two_nths_of_the_others(number: int, removed: range) -> None:
    names = _names(number)
    before = [names[i] for i in maglev.spread(names, _first(SLOTS), SLOTS)]
    for gone in removed:
        left = [x for i, x in enumerate(names) if i != gone]
        after = [left[i] for i in maglev.spread(left, _first(SLOTS), SLOTS)]
        others = [(x, y) for x, y in zip(before, after, strict=True) if x != names[gone]]
        moved = sum(x != y for x, y in others)
        assert moved / len(others) < 2 / number


@pytest.mark.parametrize("number", [2, 10, 50])
def test_that_holds_in_a_share_of_the_slots_too(number: int) -> None:
    chosen = _first(SLOTS)[maglev.place(("a", "b"), (2865, 1228)) == 0]
    names = _names(number)
    before = [names[i] for i in maglev.spread(names, chosen, SLOTS)]
    after = [names[1:][i] for i in maglev.spread(names[1:], chosen, SLOTS)]
    others = [(x, y) for x, y in zip(before, after, strict=True) if x != names[0]]
    assert sum(x != y for x, y in others) / len(others) < 2 / number


def test_every_node_builds_the_same_table() -> None:
    """Known answers: a change here remaps every client of every node that is not upgraded at the same moment."""
    assert maglev.place(("a", "b", "c"), (5, 4, 2)).tolist() == [1, 0, 2, 0, 0, 1, 2, 0, 1, 0, 1]
    assert maglev.spread(["a", "b", "c"], _first(11), 11).tolist() == [1, 0, 2, 0, 0, 1, 2, 1, 2, 0, 1]


def _names(number: int) -> list[str]:
    return sorted(f"[10.1.{i // 250}.{i % 250}]:8080" for i in range(number))


def _first(count: int) -> maglev.Slots:
    return np.arange(count, dtype=np.uint32)
