"""The summary of one run, from the stores of the nodes it ran on. Pure calculation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import follow_up, slow_files
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.language import text
from yoloscope_exporter.measures.series import merged, quantile
from yoloscope_exporter.reports import names
from yoloscope_exporter.reports.curves import Curve, curves
from yoloscope_exporter.reports.epochs import Epoch, epochs
from yoloscope_exporter.reports.figures import Figure, figures
from yoloscope_exporter.reports.rank import RankWindow, rank_windows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
    from yoloscope_exporter.diagnosis.follow_up import Past
    from yoloscope_exporter.diagnosis.slow_files import SlowFile
    from yoloscope_exporter.diagnosis.thresholds import Thresholds
    from yoloscope_exporter.measures.series import Store

#: What was configured, beside the facts of a run; `workers` and `batch` are those of a rank.
CONFIGURED = {"epochs": catalog.TRAIN_EPOCHS, "workers": catalog.TRAIN_WORKERS, "batch": catalog.TRAIN_BATCH_SIZE}


#: What a run is that is nothing of PREDICTIONS.
TRAINING = "train"
#: Kinds of runs on whose speed there are verdicts.
JUDGED = (TRAINING, "predict")


class Export(NamedTuple):
    """An export to a format: seconds it took, and bytes of what came of it, None where that is not known."""

    format: str
    seconds: float
    size: float | None


class Worker(NamedTuple):
    """A loader worker: mean seconds per batch, and the share of them that computed."""

    rank: str
    name: str
    batches: float
    seconds: float
    computing: float | None


@dataclass(frozen=True)
class Summary:
    """What is reported of one run.

    Attributes:
        start, end: Unix seconds of what was seen of it.
        figures: by the names of `QUANTITIES`.
        budget: seconds by phase, mean over ranks.
        states: (from, to, state) in order.
        workers: slowest first.
        latency: of preparing a batch, over all workers: quantile -> seconds.
        slow_files: those that took the loader workers longest, the slowest first.
        kind: TRAINING, or one of PREDICTIONS, which have no epochs, no workers and no states.
        exports: the last one to each format.
        past: as far as advice and its effect are concerned; None of what is no training.
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
    slow_files: tuple[SlowFile, ...] = ()
    kind: str = TRAINING
    exports: tuple[Export, ...] = ()
    past: Past | None = None

    @property
    def images_per_second(self) -> float | None:
        """Of training, all ranks together."""
        return self.figures["throughput"].value if "throughput" in self.figures else None

    @property
    def trains(self) -> bool:
        """Whether it is a training."""
        return self.kind == TRAINING


class UnknownRunError(Exception):
    """The run is not in what was read; `known` are the runs that are."""

    def __init__(self, run: str, known: Sequence[str]) -> None:
        """Keep the names for the message."""
        there = names.unknown(run, known) if known else text("there is no run at all")
        super().__init__(text("no run {run!r} here; {there}", run=run, there=there))
        self.known = tuple(known)


def known_runs(stores: Sequence[Store], up: Metric = catalog.TRAIN_UP) -> list[str]:
    """Names of the trainings, or of what has `up`, in the order in which they were first seen."""
    first: dict[str, float] = {}
    for store in stores:
        for labels, series in store.series.get(up.name, {}).items():
            first[labels[0]] = min(first.get(labels[0], math.inf), series.times[0])
    return sorted(first, key=lambda run: first[run])


def clusters(stores: Sequence[Store], run: str) -> list[str]:
    """Clusters in which there is a run of this name."""
    names = (catalog.TRAIN_UP.name, catalog.PREDICT_UP.name)
    ups = ((store.cluster, labels[0]) for store in stores for name in names for labels in store.series.get(name, {}))
    return sorted({cluster or text("(without a name)") for cluster, name in ups if name == run})


def summarize(stores: Sequence[Store], run: str, limits: Thresholds | None = None) -> Summary:
    """Sum up one run from the stores of the nodes it ran on.

    Raises:
        UnknownRunError: it is not in them.
    """
    ranks = [rank for store in stores for rank in rank_windows(store, run)]
    if not ranks:
        raise UnknownRunError(run, known_runs(stores))
    course = diagnose_range(stores, limits)
    own = [diagnosis for diagnosis in course.diagnoses if diagnosis.run == run]
    start, end = min(s.window.start for s in ranks), max(s.window.end for s in ranks)
    found = Summary(
        run=run,
        state=own[0].state if own else "",
        facts=_configured(ranks) | dict(own[0].signals.facts if own else {}),
        start=start,
        end=end,
        figures={name: figure for name, figure in figures(ranks).items() if figure is not None},
        budget=budget(ranks, catalog.TRAIN_PHASE_SECONDS_TOTAL, catalog.PHASES),
        epochs=epochs(ranks),
        workers=_workers(ranks),
        latency=_latency(ranks),
        curves=curves(ranks),
        states=_states(ranks[0]),
        verdicts=tuple((diagnosis.rank, verdict) for diagnosis in own for verdict in diagnosis.verdicts),
        notes=course.notes,
        slow_files=slow_files.of([one.window for one in ranks], run),
    )
    return replace(found, past=_past(found, own[0]) if own else None)


def _past(summary: Summary, first: Diagnosis) -> Past:
    """With the advice to all ranks; that to the first one counts where they differ."""
    told = {verdict.name: verdict.advice for _, verdict in reversed(summary.verdicts) if verdict.advice.arguments}
    return replace(follow_up.past(first.signals, summary.images_per_second, told), rank="")


def _configured(ranks: Sequence[RankWindow]) -> dict[str, str]:
    """Arguments that are metrics, not facts: they may change while a run goes on, and its last value counts."""
    values = {name: ranks[0].window.last(metric, *ranks[0].key) for name, metric in CONFIGURED.items()}
    return {name: f"{value:g}" for name, value in values.items() if value is not None}


def budget(ranks: Sequence[RankWindow], spent: Metric, phases: Sequence[str]) -> dict[str, float]:
    """Seconds by phase, mean over ranks; `spent` counts them."""
    totals = {phase: fmean(one.grown(spent, phase) or 0.0 for one in ranks) for phase in phases}
    return {phase: seconds for phase, seconds in totals.items() if seconds > 0}


def _workers(ranks: Sequence[RankWindow]) -> tuple[Worker, ...]:
    found = []
    for one in ranks:
        for labels in one.window.labels(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, *one.key):
            seconds = one.grown(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, labels[2])
            batches = one.grown(catalog.TRAIN_WORKER_BATCHES_TOTAL, labels[2])
            computing = one.grown(catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, labels[2])
            if seconds and batches:
                share = computing / seconds if computing is not None else None
                found.append(Worker(one.rank, labels[2], batches, seconds / batches, share))
    return tuple(sorted(found, key=lambda worker: -worker.seconds))


def _latency(ranks: Sequence[RankWindow]) -> dict[float, float]:
    """Quantiles over the batches of all ranks."""
    metric = catalog.TRAIN_LOADER_BATCH_SECONDS
    totals = [total for one in ranks if (total := one.window.total(metric, *one.key))]
    values = {q: quantile(metric, merged(totals), q) for q in (0.5, 0.95, 0.99)} if totals else {}
    return {q: value for q, value in values.items() if value is not None}


def _states(one: RankWindow) -> tuple[tuple[float, float, str], ...]:
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
