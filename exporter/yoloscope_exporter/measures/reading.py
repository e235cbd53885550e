"""Measures read from a window, each evaluated once for all that the window holds."""

from __future__ import annotations

from functools import cached_property
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING

from yoloscope_exporter.measures.evaluate import Evaluator, Inside
from yoloscope_exporter.measures.formula import TARGET
from yoloscope_exporter.measures.series import label_set

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoloscope_exporter.measures.evaluate import Vector
    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.measures.series import Window

#: A window is cut into this many parts to tell what is typical from what happened once.
PARTS = 6
#: Parts from which on a spread is told.
FEWEST = 3


class Reading:
    """What a node's window says of measures; asked for by several ranks, it is calculated once.

    Attributes:
        window: what is read.
    """

    def __init__(self, window: Window, within: Mapping[str, str] | None = None) -> None:
        """Nothing is evaluated yet; `within` as for `Inside`."""
        self.window, self._within = window, within
        self._inside = Inside([window], within)
        self._evaluators: dict[tuple[tuple[str, ...], bool], Evaluator] = {}

    def vector(self, measure: Measure, *by: str, life: bool = False) -> Vector:
        """Values by the labels `by`, those of the measure if none are given; `life` as in `evaluate`."""
        return self.evaluator(by or measure.of, life=life).vector(measure.formula)

    def evaluator(self, by: tuple[str, ...], *, life: bool = False) -> Evaluator:
        """Of all that is asked with these labels; kept."""
        known = self._evaluators.get((by, life))
        if known is None:
            known = self._evaluators[by, life] = Evaluator(self._inside, by, life=life)
        return known

    def one(self, measure: Measure, **labels: str) -> float | None:
        """The value of what has these labels, such as a rank of a run; None where it is not known."""
        return self.about(**labels).one(measure)

    def about(self, **labels: str) -> About:
        """What it says of what has these labels."""
        return About(self, labels)

    @cached_property
    def parts(self) -> Sequence[Reading]:
        """Each at least two sample periods long: it takes two samples to have grown."""
        count = int(min(PARTS, self.window.seconds / max(2 * self.window.period, 1e-9)))
        return [Reading(part, self._within) for part in self.window.parts(max(count, 1))]


class About:
    """What a reading says of one rank, GPU or worker, whose labels are looked up once for all that is asked of it."""

    def __init__(self, reading: Reading, labels: Mapping[str, str]) -> None:
        """Nothing is evaluated yet."""
        names = tuple(labels)
        self._reading, self._by = reading, (*TARGET, *names)
        self._labels = label_set(names, tuple(labels.values()), reading.window.store.target)
        self._evaluator = reading.evaluator(self._by)

    def one(self, measure: Measure) -> float | None:
        """The value; None where it is not known."""
        return self._evaluator.vector(measure.formula).get(self._labels)

    def of_life(self, measure: Measure) -> float | None:
        """The same with counters from their start on, instead of over the window."""
        return self._reading.evaluator(self._by, life=True).vector(measure.formula).get(self._labels)

    def typical(self, measure: Measure) -> float | None:
        """What the measure typically is over parts of the window: their median, or the mean of all but the largest.

        The greater of the two: one long moment does not speak for all of the window, and what comes in bursts, which
        a median overlooks, is not lost.
        """
        values = sorted(self._over_parts(measure))
        return max(median(values), fmean(values[:-1] or values)) if values else None

    def usual(self, measure: Measure) -> float | None:
        """Median of the measure over parts of the window; None where fewer than three parts have a value."""
        values = self._over_parts(measure)
        return median(values) if len(values) >= FEWEST else None

    def spread(self, measure: Measure) -> float | None:
        """Standard deviation over parts of the window, relative to their mean; None for fewer than three parts."""
        values = self._over_parts(measure)
        return stdev(values) / mean if len(values) >= FEWEST and (mean := fmean(values)) else None

    def _over_parts(self, measure: Measure) -> list[float]:
        found = [part.vector(measure.formula).get(self._labels) for part in self._parts]
        return [value for value in found if value is not None]

    @cached_property
    def _parts(self) -> Sequence[Evaluator]:
        return [part.evaluator(self._by) for part in self._reading.parts]
