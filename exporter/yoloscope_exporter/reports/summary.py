"""What a run came to, and two runs side by side. Pure calculation over stores; drawing is `svg.py` and `page.py`.

before, after = summarize([store], "starved"), summarize([store], "mended")
table = compare(before, after)          # table.rows, table.markdown()
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import engine
from yoloscope_exporter.diagnosis.series import Window, period, quantile
from yoloscope_exporter.diagnosis.signals.gpu import gpu_busy
from yoloscope_exporter.diagnosis.signals.learning import scores
from yoloscope_exporter.diagnosis.signals.step import COMPUTE_PHASES, STEP_PHASES
from yoloscope_exporter.terminal import diagnosis as render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.diagnosis.engine import Verdict
    from yoloscope_exporter.diagnosis.series import Store
    from yoloscope_exporter.diagnosis.thresholds import Thresholds

#: A run is cut into so many slices of equal length, whose spread tells how sure a difference is.
SLICES = 10
CONFIDENCE = 0.95
#: What was configured, beside the facts of a run; `workers` and `batch` are those of a rank.
CONFIGURED = {"workers": catalog.TRAIN_WORKERS, "batch": catalog.TRAIN_BATCH_SIZE}
#: Points of a curve in a plot.
POINTS = 240


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


def _gib(value: float) -> str:
    return f"{value / 2**30:.2f} GiB"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def duration(value: float) -> str:
    """Seconds for people: `83.1 s`, `2:05:00`."""
    if value < 120:  # noqa: PLR2004 - two minutes are still read in seconds
        return f"{value:.1f} s"
    hours, rest = divmod(round(value), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def milliseconds(value: float) -> str:
    """Seconds as milliseconds."""
    return f"{value * 1000:.3g} ms"


def _plain(value: float) -> str:
    return f"{value:.4g}"


#: Figures by name, in the order of the table.
QUANTITIES: dict[str, Quantity] = {
    "throughput": Quantity("throughput while training (images/s)", lambda value: f"{value:.1f}", +1),
    "data_wait": Quantity("waiting for data", _percent, -1, relative=False),
    "gpu_busy": Quantity("GPU utilisation", _percent, +1, relative=False),
    "goodput": Quantity("goodput (share of wall time computing)", _percent, +1, relative=False),
    "step": Quantity("step without the wait", milliseconds, -1),
    "epoch": Quantity("time per epoch", duration, -1),
    "peak_cuda": Quantity("peak GPU memory (reserved)", _gib, -1),
    "peak_resident": Quantity("peak memory of the processes", _gib, -1),
    "score": Quantity("best mAP50-95 (or the task's own)", lambda value: f"{value:.4f}", +1),
    "loss": Quantity("last loss", _plain, -1),
    "duration": Quantity("duration", duration, -1),
    "wasted": Quantity("wasted GPU time", duration, -1),
}


class Curve(NamedTuple):
    """A course over time; points are (Unix seconds, value)."""

    name: str
    points: tuple[tuple[float, float], ...]


class Epoch(NamedTuple):
    """One epoch; what is not known is None. `seconds` are those seen in it."""

    number: int
    seconds: float
    images: float | None
    wait: float | None
    cuda: float | None
    resident: float | None
    score: float | None


class Worker(NamedTuple):
    """A loader worker: mean seconds per batch, and the share of them that computed."""

    rank: str
    name: str
    batches: float
    seconds: float
    computing: float | None


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        start, end: Unix seconds of what was seen of it.
        figures: by the names of `QUANTITIES`.
        budget: seconds by phase, mean over ranks.
        states: (from, to, state) in order.
        workers: slowest first.
        latency: of preparing a batch, over all workers: quantile -> seconds.
    """

    run: str
    state: str
    facts: Mapping[str, str]
    start: float
    end: float
    figures: Mapping[str, Figure]
    budget: Mapping[str, float]
    epochs: tuple[Epoch, ...]
    workers: tuple[Worker, ...]
    latency: Mapping[float, float]
    curves: Mapping[str, tuple[Curve, ...]]
    states: tuple[tuple[float, float, str], ...]
    verdicts: tuple[tuple[str, Verdict], ...] = ()
    notes: tuple[str, ...] = ()


