"""The figures of a run: what is shown of it and compared."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.gpu import gpu_busy, part_of_gpu
from yoloscope_exporter.diagnosis.signals.learning import scores
from yoloscope_exporter.language import in_figures, say, units
from yoloscope_exporter.measures import gpu, loader, memory, training
from yoloscope_exporter.measures.reading import Reading
from yoloscope_exporter.measures.thresholds import THRESHOLDS
from yoloscope_exporter.reports.epochs import epochs
from yoloscope_exporter.reports.interval import spread
from yoloscope_exporter.reports.rank import SLICES, RankWindow, measured, measured_parts, resident, slices
from yoloscope_exporter.reports.significance import Estimate, Part, within
from yoloscope_exporter.reports.typical import typical

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from yoloscope_record.metrics import Metric

    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.measures.series import Window


#: A typical figure is read from so many parts: exceptions stand out the better the shorter these are.
FINE_SLICES = 256


class Figure(NamedTuple):
    """A number of a run; `parts` are the same number over parts of it, empty where that makes no sense."""

    value: float
    parts: tuple[Part, ...] = ()

    @property
    def estimate(self) -> Estimate | None:
        """How well it is known from its parts."""
        return within(self.value, self.parts)


class Quantity(NamedTuple):
    """How a figure is shown and compared; `better` is +1 if more is better, -1 if less is, 0 if neither."""

    title: str
    form: Callable[[float], str]
    better: int
    relative: bool = True


def _plain(value: float) -> str:
    return in_figures(value, 4)


def _whole(value: float) -> str:
    return f"{value:.0f}"


#: Figures by name, in the order of the table.
QUANTITIES: dict[str, Quantity] = {
    "throughput": Quantity("throughput while training (images/s)", lambda value: f"{value:.1f}", +1),
    "typical": Quantity("typical throughput (images/s)", lambda value: f"{value:.1f}", +1),
    "data_wait": Quantity("waiting for data", units.percent, -1, relative=False),
    "gpu_busy": Quantity("GPU utilization", units.percent, +1, relative=False),
    "well_used": Quantity(
        f"time above {THRESHOLDS['gpu_well_used'].value:.0%} GPU utilization", units.percent, +1, relative=False
    ),
    "mfu": Quantity("operations over the card's peak (MFU)", units.percent, +1, relative=False),
    "goodput": Quantity("goodput (share of wall time computing)", units.percent, +1, relative=False),
    "step": Quantity("step without the wait", units.milliseconds, -1),
    "decoding": Quantity("decoding (share of the loader workers' time)", units.percent, 0, relative=False),
    "storage_read": Quantity("read from storage", lambda value: f"{units.size(value)}/s", 0),
    "epoch": Quantity("time per epoch", units.duration, -1),
    "peak_cuda": Quantity("peak GPU memory (reserved)", units.gib, -1),
    "peak_resident": Quantity("peak memory of the processes", units.gib, -1),
    "score": Quantity("best mAP50-95 (or the task's own)", lambda value: f"{value:.4f}", +1),
    "score_50": Quantity("best mAP50", lambda value: f"{value:.4f}", +1),
    "loss": Quantity("last loss", _plain, -1),
    "calls": Quantity("calls", _whole, 0),
    "batches": Quantity("batches", _whole, 0),
    "images": Quantity("images", _whole, 0),
    "boxes": Quantity("boxes", _whole, 0),
    "abandoned": Quantity("dropped generators", _whole, 0),
    "predict_throughput": Quantity("images per second", _plain, +1),
    "latency_typical": Quantity("latency of an image, median", units.milliseconds, -1),
    "latency": Quantity("latency of an image, 99th percentile", units.milliseconds, -1),
    "source": Quantity("waiting for the source", units.percent, -1, relative=False),
    "preprocess": Quantity("preprocessing", units.percent, 0, relative=False),
    "inference": Quantity("in the model", units.percent, 0, relative=False),
    "postprocess": Quantity("postprocessing", units.percent, -1, relative=False),
    "own": Quantity("your own code, callbacks, saving", units.percent, -1, relative=False),
    "detections": Quantity("boxes per image", _plain, 0),
    "export_time": Quantity("time of the exports", units.duration, -1),
    "export_size": Quantity("size of what was exported", units.size, -1),
    "duration": Quantity("duration", units.duration, -1),
    "energy": Quantity("energy of the GPUs (shared ones by SM time)", units.energy, -1),
    "image_energy": Quantity(
        "energy of the GPUs per image (shared ones by SM time)", lambda value: f"{in_figures(value, 3)} J", -1
    ),
    "epoch_energy": Quantity("energy of the GPUs per epoch", units.energy, -1),
    "point_energy": Quantity("energy of the GPUs per point of mAP50-95", units.energy, -1),
    "cpu_energy": Quantity("energy of the CPU packages (by CPU time)", units.energy, -1),
    "gpu_hours": Quantity("GPU-hours held", lambda value: in_figures(value, 3), -1),
    "cost": Quantity("cost of GPU-hours and energy", _plain, -1),
    "co2": Quantity("CO2 of the energy", lambda value: f"{in_figures(value, 3)} kg", -1),
    "wasted": Quantity("wasted GPU time", units.duration, -1),
    "wasted_energy": Quantity("energy of the GPUs in wasted time (at most)", units.energy, -1),
    "wasted_cost": Quantity("cost of wasted GPU time and its energy", lambda value: f"{value:.4g}", -1),
}


def shown(quantity: Quantity, value: float, estimate: Estimate | None) -> str:
    """A figure, and how well it is known; in words where no interval says anything."""
    told = quantity.form(value)
    if estimate is None:
        return told
    half = spread(estimate, relative=quantity.relative)
    return say("{told} (too little data for ±)", told=told) if half is None else f"{told} ± {quantity.form(half)}"


def figures(ranks: Sequence[RankWindow]) -> dict[str, Figure | None]:
    """The figures of a run by the names of QUANTITIES; None where they are not known."""
    first, energy = ranks[0], _energy(ranks)
    score = _best(scores(first.window, *first.key))
    return {
        "throughput": _measured(ranks, training.IMAGES),
        "typical": _typical(ranks, training.IMAGES),
        "data_wait": _measured(ranks, training.DATA_WAIT),
        "gpu_busy": _of_gpus(ranks, gpu_busy),
        "well_used": _of_gpus(ranks, _well_used),
        "mfu": _measured(ranks, gpu.MFU),
        "goodput": _measured(ranks, training.GOODPUT),
        "step": _measured(ranks, training.STEP),
        "decoding": _measured(ranks, loader.DECODING),
        "storage_read": _measured(ranks, loader.STORAGE_READ),
        "epoch": _epoch_time(first),
        "peak_cuda": Figure(peak) if (peak := measured(ranks, memory.PEAK)) is not None else None,
        "peak_resident": _peak_resident(ranks),
        "score": score,
        "score_50": _best(scores(first.window, *first.key, names=("mAP50(",))),
        "loss": _loss(first),
        "duration": Figure(_length(first)),
        "energy": energy,
        "image_energy": _image_energy(ranks),
        "epoch_energy": _per(energy, len(epochs([first]))),
        "point_energy": _per(energy, 100 * score.value if score else 0.0),
        "cpu_energy": _cpu_energy(ranks),
        "gpu_hours": _gpu_hours(ranks),
        "wasted": _lost(ranks, catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL),
        "wasted_energy": _lost(ranks, catalog.TRAIN_WASTED_ENERGY_JOULES_TOTAL),
    }


def _measured(ranks: Sequence[RankWindow], measure: Measure) -> Figure | None:
    """A measure of the run, and of parts of it."""
    return measured_figure(measured(ranks, measure), ranks, measure)


def measured_figure(value: float | None, seen: Sequence[RankWindow], measure: Measure) -> Figure | None:
    """A measure's value, and how it was in parts of the time in which the ranks were `seen`."""
    if value is None:
        return None
    return Figure(value, tuple(part for _, part in measured_parts(seen, measure)) if seen else ())


