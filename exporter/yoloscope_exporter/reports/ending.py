"""The end of a command that trained or predicted: how it ended, how far its runs came, what held them back. Pure.

The card of `yoloscope run`, the message of `--notify` and `summary.json` tell what stands here.
"""

from __future__ import annotations

import shlex
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_exporter.catalog import STOPPED
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.language import finished, joined, text, translated, units
from yoloscope_exporter.reports.figures import QUANTITIES
from yoloscope_exporter.reports.summary import JUDGED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_exporter.diagnosis.engine import Verdict
    from yoloscope_exporter.reports.summary import Summary

#: Exit codes above it are 128 + n after signal n.
SIGNALLED = 128
MOST_NAMES = 3
#: Of the document `summary.json`; it grows when a key changes its meaning or goes.
FORMAT = 1

#: How a command ended: by its exit code, or the signal that ended it.
_ENDED = {
    "finished": text("{name} finished after {time} on {node}"),
    "failed": text("{name} failed with exit code {code} after {time} on {node}"),
    "killed": text("{name} was killed by {code} after {time} on {node}"),
    "stopped": text("{name} was stopped by {code} after {time} on {node}"),
}
_NAMES = {
    "throughput": text("images/s"),
    "data_wait": text("waiting for data"),
    "gpu_busy": text("GPU utilization"),
    "score": text("best mAP50-95"),
    "energy": text("energy"),
    "images": text("images"),
    "predict_throughput": text("images/s"),
    "latency": text("99% of the images within"),
    "inference": text("in the model"),
    "export_time": text("exported in"),
    "export_size": text("size"),
    "cost": text("cost"),
    "co2": text("CO2"),
}
#: What the score of a task is, where it is another.
_SCORES = {"classify": text("best accuracy"), "semantic": text("best mIoU"), "depth": text("best delta1")}
_FIGURES = (
    "throughput",
    "score",
    "data_wait",
    "gpu_busy",
    "energy",
    "cost",
    "co2",
    "images",
    "predict_throughput",
    "latency",
    "inference",
    "export_time",
    "export_size",
)
#: Verdicts about an end.
ENDS = ("failed", "killed", "worker_died")
#: Causes of an end that somebody has wanted, of diagnosis/causes.py.
MEANT = ("interrupted", "terminated")
#: And those of a rank that ended because of another one.
FOLLOWED = ("launcher", "peer_lost", "collective_timeout", "collective_abort")
#: Verdicts that are told with their cause.
_WITH_CAUSE = (*ENDS, "stalled")
#: Figures by the names of `summary.json`, in base units.
KEYS = {
    "throughput": "images_per_second",
    "typical": "typical_images_per_second",
    "data_wait": "data_wait_ratio",
    "gpu_busy": "gpu_utilization_ratio",
    "well_used": "gpu_well_used_ratio",
    "mfu": "mfu_ratio",
    "goodput": "goodput_ratio",
    "step": "step_seconds",
    "decoding": "decoding_ratio",
    "storage_read": "storage_read_bytes_per_second",
    "epoch": "epoch_seconds",
    "peak_cuda": "peak_gpu_memory_bytes",
    "peak_resident": "peak_process_memory_bytes",
    "score": "best_score",
    "score_50": "best_map50",
    "loss": "last_loss",
    "calls": "calls",
    "batches": "batches",
    "images": "images",
    "boxes": "boxes",
    "abandoned": "dropped_generators",
    "predict_throughput": "predicted_images_per_second",
    "latency_typical": "image_seconds_median",
    "latency": "image_seconds_p99",
    "source": "source_ratio",
    "preprocess": "preprocess_ratio",
    "inference": "inference_ratio",
    "postprocess": "postprocess_ratio",
    "own": "own_code_ratio",
    "detections": "boxes_per_image",
    "export_time": "export_seconds",
    "export_size": "export_bytes",
    "duration": "duration_seconds",
    "energy": "energy_joules",
    "image_energy": "energy_joules_per_image",
    "epoch_energy": "energy_joules_per_epoch",
    "point_energy": "energy_joules_per_point",
    "cpu_energy": "cpu_energy_joules",
    "gpu_hours": "gpu_hours",
    "cost": "cost",
    "co2": "co2_kilograms",
    "wasted": "wasted_gpu_seconds",
    "wasted_energy": "wasted_energy_joules",
    "wasted_cost": "wasted_cost",
}


class Ended(NamedTuple):
    """A command that has ended: with an exit code, after so many seconds, on a node."""

    command: str
    code: int
    seconds: float
    node: str


class Line(NamedTuple):
    """One thing that is told: which, its name in the language (may be empty), and the text."""

    kind: str  # figures, verdict, cause, fix, gain, also, others, more
    name: str
    text: str
    severity: str = rules.INFO


def colon(language: str) -> str:
    """What stands between a name and a text."""
    return translated(text("{colon}: ", colon=""), language)


def went_well(ended: Ended, last: Summary | None) -> bool:
    """Whether nothing failed: it ended by itself, or its last run was a prediction that somebody has stopped."""
    return ended.code == 0 or (last is not None and last.state == STOPPED and bool(_signal(ended.code)))


def title(ended: Ended, runs: Sequence[Summary], language: str) -> str:
    """How the command ended that had these runs."""
    killed_by = _signal(ended.code)
    by_signal = "stopped" if went_well(ended, runs[-1] if runs else None) else "killed"
    state = "finished" if ended.code == 0 else by_signal if killed_by else "failed"
    name = _names([one.run for one in runs]) or ended.command
    time, code = units.duration(ended.seconds), killed_by or ended.code
    return translated(text(_ENDED[state], name=name, time=time, node=ended.node, code=code), language)


