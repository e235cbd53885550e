"""What the calls of one format say: images per second, latencies, the ratio to another format. Pure.

All formats are measured in rounds, each in its turn, so that what the machine does meanwhile meets them alike: of two
formats the ratio of each round is compared (Student's t of its logarithm), not two means. Two processes of the same
format differ a little, too, which no number of rounds shows: LEAST_SPREAD is the least standard error of a ratio.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.diagnosis.forecast import LEAST_SPREAD
from yoloscope_exporter.reports.interval import says_of_change, spread
from yoloscope_exporter.reports.significance import (
    CONFIDENCE,
    Estimate,
    among,
    chance_of_difference,
    margin,
    significant,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    #: Seconds of each call, by round.
    Rounds = Mapping[int, Sequence[float]]

#: With fewer calls the 99th percentile is the longest call.
FEWEST_FOR_P99 = 100


class Speed(NamedTuple):
    """How fast a format is.

    Attributes:
        images_per_second: of all calls.
        margin: half the width of the interval that holds it at CONFIDENCE, relative; None where that says nothing.
        p50, p99: seconds per image; p99 None with fewer than FEWEST_FOR_P99 calls.
        longest: of a call, seconds per image.
        calls: that were measured.
    """

    images_per_second: float
    margin: float | None
    p50: float
    p99: float | None
    longest: float
    calls: int


class Ratio(NamedTuple):
    """How many times as fast as another format: an interval at CONFIDENCE, and whether it is none of chance."""

    low: float
    high: float
    sure: bool

    @property
    def says_something(self) -> bool:
        """Whether it is worth showing: it is none of chance, or its interval is no wider than any may be."""
        return self.sure or says_of_change(math.log(self.high / self.low) / 2, relative=True)

    def __str__(self) -> str:
        """`1.92x to 2.11x`."""
        return f"{self.low:.2f}x to {self.high:.2f}x"


def speed(rounds: Rounds, batch: int) -> Speed | None:
    """Of calls with `batch` images each; None without calls."""
    calls = sorted(call for calls in rounds.values() for call in calls)
    if not calls:
        return None
    known = among([batch * len(one) / math.fsum(one) for one in rounds.values()])
    return Speed(
        batch * len(calls) / math.fsum(calls),
        half / known.mean if known and (half := spread(known, relative=True)) is not None else None,
        quantile(calls, 0.50) / batch,
        quantile(calls, 0.99) / batch if len(calls) >= FEWEST_FOR_P99 else None,
        calls[-1] / batch,
        len(calls),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two that are nearest, linearly."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def ratios(reference: Rounds, others: Mapping[str, Rounds]) -> dict[str, Ratio]:
    """How many times as fast each of `others` is; of those alone that share two rounds with `reference`.

    `sure` are as many as leave one table in twenty with a false one (Holm).
    """
    known = {name: one for name, rounds in others.items() if (one := _logarithm(reference, rounds))}
    sure = significant({name: chance_of_difference(_NOTHING, one) for name, one in known.items()}, CONFIDENCE)
    return {
        name: Ratio(math.exp(one.mean - margin(one)), math.exp(one.mean + margin(one)), name in sure)
        for name, one in known.items()
    }


#: The logarithm of a ratio of equal ones.
_NOTHING = Estimate(0.0, 0.0, 1)


def _logarithm(reference: Rounds, rounds: Rounds) -> Estimate | None:
    """Of the ratio of two formats' speeds, from the rounds in which both were measured."""
    shared = [number for number in rounds if number in reference]
    found = among([math.log(fmean(reference[number]) / fmean(rounds[number])) for number in shared])
    return found and found._replace(variance=max(found.variance, LEAST_SPREAD**2))
