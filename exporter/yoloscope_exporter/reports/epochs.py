"""Each epoch of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.learning import scores
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.series import Window
from yoloscope_exporter.reports.rank import RankWindow, measured, resident

if TYPE_CHECKING:
    from collections.abc import Sequence


class Epoch(NamedTuple):
    """One epoch; what is not known is None.

    Attributes:
        seconds: wall time seen in it.
        images: images of all ranks per second of training time.
        wait: share of step time spent waiting for data.
        cuda: peak of the allocated device memory in bytes, of the rank with most.
        resident: peaks of the memory of each rank's processes in bytes, together.
        score: what its validation said, see `signals.learning.scores`.
    """

    number: int
    seconds: float
    images: float | None
    wait: float | None
    cuda: float | None
    resident: float | None
    score: float | None


def epochs(ranks: Sequence[RankWindow]) -> tuple[Epoch, ...]:
    """The epochs that the first rank went through, in order."""
    return tuple(_epoch(number, inside) for number, inside in spans(ranks))


def spans(ranks: Sequence[RankWindow]) -> list[tuple[int, list[RankWindow]]]:
    """The epochs that the first rank went through, in order: their numbers, and the ranks while they lasted."""
    one = ranks[0]
    points = one.window.points(catalog.TRAIN_EPOCH, *one.key)
    begins = [point for i, point in enumerate(points) if i == 0 or point[1] != points[i - 1][1]]
    if not begins:
        return []  # it came no further than its set-up
    ends = [time for time, _ in begins[1:]] + [one.window.end]
    both = zip(begins, ends, strict=True)
    return [(int(number), [_within(one, begin, end) for one in ranks]) for (begin, number), end in both if end > begin]


def _within(one: RankWindow, begin: float, end: float) -> RankWindow:
    return RankWindow(Window(one.window.store, begin, end, one.window.period), one.run, one.rank)


def allocated_peak(inside: Sequence[RankWindow]) -> float | None:
    """Peak of the allocated device memory in bytes, of the rank with most."""
    allocated = [one.window.maximum(catalog.TRAIN_CUDA_MEMORY_BYTES, *one.key, "allocated") for one in inside]
    return max((value for value in allocated if value is not None), default=None)


def resident_peak(inside: Sequence[RankWindow]) -> float | None:
    """Peaks of the memory of each rank's processes in bytes, together."""
    used = [max(value for _, value in points) for one in inside if (points := resident(one))]
    return sum(used) if used else None


def _epoch(number: int, inside: Sequence[RankWindow]) -> Epoch:
    first = inside[0]
    reached = scores(first.window, *first.key)
    return Epoch(
        number,
        first.window.seconds,
        images=measured(inside, training.IMAGES),
        wait=measured(inside, training.DATA_WAIT),
        cuda=allocated_peak(inside),
        resident=resident_peak(inside),
        score=reached[-1][1] if reached else None,
    )