class Unknown(Exception):  # noqa: N818 - not an error of ours
    """The run is not in what was read; `known` are the runs that are."""

    def __init__(self, run: str, known: Sequence[str]) -> None:
        """Keep the names for the message."""
        there = f"there are {', '.join(known)}" if known else "there is no run at all"
        super().__init__(f"no run {run!r} here; {there}")
        self.known = tuple(known)


def known_runs(stores: Sequence[Store]) -> list[str]:
    """Names of the runs, in the order in which they were first seen."""
    first: dict[str, float] = {}
    for store in stores:
        for labels, series in store.series.get(catalog.TRAIN_UP.name, {}).items():
            first[labels[0]] = min(first.get(labels[0], math.inf), series.times[0])
    return sorted(first, key=lambda run: first[run])


@dataclass(frozen=True)
class _Seen:
    """One rank of the run: where it is found, from its first moment to its last one alive."""

    window: Window
    run: str
    rank: str

    @property
    def key(self) -> tuple[str, str]:
        return (self.run, self.rank)

    def grown(self, metric: Metric, *labels: str) -> float | None:
        return self.window.events(metric, *self.key, *labels)

    def parts(self, metric: Metric, *labels: str) -> list[float] | None:
        return self.window.shares(metric, *self.key, *labels, count=SLICES)


def summarize(stores: Sequence[Store], run: str, limits: Thresholds | None = None) -> Summary:
    """Sum up one run from the stores of the nodes it ran on.

    Raises:
        Unknown: it is not in them.
    """
    seen = [rank for store in stores for rank in _seen(store, run)]
    if not seen:
        raise Unknown(run, known_runs(stores))
    course = engine.over(stores, limits)
    own = [diagnosis for diagnosis in course.diagnoses if diagnosis.run == run]
    start, end = min(s.window.start for s in seen), max(s.window.end for s in seen)
    return Summary(
        run=run,
        state=own[0].state if own else "",
        facts=_configured(seen) | dict(own[0].signals.facts if own else {}),
        start=start,
        end=end,
        figures={name: figure for name, figure in _figures(seen).items() if figure is not None},
        budget=_budget(seen),
        epochs=_epochs(seen),
        workers=_workers(seen),
        latency=_latency(seen),
        curves=_curves(seen),
        states=_states(seen[0]),
        verdicts=tuple((diagnosis.rank, verdict) for diagnosis in own for verdict in diagnosis.verdicts),
        notes=course.notes,
    )


def _configured(seen: Sequence[_Seen]) -> dict[str, str]:
    """Arguments that are metrics, not facts: they may change while a run goes on, and its last value counts."""
    values = {name: seen[0].window.last(metric, *seen[0].key) for name, metric in CONFIGURED.items()}
    return {name: f"{value:g}" for name, value in values.items() if value is not None}


def _seen(store: Store, run: str) -> list[_Seen]:
    found = []
    for labels, series in store.series.get(catalog.TRAIN_UP.name, {}).items():
        alive = [time for time, up in zip(series.times, series.values, strict=True) if up]
        if labels[0] != run or not alive:
            continue
        ended = [time for time in series.times if time > alive[-1]]
        end = ended[0] if ended else alive[-1]  # the first moment after the end holds the final counts
        window = Window(store, series.times[0], end, period(list(series.times)))
        found.append(_Seen(window, run, labels[1]))
    return sorted(found, key=lambda rank: (len(rank.rank), rank.rank))


# --- figures --------------------------------------------------------------------------------------------------------


def _figures(seen: Sequence[_Seen]) -> dict[str, Figure | None]:
    first = seen[0]
    return {
        "throughput": _throughput(seen),
        "data_wait": _wait(seen),
        "gpu_busy": _gpu(seen),
        "goodput": _goodput(seen),
        "step": _step(first),
        "epoch": _epoch_time(first),
        "peak_cuda": _peak_cuda(seen),
        "peak_resident": _peak_resident(seen),
        "score": _score(first),
        "loss": _loss(first),
        "duration": Figure(_length(first)),
        "wasted": _wasted(seen),
    }


