"""The words that the rules and the runbooks share, in both languages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from yoloscope_exporter.measures.thresholds import THRESHOLDS

INTRO = """\
What each alert of `deploy/prometheus/rules/alerts.yml` means, how to verify it, what to do, and when to silence it.
Every alert links here. `critical` is a page, `warning` is a ticket, `info` is for the dashboards only and is
sent to nobody (`deploy/alertmanager/alertmanager.yml`).

Begin with three, and leave the others on the dashboards until you miss them: `GpuUtilizationDrop` (the GPU does less
than it did; the message says why), `TrainingStalled` (a run hangs and holds its GPUs) and `GpuFaulty` (what is
computed there may be wrong). In Alertmanager that is a route to your receiver with
`matchers: [alertname=~"GpuUtilizationDrop|TrainingStalled|GpuFaulty"]`, and a route of the rest to `nobody`.

The rules, this page and the PrometheusRule of the operator come from one table, `deploy/prometheus/rulebook`; its
numbers stand in `exporter/yoloscope_exporter/measures/thresholds.py`, each with its source; (J) and "ours" mark a
judgement of ours. To change one, edit it there and run
`python -m deploy.prometheus.generate --grafana-url https://grafana.example.com`, which also fills in the addresses of
dashboards; an address that is not given (`--runbook-url`) stays as it is. Durations hold for scrapes each 5 to 15 s.
"""

INTRO_ZH = """\
本页说明 `deploy/prometheus/rules/alerts.yml` 中每个告警的含义、如何确认、如何处理、何时静默。每个告警都链接到这里。
`critical` 立即通知值班，`warning` 在工作时间处理，`info` 只用于仪表盘，不发送给任何人
（`deploy/alertmanager/alertmanager.yml`）。

建议先从三个告警开始，其余的先只在仪表盘上看：`GpuUtilizationDrop`（GPU 做的工作变少了，消息中会说明原因）、
`TrainingStalled`（训练任务卡住并占着 GPU）和 `GpuFaulty`（计算结果可能出错）。在 Alertmanager 中，用
`matchers: [alertname=~"GpuUtilizationDrop|TrainingStalled|GpuFaulty"]` 把它们路由到你的接收端，其余路由到 `nobody`。

规则、本页和 Operator 的 PrometheusRule 都由同一张表 `deploy/prometheus/rulebook` 生成；数值在
`exporter/yoloscope_exporter/measures/thresholds.py` 中，
各有来源（来源保留英文原文），标有（J）的是我们自己的判断。要修改，请编辑该表并运行
`python -m deploy.prometheus.generate --grafana-url https://grafana.example.com`，它也会填入仪表盘地址；没有给出的地址（如
`--runbook-url`）保持不变。
时长适用于 5 到 15 秒的抓取间隔。
"""


@dataclass(frozen=True, slots=True)
class Language:
    """The words that are the same in each alert and runbook of a language; `fix`, `cause`: labels in that language.

    `spoken` is its name; `units` are those of thresholds, where they differ from the English ones.
    """

    spoken: str
    space: str
    colon: str
    comma: str
    brackets: str
    heading: str
    labels: dict[str, str]
    stop: str
    causes: str
    stands: str
    fix: str
    cause: str
    words: dict[str, str]
    units: dict[str, str] = field(default_factory=dict)


ENGLISH = Language(
    spoken="en",
    space=" ",
    colon=": ",
    comma=", ",
    brackets=" ({})",
    heading="**{}.**",
    labels={"run": "run", "rank": "rank", "gpu": "GPU", "instance": "node", "cluster": "cluster"},
    stop=".",
    causes="Cause:",
    stands="It stands still here:",
    fix="fix",
    cause="cause",
    words={
        "title": "Alerts",
        "other": "[中文](alerts.zh-CN.md)",
        "intro": INTRO,
        "alert": "alert",
        "severity": "severity",
        "message": "what it says",
        "fires": "Fires after {hold}: {why}.",
        "at_once": "Fires at once: {why}.",
        "keeps": "Stays for {keep} after the condition has ended: {why}.",
        "meaning": "Meaning",
        "verify": "Verify",
        "fix": "Fix",
        "silence": "Silence",
        "rule": "Rule",
        "threshold": "threshold",
        "value": "value",
        "source": "source",
        "recorded": "Recorded series that the rules read",
    },
)
CHINESE = Language(
    spoken="zh-CN",
    units={
        "seconds": "秒",
        "samples": "个样本",
        "images": "张图像",
        "batches": "个 batch",
        "epochs": "个 epoch",
        "pages": "页",
        "errors": "个错误",
        "restarts": "次重启",
        "times": "倍",
        "per second": "每秒",
        "faults": "次缺页",
        "GPUs": "块 GPU",
        "CPUs": "个 CPU",
        "celsius": "°C",
    },
    space="",
    colon="：",
    comma="，",
    brackets="（{}）",
    heading="**{}：**",
    labels={"run": "任务", "rank": "rank", "gpu": "GPU", "instance": "节点", "cluster": "集群"},
    stop="。",
    causes="原因：",
    stands="卡住的位置：",
    fix="fix_zh",
    cause="cause_zh",
    words={
        "title": "告警",
        "other": "[English](alerts.md)",
        "intro": INTRO_ZH,
        "alert": "告警",
        "severity": "级别",
        "message": "内容",
        "fires": "持续 {hold} 后触发：{why}。",
        "at_once": "立即触发：{why}。",
        "keeps": "条件结束后保留 {keep}：{why}。",
        "meaning": "含义",
        "verify": "确认",
        "fix": "修改方法",
        "silence": "静默",
        "rule": "规则",
        "threshold": "阈值",
        "value": "数值",
        "source": "来源",
        "recorded": "规则读取的预先记录的序列",
    },
)


def fill(text: str) -> str:
    """A text with thresholds filled in: `@name@` as the number, `@name%@` as per cent."""
    percent = re.sub(r"@(\w+)%@", lambda match: f"{THRESHOLDS[match[1]].value * 100:g} %", text)
    return re.sub(r"@(\w+)@", lambda match: f"{THRESHOLDS[match[1]].value:g}", percent)
