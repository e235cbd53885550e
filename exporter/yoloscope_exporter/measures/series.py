"""Timestamped series, and a window over them: the one shape in which live snapshots, recordings and a Prometheus come.

Counters are stored with their resets added back, so the increase between two moments is a subtraction.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import inf, isfinite
from operator import add, lt
from statistics import fmean
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Metric, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Labels = tuple[str, ...]
#: Of labels: names, and what is asked of their values.
Wanted = tuple[tuple[str, str], ...]
#: A series whose last point is older than this many sample periods has gone. Prometheus allows five minutes, for
#: scrapes of any interval; here the interval is known, and three lost cycles are what `/metrics` allows a snapshot.
STALE_PERIODS = 3.5
SHORTEST_STALENESS = 3.5  # seconds


class LabelSet(frozenset[tuple[str, str]]):
    """Names and values of a series' labels; empty values are left out, as an absent label is an empty one.

    It remembers what it was reduced to: as long as somebody has it, and no longer.
    """

    __slots__ = ("_reduced",)

    _reduced: dict[tuple[str, ...], LabelSet]

    def reduced(self, on: tuple[str, ...]) -> LabelSet:
        """Those of the labels that are named."""
        try:
            known = self._reduced
        except AttributeError:
            known = self._reduced = {}
        found = known.get(on)
        if found is None:
            found = known[on] = LabelSet(pair for pair in self if pair[0] in on)
        return found


#: Those that somebody has, so that equal ones are one.
_label_sets: WeakValueDictionary[tuple[Labels, Labels, tuple[tuple[str, str], ...]], LabelSet] = WeakValueDictionary()


def label_set(names: Labels, values: Labels, target: tuple[tuple[str, str], ...]) -> LabelSet:
    """The labels of a series and of its target, empty ones left out."""
    key = (names, values, target)
    known = _label_sets.get(key)
    if known is None:
        pairs = (*zip(names, values, strict=True), *target)
        known = _label_sets[key] = LabelSet(pair for pair in pairs if pair[1])
    return known


class Histograms:
    """Histograms one behind the other: each the counts per bucket, then the sum. Tuples take four times as much."""

    __slots__ = ("_parts", "width")

    def __init__(self, width: int = 0) -> None:
        """None yet; each is to have so many parts."""
        self.width = width
        self._parts = array("d")

    def __len__(self) -> int:
        return len(self._parts) // self.width if self.width else 0

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, at: int) -> tuple[float, ...]:
        begin = range(len(self))[at] * self.width
        return tuple(self._parts[begin : begin + self.width])

    def append(self, parts: Sequence[float]) -> None:
        """Add one."""
        self._parts.extend(parts)

    def forget(self, count: int) -> None:
        """Forget the first ones."""
        del self._parts[: count * self.width]


_NO_HISTOGRAMS = Histograms()


class Series:
    """Points of one series in ascending time."""

    __slots__ = (
        "_last",
        "_least",
        "_monotonic",
        "_most",
        "_offset",
        "_parts",
        "_shift",
        "born",
        "histograms",
        "label_set",
        "resets",
        "times",
        "values",
    )

    def __init__(self, metric: Metric, *, born: bool) -> None:
        """`born` says that the series began while its store was already being filled: before it there was nothing."""
        self.times = array("d")
        self.values = array("d")
        counts = metric.kind == catalog.HISTOGRAM
        self.histograms = Histograms(len(metric.buckets) + 2) if counts else _NO_HISTOGRAMS
        self.label_set: LabelSet | None = None  # once it was asked for
        self.born = born
        self.resets = 0
        self._least, self._most = metric.least, metric.most
        self._monotonic = metric.kind in (catalog.COUNTER, catalog.HISTOGRAM)
        self._last, self._shift = -inf, 0.0  # of a counter: what it said last, and what it had counted before resets
        self._parts: tuple[float, ...] = ()  # the same of a histogram
        self._offset: tuple[float, ...] = ()

    def append(self, time: float, value: float | HistogramValue) -> str:
        """Add a point; say why it was not added (`backwards`, `not a number`), else nothing."""
        if self.times and time <= self.times[-1]:
            return "backwards" if time < self.times[-1] else "repeated"
        if isinstance(value, HistogramValue):
            return self._append_histogram(time, (*value.counts, value.sum))
        if not self._least <= value <= self._most:
            return _reason(value)
        if self._monotonic:
            if value < self._last:  # the counter began again: what it had counted before is added from here on
                self.resets += 1
                self._shift += self._last
            self._last = value
            value += self._shift
        self.times.append(time)
        self.values.append(value)
        return ""

    def _append_histogram(self, time: float, parts: tuple[float, ...]) -> str:
        if len(parts) != self.histograms.width:
            return "histogram with other buckets or parts missing"
        if not all(0.0 <= part <= self._most for part in parts):
            return _reason(sum(parts))
        if self._parts and any(map(lt, parts, self._parts)):
            self.resets += 1
            self._offset = tuple(map(add, self._parts, self._offset)) if self._offset else self._parts
        self._parts = parts
        self.times.append(time)
        self.histograms.append(tuple(map(add, parts, self._offset)) if self._offset else parts)
        return ""

    def trim(self, before: float) -> None:
        """Forget points older than `before`."""
        count = bisect_left(self.times, before)
        if count:
            self.born = False  # its beginning is no longer known
            del self.times[:count], self.values[:count]
            self.histograms.forget(count)

    def span(self, start: float, end: float) -> range:
        """Indexes of the points in [start, end]."""
        times = self.times
        first = bisect_left(times, start) if times and times[0] < start else 0
        return range(first, bisect_right(times, end) if times and times[-1] > end else len(times))

    def newest(self, start: float, end: float) -> int:
        """Index of the last point in [start, end]; -1 if there is none."""
        times = self.times
        at = len(times) - 1 if not times or times[-1] <= end else bisect_right(times, end) - 1
        return at if at >= 0 and times[at] >= start else -1


def _reason(value: float) -> str:
    """Why a value outside its metric's range is not taken."""
    return "beyond what can be true" if isfinite(value) else "not a number"


