"""What a run typically does: a ratio, such as images per second, in which exceptional parts of the run count for less.

One stall of twenty seconds, a first batch that sets up the GPU, a slow file: each moves the mean of ten minutes by
several per cent, and a repetition has others. So that a slower run is told from such luck, parts further from the rest
than K of their spread count only as if they were that far (Huber 1964, Robust Estimation of a Location Parameter, Ann
Math Statist 35).
"""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING

from yoloscope_exporter.reports.significance import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Huber's: 95 % as good as the mean where nothing is exceptional.
K = 1.345
#: The median absolute deviation of a normal distribution is so many times smaller than its standard deviation.
DEVIATION = 1.4826
#: With fewer parts it cannot be told which are exceptional.
FEWEST = 16
ROUNDS = 50


def typical(parts: Sequence[Part]) -> list[Part]:
    """The parts, each with a value as far from the typical one as it counts; their mean is that typical value.

    Empty where there are too few, or where half of them are alike, so that every other one were exceptional.
    """
    seen = [(part.value * part.weight, part.weight) for part in parts if part.weight]
    if len(seen) < FEWEST:
        return []
    value = median(above / below for above, below in seen)
    for _ in range(ROUNDS):
        apart = [above - value * below for above, below in seen]
        most = K * DEVIATION * _deviation(apart)
        if not most:
            return []
        shares = [min(1.0, most / abs(one)) if one else 1.0 for one in apart]
        before = value
        value = _ratio(seen, shares)
        if abs(value - before) <= 1e-9 * abs(value):
            break
    slope = sum(below for (_, below), one in zip(seen, apart, strict=True) if abs(one) <= most) / len(seen)
    if not slope:
        return []
    return [Part(value + max(-most, min(most, one)) / slope, 1.0) for one in apart]


def _deviation(apart: Sequence[float]) -> float:
    middle = median(apart)
    return median(abs(one - middle) for one in apart)


def _ratio(seen: Sequence[tuple[float, float]], shares: Sequence[float]) -> float:
    """Of the sums, of each only the share that counts."""
    above = fmean(share * one for share, (one, _) in zip(shares, seen, strict=True))
    return above / fmean(share * one for share, (_, one) in zip(shares, seen, strict=True))
