"""The page at `/`: runs, collectors and links, in English and Chinese, without scripts and assets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_exporter import __version__, catalog
from yoloscope_exporter.diagnosis import colours

if TYPE_CHECKING:
    from jinja2 import Template

    from yoloscope_exporter.sampling.snapshot import Snapshot

_WORDS = {
    "en": {
        "title": "yoloscope exporter",
        "runs": "Runs",
        "none": "No runs. Start one with:",
        "run": "run",
        "rank": "rank",
        "state": "state",
        "epoch": "epoch",
        "batches": "batches",
        "collectors": "Collectors",
        "metrics": "metrics",
        "ready": "readiness",
        "healthy": "health",
        "series": "samples",
        "stale": "No recent samples.",
    },
    "zh": {
        "title": "yoloscope exporter",
        "runs": "训练任务",
        "none": "当前没有训练任务。启动方法：",
        "run": "任务",
        "rank": "rank",
        "state": "状态",
        "epoch": "epoch",
        "batches": "batch 数",
        "collectors": "采集器",
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


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - 2 MB, for who opens the page

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("landing.html")


def language(accepted: str) -> str:
    """`zh` if the header Accept-Language names Chinese before English, else `en`."""
    for item in accepted.lower().split(","):
        code = item.strip()[:2]
        if code in _WORDS:
            return code
    return "en"


def page(snapshot: Snapshot | None, telemetry_path: str, code: str) -> str:
    """The page as HTML; None says that there is no fresh snapshot."""
    return _template().render(
        code=code,
        words=_WORDS[code],
        version=__version__,
        colours=colours.STATES.items(),
        links=((telemetry_path, "metrics"), ("/-/ready", "ready"), ("/-/healthy", "healthy")),
        fresh=snapshot is not None,
        trainings=_trainings(snapshot, code) if snapshot else (),
        collectors=[(name, len(samples)) for name, samples in snapshot.samples.items()] if snapshot else (),
    )


@dataclass(frozen=True)
class _Training:
    """A row of the page: one rank."""

    run: str
    rank: str
    state: str
    shown: str
    cause: str
    progress: str
    batches: str


def _trainings(snapshot: Snapshot, code: str) -> list[_Training]:
    states = {sample.labels[:2]: sample.labels[2] for sample in snapshot.of(catalog.TRAIN_STATE) if sample.value}
    epoch, epochs = _by_rank(snapshot, catalog.TRAIN_EPOCH), _by_rank(snapshot, catalog.TRAIN_EPOCHS)
    batches = _by_rank(snapshot, catalog.TRAIN_BATCHES_TOTAL)
    label = catalog.TRAIN_VERDICT_CAUSE_INFO.labels.index("cause_zh" if code == "zh" else "cause")
    causes = {sample.labels[:2]: sample.labels[label] for sample in snapshot.of(catalog.TRAIN_VERDICT_CAUSE_INFO)}
    return [
        _Training(
            run=who[0],
            rank=who[1],
            state=state,
            shown=_STATES_ZH[state] if code == "zh" else state,
            cause=causes.get(who, ""),
            progress=f"{epoch.get(who, '-')} / {epochs.get(who, '-')}",
            batches=batches.get(who, "-"),
        )
        for who, state in sorted(states.items())
    ]


def _by_rank(snapshot: Snapshot, metric: catalog.Metric) -> dict[tuple[str, ...], str]:
    return {sample.labels: f"{sample.value:.0f}" for sample in snapshot.of(metric)}