def _spent(one: _Seen, phases: Sequence[str]) -> float:
    return sum(one.grown(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase) or 0.0 for phase in phases)


def _spent_parts(one: _Seen, phases: Sequence[str]) -> list[float]:
    columns = [one.parts(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase) for phase in phases]
    return [sum(column) for column in zip(*(column for column in columns if column), strict=True)]


def _throughput(seen: Sequence[_Seen]) -> Figure | None:
    """Images of all ranks over the mean time a rank spent in its steps."""
    images = [one.grown(catalog.TRAIN_IMAGES_TOTAL) for one in seen]
    spent = [_spent(one, STEP_PHASES) for one in seen]
    if not any(spent) or None in images:
        return None
    total = sum(count for count in images if count is not None)
    parts = [
        (sum(counts), fmean(seconds))
        for counts, seconds in zip(
            zip(*(one.parts(catalog.TRAIN_IMAGES_TOTAL) or [] for one in seen), strict=False),
            zip(*(_spent_parts(one, STEP_PHASES) for one in seen), strict=False),
            strict=False,
        )
    ]
    return Figure(total / fmean(spent), tuple(count / seconds for count, seconds in parts if seconds > 0 and count))


def _share(seen: Sequence[_Seen], phases: Sequence[str]) -> Figure | None:
    """Mean over ranks of the share of step time spent in `phases`."""
    totals = [(_spent(one, phases), _spent(one, STEP_PHASES)) for one in seen]
    if not all(whole for _, whole in totals):
        return None
    parts = zip(_spent_parts(seen[0], phases), _spent_parts(seen[0], STEP_PHASES), strict=False)
    return Figure(
        fmean(part / whole for part, whole in totals), tuple(part / whole for part, whole in parts if whole > 0)
    )


def _wait(seen: Sequence[_Seen]) -> Figure | None:
    return _share(seen, ("data_wait",))


def _goodput(seen: Sequence[_Seen]) -> Figure | None:
    lengths = [one.window.seconds for one in seen]
    computed = [_spent(one, COMPUTE_PHASES) for one in seen]
    if not all(lengths) or not any(computed):
        return None
    return Figure(min(sum(computed) / sum(lengths), 1.0))


def _gpu(seen: Sequence[_Seen]) -> Figure | None:
    """Mean over the run's GPUs, over the whole of the run."""
    shares, parts = [], []
    for one in seen:
        for labels in one.window.labels(catalog.TRAIN_DEVICE_INFO, *one.key):
            share = gpu_busy(one.window, labels[2])
            shares += [] if share is None else [share]
            cuts = [gpu_busy(part, labels[2]) for part in one.window.parts(SLICES)]
            parts.append([cut for cut in cuts if cut is not None])
    if not shares:
        return None
    return Figure(fmean(shares), tuple(map(fmean, zip(*parts, strict=False))))


def _step(one: _Seen) -> Figure | None:
    batches = one.grown(catalog.TRAIN_BATCHES_TOTAL)
    phases = [phase for phase in STEP_PHASES if phase != "data_wait"]
    if not batches:
        return None
    parts = zip(_spent_parts(one, phases), one.parts(catalog.TRAIN_BATCHES_TOTAL) or [], strict=False)
    return Figure(_spent(one, phases) / batches, tuple(seconds / count for seconds, count in parts if count))


def _epoch_time(one: _Seen) -> Figure | None:
    times = [(epoch.seconds, epoch.number) for epoch in _epochs([one])]
    whole = tuple(seconds for seconds, _ in times[:-1]) or tuple(seconds for seconds, _ in times)
    return Figure(fmean(whole), whole) if whole else None


def _peak_cuda(seen: Sequence[_Seen]) -> Figure | None:
    kinds = ("peak_reserved", "reserved")
    values = [one.window.maximum(catalog.TRAIN_CUDA_MEMORY_BYTES, *one.key, kind) for one in seen for kind in kinds]
    known = [value for value in values if value is not None]
    return Figure(max(known)) if known else None