@dataclass(eq=False)
class Store:
    """Series by metric name and label values, as they come in; what could not be used is counted by reason.

    Attributes:
        name: of the node (Prometheus' `instance`), empty where it is not known.
        cluster, job: the other labels of a target; names of nodes repeat from one cluster to the next.
    """

    name: str = ""
    cluster: str = ""
    job: str = ""
    series: dict[str, dict[Labels, Series]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    first: float = inf
    last: float = -inf
    _families: dict[tuple[str, Labels], list[tuple[Labels, Series]]] = field(default_factory=dict, repr=False)
    _selections: dict[tuple[str, Wanted], list[tuple[LabelSet, Series]]] = field(default_factory=dict, repr=False)

    def one(self, metric: Metric, labels: Labels) -> Series | None:
        """The series with these labels; None where there is none."""
        return self.series.get(metric.name, {}).get(labels)

    def family(self, name: str, prefix: Labels) -> list[tuple[Labels, Series]]:
        """The series of a metric whose first labels are `prefix`; looked for once, until series come or go."""
        known = self._families.get((name, prefix))
        if known is None:
            depth, everything = len(prefix), self.series.get(name, {}).items()
            known = self._families[name, prefix] = [pair for pair in everything if pair[0][:depth] == prefix]
        return known

    def selection(self, metric: Metric, wanted: Wanted) -> list[tuple[LabelSet, Series]]:
        """The series of a metric that have all `wanted` labels, with all of theirs; looked for once, as a family is.

        A wanted value is compared for equality unless it starts with an operator (`=~`, `!~`, `!=`).
        """
        known = self._selections.get((metric.name, wanted))
        if known is None:
            tests = [(metric.labels.index(name), _matcher(text)) for name, text in wanted]
            known = self._selections[metric.name, wanted] = [
                (self._label_set(metric, values, series), series)
                for values, series in self.series.get(metric.name, {}).items()
                if all(test(values[position]) for position, test in tests)
            ]
        return known

    def _label_set(self, metric: Metric, values: Labels, series: Series) -> LabelSet:
        if series.label_set is None:
            series.label_set = label_set(metric.labels, values, self.target)
        return series.label_set

    def _forget_families(self) -> None:
        """Series came or went."""
        self._families.clear()
        self._selections.clear()

    @property
    def target(self) -> tuple[tuple[str, str], ...]:
        """The labels that Prometheus adds to the series of a node; empty where they are not known."""
        return (("cluster", self.cluster), ("job", self.job), ("instance", self.name))

    def add(self, time: float, samples: Iterable[Sample]) -> None:
        """Add the samples of one moment (Unix seconds)."""
        for sample in samples:
            self.add_one(time, sample)
        self.first = min(self.first, time)
        self.last = max(self.last, time)

    def add_one(self, time: float, sample: Sample) -> None:
        """Add one sample without moving the store's limits, as `add` does once for all."""
        metric, labels, value = sample
        family = self.series.get(metric.name)
        if family is None:
            family = self.series[metric.name] = {}
        series = family.get(labels)
        if series is None:
            series = family[labels] = Series(metric, born=time > self.first)
            self._forget_families()
        if reason := series.append(time, value):
            self.skipped[reason] += 1

    def trim(self, before: float) -> None:
        """Forget points older than `before`, and series that have none left."""
        for name, family in list(self.series.items()):
            for labels, series in list(family.items()):
                series.trim(before)
                if not series.times:
                    del family[labels]
                    self._forget_families()
            if not family:
                del self.series[name]
        self.first = max(self.first, before)

    def keep(self, wanted: Callable[[Metric, Labels], bool]) -> None:
        """Forget the series that are not `wanted`."""
        for name, family in list(self.series.items()):
            metric = catalog.BY_NAME[name]
            self.series[name] = {labels: one for labels, one in family.items() if wanted(metric, labels)}
        self.series = {name: family for name, family in self.series.items() if family}
        self._forget_families()

    def times(self) -> list[float]:
        """All moments at which something of a run, or else anything, was sampled; ascending."""
        families = [self.series[up.name] for up in (catalog.TRAIN_UP, catalog.PREDICT_UP) if up.name in self.series]
        families = families or list(self.series.values())
        return sorted({time for family in families for series in family.values() for time in series.times})


def _matcher(text: str) -> Callable[[str], bool]:
    """Whether a label's value is what a selector asks for."""
    for mark, wanted in (("=~", True), ("!~", False)):
        if text.startswith(mark):
            pattern = re.compile(text[2:])
            return lambda value: bool(pattern.fullmatch(value)) == wanted
    if text.startswith("!="):
        return lambda value: value != text[2:]
    return lambda value: value == text


def period(times: Iterable[float]) -> float:
    """The usual distance between two moments in seconds: the median. 1 s where there are not two."""
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    return gaps[len(gaps) // 2] if gaps else 1.0


@dataclass(frozen=True)
class Window:
    """The stretch [start, end] (Unix seconds) of a store. Whatever is asked for and not there is None.

    Attributes:
        period: usual distance between two samples in seconds; it decides what is too old to be true.
    """

    store: Store
    start: float
    end: float
    period: float = 1.0

    @cached_property
    def seconds(self) -> float:
        """Length."""
        return self.end - self.start

    def parts(self, count: int) -> list[Window]:
        """`count` windows of equal length, one after the other."""
        step = self.seconds / count
        edges = [self.start + index * step for index in range(count)] + [self.end]
        return [Window(self.store, *pair, self.period) for pair in pairwise(edges)]

    def since(self, start: float) -> Window:
        """The same window, but not before `start`."""
        return Window(self.store, max(self.start, start), self.end, self.period)

    def labels(self, metric: Metric, *prefix: str) -> list[Labels]:
        """Labels of the series of `metric` whose first labels are `prefix` and that have a point in the window."""
        return [labels for labels, _, _ in self.inside(metric, prefix)]

    def current(self, metric: Metric, *prefix: str) -> dict[Labels, float]:
        """Last value of each of these series that is still there at the end of the window."""
        return {
            labels: series.values[at]
            for labels, series in self.store.family(metric.name, prefix)
            if series.values and (at := self._newest(series)) >= 0
        }

    def increases(self, metric: Metric, *prefix: str) -> dict[Labels, float]:
        """How much each of these counters grew; needs two points."""
        found = self.inside(metric, prefix)
        return {labels: _increase(series, span) for labels, series, span in found if len(span) > 1}

    def rates(self, metric: Metric, *prefix: str) -> dict[Labels, float]:
        """The same per second."""
        found = self.inside(metric, prefix)
        return {labels: _rate(series, span) for labels, series, span in found if len(span) > 1}

    def inside(self, metric: Metric, prefix: Labels = ()) -> Iterator[tuple[Labels, Series, range]]:
        """The series of `metric` whose first labels are `prefix`, each with its points in the window; none without."""
        start, end = self.start, self.end
        for labels, series in self.store.family(metric.name, prefix):
            if span := series.span(start, end):
                yield labels, series, span

    @cached_property
    def staleness(self) -> float:
        """Seconds after which a series without a new point has gone."""
        return max(SHORTEST_STALENESS, STALE_PERIODS * self.period)

    def _newest(self, series: Series) -> int:
        """Index of the last point in the window; -1 where there is none, or the series has gone since."""
        at = series.newest(self.start, self.end)
        return at if at >= 0 and self.end - series.times[at] <= self.staleness else -1

    def _points(self, metric: Metric, labels: Labels) -> tuple[Series, range] | None:
        series = self.store.one(metric, labels)
        span = series.span(self.start, self.end) if series else range(0)
        return (series, span) if series and span else None

    def last(self, metric: Metric, *labels: str) -> float | None:
        """The value at the end of the window; None if the series has gone by then."""
        series = self.store.one(metric, labels)
        at = self._newest(series) if series else -1
        return series.values[at] if series and at >= 0 else None

    def points(self, metric: Metric, *labels: str) -> list[tuple[float, float]]:
        """Times and values."""
        found = self._points(metric, labels)
        if found is None:
            return []
        series, span = found
        return list(zip(series.times[span.start : span.stop], series.values[span.start : span.stop], strict=True))

    def backwards(self, metric: Metric, *labels: str) -> Iterator[tuple[float, float]]:
        """The same from the last to the first, each when it is asked for."""
        found = self._points(metric, labels)
        if found:
            series, span = found
            for at in reversed(span):
                yield series.times[at], series.values[at]

    def mean(self, metric: Metric, *labels: str) -> float | None:
        """Mean of a gauge's points."""
        found = self._points(metric, labels)
        return fmean(found[0].values[found[1].start : found[1].stop]) if found else None

    def maximum(self, metric: Metric, *labels: str) -> float | None:
        """Highest of a gauge's points."""
        found = self._points(metric, labels)
        return max(found[0].values[found[1].start : found[1].stop]) if found else None

    def minimum(self, metric: Metric, *labels: str) -> float | None:
        """Lowest of a gauge's points."""
        found = self._points(metric, labels)
        return min(found[0].values[found[1].start : found[1].stop]) if found else None

    def increase(self, metric: Metric, *labels: str) -> float | None:
        """How much a counter grew between the first and the last point inside; needs two points."""
        found = self._points(metric, labels)
        if found is None or len(found[1]) < 2:  # noqa: PLR2004 - two points make a difference
            return None
        return _increase(*found)

    def growth(self, metric: Metric, *labels: str) -> float | None:
        """How much a counter grew since its last point before the window, so that windows that follow add up."""
        found = self._points(metric, labels)
        if found is None:
            return None
        series, span = found
        return series.values[span[-1]] - series.values[max(bisect_right(series.times, self.start) - 1, 0)]

    def rate(self, metric: Metric, *labels: str) -> float | None:
        """Increase per second, over the time between the points that were used."""
        found = self._points(metric, labels)
        if found is None or len(found[1]) < 2:  # noqa: PLR2004
            return None
        return _rate(*found)

    def rate_between(self, readings: Sequence[float], metric: Metric, *labels: str) -> float | None:
        """Rate of a counter that is read more rarely than it is sampled, at ascending `readings`: from first to last.

        Up to a period of reading would be missing at either end otherwise, and before the second one nothing is known.
        """
        found = self._points(metric, labels)
        if found is None:
            return None
        series, span = found
        known = readings[bisect_left(readings, series.times[span[0]]) : bisect_right(readings, series.times[span[-1]])]
        if len(known) < 2:  # noqa: PLR2004 - two points make a difference
            return None
        first, last = (series.values[bisect_right(series.times, time) - 1] for time in (known[0], known[-1]))
        return (last - first) / (known[-1] - known[0])

    def events(self, metric: Metric, *labels: str) -> float | None:
        """How much a counter of rare events grew; what a series born inside the window starts with counts too."""
        found = self._points(metric, labels)
        if found is None:
            return None
        series, span = found
        base = 0.0 if series.born and span.start == 0 else series.values[span[0]]
        return series.values[span[-1]] - base

    def shares(self, metric: Metric, *labels: str, count: int) -> list[float] | None:
        """Growth of a counter in each of `count` equal parts; None if it was not there from the first edge on.

        The value at an edge is the last one before it, so that parts may be as short as the sample period.
        """
        found = self._points(metric, labels)
        if found is None:
            return None
        series, span = found
        step = self.seconds / count
        if series.times[span[0]] > self.start + max(step, self.period):
            return None
        at = [max(bisect_right(series.times, self.start + step * edge) - 1, span[0]) for edge in range(count + 1)]
        values = [series.values[index] for index in at]
        return [later - earlier for earlier, later in pairwise(values)]

    def total(self, metric: Metric, *labels: str) -> HistogramValue | None:
        """Everything a histogram has seen up to the end of the window."""
        found = self._points(metric, labels)
        if found is None:
            return None
        parts = found[0].histograms[found[1][-1]]
        return HistogramValue(parts[:-1], parts[-1])

    def histogram(self, metric: Metric, *labels: str) -> HistogramValue | None:
        """What was observed inside the window; needs two points."""
        found = self._points(metric, labels)
        if found is None or len(found[1]) < 2:  # noqa: PLR2004
            return None
        first, last = (found[0].histograms[index] for index in (found[1][0], found[1][-1]))
        parts = tuple(b - a for a, b in zip(first, last, strict=True))
        return HistogramValue(parts[:-1], parts[-1])


def _increase(series: Series, span: range) -> float:
    return series.values[span[-1]] - series.values[span[0]]


def _rate(series: Series, span: range) -> float:
    return _increase(series, span) / (series.times[span[-1]] - series.times[span[0]])


def merged(values: Sequence[HistogramValue]) -> HistogramValue:
    """All that several histograms with the same bounds have seen."""
    counts = zip(*(value.counts for value in values), strict=True)
    return HistogramValue(tuple(map(sum, counts)), sum(value.sum for value in values))


def quantile(metric: Metric, value: HistogramValue, q: float) -> float | None:
    """Quantile `q` in 0..1 of a histogram, interpolated in its bucket as Prometheus does; None if it is empty.

    What lies above the last bound counts as the last bound.
    """
    total = sum(value.counts)
    if not total:
        return None
    rank, below = q * total, 0.0
    for index, count in enumerate(value.counts):
        if below + count >= rank and count:
            if index == len(metric.buckets):
                break
            lower = metric.buckets[index - 1] if index else 0.0
            return lower + (metric.buckets[index] - lower) * (rank - below) / count
        below += count
    return metric.buckets[-1]


def longest(metric: Metric, value: HistogramValue) -> float | None:
    """Upper bound of the highest bucket that is not empty; None if all are. Above the last bound: twice that."""
    filled = [index for index, count in enumerate(value.counts) if count > 0]
    if not filled:
        return None
    bounds = (*metric.buckets, 2 * metric.buckets[-1])
    return bounds[filled[-1]]
