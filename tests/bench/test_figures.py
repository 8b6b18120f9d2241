"""From samples to figures: by round, median and quartiles, and when a run is noisy."""

from __future__ import annotations

import pytest

from bench.figures import Figure, is_noisy, rate, ratio


@pytest.mark.parametrize(
    ("samples", "reference", "figure"),
    [
        pytest.param([2.0, 4.0], [1.0, 2.0], Figure(2, 2, 2, 2), id="the same in each round"),
        pytest.param([1.0, 9.0, 20.0], [1.0, 1.0, 10.0], Figure(2, 1.5, 5.5, 3), id="ratios are made within a round"),
        pytest.param([1.0, None, 3.0], [1.0, 1.0, 1.0], Figure(2, 1.5, 2.5, 2), id="a failed sample is left out"),
        pytest.param([1.0, 2.0], [None, 1.0], Figure(2, 2, 2, 1), id="and so is one without a reference"),
        pytest.param([None, 2.0], [1.0, None], None, id="no round has both"),
    ],
)
def test_ratio(samples: list[float | None], reference: list[float | None], figure: Figure | None) -> None:
    assert ratio(samples, reference) == figure


@pytest.mark.parametrize(
    ("samples", "expected"), [([1.0, 5.0, 3.0], 3.0), ([None, 2.0], 2.0), ([None], None), ([], None)]
)
def test_rate_is_the_median_of_what_there_is(samples: list[float | None], expected: float | None) -> None:
    assert rate(samples) == expected


@pytest.mark.parametrize(
    ("control", "noisy"),
    [
        (Figure(1.0, 0.95, 1.05, 9), False),
        (Figure(1.12, 1.11, 1.13, 9), True),
        (Figure(1.0, 0.85, 1.02, 9), True),
        (Figure(1.0, 0.99, 1.2, 9), True),
        (None, True),
    ],
)
def test_a_run_is_noisy_where_the_same_thing_twice_differs_by_a_tenth(control: Figure | None, noisy: bool) -> None:
    assert is_noisy(control) is noisy
