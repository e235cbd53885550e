"""What the pictures of a run show, from the stores of its nodes. Pure calculation.

Quantities are those of `measures`, epochs those of `reports`; here is only over which stretches of time they are asked
for, and in which shape they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.language.units import in_order
from yoloscope_exporter.measures import gpu, loader, training
from yoloscope_exporter.measures.evaluate import evaluate
from yoloscope_exporter.measures.formula import RANK, WORKER
from yoloscope_exporter.measures.reading import Reading
from yoloscope_exporter.measures.series import Window
from yoloscope_exporter.reports.epochs import allocated_peak, resident_peak, spans
from yoloscope_exporter.reports.rank import rank_windows, slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.measures.series import Labels, LabelSet, Store
    from yoloscope_exporter.reports.rank import RankWindow

GPU_MEASURES = (gpu.BUSY, gpu.MEMORY_USED, gpu.HEAT_CELSIUS)
#: A GPU's points stand where these were sampled.
_GPU_SAMPLED = (catalog.GPU_UTILIZATION_RATIO, catalog.GPU_MEMORY_USED_BYTES, catalog.GPU_TEMPERATURE_CELSIUS)
#: Points of all GPUs' lines together, and of each at least: half an hour of one GPU at 2 s; what is longer is coarser.
POINTS, FEWEST = 5400, 240
#: Columns of the heatmap.
COLUMNS = 60

_Target = tuple[tuple[str, str], ...]
#: GPUs of a stretch of time, each with its values in the order of GPU_MEASURES.
_Values = dict[str, tuple["float | None", ...]]
#: What was calculated of stretches of time that are over.
Known = dict[tuple[_Target, float, float], _Values]


class Line(NamedTuple):
    """A GPU's course; points are (Unix seconds, value)."""

    gpu: str
    points: tuple[tuple[float, float], ...]


class Row(NamedTuple):
    """What loads: a worker of a rank, or the rank itself where `worker` is empty; seconds per batch by column."""

    rank: str
    worker: str
    seconds: tuple[float | None, ...]


class Heat(NamedTuple):
    """Seconds per batch over time; `edges` (Unix seconds) are one more than there are columns."""

    edges: tuple[float, ...]
    rows: tuple[Row, ...]


class EpochMemory(NamedTuple):
    """Peaks of an epoch in bytes, of all ranks' processes together and of the rank with most device memory."""

    number: int
    process: float | None
    device: float | None


@dataclass(frozen=True)
class Panels:
    """What is drawn of a run; what is not known is empty.

    Attributes:
        gpus: lines by measure.
        heat: by worker; of a run without workers by rank.
        memory: by epoch.
    """

    gpus: Mapping[Measure, tuple[Line, ...]]
    heat: Heat | None
    memory: tuple[EpochMemory, ...]


def panels(stores: Sequence[Store], run: str, known: Known | None = None) -> Panels:
    """What is drawn of `run`, an empty name for none yet; `known` is added to, for the next time."""
    ranks = [rank for store in stores for rank in rank_windows(store, run)] if run else []
    remembered: Known = {}
    names = _gpus(stores, run)
    lines = [
        line
        for store in stores
        for line in _gpu_lines(store, names.get(store.target, set()), known or {}, remembered, several=len(stores) > 1)
    ]
    if known is not None:
        known.clear()
        known.update(remembered)
    gpus = {measure: tuple(line for of, line in lines if of is measure) for measure in GPU_MEASURES}
    return Panels(
        {measure: found for measure, found in gpus.items() if found}, _heat(ranks, run), tuple(_memory(ranks))
    )


# --- GPUs -----------------------------------------------------------------------------------------------------------


def _gpus(stores: Sequence[Store], run: str) -> dict[_Target, set[str]]:
    """The GPUs that the run trains on by node, or all where it trains on none that is known."""
    of_run = {
        store.target: {labels[2] for labels in _labels(store, catalog.TRAIN_DEVICE_INFO, run)} for store in stores
    }
    if any(of_run.values()):
        return of_run
    return {store.target: {found[0] for metric in _GPU_SAMPLED for found in _labels(store, metric)} for store in stores}


def _labels(store: Store, metric: catalog.Metric, *prefix: str) -> list[Labels]:
    return [labels for labels, _ in store.family(metric.name, prefix)]


def _gpu_lines(
    store: Store, names: set[str], known: Known, remembered: Known, *, several: bool
) -> Iterable[tuple[Measure, Line]]:
    """The lines of a node's GPUs, by measure."""
    stretches = _stretches(store, len(names)) if names else []
    values = [_values(store, start, end, known, remembered) for start, end in stretches]
    for place, measure in enumerate(GPU_MEASURES):
        for name in sorted(names, key=in_order):
            points = tuple(
                (end, value)
                for (_, end), found in zip(stretches, values, strict=True)
                if name in found and (value := found[name][place]) is not None
            )
            if points:
                yield measure, Line(f"{store.name} {name}" if several and store.name else name, points)


