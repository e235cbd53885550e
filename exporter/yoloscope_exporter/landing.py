"""The page at `/`: what this exporter sees, and where to go from here. English and Chinese, no script, no asset."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from yoloscope_exporter import __version__, catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.sampling.snapshot import Snapshot

_WORDS = {
    "en": {
        "title": "yoloscope exporter",
        "runs": "Trainings",
        "none": "No training is running. Start one with:",
        "run": "run",
        "rank": "rank",
        "state": "state",
        "epoch": "epoch",
        "batches": "batches",
        "collectors": "Sources",
        "metrics": "metrics",
        "ready": "readiness",
        "healthy": "health",
        "series": "samples",
        "stale": "Nothing has been sampled in the last moments.",
    },
    "zh": {
        "title": "yoloscope 采集器",
        "runs": "训练任务",
        "none": "当前没有训练任务。可以这样启动:",
        "run": "任务",
        "rank": "进程序号 (rank)",
        "state": "状态",
        "epoch": "轮次",
        "batches": "批次数",
        "collectors": "数据来源",
        "metrics": "指标",
        "ready": "就绪状态",
        "healthy": "健康状态",
        "series": "样本数",
        "stale": "最近没有完成采样。",
    },
}
_STATES_ZH = {
    "setup": "准备中",
    "train": "训练中",
    "validate": "验证中",
    "checkpoint": "保存检查点",
    "finished": "已完成",
    "failed": "失败",
    "killed": "被终止",
}
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; overflow-wrap: anywhere; }
code { background: #8882; padding: .1rem .4rem; border-radius: .3rem; }
.killed, .failed { color: light-dark(#b3261e, #ff8a80); font-weight: 600; }
"""


def language(accepted: str) -> str:
    """`zh` if the header Accept-Language names Chinese before English, else `en`."""
    for item in accepted.lower().split(","):
        code = item.strip()[:2]
        if code in _WORDS:
            return code
    return "en"


def page(snapshot: Snapshot | None, telemetry_path: str, code: str) -> str:
    """The page as HTML; None says that there is no fresh snapshot."""
    words = _WORDS[code]
    body = (
        f"<p>{words['stale']}</p>" if snapshot is None else "".join(_runs(snapshot, code)) + _collectors(snapshot, code)
    )
    links = ((telemetry_path, "metrics"), ("/-/ready", "ready"), ("/-/healthy", "healthy"))
    anchors = " · ".join(f'<a href="{path}">{words[word]}</a>' for path, word in links)
    return (
        f'<!doctype html><html lang="{code}"><head><meta charset="utf-8"><title>{words["title"]}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{words['title']} <small>{__version__}</small></h1><p>{anchors}</p>"
        f"{body}</body></html>\n"
    )


def _runs(snapshot: Snapshot, code: str) -> Iterator[str]:
    words = _WORDS[code]
    yield f"<h2>{words['runs']}</h2>"
    states = {sample.labels[:2]: sample.labels[2] for sample in snapshot.of(catalog.TRAIN_STATE) if sample.value}
    if not states:
        yield f"<p>{words['none']} <code>yoloscope run -- yolo detect train ...</code></p>"
        return
    epoch, epochs = _by_rank(snapshot, catalog.TRAIN_EPOCH), _by_rank(snapshot, catalog.TRAIN_EPOCHS)
    batches = _by_rank(snapshot, catalog.TRAIN_BATCHES_TOTAL)
    heads = ("run", "rank", "state", "epoch", "batches")
    yield f"<table><tr>{''.join(f'<th>{words[head]}</th>' for head in heads)}</tr>"
    for who, state in sorted(states.items()):
        shown = _STATES_ZH[state] if code == "zh" else state
        progress = f"{epoch.get(who, '-')} / {epochs.get(who, '-')}"
        yield (
            f"<tr><td>{escape(who[0])}</td><td>{escape(who[1])}</td>"
            f'<td class="{state}">{shown}</td><td>{progress}</td><td>{batches.get(who, "-")}</td></tr>'
        )
    yield "</table>"


def _by_rank(snapshot: Snapshot, metric: catalog.Metric) -> dict[tuple[str, ...], str]:
    return {sample.labels: f"{sample.value:.0f}" for sample in snapshot.of(metric)}


def _collectors(snapshot: Snapshot, code: str) -> str:
    words = _WORDS[code]
    rows = (f"<tr><td>{escape(name)}</td><td>{len(samples)}</td></tr>" for name, samples in snapshot.samples.items())
    head = f"<tr><th>{words['collectors']}</th><th>{words['series']}</th></tr>"
    return f"<h2>{words['collectors']}</h2><table>{head}{''.join(rows)}</table>"
