"""Measures read from a window, each evaluated once for all that the window holds."""

from __future__ import annotations

from functools import cache, cached_property
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING

from yoloscope_exporter.measures.evaluate import Evaluator, Inside, label_set
from yoloscope_exporter.measures.formula import TARGET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoloscope_exporter.measures.evaluate import Vector
    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.measures.series import Window

#: A window is cut into this many parts to tell what is typical from what happened once.
PARTS = 6
#: Parts from which on a spread is told.
FEWEST = 3


@cache
def _by(names: tuple[str, ...]) -> tuple[str, ...]:
    return (*TARGET, *names)


class Reading:
    """What a node's window says of measures; asked for by several ranks, it is calculated once.

    Attributes:
        window: what is read.
    """

    def __init__(self, window: Window, whole: Inside | None = None) -> None:
        """Nothing is evaluated yet; `whole` as for `Inside`."""
        self.window = window
        self._target = window.store.target
        self._inside = Inside([window], whole=whole)
        self._evaluators: dict[tuple[tuple[str, ...], bool], Evaluator] = {}

    def vector(self, measure: Measure, *by: str, life: bool = False) -> Vector:
        """Values by the labels `by`, those of the measure if none are given; `life` as in `evaluate`."""
        return self._evaluator(by or measure.of, life).vector(measure.formula)

    def _evaluator(self, by: tuple[str, ...], life: bool) -> Evaluator:  # noqa: FBT001 - as `one`
        known = self._evaluators.get((by, life))
        if known is None:
            known = self._evaluators[by, life] = Evaluator(self._inside, by, life=life)
        return known

    def one(self, measure: Measure, life: bool = False, /, **labels: str) -> float | None:  # noqa: FBT001, FBT002 - the labels take all keywords
        """The value of what has these labels, such as a rank of a run; None where it is not known."""
        names = tuple(labels)
        found = self._evaluator(_by(names), life).vector(measure.formula)
        return found.get(label_set(names, tuple(labels.values()), self._target))

    def typical(self, measure: Measure, **labels: str) -> float | None:
        """What the measure typically is over parts of the window: their median, or the mean of all but the largest.

        The greater of the two: one long moment does not speak for all of the window, and what comes in bursts, which
        a median overlooks, is not lost.
        """
        values = sorted(self._over_parts(measure, labels))
        return max(median(values), fmean(values[:-1] or values)) if values else None

    def usual(self, measure: Measure, **labels: str) -> float | None:
        """Median of the measure over parts of the window; None where fewer than three parts have a value."""
        values = self._over_parts(measure, labels)
        return median(values) if len(values) >= FEWEST else None

    def spread(self, measure: Measure, **labels: str) -> float | None:
        """Standard deviation over parts of the window, relative to their mean; None for fewer than three parts."""
        values = self._over_parts(measure, labels)
        return stdev(values) / mean if len(values) >= FEWEST and (mean := fmean(values)) else None

    def _over_parts(self, measure: Measure, labels: Mapping[str, str]) -> list[float]:
        return [value for part in self._parts if (value := part.one(measure, **labels)) is not None]

    @cached_property
    def _parts(self) -> Sequence[Reading]:
        """Each at least two sample periods long: it takes two samples to have grown."""
        count = int(min(PARTS, self.window.seconds / max(2 * self.window.period, 1e-9)))
        return [Reading(part, self._inside) for part in self.window.parts(max(count, 1))]