def _typical(ranks: Sequence[RankWindow], measure: Measure) -> Figure | None:
    """The same, with exceptional parts counting for less."""
    parts = typical([part for _, part in measured_parts(ranks, measure, FINE_SLICES)])
    return Figure(fmean(part.value for part in parts), tuple(parts)) if parts else None


def _well_used(window: Window, name: str) -> float | None:
    return Reading(window).one(gpu.OFTEN_BUSY, gpu=name)


def _of_gpus(ranks: Sequence[RankWindow], read: Callable[[Window, str], float | None]) -> Figure | None:
    """Mean over the run's GPUs."""

    def mean(windows: Sequence[Window]) -> Part | None:
        shares = [read(window, name) for one, window in zip(ranks, windows, strict=True) for name in _gpus(one)]
        known = [share for share in shares if share is not None]
        return Part(fmean(known), windows[0].seconds) if known else None

    return _cut(ranks, mean)


def _gpus(one: RankWindow) -> list[str]:
    """Names of the GPUs of a rank."""
    return [labels[2] for labels in one.window.labels(catalog.TRAIN_DEVICE_INFO, *one.key)]


def _cut(ranks: Sequence[RankWindow], read: Callable[[Sequence[Window]], Part | None]) -> Figure | None:
    """What is read of the windows of the ranks, and of parts of them."""
    whole = read([one.window for one in ranks])
    if whole is None:
        return None
    count = min(len(slices(one.window, one.run)) for one in ranks)
    cut = zip(*(slices(one.window, one.run, count) for one in ranks), strict=True)
    return Figure(whole.value, tuple(part for part in map(read, cut) if part is not None))


