"""The end of a command that trained: how it ended, how far its runs came, what held them back. Pure.

The card of `yoloscope run`, the message of `--notify` and `summary.json` tell what stands here.
"""

from __future__ import annotations

import shlex
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_exporter.diagnosis import rules, units
from yoloscope_exporter.diagnosis.chinese import cause_in_chinese, in_chinese
from yoloscope_exporter.reports.figures import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_exporter.diagnosis.engine import Verdict
    from yoloscope_exporter.reports.summary import Summary

#: Exit codes above it are 128 + n after signal n.
SIGNALLED = 128
MOST_NAMES = 3
#: Of the document `summary.json`; it grows when a key changes its meaning or goes.
FORMAT = 1

_WORDS = {
    "en": {
        "finished": "{} finished after {} on {}",
        "failed": "{} failed with exit code {code} after {} on {}",
        "killed": "{} was killed by {code} after {} on {}",
        "epochs": "epochs",
        "throughput": "images/s",
        "data_wait": "waiting for data",
        "gpu_busy": "GPU utilization",
        "score": "best mAP50-95",
        "accuracy": "best accuracy",
        "energy": "energy",
        "verdict": "Verdict",
        "unknown": "none: too little was seen to judge",
        "cause": "Cause",
        "fix": "Fix",
        "gain": "Forecast",
        "also": "Also",
        "others": "Runs",
        "other_runs": "{} more of this command",
        "more": "More",
        "colon": ": ",
    },
    "zh-CN": {
        "finished": "{} 已完成，用时 {}，节点 {}",
        "failed": "{} 失败，退出码 {code}，用时 {}，节点 {}",
        "killed": "{} 被 {code} 终止，用时 {}，节点 {}",
        "epochs": "epoch 数",
        "throughput": "图像/秒",
        "data_wait": "等待数据",
        "gpu_busy": "GPU 利用率",
        "score": "最佳 mAP50-95",
        "accuracy": "最佳准确率",
        "energy": "耗电量",
        "verdict": "诊断结论",
        "unknown": "无：数据太少，无法判断",
        "cause": "原因",
        "fix": "修改方法",
        "gain": "预期",
        "also": "其他结论",
        "others": "其他任务",
        "other_runs": "该命令另有 {} 个训练任务",
        "more": "更多信息",
        "colon": "：",
    },
}
_FIGURES = ("throughput", "score", "data_wait", "gpu_busy", "energy")
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
    "duration": "duration_seconds",
    "energy": "energy_joules",
    "image_energy": "energy_joules_per_image",
    "wasted": "wasted_gpu_seconds",
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
    return _WORDS[language]["colon"]


def title(ended: Ended, runs: Sequence[str], language: str) -> str:
    """How the command ended."""
    killed_by = _signal(ended.code)
    state = "finished" if ended.code == 0 else "killed" if killed_by else "failed"
    name = _names(runs) or ended.command
    return _WORDS[language][state].format(name, units.duration(ended.seconds), ended.node, code=killed_by or ended.code)


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
    words, summary = _WORDS[language], summaries[-1]
    yield from _figures(summary, language)
    found = findings(summary)
    for verdict in found[:1]:
        yield from _verdict(verdict, language)
    if not found:
        yield Line("verdict", words["verdict"], words["unknown"])
    if len(found) > 1:
        yield Line("also", words["also"], ", ".join(verdict.name for verdict in found[1:]))
    if len(summaries) > 1:
        yield Line("others", words["others"], words["other_runs"].format(len(summaries) - 1))
    option = "--black-box " if summary.state in {"failed", "killed"} else ""
    yield Line("more", words["more"], f"yoloscope report {option}{shlex.quote(summary.run)}")


def _figures(summary: Summary, language: str) -> Iterator[Line]:
    words = dict(_WORDS[language])
    if summary.facts.get("task") == "classify":
        words["score"] = words["accuracy"]
    told = [f"{words['epochs']} {epochs(summary)}"] if summary.epochs else []
    told += [
        f"{words[name]} {QUANTITIES[name].form(summary.figures[name].value)}"
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
    words = _WORDS[language]
    healthy = verdict.severity == rules.OK
    cause, fix = _texts(verdict, language)
    yield Line("verdict", words["verdict"], f"{verdict.name}: {verdict.evidence}", verdict.severity)
    if verdict.name in _WITH_CAUSE:
        yield Line("cause", words["cause"], cause)
    if fix and not healthy:
        yield Line("fix", words["fix"], fix)
    if verdict.gain and not healthy:
        yield Line("gain", words["gain"], verdict.gain)


def _texts(verdict: Verdict, language: str) -> tuple[str, str]:
    """Cause and fix in the language; evidence is told in English only."""
    if language == "en":
        return verdict.cause, verdict.fix
    return cause_in_chinese(verdict.cause), in_chinese(verdict.fix)


def document(ended: Ended, summary: Summary) -> dict[str, Any]:
    """The content of `summary.json`: English, base units; what is not known is not there."""
    return {
        "format": FORMAT,
        "run": summary.run,
        "state": summary.state,
        "node": ended.node,
        "command": ended.command,
        "exit_code": ended.code,
        "start": units.when(summary.start),
        "end": units.when(summary.end),
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