def _names(runs: Sequence[str]) -> str:
    """Those of the first runs: a tuner has hundreds."""
    more = f" (+{len(runs) - MOST_NAMES})" if len(runs) > MOST_NAMES else ""
    return ", ".join(runs[:MOST_NAMES]) + more


def _signal(code: int) -> str:
    """The name of the signal that an exit code tells of; empty where it tells of none."""
    try:
        return signal.Signals(code - SIGNALLED).name
    except ValueError:
        return ""


def findings(summary: Summary) -> list[Verdict]:
    """The verdicts of all ranks, each once, the most severe first; where nothing is wrong, that it is healthy.

    Of an end in the words of the rank that has the cause.
    """
    found: dict[str, Verdict] = {}
    for _, verdict in sorted(summary.verdicts, key=lambda one: _explains_little(one[1])):
        found.setdefault(verdict.name, verdict)
    order = sorted(found.values(), key=_weight)
    wrong = [verdict for verdict in order if verdict.severity not in {rules.OK, rules.INFO}]
    return wrong or [verdict for verdict in order if verdict.severity == rules.OK]


def _weight(verdict: Verdict) -> tuple[int, bool]:
    return -rules.SEVERITIES.index(verdict.severity), _explains_little(verdict)


def _explains_little(verdict: Verdict) -> bool:
    """Whether it is an end that somebody wanted, or that followed another rank's: what was wrong before says more."""
    return verdict.name in ENDS and verdict.cause.partition(":")[0] in (*MEANT, *FOLLOWED)


def message_lines(summary: Summary, language: str) -> Iterator[Line]:
    """What a message tells of a run: its figures, and all that held it back with what to do."""
    yield from _figures(summary, language)
    for verdict in findings(summary):
        yield from _verdict(verdict, language)


def card_lines(summaries: Sequence[Summary], language: str) -> Iterator[Line]:
    """What the card tells: the last run, the worst of its verdicts, and what to type to see more."""
    summary = summaries[-1]
    yield from _figures(summary, language)
    found = findings(summary)
    for verdict in found[:1]:
        yield from _verdict(verdict, language)
    if not found and summary.kind in JUDGED:
        unknown = text("none: too little was seen to judge")
        yield _line("verdict", text("Verdict"), unknown, language)
    if len(found) > 1:
        yield _line("also", text("Also"), ", ".join(verdict.name for verdict in found[1:]), language)
    if len(summaries) > 1:
        others = text("{number} more of this command", number=len(summaries) - 1)
        yield _line("others", text("Others"), others, language)
    option = "--black-box " if summary.trains and summary.state in {"failed", "killed"} else ""
    yield _line("more", text("More"), f"yoloscope report {option}{shlex.quote(summary.run)}", language)


def _line(kind: str, name: str, told: str, language: str, severity: str = rules.INFO) -> Line:
    return Line(kind, translated(name, language), translated(finished(told), language), severity)


def _figures(summary: Summary, language: str) -> Iterator[Line]:
    names = _NAMES | {"score": _SCORES.get(summary.facts.get("task", ""), _NAMES["score"])}
    told = [f"{translated(text('epochs'), language)} {epochs(summary)}"] if summary.epochs else []
    told += [
        f"{translated(names[name], language)} {QUANTITIES[name].form(summary.figures[name].value)}"
        for name in _FIGURES
        if name in summary.figures
    ]
    if told:
        yield Line("figures", "", " · ".join(told))


def epochs(summary: Summary) -> str:
    """The epoch in which the run ended, and how many were asked for: `17/100`."""
    asked = summary.facts.get("epochs", "")
    return f"{summary.epochs[-1].number}{f'/{asked}' if asked else ''}"


def _verdict(verdict: Verdict, language: str) -> Iterator[Line]:
    healthy = verdict.severity == rules.OK
    evidence = joined((verdict.name, verdict.evidence), ": ")
    yield _line("verdict", text("Verdict"), evidence, language, verdict.severity)
    if verdict.name in _WITH_CAUSE:
        yield _line("cause", text("Cause"), verdict.cause, language)
    if verdict.fix and not healthy:
        yield _line("fix", text("Fix"), verdict.fix, language)
    if verdict.gain and not healthy:
        yield _line("gain", text("Forecast"), verdict.gain, language)


def document(ended: Ended, summary: Summary) -> dict[str, Any]:
    """The content of `summary.json`: English, base units; what is not known is not there."""
    return {
        "format": FORMAT,
        "run": summary.run,
        "state": summary.state,
        "node": ended.node,
        "command": ended.command,
        "exit_code": ended.code,
        "start": units.utc(summary.start),
        "end": units.utc(summary.end),
        "metrics": dict(_metrics(summary)),
        "verdicts": [_entry(rank, verdict) for rank, verdict in summary.verdicts],
        "facts": dict(summary.facts),
    }


def _metrics(summary: Summary) -> Iterator[tuple[str, float]]:
    if summary.epochs:
        yield "epoch", summary.epochs[-1].number
    yield from ((KEYS[name], figure.value) for name, figure in summary.figures.items())


def _entry(rank: str, verdict: Verdict) -> Mapping[str, Any]:
    told = {
        "rank": rank,
        "name": verdict.name,
        "severity": verdict.severity,
        "evidence": verdict.evidence,
        "cause": verdict.cause,
        "fix": verdict.fix,
        "forecast": verdict.gain,
        "share": verdict.share,
        "arguments": dict(verdict.advice.arguments),
    }
    return {name: value for name, value in told.items() if value not in (None, "", {})}
