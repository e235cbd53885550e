"""Histograms of observations that nobody made: spread around a mean as a lognormal distribution."""

from __future__ import annotations

import math

from yoloscope_exporter.catalog import HistogramValue


def spread(total: float, mean: float, bounds: tuple[float, ...], sigma: float = 0.2) -> HistogramValue:
    """`total` observations, log-normal around `mean`, as a histogram that only ever grows with `total`."""
    cumulative = [int(total * _lognormal(bound, mean, sigma)) for bound in bounds]
    return HistogramValue(_differences([*cumulative, int(total)]), int(total) * mean)


def _lognormal(bound: float, mean: float, sigma: float) -> float:
    if bound <= 0:
        return 0.0
    return 0.5 * (1 + math.erf((math.log(bound / mean) + sigma**2 / 2) / (sigma * math.sqrt(2))))


def _differences(cumulative: list[int]) -> tuple[float, ...]:
    return tuple(float(after - before) for before, after in zip([0, *cumulative], cumulative, strict=False))


def both(first: HistogramValue, second: HistogramValue) -> HistogramValue:
    """Of the observations of two together."""
    counts = tuple(a + b for a, b in zip(first.counts, second.counts, strict=True))
    return HistogramValue(counts, first.sum + second.sum)
