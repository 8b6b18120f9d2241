"""When a split counts as the one that was asked for."""

from __future__ import annotations

import pytest

from lab.shares import wrong_shares

GOOD = [
    ({"a": 700, "b": 300}, {"a": 70, "b": 30}),
    ({"a": 650, "b": 350}, {"a": 70, "b": 30}),  # 3.5 standard deviations off
    ({"a": 5}, {"a": 1}),
    ({"a": 100}, {"a": 1, "b": 0}),
    ({"a": 2, "b": 0}, {"a": 1, "b": 1}),
]
BAD = [
    ({"a": 620, "b": 380}, {"a": 70, "b": 30}, {"a", "b"}),  # 5.5 standard deviations off
    ({"a": 500, "b": 500}, {"a": 70, "b": 30}, {"a", "b"}),
    ({"a": 100, "b": 1}, {"a": 1, "b": 0}, {"a", "b"}),
    ({"a": 100, "stranger": 1}, {"a": 1}, {"a", "stranger"}),
    ({"a": 1000}, {"a": 1, "b": 1}, {"a", "b"}),
]


@pytest.mark.parametrize(("seen", "weights"), GOOD)
def test_within_five_standard_deviations_nothing_is_wrong(seen: dict[str, int], weights: dict[str, int]) -> None:
    assert wrong_shares(seen, weights) == []


@pytest.mark.parametrize(("seen", "weights", "names"), BAD)
def test_what_is_further_off_is_named(seen: dict[str, int], weights: dict[str, int], names: set[str]) -> None:
    assert {line.partition(":")[0] for line in wrong_shares(seen, weights)} == names


def test_no_connection_is_wrong_whatever_the_weights() -> None:
    assert wrong_shares({}, {"a": 1}) == ["no connection was served"]
