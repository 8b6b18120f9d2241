"""From samples to figures: pure.

Decides: what a figure is. A ratio is made of two samples of the same round; the figure is the median over the rounds,
its spread the two quartiles. A run is noisy in a measure when the same thing measured twice (A/A) is off by more than
a tenth, in the median or in a quartile.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

NOISE: Final = 0.10


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio to the reference (1 = the same): median and quartiles; `rounds` that gave one."""

    median: float
    low: float
    high: float
    rounds: int


def ratio(samples: Sequence[float | None], reference: Sequence[float | None]) -> Figure | None:
    """The figure of samples against those of the same rounds of the reference; None if no round has both."""
    ratios = [x / y for x, y in zip(samples, reference, strict=True) if x and y]
    if not ratios:
        return None
    if len(ratios) == 1:
        return Figure(ratios[0], ratios[0], ratios[0], 1)
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Figure(median, low, high, len(ratios))


def rate(samples: Sequence[float | None]) -> float | None:
    """The median of the samples themselves."""
    present = [x for x in samples if x]
    return statistics.median(present) if present else None


def is_noisy(control: Figure | None) -> bool:
    """Whether the A/A control says that this measure cannot be trusted to a tenth."""
    return control is None or max(abs(x - 1) for x in (control.low, control.median, control.high)) > NOISE
