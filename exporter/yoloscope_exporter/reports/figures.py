"""The figures of a run: what is shown of it and compared."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import units
from yoloscope_exporter.diagnosis.signals.gpu import gpu_busy
from yoloscope_exporter.diagnosis.signals.learning import scores
from yoloscope_exporter.diagnosis.signals.step import COMPUTE_PHASES, STEP_PHASES
from yoloscope_exporter.reports.epochs import epochs
from yoloscope_exporter.reports.rank import SLICES, RankWindow, resident

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


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
        "throughput": _throughput(ranks),
        "data_wait": _wait(ranks),
        "gpu_busy": _gpu(ranks),
        "goodput": _goodput(ranks),
        "step": _step(first),
        "epoch": _epoch_time(first),
        "peak_cuda": _peak_cuda(ranks),
        "peak_resident": _peak_resident(ranks),
        "score": _score(first),
        "loss": _loss(first),
        "duration": Figure(_length(first)),
        "wasted": _wasted(ranks),
    }


def _spent(one: RankWindow, phases: Sequence[str]) -> float:
    return sum(one.grown(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase) or 0.0 for phase in phases)


def _spent_parts(one: RankWindow, phases: Sequence[str]) -> list[float]:
    columns = [one.parts(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase) for phase in phases]
    return [sum(column) for column in zip(*(column for column in columns if column), strict=True)]


def _throughput(ranks: Sequence[RankWindow]) -> Figure | None:
    """Images of all ranks over the mean time a rank spent in its steps."""
    images = [one.grown(catalog.TRAIN_IMAGES_TOTAL) for one in ranks]
    spent = [_spent(one, STEP_PHASES) for one in ranks]
    if not any(spent) or None in images:
        return None
    total = sum(count for count in images if count is not None)
    parts = [
        (sum(counts), fmean(seconds))
        for counts, seconds in zip(
            zip(*(one.parts(catalog.TRAIN_IMAGES_TOTAL) or [] for one in ranks), strict=False),
            zip(*(_spent_parts(one, STEP_PHASES) for one in ranks), strict=False),
            strict=False,
        )
    ]
    return Figure(total / fmean(spent), tuple(count / seconds for count, seconds in parts if seconds > 0 and count))


def _share(ranks: Sequence[RankWindow], phases: Sequence[str]) -> Figure | None:
    """Mean over ranks of the share of step time spent in `phases`."""
    totals = [(_spent(one, phases), _spent(one, STEP_PHASES)) for one in ranks]
    if not all(whole for _, whole in totals):
        return None
    parts = zip(_spent_parts(ranks[0], phases), _spent_parts(ranks[0], STEP_PHASES), strict=False)
    return Figure(
        fmean(part / whole for part, whole in totals), tuple(part / whole for part, whole in parts if whole > 0)
    )


def _wait(ranks: Sequence[RankWindow]) -> Figure | None:
    return _share(ranks, ("data_wait",))


def _goodput(ranks: Sequence[RankWindow]) -> Figure | None:
    lengths = [one.window.seconds for one in ranks]
    computed = [_spent(one, COMPUTE_PHASES) for one in ranks]
    if not all(lengths) or not any(computed):
        return None
    return Figure(min(sum(computed) / sum(lengths), 1.0))


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


def _step(one: RankWindow) -> Figure | None:
    batches = one.grown(catalog.TRAIN_BATCHES_TOTAL)
    phases = [phase for phase in STEP_PHASES if phase != "data_wait"]
    if not batches:
        return None
    parts = zip(_spent_parts(one, phases), one.parts(catalog.TRAIN_BATCHES_TOTAL) or [], strict=False)
    return Figure(_spent(one, phases) / batches, tuple(seconds / count for seconds, count in parts if count))


def _epoch_time(one: RankWindow) -> Figure | None:
    times = [(epoch.seconds, epoch.number) for epoch in epochs([one])]
    whole = tuple(seconds for seconds, _ in times[:-1]) or tuple(seconds for seconds, _ in times)
    return Figure(fmean(whole), whole) if whole else None


def _peak_cuda(ranks: Sequence[RankWindow]) -> Figure | None:
    kinds = ("peak_reserved", "reserved")
    values = [one.window.maximum(catalog.TRAIN_CUDA_MEMORY_BYTES, *one.key, kind) for one in ranks for kind in kinds]
    known = [value for value in values if value is not None]
    return Figure(max(known)) if known else None


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
