"""How fast a probe trained, from the batches in its record's ring. Pure calculation.

A probe is short, so what would bias it is taken into account:

- its first batches (kernels chosen, memory allocated) are left out;
- batches that workers had prepared while those went on are taken from a stock that is used up: where the queue has
  drained, only what was prepared meanwhile counts as done;
- the gap between two epochs counts once for as many batches as an epoch has, also where the probe's were shorter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.forecast import DEVIATIONS, LEAST_SPREAD
from yoloscope_exporter.reports.significance import Part, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_record.file_format import Row

#: Batches left out at the beginning. Ours: the second still allocates, with AMP the scaler skips steps.
WARM_UP = 3
#: Fewer intervals between batches say nothing.
FEWEST = 4
#: Parts that a probe is cut into for its spread.
PARTS = 12
#: Of a queue, what is no drain: it wavers by a batch or two.
WAVERING = 2.0


@dataclass(frozen=True)
class Speed:
    """Of a probe.

    Attributes:
        images_per_second: of all ranks together.
        spread: relative standard error of that mean; LEAST_SPREAD at least, as two runs with equal settings differ.
        wait_share: share of the time between batches that rank 0 waited for data.
        batches: that were counted, of rank 0.
        seconds: that they took.
    """

    images_per_second: float
    spread: float
    wait_share: float
    batches: int
    seconds: float

    @property
    def margin(self) -> float:
        """Half the width of an 80 % interval, relative."""
        return DEVIATIONS * self.spread


def steady(rows: Sequence[Row]) -> Sequence[Row]:
    """Those after the warm-up."""
    return rows[WARM_UP:]


def speed(rows: Sequence[Row], images: float, epoch_batches: float) -> Speed | None:
    """The speed of a training; None where too few batches, or nothing but the stock of a queue, were seen.

    `rows` are all of rank 0 in order of time: its ranks take each step together. `images` are those of a batch of all
    ranks, `epoch_batches` the batches of an epoch with the whole data set.
    """
    counted = steady(rows)
    if len(counted) <= FEWEST:
        return None
    pairs = list(pairwise(counted))
    inside = [after.time - before.time for before, after in pairs if after.epoch == before.epoch]
    between = [after.time - before.time for before, after in pairs if after.epoch != before.epoch]
    share = _prepared_share(counted)
    if len(inside) < FEWEST or share is None:
        return None
    usual = fmean(inside) / share
    batches = max(epoch_batches, 1.0)
    seconds = (usual * (batches - 1) + fmean(between)) / batches if between else usual
    took = counted[-1].time - counted[0].time
    waited = math.fsum(row.data_wait_seconds for row in counted[1:] if math.isfinite(row.data_wait_seconds))
    return Speed(images / seconds, _spread(inside), min(waited / took, 1.0), len(pairs), took)


def _prepared_share(rows: Sequence[Row]) -> float | None:
    """Batches that were prepared over those that were trained; None where most came from stock."""
    first, last = rows[0].queue_depth, rows[-1].queue_depth
    drained = first - last if math.isfinite(first) and math.isfinite(last) else 0.0
    trained = len(rows) - 1
    if drained <= max(WAVERING, 0.05 * trained):
        return 1.0
    return (trained - drained) / trained if drained <= trained / 2 else None


def _spread(intervals: Sequence[float]) -> float:
    count = min(PARTS, len(intervals))
    edges = [index * len(intervals) // count for index in range(count + 1)]
    parts = [Part(fmean(intervals[low:high]), high - low) for low, high in pairwise(edges)]
    mean = fmean(intervals)
    known = within(mean, parts)
    return LEAST_SPREAD if known is None else max(math.sqrt(known.variance) / mean, LEAST_SPREAD)


def pooled(speeds: Sequence[Speed]) -> Speed:
    """Several probes of one setting as one: how far they lie apart counts where that is more than within each."""
    if len(speeds) == 1:
        return speeds[0]
    values = [one.images_per_second for one in speeds]
    mean = fmean(values)
    apart = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)) / mean
    own = math.sqrt(math.fsum(one.spread**2 for one in speeds)) / len(speeds)
    return Speed(
        mean,
        max(apart, own),
        fmean(one.wait_share for one in speeds),
        sum(one.batches for one in speeds),
        math.fsum(one.seconds for one in speeds),
    )
