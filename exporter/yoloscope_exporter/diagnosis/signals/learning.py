"""Whether the training learns: losses, what validation says, numbers that are not finite."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.diagnosis.ultralytics_arguments import DEFAULTS, parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View
    from yoloscope_exporter.measures.series import Window


#: Until `warmup_epochs` are over the learning rate rises, for so many batches at least (`_setup_train`, nw).
WARMUP_BATCHES = 100
#: What validation says, by parts of its names: mAP50-95; of a classifier its accuracy, of semantic segmentation the
#: mean intersection over union, of depth the share of pixels within a quarter. Ultralytics chooses best.pt by them.
SCORES = ("mAP50-95", "accuracy_top1", "mIoU", "delta1")


class LearningSignals:
    """Losses and scores."""

    nonfinite = Signal("batches with a NaN or infinite loss in the window")
    nan_recoveries = Signal("returns to the last checkpoint after a NaN in the window")
    loss_drop = Signal("relative fall of the loss over the epochs seen, second half against first")
    loss_drop_most = Signal("the same at most, by how much the loss varies from epoch to epoch (two standard errors)")
    metric_gain = Signal(
        "rise of mAP50-95 (or the task's own) over the epochs seen, best of the second half against first"
    )
    loss_swing = Signal("typical turn of the loss from epoch to epoch and back, over the loss; after warm-up")
    loss_turns = Signal("share of the epochs after warm-up at which the loss turned")
    loss_rise = Signal("how far the loss rose above its lowest of the epochs before, over that one; after warm-up")
    settled_epochs = Signal("finished epochs after warm-up that these rest on")
    epochs_seen = Signal("finished epochs the slope of the loss rests on")


def learning(v: View) -> Numbers:
    """Losses and scores over the epochs of the long window."""
    warm_up = _warmup_epochs(v)
    ends, first = _epoch_ends(v), _of_first_batches(v) if warm_up else 0
    losses = {end: loss for end, loss in _losses(v, ends).items() if ends[end] > first} if ends else {}
    reached = [value for _, value in scores(v.long, v.run, v.rank)]
    return {
        LearningSignals.nonfinite: v.now.events(catalog.TRAIN_NONFINITE_LOSS_TOTAL, v.run, v.rank),
        LearningSignals.nan_recoveries: v.now.events(catalog.TRAIN_NAN_RECOVERIES_TOTAL, v.run, v.rank),
        LearningSignals.loss_drop: _drop(list(losses.values())),
        LearningSignals.loss_drop_most: _drop_most(list(losses.values())),
        LearningSignals.metric_gain: _gain(reached),
        **_oscillation([loss for end, loss in losses.items() if ends[end] > warm_up]),
        LearningSignals.epochs_seen: float(len(losses)) if losses else None,
    }


def scores(window: Window, run: str, rank: str, names: Sequence[str] = SCORES) -> list[tuple[float, float]]:
    """Times and values of what validation says: mAP50-95, or the task's own."""
    chosen = _score(window, run, rank, names)
    return window.points(catalog.TRAIN_METRIC, *chosen[1]) if chosen else []


def score_name(window: Window, run: str, rank: str) -> str:
    """What these scores are called."""
    chosen = _score(window, run, rank, SCORES)
    return chosen[0] if chosen else SCORES[0]


def _score(window: Window, run: str, rank: str, names: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    found = window.labels(catalog.TRAIN_METRIC, run, rank)
    return next(((name, labels) for name in names for labels in found if name in labels[2]), None)


def _epoch_ends(v: View) -> dict[float, float]:
    """The last moment sampled in each finished epoch, and which it was; one under way at the start is left out."""
    points = v.long.points(catalog.TRAIN_EPOCH, v.run, v.rank)
    return {time: epoch for (time, epoch), (_, following) in pairwise(points) if following > epoch}


def _warmup_epochs(v: View) -> float:
    """Of this run; 0 for none."""
    told = parsed(v.facts.get("warmup_epochs", ""))
    return float(told) if isinstance(told, (int, float)) else float(DEFAULTS["warmup_epochs"])


def _of_first_batches(v: View) -> int:
    """Whole epochs that the batches of a warm-up take."""
    batches = v.now.last(catalog.TRAIN_EPOCH_BATCHES, v.run, v.rank)
    return int(WARMUP_BATCHES // batches) if batches else 0


def _losses(v: View, ends: Iterable[float]) -> dict[float, float]:
    """The loss at the ends of epochs at which all of its components are known."""
    components = v.long.labels(catalog.TRAIN_LOSS, v.run, v.rank)
    columns = [dict(v.long.points(catalog.TRAIN_LOSS, *labels)) for labels in components]
    known = [end for end in ends if columns and all(end in column for column in columns)]
    return {end: sum(column[end] for column in columns) for end in known}


def _oscillation(losses: Sequence[float]) -> Numbers:
    """A turn is a loss above or below both of its neighbours; its size the lesser of the two steps."""
    steps = [later - earlier for earlier, later in pairwise(losses)]
    sizes = [min(abs(a), abs(b)) if a * b < 0 else 0.0 for a, b in pairwise(steps)]
    turns = [size for size in sizes if size]
    middle = fmean(losses) if losses else 0.0
    return {
        LearningSignals.loss_rise: _rise(losses),
        LearningSignals.settled_epochs: float(len(losses)) or None,
        LearningSignals.loss_turns: len(turns) / len(sizes) if sizes else None,
        LearningSignals.loss_swing: median(turns) / middle if turns and middle > 0 else (0.0 if sizes else None),
    }


def _rise(losses: Sequence[float]) -> float | None:
    lowest = list(accumulate(losses, min))
    return max((loss / low - 1 for loss, low in zip(losses[1:], lowest, strict=False) if low > 0), default=None)


def _drop(losses: Sequence[float]) -> float | None:
    half = len(losses) // 2
    if not half:
        return None
    first = fmean(losses[:half])
    return (first - fmean(losses[-half:])) / first if first > 0 else None


def _drop_most(losses: Sequence[float]) -> float | None:
    """Two standard errors above; the variation is that from one epoch to the next, which a trend does not widen."""
    half, drop = len(losses) // 2, _drop(losses)
    if drop is None or len(losses) < 3:  # noqa: PLR2004 - a variation needs two steps
        return None
    variance = fmean((later - earlier) ** 2 for earlier, later in pairwise(losses)) / 2
    return drop + 2 * math.sqrt(2 * variance / half) / fmean(losses[:half])


def _gain(scores: Sequence[float]) -> float | None:
    half = len(scores) // 2
    return max(scores[half:]) - max(scores[:half]) if half else None
