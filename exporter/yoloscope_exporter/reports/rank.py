"""One rank of a run: where its series are found, from its first moment to its last one alive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.series import Window, period

if TYPE_CHECKING:
    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.diagnosis.series import Store

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

    def parts(self, metric: Metric, *labels: str) -> list[float] | None:
        """How much it grew in each of SLICES equal parts of the run."""
        return self.window.shares(metric, *self.key, *labels, count=SLICES)


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


def resident(one: RankWindow) -> list[tuple[float, float]]:
    """Times and bytes of the resident memory of all the rank's processes."""
    columns = [dict(one.window.points(catalog.TRAIN_PROCESS_RESIDENT_BYTES, *one.key, role)) for role in catalog.ROLES]
    used = [column for column in columns if column]
    times = sorted(set().union(*used)) if used else []
    return [(time, sum(column.get(time, 0.0) for column in used)) for time in times]
