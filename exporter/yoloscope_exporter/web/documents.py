"""What the page and `/api/v1` say, as JSON: from the newest snapshot, the diagnosis and the history. Pure.

Quantities are those of `measures`, under their names and in the catalogue's units; what is not known is left out.
"""

from __future__ import annotations

from collections import defaultdict
from math import isfinite
from typing import TYPE_CHECKING, Any

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.engine import worst_first
from yoloscope_exporter.diagnosis.serialize import verdict_json
from yoloscope_exporter.history.courses import ANATOMY, IMAGES, OF_GPUS, OF_RANKS, PREDICT_IMAGES
from yoloscope_exporter.history.curves import rounded
from yoloscope_exporter.history.events import STATES
from yoloscope_exporter.language import finished, text, translated
from yoloscope_exporter.language.units import in_order
from yoloscope_exporter.web import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
    from yoloscope_exporter.history.events import Event
    from yoloscope_exporter.history.store import History
    from yoloscope_exporter.measures.evaluate import Vector
    from yoloscope_exporter.sampling.snapshot import Snapshot

#: Runs in a list, unless more are asked for.
MOST_RUNS = 100
#: A GPU's figures are those of so many seconds: a tile follows what happens.
GPU_SECONDS = 15.0
#: Facts of a run that stand below its name.
FACTS = (
    *("task", "model", "format", "precision", "data", "source", "imgsz", "batch", "optimizer", "amp", "cache"),
    *("workers", "device", "ultralytics", "torch", "user"),
)

Labels = tuple[str, ...]
#: Of trainings, and of whatever else has runs.
_UPS = tuple(m for m in catalog.METRICS if m.labels == ("run", "rank") and m.name.endswith("_up"))
_INFOS = tuple(m for m in catalog.METRICS if m.name.endswith("_run_info"))
_STARTS = tuple(m for m in catalog.METRICS if m.name.endswith("_start_timestamp_seconds"))
SHOWN = frozenset(
    metric.name
    for metric in (
        *STATES,
        *_UPS,
        *_INFOS,
        *_STARTS,
        catalog.TRAIN_DEVICE_INFO,
        catalog.TRAIN_EPOCH,
        catalog.TRAIN_EPOCHS,
        catalog.TRAIN_BATCHES_TOTAL,
        catalog.TRAIN_REMAINING_SECONDS,
        catalog.TRAIN_SETUP_STAGE,
        catalog.TRAIN_SETUP_PROGRESS_RATIO,
        catalog.TRAIN_QUEUE_DEPTH,
        catalog.TRAIN_QUEUE_CAPACITY,
        catalog.TRAIN_CUDA_MEMORY_BYTES,
        catalog.TRAIN_HANG_INFO,
        catalog.GPU_INFO,
        catalog.GPU_UP,
        catalog.GPU_MEMORY_USED_BYTES,
        catalog.GPU_MEMORY_TOTAL_BYTES,
        catalog.GPU_POWER_LIMIT_WATTS,
        catalog.GPU_THROTTLED,
    )
)


class View:
    """What is shown of a snapshot, by metric and labels; looked through once for all documents."""

    def __init__(self, snapshot: Snapshot, diagnoses: Sequence[Diagnosis]) -> None:
        """Sort the samples."""
        self.time = snapshot.time
        self.collectors = [{"name": name, "samples": len(samples)} for name, samples in snapshot.samples.items()]
        self._values: dict[str, dict[Labels, float]] = defaultdict(dict)
        for metric, labels, value in snapshot:
            if metric.name in SHOWN and not isinstance(value, catalog.HistogramValue):
                self._values[metric.name][labels] = value
        self.diagnoses: dict[str, list[Diagnosis]] = defaultdict(list)
        for one in diagnoses:
            self.diagnoses[one.run].append(one)
        self.ranks: dict[str, list[str]] = defaultdict(list)
        self.states: dict[Labels, str] = {}
        for run, rank, state in self.on(*STATES):
            self.ranks[run].append(rank)
            self.states[run, rank] = state
        for ranks in self.ranks.values():
            ranks.sort(key=in_order)
        self.alive = set(self.on(*_UPS))

    def of(self, metric: Metric) -> Mapping[Labels, float]:
        """Values by labels."""
        return self._values.get(metric.name, {})

    def on(self, *metrics: Metric) -> list[Labels]:
        """Labels of what is not 0."""
        return [labels for metric in metrics for labels, value in self.of(metric).items() if value]