def _resident(one: _Seen) -> list[tuple[float, float]]:
    columns = [dict(one.window.points(catalog.TRAIN_PROCESS_RESIDENT_BYTES, *one.key, role)) for role in catalog.ROLES]
    used = [column for column in columns if column]
    times = sorted(set().union(*used)) if used else []
    return [(time, sum(column.get(time, 0.0) for column in used)) for time in times]


def _peak_resident(seen: Sequence[_Seen]) -> Figure | None:
    peaks = [max(value for _, value in points) for one in seen if (points := _resident(one))]
    return Figure(sum(peaks)) if peaks else None


def _score(one: _Seen) -> Figure | None:
    reached = [value for _, value in scores(one.window, *one.key)]
    return Figure(max(reached)) if reached else None


def _loss(one: _Seen) -> Figure | None:
    last = [
        one.window.points(catalog.TRAIN_LOSS, *labels) for labels in one.window.labels(catalog.TRAIN_LOSS, *one.key)
    ]
    return Figure(sum(points[-1][1] for points in last)) if last else None


def _length(one: _Seen) -> float:
    """From start to end as the run itself says; as far as it was seen where it does not."""
    start = one.window.points(catalog.TRAIN_START_TIMESTAMP_SECONDS, *one.key)
    end = one.window.points(catalog.TRAIN_END_TIMESTAMP_SECONDS, *one.key)
    return (end[-1][1] if end else one.window.end) - (start[0][1] if start else one.window.start)


def _wasted(seen: Sequence[_Seen]) -> Figure | None:
    grown = [
        one.window.events(catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL, *labels)
        for one in seen
        for labels in one.window.labels(catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL, *one.key)
    ]
    known = [value for value in grown if value is not None]
    return Figure(sum(known)) if known else None


# --- parts of the report --------------------------------------------------------------------------------------------


def _budget(seen: Sequence[_Seen]) -> dict[str, float]:
    totals = {
        phase: fmean(one.grown(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase) or 0.0 for one in seen)
        for phase in catalog.PHASES
    }
    return {phase: seconds for phase, seconds in totals.items() if seconds > 0}


def _epochs(seen: Sequence[_Seen]) -> tuple[Epoch, ...]:
    one = seen[0]
    points = one.window.points(catalog.TRAIN_EPOCH, *one.key)
    begins = [point for i, point in enumerate(points) if i == 0 or point[1] != points[i - 1][1]]
    if not begins:
        return ()  # it came no further than its set-up
    ends = [time for time, _ in begins[1:]] + [one.window.end]
    return tuple(_epoch(seen, int(n), begin, end) for (begin, n), end in zip(begins, ends, strict=True) if end > begin)


def _epoch(seen: Sequence[_Seen], number: int, begin: float, end: float) -> Epoch:
    ranks = [_Seen(Window(one.window.store, begin, end, one.window.period), one.run, one.rank) for one in seen]
    images = [one.window.increase(catalog.TRAIN_IMAGES_TOTAL, *one.key) for one in ranks]
    first = ranks[0]
    waits, whole = ([first.window.increase(catalog.TRAIN_PHASE_SECONDS_TOTAL, *first.key, p) or 0.0 for p in phases]
                    for phases in (("data_wait",), STEP_PHASES))  # fmt: skip
    cuda = [first.window.maximum(catalog.TRAIN_CUDA_MEMORY_BYTES, *first.key, kind) for kind in ("allocated",)]
    resident = _resident(first)
    reached = scores(first.window, *first.key)
    return Epoch(
        number,
        end - begin,
        sum(image for image in images if image is not None) / sum(whole) if sum(whole) else None,
        sum(waits) / sum(whole) if sum(whole) else None,
        cuda[0],
        max(value for _, value in resident) if resident else None,
        reached[-1][1] if reached else None,
    )


