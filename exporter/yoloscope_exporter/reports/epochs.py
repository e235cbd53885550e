"""Each epoch of a run."""

from __future__ import annotations

from math import nextafter
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


class Span(NamedTuple):
    """When an epoch was seen.

    Attributes:
        ranks: from its first moment to the next epoch's, in which its last counts are.
        alone: the same without that moment: what is held then is the next one's.
    """

    number: int
    ranks: tuple[RankWindow, ...]
    alone: tuple[RankWindow, ...]


def epochs(ranks: Sequence[RankWindow]) -> tuple[Epoch, ...]:
    """The epochs that the first rank went through, in order."""
    return tuple(map(_epoch, spans(ranks)))


def spans(ranks: Sequence[RankWindow]) -> tuple[Span, ...]:
    """When the first rank went through its epochs, in order."""
    one = ranks[0]
    points = one.window.points(catalog.TRAIN_EPOCH, *one.key)
    begins = [point for i, point in enumerate(points) if i == 0 or point[1] != points[i - 1][1]]
    ends = [time for time, _ in begins[1:]]
    bounds = zip(
        begins, [*ends, one.window.end], [*(nextafter(end, 0.0) for end in ends), one.window.end], strict=False
    )
    return tuple(
        Span(int(number), _within(ranks, begin, end), _within(ranks, begin, last))
        for (begin, number), end, last in bounds
        if end > begin
    )  # none of a run that came no further than its set-up


def _within(ranks: Sequence[RankWindow], begin: float, end: float) -> tuple[RankWindow, ...]:
    return tuple(
        RankWindow(Window(one.window.store, begin, end, one.window.period), one.run, one.rank) for one in ranks
    )


def allocated_peak(span: Span) -> float | None:
    """Peak of the allocated device memory in bytes, of the rank with most."""
    allocated = [one.window.maximum(catalog.TRAIN_CUDA_MEMORY_BYTES, *one.key, "allocated") for one in span.alone]
    return max((value for value in allocated if value is not None), default=None)


def resident_peak(span: Span) -> float | None:
    """Peaks of the memory of each rank's processes in bytes, together."""
    used = [max(value for _, value in points) for one in span.alone if (points := resident(one))]
    return sum(used) if used else None


def _epoch(span: Span) -> Epoch:
    first = span.ranks[0]
    reached = scores(first.window, *first.key)
    return Epoch(
        span.number,
        first.window.seconds,
        images=measured(span.ranks, training.IMAGES),
        wait=measured(span.ranks, training.DATA_WAIT),
        cuda=allocated_peak(span),
        resident=resident_peak(span),
        score=reached[-1][1] if reached else None,
    )
