"""One rank of a run: where its series are found, from its first moment to its last one alive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.measures.evaluate import evaluate
from yoloscope_exporter.measures.series import Window, period

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.measures.series import Store

#: A run is cut into so many slices of equal length, whose spread tells how sure a difference is.
SLICES = 10


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


def rank_windows(store: Store, run: str) -> list[RankWindow]:
    """The ranks of `run` in a store, in order."""
    found = []
    for labels, series in store.series.get(catalog.TRAIN_UP.name, {}).items():
        alive = [time for time, up in zip(series.times, series.values, strict=True) if up]
        if labels[0] != run or not alive:
            continue
        ended = [time for time in series.times if time > alive[-1]]
        end = ended[0] if ended else alive[-1]  # the first moment after the end holds the final counts
        window = Window(store, series.times[0], end, period(list(series.times)))
        found.append(RankWindow(window, run, labels[1]))
    return sorted(found, key=lambda rank: (len(rank.rank), rank.rank))


def measured(ranks: Sequence[RankWindow], measure: Measure) -> float | None:
    """A measure of a whole run, over the time that its ranks were seen on each node."""
    return _value(_windows(ranks), ranks[0].run, measure)


def measured_parts(ranks: Sequence[RankWindow], measure: Measure, count: int = SLICES) -> list[tuple[float, float]]:
    """The same over at most `count` equal parts of that time, with the middle of each; those in which it is known."""
    windows = _windows(ranks)
    shortest = min(windows, key=lambda window: window.seconds)
    # Growth takes two samples, and a part that is two periods long holds them wherever it begins.
    fewer = max(1, min(count, int(shortest.seconds / max(2 * shortest.period, 1e-9))))
    parts = list(zip(*(window.parts(fewer) for window in windows), strict=True))
    values = [((part[0].start + part[0].end) / 2, _value(part, ranks[0].run, measure)) for part in parts]
    return [(middle, value) for middle, value in values if value is not None]


def _windows(ranks: Sequence[RankWindow]) -> list[Window]:
    """One for each node, however many ranks are on it."""
    by_node: dict[int, list[Window]] = {}
    for one in ranks:
        by_node.setdefault(id(one.window.store), []).append(one.window)
    return [
        Window(group[0].store, min(w.start for w in group), max(w.end for w in group), group[0].period)
        for group in by_node.values()
    ]


def _value(windows: Sequence[Window], run: str, measure: Measure) -> float | None:
    return evaluate(measure.formula, windows, within={"run": run}).get(frozenset())


def resident(one: RankWindow) -> list[tuple[float, float]]:
    """Times and bytes of the resident memory of all the rank's processes."""
    columns = [dict(one.window.points(catalog.TRAIN_PROCESS_RESIDENT_BYTES, *one.key, role)) for role in catalog.ROLES]
    used = [column for column in columns if column]
    times = sorted(set().union(*used)) if used else []
    return [(time, sum(column.get(time, 0.0) for column in used)) for time in times]