def _workers(seen: Sequence[_Seen]) -> tuple[Worker, ...]:
    found = []
    for one in seen:
        for labels in one.window.labels(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, *one.key):
            seconds = one.grown(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, labels[2])
            batches = one.grown(catalog.TRAIN_WORKER_BATCHES_TOTAL, labels[2])
            computing = one.grown(catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, labels[2])
            if seconds and batches:
                share = computing / seconds if computing is not None else None
                found.append(Worker(one.rank, labels[2], batches, seconds / batches, share))
    return tuple(sorted(found, key=lambda worker: -worker.seconds))


def _latency(seen: Sequence[_Seen]) -> dict[float, float]:
    metric = catalog.TRAIN_LOADER_BATCH_SECONDS
    total = seen[0].window.total(metric, *seen[0].key)
    values = {q: quantile(metric, total, q) for q in (0.5, 0.95, 0.99)} if total else {}
    return {q: value for q, value in values.items() if value is not None}


def _curves(seen: Sequence[_Seen]) -> dict[str, tuple[Curve, ...]]:
    """Courses by plot."""
    plots = {
        "images/s": [curve for one in seen for curve in _rates(one)],
        "share of step time": [_share_curve(seen[0], phase) for phase in ("data_wait", "h2d", "backward_exposed")],
        "GPU utilisation": [curve for one in seen for curve in _gpu_curves(one)],
        "GPU memory (GiB)": [curve for one in seen for curve in _memory_curves(one)],
        "process memory (GiB)": [Curve(f"rank {one.rank}", _scaled(_resident(one), 2**30)) for one in seen],
        "loss": [
            Curve(labels[2], _scaled(seen[0].window.points(catalog.TRAIN_LOSS, *labels)))
            for labels in seen[0].window.labels(catalog.TRAIN_LOSS, *seen[0].key)
        ],
        "mAP50-95": [Curve("validation", _scaled(scores(seen[0].window, *seen[0].key)))],
    }
    drawn = {name: tuple(curve for curve in curves if len(curve.points) > 1) for name, curves in plots.items()}
    return {name: curves for name, curves in drawn.items() if curves}


def _edges(window: Window) -> int:
    return max(2, min(POINTS, int(window.seconds / max(window.period, 1e-3) / 2)))


def _middles(window: Window, count: int) -> list[float]:
    return [window.start + window.seconds * (index + 0.5) / count for index in range(count)]


def _rates(one: _Seen) -> list[Curve]:
    count = _edges(one.window)
    images = one.window.shares(catalog.TRAIN_IMAGES_TOTAL, *one.key, count=count)
    if not images:
        return []
    seconds = one.window.seconds / count
    pairs = zip(_middles(one.window, count), images, strict=True)
    return [Curve(f"rank {one.rank}", tuple((time, value / seconds) for time, value in pairs))]


def _share_curve(one: _Seen, phase: str) -> Curve:
    count = _edges(one.window)
    columns = {
        name: one.window.shares(catalog.TRAIN_PHASE_SECONDS_TOTAL, *one.key, name, count=count) for name in STEP_PHASES
    }
    known = {name: column for name, column in columns.items() if column}
    if not any(known.get(phase, ())):
        return Curve(phase, ())
    totals = [sum(row) for row in zip(*known.values(), strict=True)]
    rows = zip(_middles(one.window, count), known[phase], totals, strict=True)
    return Curve(phase, tuple((time, part / total) for time, part, total in rows if total > 0))


def _gpu_curves(one: _Seen) -> list[Curve]:
    curves = []
    for labels in one.window.labels(catalog.TRAIN_DEVICE_INFO, *one.key):
        parts = one.window.parts(_edges(one.window))
        busy = [((part.start + part.end) / 2, gpu_busy(part, labels[2])) for part in parts]
        curves.append(Curve(f"GPU {labels[2]}", tuple((time, share) for time, share in busy if share is not None)))
    return curves


def _memory_curves(one: _Seen) -> list[Curve]:
    kinds = ("allocated", "reserved")
    points = {kind: one.window.points(catalog.TRAIN_CUDA_MEMORY_BYTES, *one.key, kind) for kind in kinds}
    return [Curve(f"rank {one.rank} {kind}", _scaled(values, 2**30)) for kind, values in points.items() if values]


