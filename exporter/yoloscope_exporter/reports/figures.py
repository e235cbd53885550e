"""The figures of a run: what is shown of it and compared."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import units
from yoloscope_exporter.diagnosis.signals.gpu import gpu_busy
from yoloscope_exporter.diagnosis.signals.learning import scores
from yoloscope_exporter.measures import memory, training
from yoloscope_exporter.reports.epochs import epochs
from yoloscope_exporter.reports.rank import SLICES, RankWindow, measured, measured_parts, resident

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yoloscope_exporter.measures.measure import Measure


class Figure(NamedTuple):
    """A number of a run; `slices` are the same number over parts of it, empty where that makes no sense."""

    value: float
    slices: tuple[float, ...] = ()


class Quantity(NamedTuple):
    """How a figure is shown and compared; `better` is +1 if more is better, -1 if less is."""

    title: str
    form: Callable[[float], str]
    better: int
    relative: bool = True


def _plain(value: float) -> str:
    return f"{value:.4g}"


#: Figures by name, in the order of the table.
QUANTITIES: dict[str, Quantity] = {
    "throughput": Quantity("throughput while training (images/s)", lambda value: f"{value:.1f}", +1),
    "data_wait": Quantity("waiting for data", units.percent, -1, relative=False),
    "gpu_busy": Quantity("GPU utilization", units.percent, +1, relative=False),
    "goodput": Quantity("goodput (share of wall time computing)", units.percent, +1, relative=False),
    "step": Quantity("step without the wait", units.milliseconds, -1),
    "epoch": Quantity("time per epoch", units.duration, -1),
    "peak_cuda": Quantity("peak GPU memory (reserved)", units.gib, -1),
    "peak_resident": Quantity("peak memory of the processes", units.gib, -1),
    "score": Quantity("best mAP50-95 (or the task's own)", lambda value: f"{value:.4f}", +1),
    "loss": Quantity("last loss", _plain, -1),
    "duration": Quantity("duration", units.duration, -1),
    "wasted": Quantity("wasted GPU time", units.duration, -1),
}


def shown(quantity: Quantity, figure: Figure) -> str:
    """A figure with its spread, where it has one."""
    if len(figure.slices) < 3:  # noqa: PLR2004 - two values have no spread worth telling
        return quantity.form(figure.value)
    return f"{quantity.form(figure.value)} ± {quantity.form(stdev(figure.slices))}"


def figures(ranks: Sequence[RankWindow]) -> dict[str, Figure | None]:
    """The figures of a run by the names of QUANTITIES; None where they are not known."""
    first = ranks[0]
    return {
        "throughput": _measured(ranks, training.IMAGES),
        "data_wait": _measured(ranks, training.DATA_WAIT),
        "gpu_busy": _gpu(ranks),
        "goodput": _measured(ranks, training.GOODPUT),
        "step": _measured(ranks, training.STEP),
        "epoch": _epoch_time(first),
        "peak_cuda": Figure(peak) if (peak := measured(ranks, memory.PEAK)) is not None else None,
        "peak_resident": _peak_resident(ranks),
        "score": _score(first),
        "loss": _loss(first),
        "duration": Figure(_length(first)),
        "wasted": _wasted(ranks),
    }


def _measured(ranks: Sequence[RankWindow], measure: Measure) -> Figure | None:
    """A measure of the run, and of parts of it."""
    value = measured(ranks, measure)
    return None if value is None else Figure(value, tuple(part for _, part in measured_parts(ranks, measure)))


def _gpu(ranks: Sequence[RankWindow]) -> Figure | None:
    """Mean over the run's GPUs, over the whole of the run."""
    shares, parts = [], []
    for one in ranks:
        for labels in one.window.labels(catalog.TRAIN_DEVICE_INFO, *one.key):
            share = gpu_busy(one.window, labels[2])
            shares += [] if share is None else [share]
            cuts = [gpu_busy(part, labels[2]) for part in one.window.parts(SLICES)]
            parts.append([cut for cut in cuts if cut is not None])
    if not shares:
        return None
    return Figure(fmean(shares), tuple(map(fmean, zip(*parts, strict=False))))


def _epoch_time(one: RankWindow) -> Figure | None:
    times = [(epoch.seconds, epoch.number) for epoch in epochs([one])]
    whole = tuple(seconds for seconds, _ in times[:-1]) or tuple(seconds for seconds, _ in times)
    return Figure(fmean(whole), whole) if whole else None


def _peak_resident(ranks: Sequence[RankWindow]) -> Figure | None:
    peaks = [max(value for _, value in points) for one in ranks if (points := resident(one))]
    return Figure(sum(peaks)) if peaks else None


def _score(one: RankWindow) -> Figure | None:
    reached = [value for _, value in scores(one.window, *one.key)]
    return Figure(max(reached)) if reached else None


def _loss(one: RankWindow) -> Figure | None:
    last = [
        one.window.points(catalog.TRAIN_LOSS, *labels) for labels in one.window.labels(catalog.TRAIN_LOSS, *one.key)
    ]
    return Figure(sum(points[-1][1] for points in last)) if last else None


def _length(one: RankWindow) -> float:
    """From start to end as the run itself says; as far as it was ranks where it does not."""
    start = one.window.points(catalog.TRAIN_START_TIMESTAMP_SECONDS, *one.key)
    end = one.window.points(catalog.TRAIN_END_TIMESTAMP_SECONDS, *one.key)
    return (end[-1][1] if end else one.window.end) - (start[0][1] if start else one.window.start)


def _wasted(ranks: Sequence[RankWindow]) -> Figure | None:
    grown = [
        one.window.events(catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL, *labels)
        for one in ranks
        for labels in one.window.labels(catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL, *one.key)
    ]
    known = [value for value in grown if value is not None]
    return Figure(sum(known)) if known else None