def _stretches(store: Store, gpus: int) -> list[tuple[float, float]]:
    """From sample to sample, or from every second one, every fourth one, ... where there are too many."""
    series = (one for metric in _GPU_SAMPLED for _, one in store.family(metric.name, ()))
    times = sorted({time for one in series for time in one.times})
    most = max(FEWEST, POINTS // (gpus * len(GPU_MEASURES)))
    stride = 1
    while len(times) // stride > most:
        stride *= 2
    edges = times[::stride]
    return list(pairwise([*edges, times[-1]] if edges and edges[-1] != times[-1] else edges))


def _values(store: Store, start: float, end: float, known: Known, remembered: Known) -> _Values:
    key = (store.target, start, end)
    found = known.get(key)
    if found is None:
        reading = Reading(Window(store, start, end, end - start))
        vectors = [_by_gpu(reading.vector(measure)) for measure in GPU_MEASURES]
        names = set().union(*vectors)
        found = {name: tuple(vector.get(name) for vector in vectors) for name in names}
    remembered[key] = found
    return found


def _by_gpu(vector: Mapping[LabelSet, float]) -> dict[str, float]:
    return {dict(labels).get("gpu", ""): value for labels, value in vector.items()}


# --- loader workers -------------------------------------------------------------------------------------------------


def _heat(ranks: Sequence[RankWindow], run: str) -> Heat | None:
    """By worker; where the ranks load their data themselves, by rank."""
    if not ranks:
        return None
    edges = _edges(ranks, run)
    return _rows(ranks, run, edges, loader.PREPARATION, WORKER) or (
        _rows(ranks, run, edges, training.WAIT, RANK) if all(map(_loads_itself, ranks)) else None
    )


def _loads_itself(one: RankWindow) -> bool:
    return one.window.maximum(catalog.TRAIN_WORKERS, *one.key) == 0


def _edges(ranks: Sequence[RankWindow], run: str) -> list[float]:
    """Of the columns, where samples of the rank that was seen longest were taken."""
    longest = max((one.window for one in ranks), key=lambda window: window.seconds)
    cut = slices(longest, run, COLUMNS)
    return [part.start for part in cut] + [part.end for part in cut[-1:]]


def _rows(
    ranks: Sequence[RankWindow], run: str, edges: Sequence[float], measure: Measure, by: tuple[str, ...]
) -> Heat | None:
    stores = {id(one.window.store): one.window for one in ranks}.values()
    columns = [
        evaluate(
            measure.formula,
            [Window(one.store, start, end, one.period) for one in stores],
            *by,
            within={"run": run},
        )
        for start, end in pairwise(edges)
    ]
    loading = {labels: dict(labels) for column in columns for labels in column}
    rows = [
        Row(names.get("rank", ""), names.get("worker", ""), tuple(column.get(labels) for column in columns))
        for labels, names in loading.items()
    ]
    rows.sort(key=lambda row: (in_order(row.rank), in_order(row.worker)))
    return Heat(tuple(edges), tuple(rows)) if rows else None


# --- memory ---------------------------------------------------------------------------------------------------------


def _memory(ranks: Sequence[RankWindow]) -> Iterable[EpochMemory]:
    for span in spans(ranks) if ranks else ():
        yield EpochMemory(span.number, resident_peak(span), allocated_peak(span))


# --- what is remembered of an exporter ------------------------------------------------------------------------------

#: All that the pictures are calculated from.
DRAWN = frozenset(
    metric.name
    for metric in (
        *_GPU_SAMPLED,
        catalog.GPU_BUSY_SECONDS_TOTAL,
        catalog.GPU_MEMORY_TOTAL_BYTES,
        catalog.TRAIN_UP,
        catalog.TRAIN_EPOCH,
        catalog.TRAIN_WORKERS,
        catalog.TRAIN_DEVICE_INFO,
        catalog.TRAIN_CUDA_MEMORY_BYTES,
        catalog.TRAIN_PROCESS_RESIDENT_BYTES,
        catalog.TRAIN_WORKER_BATCHES_TOTAL,
        catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL,
        catalog.TRAIN_BATCHES_TOTAL,
        catalog.TRAIN_PHASE_SECONDS_TOTAL,
        catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL,
    )
)


def drawn_only(exposition: str) -> str:
    """The lines of an exposition that the pictures need."""
    lines = exposition.splitlines(keepends=True)
    return "".join(line for line in lines if line[:1] != "#" and line.replace("{", " ", 1).split(" ", 1)[0] in DRAWN)
