"""The end of a command that trained, as a message: how it ended, how far its runs came, what held them back."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from yoloscope_record.file_format import RecordError
from yoloscope_record.reader import Reader

from yoloscope_exporter.diagnosis import rules, units
from yoloscope_exporter.notify.messages import FAILURE, GOOD, MOST_SECTIONS, Message, Section, one_line
from yoloscope_exporter.recordings import postmortem
from yoloscope_exporter.reports.figures import QUANTITIES
from yoloscope_exporter.reports.summary import UnknownRunError, summarize

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yoloscope_exporter.notify.messages import Ended
    from yoloscope_exporter.reports.summary import Summary

#: Tells the runs of one command from all others: `yoloscope run` sets it, and the hooks record it as the fact `launch`.
VARIABLE = "YOLOSCOPE_LAUNCH"
#: Exit codes above it are 128 + n after signal n.
SIGNALLED = 128
MOST_NAMES = 3

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
        "verdict": "Verdict",
        "fix": "Fix",
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
        "verdict": "诊断结论",
        "fix": "修改方法",
        "colon": "：",
    },
}
_FIGURES = ("throughput", "data_wait", "gpu_busy", "score")


def of_launch(records: Path, launch: str) -> list[Summary]:
    """What the records in `records` say of the runs that were started with this value of VARIABLE, the oldest first."""
    runs: dict[str, float] = {}
    for path in records.glob("*/rank-*.rec"):
        with suppress(RecordError):
            record = Reader(path).read()
            if record.facts.get("launch") == launch:
                runs.setdefault(record.identity.run, path.stat().st_ctime)
    names = sorted(runs, key=lambda run: runs[run])
    return [summary for name in names if (summary := _summary(records, name))]


def _summary(records: Path, run: str) -> Summary | None:
    """None where the record holds too little: the command ended before the run had begun."""
    try:
        return summarize([postmortem.read(records, run).store], run)
    except (KeyError, UnknownRunError):
        return None


def message(ended: Ended, summaries: Sequence[Summary], language: str, now: float) -> Message:
    """What is told of the command and its runs."""
    words = _WORDS[language]
    state = "finished" if ended.code == 0 else "killed" if ended.code > SIGNALLED else "failed"
    name = _names(summaries) or ended.command
    duration = units.duration(ended.seconds)
    title = words[state].format(name, duration, socket.gethostname(), code=_named(ended.code))
    several = len(summaries) > 1
    sections = [_section(one, one.run if several else "", language) for one in summaries[:MOST_SECTIONS]]
    kind = GOOD if ended.code == 0 else FAILURE
    return Message(one_line(title), tuple(sections), kind, now, language, len(summaries) - len(sections))


def _names(summaries: Sequence[Summary]) -> str:
    """Those of the first runs: a tuner has hundreds."""
    more = f" (+{len(summaries) - MOST_NAMES})" if len(summaries) > MOST_NAMES else ""
    return ", ".join(one.run for one in summaries[:MOST_NAMES]) + more


def _named(code: int) -> str:
    """The signal's name, where it was one."""
    try:
        return signal.Signals(code - SIGNALLED).name
    except ValueError:
        return str(code)


def _section(summary: Summary, heading: str, language: str) -> Section:
    words = _WORDS[language]
    figures = [f"{words['epochs']} {len(summary.epochs)}"] if summary.epochs else []
    figures += [
        f"{words[name]} {QUANTITIES[name].form(summary.figures[name].value)}"
        for name in _FIGURES
        if name in summary.figures
    ]
    lines = [" · ".join(figures)] if figures else []
    for name, fix in _verdicts(summary).items():
        lines.append(f"{words['verdict']}{words['colon']}{name}")
        lines += [f"{words['fix']}{words['colon']}{fix}"] if fix else []
    return Section(one_line(heading), tuple(map(one_line, lines)))


def _verdicts(summary: Summary) -> dict[str, str]:
    """Names and fixes of the verdicts of all ranks, those that say `healthy` aside."""
    return {
        verdict.name: verdict.fix for _, verdict in summary.verdicts if verdict.severity not in {rules.OK, rules.INFO}
    }
