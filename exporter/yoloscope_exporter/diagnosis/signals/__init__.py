"""Signals: what one rank's window says, as numbers. Pure functions over a window; what cannot be known is absent.

To add a signal: in its area's file, one `Signal` with its meaning and one line in the function that computes it. A
metric of the node that no signal has asked for yet stands in the area's `METRICS`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.signals import (
    death,
    gpu,
    host,
    learning,
    loader,
    memory,
    peers,
    prediction,
    run,
    setup,
    slow_batch,
    step,
)
from yoloscope_exporter.diagnosis.signals.death import DeathSignals
from yoloscope_exporter.diagnosis.signals.gpu import GpuSignals
from yoloscope_exporter.diagnosis.signals.host import HostSignals
from yoloscope_exporter.diagnosis.signals.learning import LearningSignals
from yoloscope_exporter.diagnosis.signals.loader import LoaderSignals
from yoloscope_exporter.diagnosis.signals.memory import MemorySignals
from yoloscope_exporter.diagnosis.signals.peers import PeerSignals, with_peers
from yoloscope_exporter.diagnosis.signals.prediction import PredictionSignals
from yoloscope_exporter.diagnosis.signals.run import RunSignals
from yoloscope_exporter.diagnosis.signals.setup import SetupSignals
from yoloscope_exporter.diagnosis.signals.signal import Numbers, Signal
from yoloscope_exporter.diagnosis.signals.slow_batch import SlowBatchSignals
from yoloscope_exporter.diagnosis.signals.step import StepSignals
from yoloscope_exporter.diagnosis.signals.view import Machine, View, view_of
from yoloscope_exporter.language import Text, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from yoloscope_exporter.measures.series import Window
    from yoloscope_exporter.measures.thresholds import Thresholds

#: The names of a template's placeholders.
NAMED = re.compile(r"\{(\w+)")
#: The functions that compute the signals of one rank.
PARTS: tuple[Callable[[View], Numbers], ...] = (
    step.step,
    run.settings,
    run.shares_of_run,
    run.liveness,
    run.stillness,
    loader.preparation,
    loader.worker_processes,
    loader.deaths,
    setup.setup,
    slow_batch.slow_batch,
    slow_batch.silences,
    host.cpu,
    host.storage,
    memory.memory,
    memory.growth,
    gpu.cuda,
    gpu.gpu,
    gpu.versions,
    learning.learning,
    peers.own,
    death.death,
)

#: The functions that compute the names of one rank.
NAMES: tuple[Callable[[View], Mapping[str, str]], ...] = (
    step.slowest_callback,
    step.validation_parts,
    loader.death_signals,
    setup.stage,
    run.hang,
    run.end,
    death.names,
    memory.growing,
    slow_batch.names,
    host.neighbours,
)

#: Names of the families that signals are computed from; the diagnosis' own results are none of them.
METRICS = frozenset(
    metric.name
    for metric in catalog.METRICS
    if metric.area in ("train", "cgroup", "predict")
    or metric in (*host.METRICS, *memory.METRICS, *gpu.METRICS, *death.METRICS)
) - {
    catalog.TRAIN_VERDICT.name,
    catalog.TRAIN_VERDICT_FIX_INFO.name,
    catalog.TRAIN_VERDICT_CAUSE_INFO.name,
    catalog.TRAIN_GOODPUT_RATIO.name,
    catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL.name,
    catalog.TRAIN_WASTED_ENERGY_JOULES_TOTAL.name,
    catalog.PREDICT_VERDICT.name,
    catalog.PREDICT_VERDICT_FIX_INFO.name,
}


@dataclass(frozen=True)
class Signals(
    StepSignals,
    SlowBatchSignals,
    RunSignals,
    SetupSignals,
    LoaderSignals,
    HostSignals,
    MemorySignals,
    GpuSignals,
    LearningSignals,
    PeerSignals,
    DeathSignals,
    PredictionSignals,
):
    """What is known of one rank: `s.prep_seconds` is a number, and a KeyError where it is unknown.

    Attributes:
        facts: labels of train_run_info (empty values left out).
        numbers: by the names of signals; missing means unknown.
        names: identities that evidence speaks of: `gpu`, `slowest_worker`, `lag_phase`, `held_idle`, `held_by`,
            `callback`, `validation_parts`, `validation_part`, `own_part`, `death_signals`, `growing`, `setup_stage`,
            `slow_phase`, `slow_file`, `neighbours`, `hang` (a sentence) and its facts as `hang_culprit`,
            `hang_process`, `hang_doing` ..., and how the rank ended: `end_exception`, `end_message`, `end_signal` ...,
            with its job, its GPU (`death_gpu`) and that one's `xid`.
        local: seconds per batch by phase, for the comparison of ranks.
        predicts: whether it is no training: a process that predicts, validates on its own or exports.
    """

    run: str
    rank: str
    state: str = ""
    up: bool = True
    facts: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[str, float] = field(default_factory=dict)
    predicts: bool = False

    def get(self, signal: Signal, default: float = 0.0) -> float:
        """The number, or `default` if it is unknown."""
        return self.numbers.get(signal.name, default)

    def has(self, *signals: Signal) -> bool:
        """Whether all these numbers are known."""
        return all([signal.name in self.numbers for signal in signals])  # noqa: C419 - faster than a generator, and often called

    def text(self, template: str, /, **values: object) -> Text:
        """A text about the rank: its placeholders are numbers and names of signals, or among `values`."""
        known = {name: self._told(name) for name in NAMED.findall(template) if name not in values}
        return text(template, **known, **values)

    def _told(self, name: str) -> object:
        return getattr(self, name) if hasattr(self, name) else self.names[name]

    def with_numbers(self, numbers: Numbers, names: Mapping[str, str] | None = None) -> Signals:
        """The same with more, or other, numbers and names."""
        return replace(self, numbers={**self.numbers, **known(numbers)}, names={**self.names, **(names or {})})


#: Every signal by its name.
SIGNALS: dict[str, Signal] = {
    name: signal for area in Signals.__bases__ for name, signal in vars(area).items() if isinstance(signal, Signal)
}


def known(numbers: Numbers) -> dict[str, float]:
    """The numbers that are known, by the names of their signals."""
    return {signal.name: value for signal, value in numbers.items() if value is not None and isfinite(value)}


def ranks(window: Window) -> list[tuple[str, str]]:
    """(run, rank) of every rank that is published at the end of the window, in order."""
    return sorted((name, rank) for name, rank in window.current(catalog.TRAIN_UP))


def predictions(window: Window) -> list[tuple[str, str]]:
    """The same of every process that predicts, validates on its own or exports."""
    return sorted((name, rank) for name, rank in window.current(catalog.PREDICT_UP))


def gather(
    windows: Iterable[tuple[Window, Window]],
    faults: Faults | None = None,
    started: dict[tuple[str, str], float] | None = None,
) -> list[Signals]:
    """Signals of every rank in the windows of one or more nodes, the comparison with its peers included.

    Args:
        windows: of each node, the short window for what is, and the long one for what grows.
        faults: takes what fails for one rank.
        started: when the ranks that were heard before began, for windows that follow; it is kept up here.
    """
    faults, pairs = faults or Faults(), list(windows)
    speaking = _speaking([short for short, _ in pairs], {} if started is None else started)
    gathered = [_gather_node(short, long, own, faults) for (short, long), own in zip(pairs, speaking, strict=True)]
    told = {
        (s.run, s.rank): s for s in sorted((s for short, _ in pairs for s in _predictions(short, faults)), key=_lives)
    }
    return [*with_peers([s for node in gathered for s in node], faults), *told.values()]


def _speaking(windows: Sequence[Window], started: dict[tuple[str, str], float]) -> list[list[tuple[str, str]]]:
    """The ranks of each node that are judged there.

    A run that was resumed on another node is still shown, dead, on the first one, for longer than its end on the other;
    a node that is scraped twice shows its ranks twice. The living one speaks, or the one that started last.
    """
    found: dict[tuple[str, str], tuple[bool, float, int]] = {}
    for index, window in enumerate(windows):
        for key in ranks(window):
            alive = window.last(catalog.TRAIN_UP, *key) == 1
            begun = window.last(catalog.TRAIN_START_TIMESTAMP_SECONDS, *key) or 0.0
            if alive or begun >= started.get(key, 0.0):
                found[key] = max(found.get(key, (False, -1.0, index)), (alive, begun, index))
    started |= {key: max(begun, started.get(key, 0.0)) for key, (_, begun, _) in found.items()}
    return [[key for key, (_, _, node) in sorted(found.items()) if node == index] for index in range(len(windows))]


def _gather_node(short: Window, long: Window, speaking: Sequence[tuple[str, str]], faults: Faults) -> list[Signals]:
    machine = cache(Machine)  # most ranks are judged over the same window
    gathered = []
    for name, rank in speaking:
        with faults.passed_over("gathering signals", name, rank):
            gathered.append(gather_one(view_of(short, long, name, rank, machine), faults))
    return gathered


def _lives(s: Signals) -> bool:
    return s.up


def _predictions(short: Window, faults: Faults) -> list[Signals]:
    """Signals of the processes of a node that predict; each has its window from its own first sample on."""
    gathered = []
    for run_, rank in predictions(short):
        with faults.passed_over("gathering signals of predictions", run_, rank):
            points = short.points(catalog.PREDICT_UP, run_, rank)
            now = short.since(points[0][0]) if points else short
            facts, state = prediction.facts(now, run_, rank), prediction.state(now, run_, rank)
            v = View(run_, rank, state, facts, prediction.gpu(now, facts), now, now, Machine(now), now)
            names, numbers = prediction.own_part(v), known(prediction.prediction(v))
            up = bool(now.last(catalog.PREDICT_UP, run_, rank))
            gathered.append(Signals(run_, rank, state, up, facts, numbers, names, predicts=True))
    return gathered


def gather_one(v: View, faults: Faults) -> Signals:
    """Signals of one rank, without its peers; those of a part that fails are unknown."""
    up = v.now.last(catalog.TRAIN_UP, v.run, v.rank)
    names: dict[str, str] = {"gpu": v.gpu} if v.gpu else {}
    numbers: Numbers = {}
    for part in PARTS:
        with faults.passed_over("the signals of {part}", v.run, v.rank, part.__name__):
            numbers |= part(v)
    for naming in NAMES:
        with faults.passed_over("the names of {part}", v.run, v.rank, naming.__name__):
            names |= naming(v)
    if v.slowest_worker:
        names["slowest_worker"] = v.slowest_worker[0]
    return Signals(v.run, v.rank, v.state, up != 0, v.facts, known(numbers), names, step.batch_seconds(v))


def of_node(window: Window, long: Window, limits: Thresholds) -> Signals:
    """Signals of the node itself: which GPUs are held by processes without a training. No run; its name for a rank."""
    numbers, names = gpu.held_idle(window, long, limits)
    return Signals("", window.store.name, numbers=known(numbers), names=names)
