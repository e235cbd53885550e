"""Every text of the live page, English and Chinese beside each other. Names of metrics and verdicts stay English.

In those that begin with `js_`, `{}` is a number or a name, which the script of the page fills in.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGLISH, CHINESE = "en", "zh"
LANGUAGES: Final = (ENGLISH, CHINESE)


class Text(NamedTuple):
    """A text in both languages."""

    en: str
    zh: str

    def told(self, language: str) -> str:
        """In one of LANGUAGES."""
        return self.zh if language == CHINESE else self.en


#: Of the page's frame and of what the page says itself.
PAGE: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "title": Text("yoloscope exporter", "yoloscope exporter"),
        "skip": Text("Skip to the selected run", "跳到所选任务"),
        "other_language": Text("中文", "English"),
        "metrics": Text("metrics", "指标"),
        "ready": Text("readiness", "就绪状态"),
        "healthy": Text("health", "健康状态"),
        "api": Text("JSON", "JSON"),
        "no_script": Text("This page needs JavaScript; without it see", "本页面需要 JavaScript；没有时请查看"),
        "runs": Text("Runs", "训练任务"),
        "loading": Text("Loading ...", "正在加载……"),
        "no_runs": Text("No runs. Start one with:", "当前没有训练任务。启动方法："),
        "find": Text("Find a run", "查找任务"),
        "find_by": Text("name, state or verdict", "名称、状态或结论"),
        "no_match": Text("No run has all of these words.", "没有任务同时包含这些词。"),
        "js_more_runs": Text(
            "{} more runs are not listed; find them by name, state or verdict.",
            "另有 {} 个任务未列出；可按名称、状态或结论查找。",
        ),
        "js_gone": Text("The run {} is not here any more.", "任务 {} 已不在这里。"),
        "stale": Text(
            "No recent samples: the exporter answers, but has not sampled lately. What you see is old.",
            "最近没有完成采样：exporter 有响应，但近期没有采样。以下是旧数据。",
        ),
        "lost": Text(
            "The exporter does not answer. What you see is old; the page tries again every few seconds.",
            "exporter 没有响应。以下是旧数据；页面每隔几秒重试。",
        ),
        "password": Text(
            "The exporter asks for a password. Reload the page to enter it.",
            "exporter 需要密码。请重新加载页面并输入。",
        ),
        "unreachable": Text(
            "Prometheus does not answer as it should. What you see is old; the page tries again every few seconds.",
            "Prometheus 没有正常应答。以下是旧数据；页面每隔几秒重试。",
        ),
        "source": Text("Data from", "数据来源："),
        "this_node": Text("this node", "本节点"),
        "no_gpus_there": Text("No GPU on the nodes of this run.", "该任务所在的节点没有 GPU。"),
        "no_events_there": Text("None in this time range.", "该时间范围内没有事件。"),
        "js_more_nodes": Text("GPUs of {} more nodes are not shown.", "另有 {} 个节点的 GPU 未显示。"),
        "js_more_lines": Text("{} more lines are not drawn.", "另有 {} 条曲线未绘制。"),
        "over_time": Text("Over time", "随时间变化"),
        "minutes_15": Text("15 min", "15 分钟"),
        "hour": Text("1 h", "1 小时"),
        "hours_6": Text("6 h", "6 小时"),
        "day": Text("1 day", "1 天"),
        "days_7": Text("7 days", "7 天"),
        "from": Text("From", "从"),
        "to": Text("To", "到"),
        "show": Text("Show", "显示"),
        "js_range": Text("Choose five minutes to 92 days.", "请选择五分钟到 92 天。"),
        "crowded": Text("Too many pages are open; this one waits for a place.", "打开的页面过多；本页面正在等待空位。"),
        "js_updated": Text("updated {}", "更新于 {}"),
        "copy": Text("Copy", "复制"),
        "copied": Text("Copied", "已复制"),
        "no_verdict": Text("No verdict yet.", "暂无诊断结论。"),
        "no_diagnosis": Text("The diagnosis is switched off.", "诊断已关闭。"),
        "evidence": Text("Evidence", "依据"),
        "cause": Text("Cause", "原因"),
        "fix": Text("Fix", "修改方法"),
        "forecast": Text("Forecast", "预期效果"),
        "effect": Text("Changes", "影响结果的方面"),
        "verify": Text("Verify", "确认方法"),
        "js_ranks": Text("rank {}", "rank {}"),
        "js_epoch": Text("epoch {} of {}", "epoch {} / {}"),
        "js_left": Text("ETA {}", "剩余时间（ETA）{}"),
        "js_images": Text("{} images/s", "{} 张图像/秒"),
        "js_setup": Text("set-up: {}", "准备阶段：{}"),
        "anatomy": Text("Where the time of a batch goes", "每个 batch 的时间构成"),
        "js_queue": Text("{} of {} batches ready", "就绪 {} / {} 个 batch"),
        "phase": Text("Phase", "阶段"),
        "time": Text("Time", "时间"),
        "share": Text("Share", "占比"),
        "charts": Text("Last hour", "最近一小时"),
        "chart_help": Text(
            "Drag to zoom, double-click to reset. Keyboard: left and right move the cursor, + and - zoom, Esc resets.",
            "拖动以放大，双击还原。键盘：左右键移动光标，+ 和 - 缩放，Esc 还原。",
        ),
        "range": Text("Time range", "时间范围"),
        "js_minutes": Text("{} min", "{} 分钟"),
        "js_summary": Text("{}: now {}, lowest {}, highest {}", "{}：当前 {}，最低 {}，最高 {}"),
        "now": Text("at", "时刻"),
        "ranks": Text("Ranks", "Rank 对比"),
        "rank": Text("rank", "rank"),
        "worker": Text("worker", "worker"),
        "state": Text("state", "状态"),
        "gpus": Text("GPUs", "GPU"),
        "no_gpus": Text("No GPU on this node.", "本节点没有 GPU。"),
        "utilization": Text("Utilization", "利用率"),
        "memory": Text("Memory", "显存"),
        "power": Text("Power", "功率"),
        "temperature": Text("Temperature", "温度"),
        "throttled": Text("Throttled", "降频"),
        "not_throttled": Text("not throttled", "没有降频"),
        "gpu_lost": Text("does not answer", "没有响应"),
        "js_trains": Text("{}, rank {}", "{}，rank {}"),
        "shared_memory": Text("shares the node's memory", "与节点共用内存"),
        "events": Text("Events", "事件"),
        "no_events": Text("None since the exporter started.", "exporter 启动以来没有事件。"),
        "collectors": Text("Collectors", "采集器"),
        "collector": Text("collector", "采集器"),
        "samples": Text("samples", "样本数"),
        "js_left_out": Text(
            "The history has no room for {} runs; their charts stay empty.",
            "历史记录没有空间容纳另外 {} 个任务；它们的图表为空。",
        ),
    }
)
#: Titles of the charts that are no measure's.
CHARTS: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "cuda_allocated": Text("GPU memory allocated by PyTorch", "PyTorch 已分配的显存"),
        "cuda_growth": Text("GPU memory", "显存"),
        "growth": Text("Memory growth per epoch", "每个 epoch 的内存增长"),
        "resident": Text("Memory of the processes", "进程内存"),
        "loss": Text("Loss", "损失"),
        "metric": Text("Validation metrics", "验证指标"),
        "epoch": Text("Epoch", "Epoch"),
        "throttling": Text("Clocks held down", "降频时间占比"),
    }
)
#: States of a run; what is not here is shown as it is.
STATES: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "setup": Text("set-up", "准备中"),
        "train": Text("training", "训练中"),
        "validate": Text("validating", "验证中"),
        "checkpoint": Text("writing a checkpoint", "保存检查点"),
        "predict": Text("predicting", "预测中"),
        "export": Text("exporting", "导出中"),
        "finished": Text("finished", "已完成"),
        "failed": Text("failed", "失败"),
        "killed": Text("killed", "被终止"),
    }
)
SEVERITIES: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "ok": Text("healthy", "健康"),
        "info": Text("note", "提示"),
        "warning": Text("warning", "警告"),
        "critical": Text("critical", "严重"),
    }
)
#: What happened: `{name}` is a verdict or a GPU, `{value}` a state, an epoch, a number or a place.
EVENTS: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "state": Text("{value}", "{value}"),
        "epoch": Text("epoch {value}", "epoch {value}"),
        "began": Text("{name} began", "{name} 开始"),
        "ended": Text("{name} ended", "{name} 结束"),
        "worker_died": Text("loader workers died: {value}", "数据加载 worker 异常退出：{value} 个"),
        "hang": Text("hangs: {value}", "卡住：{value}"),
        "gpu_lost": Text("GPU {name} does not answer", "GPU {name} 没有响应"),
        "gpu_back": Text("GPU {name} answers again", "GPU {name} 恢复响应"),
        "xid": Text("GPU {name}: Xid {value}", "GPU {name}：Xid {value}"),
    }
)
#: What holds a GPU's clocks down.
THROTTLE_REASONS: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "sw_power_cap": Text("power limit", "功率上限"),
        "sw_thermal_slowdown": Text("temperature (driver)", "温度（驱动）"),
        "hw_slowdown": Text("hardware slowdown", "硬件降频"),
        "hw_thermal_slowdown": Text("temperature (hardware)", "温度（硬件）"),
        "hw_power_brake_slowdown": Text("power brake", "供电（power brake）"),
    }
)
#: What a fix changes of the result (`advice.Advice.effect`).
EFFECTS: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "": Text("nothing of the result", "不影响结果"),
        "accuracy": Text("accuracy", "精度"),
        "best.pt": Text("best.pt", "best.pt"),
        "early stopping": Text("early stopping", "早停"),
        "optimisation": Text("optimisation", "优化过程"),
    }
)


def language(asked: str, accepted: str) -> str:
    """One of LANGUAGES: `asked` if it is one, else what the header Accept-Language names first, else English."""
    for item in (asked, *accepted.lower().split(",")):
        code = item.strip()[:2]
        if code in LANGUAGES:
            return code
    return ENGLISH


def told(texts: Mapping[str, Text], name: str, language: str) -> str:
    """A text by its name, or the name where there is none."""
    return texts[name].told(language) if name in texts else name


def all_told(texts: Mapping[str, Text], language: str) -> dict[str, str]:
    """All of them by their names."""
    return {name: text.told(language) for name, text in texts.items()}
