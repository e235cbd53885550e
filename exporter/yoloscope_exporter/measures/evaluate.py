"""Formulas evaluated over windows of samples, by PromQL's rules: what is absent there is absent here.

The one difference: Prometheus takes a series for current for five minutes unless its target says that it has gone; here
that is a few sample periods (`Window.staleness`).
"""

from __future__ import annotations

import operator
from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

from yoloscope_exporter.catalog import HistogramValue
from yoloscope_exporter.measures import series
from yoloscope_exporter.measures.formula import (
    Age,
    Arithmetic,
    Clamp,
    Compare,
    Filtered,
    Grown,
    Last,
    Number,
    Or,
    OverTime,
    Quantile,
    Selector,
    Total,
    WindowSeconds,
)
from yoloscope_exporter.measures.series import LabelSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.measures.formula import Formula, How
    from yoloscope_exporter.measures.series import Series, Window

Vector = dict[LabelSet, float]

_HOW: Mapping[How, Callable[[Sequence[float]], float]] = {
    "sum": sum,
    "avg": fmean,
    "max": max,
    "min": min,
    "count": lambda values: float(len(values)),
}
_OPERATORS: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class _Found:
    """A series with a point in its node's window, and the points inside that."""

    __slots__ = ("_increase", "labels", "series", "span", "window")

    def __init__(self, labels: LabelSet, series: Series, window: Window, span: range) -> None:
        self.labels, self.series, self.window, self.span = labels, series, window, span
        self._increase: float | None = None

    def increase(self, of: Selector) -> float:
        """By how much it grew, extrapolated to the window's edges; it takes two points. Kept but for a histogram's."""
        if of.part:
            return _increase(self, _value(self.series, self.span[0], of), _value(self.series, self.span[-1], of))
        if self._increase is None:
            values = self.series.values
            self._increase = _increase(self, values[self.span[0]], values[self.span[-1]])
        return self._increase


class Inside:
    """What windows hold, and how much of it grew: looked up once for all who evaluate over them."""

    def __init__(self, windows: Sequence[Window], within: Mapping[str, str] | None = None) -> None:
        """Nothing is looked up yet.

        Args:
            windows: of each node.
            within: as for `evaluate`.
        """
        self.windows = tuple(windows)
        self._within = within or {}
        self._found: dict[Series, _Found | None] = {}
        # By identity, which costs nothing, where equality would go through all of a selector. Each is kept beside what
        # it gave, so that no other can take its identity.
        self._selected: dict[int, tuple[Selector, list[_Found]]] = {}
        self._growth: dict[tuple[int, bool], tuple[Selector, Vector]] = {}

    def selected(self, of: Selector) -> list[_Found]:
        """The series of a selector that have a point in their node's window."""
        known = self._selected.get(id(of))
        if known is None:
            known = self._selected[id(of)] = (of, self._select(of))
        return known[1]

    def _select(self, of: Selector) -> list[_Found]:
        asked = [(name, text) for name, text in self._within.items() if name in of.metric.labels]
        wanted = (*(pair for pair in of.labels if pair[0] != "le"), *asked)
        found: list[_Found | None] = []
        for window in self.windows:
            for labels, one in window.store.selection(of.metric, wanted):
                if one not in self._found:
                    span = one.span(window.start, window.end)
                    self._found[one] = _Found(labels, one, window, span) if span else None
                found.append(self._found[one])
        return [one for one in found if one is not None]

    def growth(self, of: Selector, *, rate: bool) -> Vector:
        """By how much each series grew, extrapolated to the window's edges; those with a single point are left out."""
        known = self._growth.get((id(of), rate))
        if known is None:
            found = self.selected(of)
            grown = {
                one.labels: one.increase(of) / one.window.seconds if rate else one.increase(of)
                for one in found
                if len(one.span) > 1
            }
            known = self._growth[id(of), rate] = (of, grown)
        return known[1]


def evaluate(
    formula: Formula,
    windows: Sequence[Window],
    *by: str,
    within: Mapping[str, str] | None = None,
    life: bool = False,
) -> Vector:
    """Values of a formula by their labels.

    Args:
        formula: what to evaluate.
        windows: of each node, whose store tells the labels of its target.
        by: labels that its open totals keep.
        within: only series with these labels, as far as their metric has them.
        life: take counters from their start on, instead of over the window.
    """
    return Evaluator(Inside(windows, within), by, life=life).vector(formula)


