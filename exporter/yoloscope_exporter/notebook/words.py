"""What the pictures say, in English and in Chinese beside each other."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from yoloscope_exporter.language import CHINESE, LANGUAGES, of_the_environment, text, translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoloscope_exporter.measures.measure import Measure


class Words(NamedTuple):
    """One text in both languages."""

    en: str
    zh: str


WORDS: Final[Mapping[str, Words]] = MappingProxyType(
    {
        "gpu": Words("GPU", "GPU"),
        "no_gpu": Words("No GPU on this node.", "该节点没有 GPU。"),
        "no_gpus": Words("No GPU on these nodes.", "这些节点没有 GPU。"),
        "heat": Words("Time to prepare a batch, by loader worker", "各数据加载 worker 准备一个 batch 的时间"),
        "heat_main": Words(
            "Wait for a batch: workers=0, the training process loads its data itself",
            "等待每个 batch 的时间：workers=0，训练进程自己加载数据",
        ),
        "worker": Words("worker {}", "worker {}"),
        "rank_worker": Words("rank {}, worker {}", "rank {}，worker {}"),
        "main": Words("main process", "主进程"),
        "rank_main": Words("rank {}, main process", "rank {}，主进程"),
        "no_batches": Words("No batch has been prepared yet.", "尚未准备任何 batch。"),
        "memory": Words("Memory by epoch (peak)", "各 epoch 的内存（峰值）"),
        "memory_cpu": Words(
            "Process memory by epoch (peak); trained on the CPU, so there is no GPU memory",
            "各 epoch 的进程内存（峰值）；在 CPU 上训练，没有显存",
        ),
        "process": Words("process memory", "进程内存"),
        "device": Words("GPU memory", "显存"),
        "epoch": Words("epoch", "epoch"),
        "since_first": Words("%{text} since the first epoch", "比第一个 epoch %{text}"),
        "no_epoch": Words("No epoch has begun yet.", "尚未开始任何 epoch。"),
        "time": Words("time (UTC{})", "时间（UTC{}）"),
        "no_run": Words(
            "No run yet. In the cell that trains: yoloscope_hooks.attach(model) before model.train().",
            "还没有训练任务。在训练的单元格中，先 yoloscope_hooks.attach(model)，再 model.train()。",
        ),
        "not_this_run": Words("Run {} has not been seen yet; known runs: {}", "尚未看到训练任务 {}；已知的任务：{}"),
        "none": Words("none", "无"),
        "run": Words("run {}", "训练任务 {}"),
        "until": Words("until {}", "截至 {}"),
        "rank": Words("rank {}", "rank {}"),
        "no_verdict": Words("no verdict", "没有结论"),
        "cause": Words("cause", "原因"),
        "fix": Words("fix", "修改方法"),
        "effect": Words("changes", "会改变"),
        "gain": Words("forecast", "预期"),
        "silent": Words("{}; what is shown was seen before", "{}；图中是此前的数据"),
        "not_drawn": Words("cannot be drawn: {}", "无法绘制：{}"),
        "no_diagnosis": Words("this exporter makes no diagnosis", "该 exporter 不做诊断"),
    }
)


def said(name: str, language: str, *values: object) -> str:
    """A text in a language, with its values."""
    words = WORDS[name]
    template = words.zh if language == CHINESE else words.en
    return template.format(*values) if values else template


def title(measure: Measure, language: str) -> str:
    """What a quantity is called."""
    return measure.title_zh if language == CHINESE else measure.title


def language_of(chosen: str | None, environ: Mapping[str, str]) -> str:
    """The language that was chosen, else that of YOLOSCOPE_LANGUAGE, else that of the locale.

    Raises:
        ValueError: there is no such language.
    """
    spoken = of_the_environment(environ)
    if chosen is None or chosen in LANGUAGES:
        return chosen or spoken
    wrong = text("language={language!r}: choose one of {languages}", language=chosen, languages=", ".join(LANGUAGES))
    raise ValueError(translated(wrong, spoken))