def _scaled(points: Sequence[tuple[float, float]], by: float = 1.0) -> tuple[tuple[float, float], ...]:
    """At most POINTS of the points, each the highest of its stretch, over `by`."""
    stride = max(1, math.ceil(len(points) / POINTS))
    groups = [points[index : index + stride] for index in range(0, len(points), stride)]
    return tuple((group[-1][0], max(value for _, value in group) / by) for group in groups)


def _states(one: _Seen) -> tuple[tuple[float, float, str], ...]:
    moments: dict[float, str] = {}
    for labels in one.window.labels(catalog.TRAIN_STATE, *one.key):
        moments |= {time: labels[2] for time, value in one.window.points(catalog.TRAIN_STATE, *labels) if value == 1}
    spans: list[tuple[float, float, str]] = []
    for time in sorted(moments):
        if spans and spans[-1][2] == moments[time]:
            spans[-1] = (spans[-1][0], time, moments[time])
        else:
            begin = spans[-1][1] if spans else time
            spans.append((begin, time, moments[time]))
    return tuple(spans)


# --- two runs -------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A line of the comparison; `verdict` is `better`, `worse`, `same` or empty."""

    name: str
    title: str
    before: str
    after: str
    change: str
    sure: str
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side."""

    before: Summary
    after: Summary
    rows: tuple[Row, ...]
    differences: tuple[tuple[str, str, str], ...]
    """Facts that differ: name, before, after."""

    def markdown(self) -> str:
        """The comparison as tables."""
        lines = [
            f"| | before: {self.before.run} | after: {self.after.run} | change | certainty |",
            "|---|---|---|---|---|",
            *(f"| {row.title} | {row.before} | {row.after} | {row.change} | {row.sure} |" for row in self.rows),
        ]
        if self.differences:
            lines += ["", "| configuration | before | after |", "|---|---|---|"]
            lines += [f"| {name} | {one} | {other} |" for name, one, other in self.differences]
        return "\n".join(lines) + "\n"


def compare(before: Summary, after: Summary) -> Comparison:
    """Put two runs side by side: the figures both have, how they changed, and how sure that is."""
    rows = [
        _row(name, quantity, before.figures[name], after.figures[name])
        for name, quantity in QUANTITIES.items()
        if name in before.figures and name in after.figures
    ]
    verdicts = [", ".join(dict.fromkeys(v.name for _, v in one.verdicts)) or "none" for one in (before, after)]
    rows.append(Row("verdicts", "verdicts", verdicts[0], verdicts[1], "", "", ""))
    ignored = {"pid", "user", "slurm_job_id", "pod"}
    facts = [
        (name, before.facts.get(name, ""), after.facts.get(name, ""))
        for name in (*CONFIGURED, *catalog.RUN_FACTS)
        if name not in ignored and before.facts.get(name, "") != after.facts.get(name, "")
    ]
    return Comparison(before, after, tuple(rows), tuple(facts))


def _row(name: str, quantity: Quantity, before: Figure, after: Figure) -> Row:
    change = after.value - before.value
    if not quantity.relative:
        text = f"{100 * change:+.1f} points"
    else:
        text = f"x {after.value / before.value:.2f}" if before.value else ""
    sure = certainty(before.slices, after.slices)
    verdict = "" if sure == UNSURE or not change else "better" if change * quantity.better > 0 else "worse"
    if sure == UNSURE:
        verdict = "same"
    return Row(name, quantity.title, shown(quantity, before), shown(quantity, after), text, sure, verdict)


def shown(quantity: Quantity, figure: Figure) -> str:
    """A figure with its spread, where it has one."""
    if len(figure.slices) < 3:  # noqa: PLR2004 - two values have no spread worth telling
        return quantity.form(figure.value)
    return f"{quantity.form(figure.value)} ± {quantity.form(stdev(figure.slices))}"


UNSURE = "within the spread"


def certainty(before: Sequence[float], after: Sequence[float]) -> str:
    """Whether two means differ by more than the spread of their slices, by Welch's t interval at CONFIDENCE.

    The slices of one run are not independent runs: this says whether the difference stands out from the unrest within
    the runs, not what a repetition would give. Empty with fewer than three slices of either.
    """
    if min(len(before), len(after)) < 3:  # noqa: PLR2004
        return ""
    errors = [stdev(slices) ** 2 / len(slices) for slices in (before, after)]
    if not sum(errors):
        return "certain" if fmean(before) != fmean(after) else UNSURE
    parts = [error**2 / (len(slices) - 1) for error, slices in zip(errors, (before, after), strict=True)]
    freedom = sum(errors) ** 2 / sum(parts)
    margin = student(freedom, 0.5 + CONFIDENCE / 2) * math.sqrt(sum(errors))
    return f"{CONFIDENCE:.0%} sure" if abs(fmean(after) - fmean(before)) > margin else UNSURE


def student(freedom: float, p: float) -> float:
    """Quantile of Student's t from the normal one (Abramowitz and Stegun 26.7.5); 1 % off from 4 degrees on."""
    z = NormalDist().inv_cdf(p)
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


