"""Whether figures of runs differ by more than chance: by the variation within a run, or among repeated runs.

One run is one observation, whatever the number of its batches: from within it, it can be told how well its own mean is
known, not what a repetition would give. Successive parts of a run resemble each other (caches fill, a neighbour comes
and goes), so the variance of its mean is estimated as for a time series:

- its parts are projected onto the B = 0.4 n^(2/3), at most 6, slowest cosines, which makes a t test with B degrees of
  freedom (EWC: Lazarus, Lewis, Stock, Watson 2018, HAR Inference: Recommendations for Practice, JBES 36(4));
- what is left of slow variation is taken out before and put back afterwards by an AR(1) model (prewhitening: Andrews,
  Monahan 1992, Econometrica 60(4)), its coefficient corrected for the bias of short series (Kendall 1954, Biometrika
  41); the larger variance of the two counts.

Repeated runs are independent of each other: Welch's t test. Several figures at once: Holm 1979, Scand J Statist 6;
those that go together, such as the mean and the typical throughput of the same runs: Hochberg 1988, Biometrika 75,
which is right where figures depend on each other positively (Sarkar 1998, Ann Statist 26).

That no difference was found does not say that there is none: two figures are equal where the interval of their
difference lies within what matters (two one-sided tests: Schuirmann 1987, J Pharmacokinet Biopharm 15).
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean, variance
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Key = TypeVar("Key")

CONFIDENCE = 0.95
#: Of single runs more is asked: a correlation that has to be estimated makes more than a nominal 5 % of equal pairs
#: different where a run changes slowly (tests/benchmarks/bench_comparison.py).
CONFIDENCE_OF_ONE = 0.97
#: Fewer parts of a run have no cosine (0.4 n^(2/3) < 1).
FEWEST = 4
#: Nor more cosines, however many parts: the seventh no longer tells slow changes, such as a neighbour's, from noise.
MOST_COSINES = 6
#: Andrews and Monahan's bound: nearer to 1 the correction has no end.
MOST_ALIKE = 0.97


class Part(NamedTuple):
    """A figure over a part of a run, and how much of the run's figure that part is (of a ratio: its divisor)."""

    value: float
    weight: float


class Estimate(NamedTuple):
    """A mean, and how well it is known: the variance of that mean, and the degrees of freedom it was estimated with."""

    mean: float
    variance: float
    freedom: float


def within(mean: float, parts: Sequence[Part]) -> Estimate | None:
    """How well a run's figure is known from its parts in order of time; None with fewer than FEWEST."""
    if len(parts) < FEWEST:
        return None
    total = sum(part.weight for part in parts)
    middle = sum(part.value * part.weight for part in parts) / total
    deviations = [(part.value - middle) * part.weight * len(parts) / total for part in parts]
    cosines = min(int(0.4 * len(parts) ** (2 / 3)), MOST_COSINES)
    return Estimate(mean, _long_run_variance(deviations, cosines) / len(parts), cosines)


def among(values: Sequence[float]) -> Estimate | None:
    """How well the mean of repeated runs is known; None of a single one."""
    if len(values) < 2:  # noqa: PLR2004 - one value has no spread
        return None
    return Estimate(fmean(values), variance(values) / len(values), len(values) - 1)


def _long_run_variance(deviations: Sequence[float], cosines: int) -> float:
    """Of a series with mean zero: what `n` times the variance of its mean tends to."""
    alike = _correlation(deviations)
    rest = [after - alike * before for before, after in pairwise(deviations)]
    return max(_slow_power(deviations, cosines), _slow_power(rest, cosines) / (1 - alike) ** 2)


def _slow_power(series: Sequence[float], cosines: int) -> float:
    """Mean square of the projections onto the slowest cosines (type II)."""
    angles = [math.pi * (index + 0.5) / len(series) for index in range(len(series))]
    sums = [
        sum(value * math.cos(number * angle) for value, angle in zip(series, angles, strict=True))
        for number in range(1, cosines + 1)
    ]
    return fmean(2 / len(series) * one * one for one in sums)


def _correlation(deviations: Sequence[float]) -> float:
    """Of each with the next, 0 to MOST_ALIKE."""
    power = sum(one * one for one in deviations)
    if not power:
        return 0.0
    raw, count = sum(a * b for a, b in pairwise(deviations)) / power, len(deviations)
    return min(max((raw + 1 / count) / (1 - 3 / count), 0.0), MOST_ALIKE)


def difference(before: Estimate, after: Estimate) -> Estimate:
    """Of two means (Welch)."""
    total = before.variance + after.variance
    shares = sum(one.variance**2 / one.freedom for one in (before, after))
    return Estimate(after.mean - before.mean, total, total**2 / shares if shares else before.freedom + after.freedom)


def logarithm(estimate: Estimate) -> Estimate:
    """Of a mean above zero, so that a difference of two is the logarithm of their ratio."""
    return Estimate(math.log(estimate.mean), estimate.variance / estimate.mean**2, estimate.freedom)


def chance_of_difference(before: Estimate, after: Estimate) -> float:
    """Probability of a difference at least as large between two equal ones."""
    return _chance(difference(before, after))


def chance_of_less(before: Estimate, after: Estimate, share: float) -> float:
    """Probability of an `after` at least as small, were it as large as `share` of `before` (one-sided)."""
    apart = difference(Estimate(share * before.mean, share**2 * before.variance, before.freedom), after)
    both = _chance(apart)
    return both / 2 if apart.mean < 0 else 1 - both / 2


def _chance(apart: Estimate) -> float:
    """Of a mean at least as far from zero, were it zero."""
    if not apart.variance:
        return 0.0 if apart.mean else 1.0
    return beyond(abs(apart.mean) / math.sqrt(apart.variance), int(apart.freedom + 1e-9))


def beyond(t: float, freedom: int) -> float:
    """Probability that Student's t with whole degrees of freedom lies beyond +-`t` (Abramowitz, Stegun 26.7.3, 4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    for number in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine**2 * (number - 1) / number
        total += term
    if not odd:
        return 1 - sine * total
    return 1 - 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))


def margin(estimate: Estimate) -> float:
    """Half the width of the interval that holds the mean at CONFIDENCE."""
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle, int(estimate.freedom + 1e-9)) > 1 - CONFIDENCE else (low, middle)
    return high * math.sqrt(estimate.variance)


def significant_together(chances: Mapping[Key, float], confidence: float) -> set[Key]:
    """The same of figures that rise and fall together: where all of them differ, none has to be sure for two."""
    falling = sorted(chances, key=lambda name: -chances[name])
    for count, name in enumerate(falling, start=1):
        if chances[name] <= (1 - confidence) / count:
            return set(falling[count - 1 :])
    return set()


def significant(chances: Mapping[Key, float], confidence: float) -> set[Key]:
    """Which differences are none of chance, so that a table without any calls one in 1 - `confidence` of the cases."""
    found: set[Key] = set()
    for rank, (name, chance) in enumerate(sorted(chances.items(), key=lambda item: item[1])):
        if chance > (1 - confidence) / (len(chances) - rank):
            break
        found.add(name)
    return found