def _epoch_time(one: RankWindow) -> Figure | None:
    seconds = [epoch.seconds for epoch in epochs([one])]
    whole = seconds[:-1] or seconds
    return Figure(fmean(whole), tuple(Part(each, 1.0) for each in whole)) if whole else None


def _peak_resident(ranks: Sequence[RankWindow]) -> Figure | None:
    peaks = [max(value for _, value in points) for one in ranks if (points := resident(one))]
    return Figure(sum(peaks)) if peaks else None


def _best(reached: Sequence[tuple[float, float]]) -> Figure | None:
    return Figure(max(value for _, value in reached)) if reached else None


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


def _lost(ranks: Sequence[RankWindow], metric: Metric) -> Figure | None:
    """What was lost to any cause."""
    grown = [one.window.events(metric, *labels) for one in ranks for labels in one.window.labels(metric, *one.key)]
    known = [value for value in grown if value is not None]
    return Figure(sum(known)) if known else None


def _energy(ranks: Sequence[RankWindow]) -> Figure | None:
    joules = _joules(ranks, [one.window for one in ranks])
    return None if joules is None else Figure(joules)


def _image_energy(ranks: Sequence[RankWindow]) -> Figure | None:
    """Joules of the run's GPUs for an image, whatever they did in that time."""

    def ratio(windows: Sequence[Window]) -> Part | None:
        joules = _joules(ranks, windows)
        grown = [w.increase(catalog.TRAIN_IMAGES_TOTAL, *one.key) for one, w in zip(ranks, windows, strict=True)]
        images = sum(one or 0.0 for one in grown)
        return Part(joules / images, images) if joules is not None and images else None

    return _cut(ranks, ratio)


def _per(energy: Figure | None, number: float) -> Figure | None:
    return Figure(energy.value / number) if energy and number else None


def _cpu_energy(ranks: Sequence[RankWindow]) -> Figure | None:
    joules = _counted(ranks, [one.window for one in ranks], "cpu")
    return None if joules is None else Figure(joules)


def _gpu_hours(ranks: Sequence[RankWindow]) -> Figure | None:
    """Each GPU for as long as its rank went on; one that ranks share counts once, a MIG instance as its part of one."""
    held = {
        (id(one.window.store), name): _length(one) * part_of_gpu(one.window, name)
        for one in ranks
        for name in _gpus(one)
    }
    return Figure(sum(held.values()) / 3600) if held else None


def _counted(ranks: Sequence[RankWindow], windows: Sequence[Window], source: str) -> float | None:
    """What the exporter has counted for the ranks; None if it has not for all of them."""
    grown = [
        window.increase(catalog.TRAIN_ENERGY_JOULES_TOTAL, *one.key, source)
        for one, window in zip(ranks, windows, strict=True)
    ]
    known = [joules for joules in grown if joules is not None]
    return sum(known) if len(known) == len(grown) else None


def _joules(ranks: Sequence[RankWindow], windows: Sequence[Window]) -> float | None:
    """Energy that the GPUs of a run drew for it: as counted, else by the GPUs' own; one that is shared counts once."""
    if (counted := _counted(ranks, windows, "gpu")) is not None:
        return counted
    gpus = {(id(one.window.store), name): w for one, w in zip(ranks, windows, strict=True) for name in _gpus(one)}
    grown = [_drawn(window, name, ranks[0].run) for (_, name), window in gpus.items()]
    known = [joules for joules in grown if joules is not None]
    return sum(known) if known and len(known) == len(grown) else None


def _drawn(window: Window, name: str, run: str) -> float | None:
    """What a GPU drew; of one that others used as well, the run's part: its share of the SM time.

    In each slice of the window by itself: who comes later shares only what is drawn then. What others used is known
    where the driver tells it, and the run's own processes are among those it tells of.
    """
    whole = window.increase(catalog.GPU_ENERGY_JOULES_TOTAL, name)
    users = {labels[3] for labels in window.labels(catalog.GPU_PROCESS_SM_RATIO, name)}
    if whole is None or run not in users or len(users) == 1:
        return whole
    parts = [
        (part.increase(catalog.GPU_ENERGY_JOULES_TOTAL, name) or 0.0, _sm_share(part, name, run))
        for part in window.parts(SLICES)
    ]
    drawn = sum(joules for joules, _ in parts)
    return whole * (sum(joules * share for joules, share in parts) / drawn if drawn else _sm_share(window, name, run))


def _sm_share(window: Window, name: str, run: str) -> float:
    """The run's part of the SM time that all processes on a GPU used; equal parts while nobody used any."""
    used: defaultdict[str, float] = defaultdict(float)
    for labels, series, span in window.inside(catalog.GPU_PROCESS_SM_RATIO, (name,)):
        used[labels[3]] += sum(series.values[at] for at in span)
    total = sum(used.values())
    if total:
        return used[run] / total
    return 1 / max(1, len(used))
