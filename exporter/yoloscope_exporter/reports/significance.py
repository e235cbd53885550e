"""Whether a difference between two runs stands out from the variation within them."""

from __future__ import annotations

import math
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
NOT_SIGNIFICANT = "not significant"


def certainty(before: Sequence[float], after: Sequence[float]) -> str:
    """Whether two means differ significantly given the spread of their slices: Welch's t interval at CONFIDENCE.

    The slices of one run are not independent runs: this says whether the difference stands out from the variation
    within the runs, not what a repetition would give. Empty with fewer than three slices of either.
    """
    if min(len(before), len(after)) < 3:  # noqa: PLR2004
        return ""
    errors = [stdev(slices) ** 2 / len(slices) for slices in (before, after)]
    if not sum(errors):
        return "certain" if fmean(before) != fmean(after) else NOT_SIGNIFICANT
    parts = [error**2 / (len(slices) - 1) for error, slices in zip(errors, (before, after), strict=True)]
    freedom = sum(errors) ** 2 / sum(parts)
    margin = student(freedom, 0.5 + CONFIDENCE / 2) * math.sqrt(sum(errors))
    return f"{CONFIDENCE:.0%} sure" if abs(fmean(after) - fmean(before)) > margin else NOT_SIGNIFICANT


def student(freedom: float, p: float) -> float:
    """Quantile of Student's t from the normal one (Abramowitz and Stegun 26.7.5); 1 % off from 4 degrees on."""
    z = NormalDist().inv_cdf(p)
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))