def _known(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever is JSON
    """Those that are there; a number that is none is not."""
    there = {name: value for name, value in fields.items() if value is not None}
    return {name: value for name, value in there.items() if not isinstance(value, float) or isfinite(value)}


# --- all runs ---------------------------------------------------------------------------------------------------------


def runs(view: View, history: History, language: str, most: int = MOST_RUNS) -> dict[str, Any]:
    """Every run: those that live first, then the most severe, then the newest."""
    speeds = _speeds(history)
    found = sorted((_summary(view, run, speeds, language) for run in view.ranks), key=_urgency)
    return {"total": len(found), "runs": found[:most]}


def _speeds(history: History) -> dict[str, float]:
    """Images per second of all ranks together, by run."""
    found = history.now((IMAGES, PREDICT_IMAGES))
    speeds = {labels: value for vector in found.values() for labels, value in vector.items()}
    return {dict(labels)["run"]: rounded(value) for labels, value in speeds.items() if isfinite(value)}


def _urgency(run: Mapping[str, Any]) -> tuple[bool, int, float, str]:
    severity = rules.SEVERITIES.index(run["severity"]) if "severity" in run else 0
    return not run["alive"], -severity, -run.get("start", 0.0), run["run"]


def _summary(view: View, run: str, speeds: Mapping[str, float], language: str) -> dict[str, Any]:
    ranks = view.ranks[run]
    alive = [rank for rank in ranks if (run, rank) in view.alive]
    first = (run, (alive or ranks)[0])
    state = view.states[first]
    verdicts = worst_first({verdict.name: verdict for one in view.diagnoses[run] for verdict in one.verdicts}.values())
    worst = verdicts[0] if verdicts else None
    return _known(
        run=run,
        state=state,
        state_text=words.told(words.STATES, state, language),
        alive=bool(alive),
        ranks=len(ranks),
        start=next((view.of(metric)[first] for metric in _STARTS if first in view.of(metric)), None),
        epoch=view.of(catalog.TRAIN_EPOCH).get(first),
        epochs=view.of(catalog.TRAIN_EPOCHS).get(first),
        remaining_seconds=view.of(catalog.TRAIN_REMAINING_SECONDS).get(first),
        images_per_second=speeds.get(run) if alive else None,
        verdict=worst and worst.name,
        severity=worst and worst.severity,
        title=worst and _told(worst.title, language),
    )


# --- one run ----------------------------------------------------------------------------------------------------------


def run(view: View, history: History, name: str, language: str) -> dict[str, Any] | None:
    """A run with its verdicts, ranks and the anatomy of its step; None where there is none of that name."""
    if name not in view.ranks:
        return None
    figures = by_rank(history.now(OF_RANKS, name))
    phases = by_rank(history.now(ANATOMY, name))
    return {
        **_summary(view, name, _speeds(history), language),
        "facts": _facts(view, name),
        "verdicts": verdicts(view.diagnoses[name], language),
        "rank": [_rank(view, name, rank, figures.get(rank, {}), language) for rank in view.ranks[name]],
        "anatomy": {rank: _anatomy(phases[rank]) for rank in view.ranks[name] if rank in phases},
        **_known(hang=_hang(view, name, language)),
    }


def by_rank(found: Mapping[str, Vector]) -> dict[str, dict[str, float]]:
    """Values by rank and name."""
    return _by(found, "rank")


def _by(found: Mapping[str, Vector], label: str) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for name, vector in found.items():
        for labels, value in vector.items():
            if isfinite(value):
                values[dict(labels).get(label, "")][name] = rounded(value)
    return values


def _facts(view: View, name: str) -> dict[str, str]:
    for metric in _INFOS:
        for labels in view.of(metric):
            if labels[0] == name:
                known = dict(zip(metric.labels, labels, strict=True))
                return {fact: known[fact] for fact in FACTS if known.get(fact)}
    return {}


def _rank(view: View, run: str, rank: str, figures: Mapping[str, float], language: str) -> dict[str, Any]:
    key = (run, rank)
    state = view.states[key]
    memory = {
        kind: value for (*who, kind), value in view.of(catalog.TRAIN_CUDA_MEMORY_BYTES).items() if tuple(who) == key
    }
    gpus = sorted((labels[2] for labels in view.of(catalog.TRAIN_DEVICE_INFO) if labels[:2] == key), key=in_order)
    stage = next((labels[2] for labels in view.on(catalog.TRAIN_SETUP_STAGE) if labels[:2] == key), None)
    return _known(
        rank=rank,
        state=state,
        state_text=words.told(words.STATES, state, language),
        alive=key in view.alive,
        gpus=gpus,
        epoch=view.of(catalog.TRAIN_EPOCH).get(key),
        batches=view.of(catalog.TRAIN_BATCHES_TOTAL).get(key),
        setup_stage=stage if state == "setup" else None,
        setup_progress=view.of(catalog.TRAIN_SETUP_PROGRESS_RATIO).get(key) if state == "setup" else None,
        queue_depth=view.of(catalog.TRAIN_QUEUE_DEPTH).get(key),
        queue_capacity=view.of(catalog.TRAIN_QUEUE_CAPACITY).get(key),
        cuda_memory_bytes=memory or None,
        **figures,
    )


def _anatomy(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Phases that take time, as seconds of a batch and as a share of all of it."""
    whole = sum(seconds.values())
    return [
        {"phase": phase, "seconds": value, "share": rounded(value / whole)}
        for phase, value in seconds.items()
        if value > 0
    ]


def _hang(view: View, name: str, language: str) -> str | None:
    for labels in view.of(catalog.TRAIN_HANG_INFO):
        if labels[0] == name:
            told = catalog.hang_in_words(dict(zip(catalog.HANG_FACTS, labels[2:], strict=True)))
            return _told(told, language)
    return None


# --- verdicts ---------------------------------------------------------------------------------------------------------


def verdicts(diagnoses: Iterable[Diagnosis], language: str) -> list[dict[str, Any]]:
    """Verdicts of all ranks, the most severe first; one that several ranks have stands once, in the first's words."""
    told: dict[str, Verdict] = {}
    ranks: dict[str, list[str]] = defaultdict(list)
    for one in diagnoses:
        for verdict in one.verdicts:
            told.setdefault(verdict.name, verdict)
            ranks[verdict.name].append(one.rank)
    return [_verdict(verdict, ranks[verdict.name], language) for verdict in worst_first(told.values())]


def _verdict(verdict: Verdict, ranks: Sequence[str], language: str) -> dict[str, Any]:
    whole = verdict_json(verdict)
    effect = [_told(name, language) for name in verdict.advice.effect or (words.NO_EFFECT,)]
    healthy = verdict.severity == rules.OK
    return {
        "ranks": sorted(ranks, key=in_order),
        "name": verdict.name,
        "severity": verdict.severity,
        "severity_text": words.told(words.SEVERITIES, verdict.severity, language),
        "title": _told(verdict.title, language),
        "evidence": _told(verdict.evidence, language),
        "cause": "" if healthy else _told(verdict.cause, language),
        "verify": "" if healthy else _told(verdict.verify, language),
        "fix": "" if healthy else _told(verdict.fix, language),
        "copy": "" if healthy else typed(verdict) or _told(verdict.fix, language),
        "effect": effect if verdict.advice.arguments else [],
        "gain": _told(verdict.gain or "", language),
        "forecast": whole["forecast"],
        "arguments": whole["arguments"],
        "environment": whole["environment"],
    }


def typed(verdict: Verdict) -> str:
    """What one types to follow the advice: variables and arguments; empty where there are none."""
    pairs = {**verdict.advice.environment, **verdict.advice.arguments}
    return " ".join(f"{name}={value}" for name, value in pairs.items())


def _told(text: str, language: str) -> str:
    """A text of the diagnosis in the page's language, as far as there is a translation."""
    return translated(finished(text), language)


# --- the node ---------------------------------------------------------------------------------------------------------


def gpus(view: View, history: History, language: str) -> list[dict[str, Any]]:
    """Each GPU; one that has fallen off the bus keeps its facts."""
    figures = _by(history.now(OF_GPUS, seconds=GPU_SECONDS), "gpu")
    info = {labels[0]: dict(zip(catalog.GPU_INFO.labels, labels, strict=True)) for labels in view.of(catalog.GPU_INFO)}
    lost = {labels[0] for labels, up in view.of(catalog.GPU_UP).items() if not up}
    trains: dict[str, list[dict[str, str]]] = defaultdict(list)
    for run, rank, gpu, _ in view.of(catalog.TRAIN_DEVICE_INFO):
        if (run, rank) in view.alive:
            trains[gpu].append({"run": run, "rank": rank})
    reasons: dict[str, list[str]] = defaultdict(list)
    for gpu, reason in view.on(catalog.GPU_THROTTLED):
        reasons[gpu].append(words.told(words.THROTTLE_REASONS, reason, language))
    return [
        _known(
            gpu=gpu,
            name=info.get(gpu, {}).get("name"),
            uuid=info.get(gpu, {}).get("uuid"),
            up=gpu not in lost,
            memory_used_bytes=view.of(catalog.GPU_MEMORY_USED_BYTES).get((gpu,)),
            memory_total_bytes=view.of(catalog.GPU_MEMORY_TOTAL_BYTES).get((gpu,)),
            power_limit_watts=view.of(catalog.GPU_POWER_LIMIT_WATTS).get((gpu,)),
            throttled=reasons[gpu],
            trains=trains[gpu],
            **figures.get(gpu, {}),
        )
        for gpu in sorted(info.keys() | lost, key=in_order)
    ]


def events(found: Iterable[Event], language: str) -> list[dict[str, Any]]:
    """Events in words, the oldest first."""
    return [_event(event, language) for event in found]


def _event(event: Event, language: str) -> dict[str, Any]:
    value = words.told(words.STATES, event.value, language) if event.kind == "state" else _told(event.value, language)
    rule = rules.BY_NAME.get(event.name)
    severity = rule.severity if rule and event.kind == "began" else _SEVERITIES.get(event.kind, rules.INFO)
    if event.kind == "state" and event.value in ("failed", "killed"):
        severity = rules.CRITICAL
    return {
        "number": event.number,
        "time": event.time,
        "kind": event.kind,
        "run": event.run,
        "rank": event.rank,
        "name": event.name,
        "value": event.value,
        "severity": severity,
        "text": translated(text(words.EVENTS[event.kind], name=event.name, value=value), language),
    }


_SEVERITIES = {"worker_died": rules.WARNING, "hang": rules.CRITICAL, "gpu_lost": rules.CRITICAL, "xid": rules.CRITICAL}