class Evaluator:
    """Evaluates formulas over the same windows for the same question, what they share only once."""

    def __init__(self, inside: Inside, by: tuple[str, ...] = (), *, life: bool = False) -> None:
        """Arguments as those of `evaluate`."""
        self.inside = inside
        self.by = by
        self.life = life
        self._vectors: dict[int, tuple[Formula, Vector]] = {}  # by identity, as in `Inside`

    def vector(self, formula: Formula) -> Vector:
        """Values by their labels; not to be changed."""
        known = self._vectors.get(id(formula))
        if known is None:
            known = self._vectors[id(formula)] = (formula, self._evaluated(formula))
        return known[1]

    def _evaluated(self, formula: Formula) -> Vector:  # noqa: C901, PLR0911 - one case for each kind of formula
        match formula:
            case Last(of):
                return self._current(of)
            case Age(of):
                ages = {one.labels: (_current(one, of), one.window.end) for one in self.inside.selected(of)}
                return {labels: end - value for labels, (value, end) in ages.items() if value is not None}
            case OverTime():
                return self._over_time(formula)
            case Grown(of, rate):
                return self._current(of) if self.life else self.inside.growth(of, rate=rate)
            case Total(how, of, by):
                return _total(how, self.vector(of), self.by if by is None else by)
            case Arithmetic(sign, left, right, on):
                return self._arithmetic(sign, left, right, on)
            case Clamp(of, least, most):
                return {labels: _clamped(value, least, most) for labels, value in self.vector(of).items()}
            case Compare(of, relation, value):
                holds = _RELATIONS[relation]
                return {labels: one for labels, one in self.vector(of).items() if holds(one, value)}
            case Filtered(of, condition, on, keep):
                there = {_reduced(labels, on) for labels in self.vector(condition)}
                found = self.vector(of)
                return {labels: value for labels, value in found.items() if (_reduced(labels, on) in there) == keep}
            case Or(first, second):
                kept, others = self.vector(first), self.vector(second)
                return {**others, **kept} if others else kept
            case Quantile(q, metric, labels):
                return self._quantile(q, metric, labels)
        raise TypeError(f"{type(formula).__name__} has no value of its own")

    def _current(self, of: Selector) -> Vector:
        return {one.labels: value for one in self.inside.selected(of) if (value := _current(one, of)) is not None}

    def _over_time(self, formula: OverTime) -> Vector:
        vector = {}
        for one in self.inside.selected(formula.of):
            step = one.window.seconds / formula.count
            start = one.window.start + step * formula.index
            span = one.series.span(start, start + step)
            if span:
                vector[one.labels] = _HOW[formula.how](one.series.values[span.start : span.stop])
        return vector

    def _arithmetic(self, sign: str, left: Formula, right: Formula, on: tuple[str, ...] | None) -> Vector:
        apply, many = _OPERATORS[sign], self.vector(left)
        constant = self._constant(right)
        if constant is not None:
            return {labels: apply(value, constant) for labels, value in many.items()}
        one = self.vector(right)
        if on is None:
            pairs = [(labels, value, one.get(labels)) for labels, value in many.items()]
        else:
            one = {_reduced(labels, on): value for labels, value in one.items()}
            pairs = [(labels, value, one.get(_reduced(labels, on))) for labels, value in many.items()]
        return {
            labels: apply(value, other)
            for labels, value, other in pairs
            if other is not None and (sign != "/" or other > 0)
        }

    def _constant(self, formula: Formula) -> float | None:
        if isinstance(formula, Number):
            return formula.value
        return formula.share * self.inside.windows[0].seconds if isinstance(formula, WindowSeconds) else None

    def _quantile(self, q: float, metric: Metric, labels: tuple[tuple[str, str], ...]) -> Vector:
        groups: defaultdict[LabelSet, list[tuple[float, ...]]] = defaultdict(list)
        for one in self.inside.selected(Selector(metric, "_bucket", labels)):
            first, last = (one.series.histograms[index] for index in (one.span[0], one.span[-1]))
            if len(one.span) > 1:
                groups[_reduced(one.labels, self.by)].append(tuple(b - a for a, b in zip(first, last, strict=True)))
        sums = {labels: tuple(map(sum, zip(*parts, strict=True))) for labels, parts in groups.items()}
        found = {key: series.quantile(metric, HistogramValue(parts[:-1], parts[-1]), q) for key, parts in sums.items()}
        return {labels: value for labels, value in found.items() if value is not None}


def _current(one: _Found, of: Selector) -> float | None:
    """The last value; None where the series has gone before the end of the window."""
    if one.window.end - one.series.times[one.span[-1]] > one.window.staleness:
        return None
    return _value(one.series, one.span[-1], of)


#: A series reaches to the window's edge if it ends nearer to it than so many of its own distances.
_REACHES = 1.1


def _increase(one: _Found, begin: float, end: float) -> float:
    """From the first point to the last, extrapolated as Prometheus does (`extrapolatedRate`): samples lie on no edge.

    A series is taken to go on to an edge that is near, else for half the distance of two samples; and to have begun no
    earlier than where it would have been zero.
    """
    if end == begin:
        return 0.0
    grown, window, times, span = end - begin, one.window, one.series.times, one.span
    first, last = times[span[0]], times[span[-1]]
    sampled = last - first
    distance = sampled / (len(span) - 1)
    before, after = first - window.start, window.end - last
    if grown > 0:
        before = min(before, sampled * begin / grown)
    before = before if before < _REACHES * distance else distance / 2
    after = after if after < _REACHES * distance else distance / 2
    return grown * ((sampled + before + after) / sampled)


def _value(one: Series, index: int, of: Selector) -> float:
    """A value as a selector asks for it; a histogram's buckets are cumulative."""
    if not of.part:
        return one.values[index]
    parts = one.histograms[index]
    if of.part == "_sum":
        return parts[-1]
    if of.part == "_count":
        return sum(parts[:-1])
    bound = float(dict(of.labels)["le"])
    return sum(count for count, upper in zip(parts, of.metric.buckets, strict=False) if upper <= bound)


def _total(how: How, vector: Vector, by: tuple[str, ...]) -> Vector:
    groups: defaultdict[LabelSet, list[float]] = defaultdict(list)
    for labels, value in vector.items():
        groups[_reduced(labels, by)].append(value)
    return {labels: _HOW[how](values) for labels, values in groups.items()}


def _reduced(labels: LabelSet, on: tuple[str, ...] | None) -> LabelSet:
    return labels if on is None else labels.reduced(on)


def _clamped(value: float, least: float | None, most: float | None) -> float:
    raised = value if least is None else max(value, least)
    return raised if most is None else min(raised, most)
