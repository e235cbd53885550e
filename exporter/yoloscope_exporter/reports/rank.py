"""One rank of a run: where its series are found, from its first moment to its last one alive."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.language.units import in_order
from yoloscope_exporter.measures.evaluate import Evaluator, Inside
from yoloscope_exporter.measures.formula import Arithmetic, Clamp
from yoloscope_exporter.measures.series import LabelSet, Window, period
from yoloscope_exporter.reports.significance import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.measures.formula import Formula
    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.measures.series import Store

#: A run is cut into at most so many slices, whose variation tells how well its figures are known.
SLICES = 64


@dataclass(frozen=True)
class RankWindow:
    """One rank of the run: where it is found, from its first moment to its last one alive."""

    window: Window
    run: str
    rank: str

    @property
    def key(self) -> tuple[str, str]:
        """The first two labels of its series."""
        return (self.run, self.rank)

    def grown(self, metric: Metric, *labels: str) -> float | None:
        """How much a counter grew over the whole run."""
        return self.window.events(metric, *self.key, *labels)


def rank_windows(store: Store, run: str, up: Metric = catalog.TRAIN_UP) -> list[RankWindow]:
    """The ranks of `run` in a store, in order; `up` tells when they were alive."""
    found = []
    for labels, series in store.series.get(up.name, {}).items():
        alive = [time for time, lives in zip(series.times, series.values, strict=True) if lives]
        if labels[0] != run or not alive:
            continue
        ended = [time for time in series.times if time > alive[-1]]
        end = ended[0] if ended else alive[-1]  # the first moment after the end holds the final counts
        window = Window(store, series.times[0], end, period(list(series.times)))
        found.append(RankWindow(window, run, labels[1]))
    return sorted(found, key=lambda one: in_order(one.rank))


def measured(ranks: Sequence[RankWindow], measure: Measure) -> float | None:
    """A measure of a whole run, over the time that its ranks were seen on each node."""
    part = _part(_windows(ranks), ranks[0].run, measure.formula)
    return part.value if part else None


def measured_parts(ranks: Sequence[RankWindow], measure: Measure, most: int = SLICES) -> list[tuple[float, Part]]:
    """The same over at most `most` parts of that time, with the middle of each; those in which it is known."""
    windows, run = _windows(ranks), ranks[0].run
    count = min(len(slices(window, run, most)) for window in windows)
    cut = zip(*(slices(window, run, count) for window in windows), strict=True)
    found = [((part[0].start + part[0].end) / 2, _part(part, run, measure.formula)) for part in cut]
    return [(middle, part) for middle, part in found if part is not None]


def slices(window: Window, run: str, most: int = SLICES) -> list[Window]:
    """The window in at most `most` parts about equally long, cut where samples were taken, so that growth adds up."""
    ups = [window.store.series.get(up.name, {}) for up in (catalog.TRAIN_UP, catalog.PREDICT_UP)]
    times = sorted(
        {
            time
            for family in ups
            for labels, series in family.items()
            if labels[0] == run
            for time in series.times
            if window.start <= time <= window.end
        }
    )
    count = min(most, len(times) - 1)
    edges = [times[round(index * (len(times) - 1) / count)] for index in range(count + 1)] if count > 0 else []
    return [Window(window.store, *pair, window.period) for pair in pairwise(edges)]


def _windows(ranks: Sequence[RankWindow]) -> list[Window]:
    """One for each node, however many ranks are on it."""
    by_node: dict[int, list[Window]] = {}
    for one in ranks:
        by_node.setdefault(id(one.window.store), []).append(one.window)
    return [
        Window(group[0].store, min(w.start for w in group), max(w.end for w in group), group[0].period)
        for group in by_node.values()
    ]


def _part(windows: Sequence[Window], run: str, formula: Formula) -> Part | None:
    """A formula's value; it weighs what it is divided by, so that the weighted mean of parts is that of the whole."""
    evaluator, seconds = Evaluator(Inside(windows, {"run": run})), windows[0].seconds
    value = evaluator.vector(formula).get(LabelSet())
    if value is None:
        return None
    ratio = formula.of if isinstance(formula, Clamp) else formula
    if not isinstance(ratio, Arithmetic) or ratio.operator != "/":
        return Part(value, seconds)
    return Part(value, evaluator.vector(ratio.right)[LabelSet()] * seconds)


def resident(one: RankWindow) -> list[tuple[float, float]]:
    """Times and bytes of the resident memory of all the rank's processes."""
    columns = [dict(one.window.points(catalog.TRAIN_PROCESS_RESIDENT_BYTES, *one.key, role)) for role in catalog.ROLES]
    used = [column for column in columns if column]
    times = sorted(set().union(*used)) if used else []
    return [(time, sum(column.get(time, 0.0) for column in used)) for time in times]