# --- one run as text ------------------------------------------------------------------------------------------------


def markdown(summary: Summary) -> str:
    """One run as Markdown: figures, time budget, epochs, workers, verdicts."""
    parts = [
        f"# {summary.run}",
        "",
        f"{summary.state or 'state unknown'}; {render.when(summary.start)} to {render.when(summary.end)}",
    ]
    parts += ["", "| figure | |", "|---|---|"]
    parts += [
        f"| {quantity.title} | {shown(quantity, summary.figures[name])} |"
        for name, quantity in QUANTITIES.items()
        if name in summary.figures
    ]
    parts += ["", "## Where the time went", "", "| phase | time | share |", "|---|---|---|"]
    total = sum(summary.budget.values()) or 1.0
    parts += [f"| {phase} | {duration(seconds)} | {seconds / total:.1%} |" for phase, seconds in summary.budget.items()]
    parts += _epoch_lines(summary) + _worker_lines(summary) + _verdict_lines(summary)
    parts += ["", *(f"- {note}" for note in summary.notes)] if summary.notes else []
    return "\n".join(parts) + "\n"


def _epoch_lines(summary: Summary) -> list[str]:
    if not summary.epochs:
        return []
    lines = [
        "",
        "## Epochs",
        "",
        "| epoch | time | images/s | waiting | GPU memory | process memory | score |",
        "|---|---|---|---|---|---|---|",
    ]
    for epoch in summary.epochs:
        cells = (
            str(epoch.number),
            duration(epoch.seconds),
            _or_dash(epoch.images, "{:.1f}".format),
            _or_dash(epoch.wait, _percent),
            _or_dash(epoch.cuda, _gib),
            _or_dash(epoch.resident, _gib),
            _or_dash(epoch.score, "{:.4f}".format),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _or_dash(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)


def _worker_lines(summary: Summary) -> list[str]:
    if not summary.workers:
        return []
    quantiles = ", ".join(f"p{100 * q:.0f} {milliseconds(value)}" for q, value in summary.latency.items())
    lines = ["", f"## Loader workers{f' ({quantiles})' if quantiles else ''}", ""]
    lines += ["| rank | worker | batches | time per batch | computing |", "|---|---|---|---|---|"]
    return lines + [
        f"| {w.rank} | {w.name} | {w.batches:.0f} | {milliseconds(w.seconds)} | {_or_dash(w.computing, _percent)} |"
        for w in summary.workers
    ]


def _verdict_lines(summary: Summary) -> list[str]:
    lines = ["", "## Verdicts", ""]
    for rank, verdict in summary.verdicts:
        fix = f" Fix: `{verdict.fix}`." if verdict.fix else ""
        gain = f" Gain: {verdict.gain}." if verdict.gain else ""
        lines.append(f"- rank {rank}: **{verdict.name}** ({verdict.severity}): {verdict.evidence}.{fix}{gain}")
    return lines if summary.verdicts else [*lines, "None."]
