"""What an alert is, and the few helpers its expression is written with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yoloscope_exporter.catalog import Metric

CRITICAL, WARNING, INFO = "critical", "warning", "info"

#: What identifies a training process, and its GPU, on an alert. `job` is left out: it says nothing to the reader.
RANK = "instance, run, rank"
RANK_GPU = "instance, run, rank, gpu"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number in a rule.

    Attributes:
        value: in `unit`.
        unit: `ratio`, `seconds`, `celsius` ... ; seconds are shortened where a rule is rendered for a rehearsal.
        source: who uses this figure, or why we chose it.
    """

    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Text:
    """One language of an alert; `{{ ... }}` is Prometheus's template language, `@name@` a threshold.

    Attributes:
        summary: one line, names run, rank and node.
        description: the number, what it means, and the fix as Ultralytics arguments.
        meaning: runbook: what has happened.
        verify: runbook: how to see that it is so.
        fix: runbook: what to do, the likeliest first.
        silence: runbook: when to silence it, and how.
    """

    summary: str
    description: str
    meaning: str
    verify: str
    fix: str
    silence: str


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        name: as it is shown; also the section in docs/alerts.md.
        expr: PromQL within Prometheus 2.42, `@name@` for thresholds.
        hold: `for`, with `why_hold` as its reason.
        keep: `keep_firing_for`, empty for none, with `why_keep` as its reason.
        severity: CRITICAL wakes somebody, WARNING is work for the day, INFO is for the dashboards.
        dashboard: uid of the dashboard to look at, and labels that fill its variables.
        en: English texts.
        zh: Chinese texts.
    """

    name: str
    expr: str
    hold: str
    why_hold: str
    severity: str
    dashboard: tuple[str, tuple[str, ...]]
    en: Text
    zh: Text
    keep: str = ""
    why_keep: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule that alerts share; `why` is for the reader of the rules."""

    name: str
    expr: str
    why: str


@dataclass(frozen=True, slots=True)
class Group:
    """Rules evaluated together, one after the other, every `interval` (empty: the server's default)."""

    name: str
    title: str
    title_zh: str
    alerts: tuple[Alert, ...] = ()
    records: tuple[Record, ...] = ()
    interval: str = ""


def series(metric: Metric, window: str = "", *, part: str = "", **labels: str) -> str:
    """A selector of the metric.

    Args:
        metric: from the catalogue.
        window: range such as `5m`; empty for the value now.
        part: `_sum`, `_count` or `_bucket` of a histogram.
        labels: label="value"; a value that starts with `~`, `!` or `!~` changes the operator. A label that the metric
            lacks is a mistake (ValueError), except those that Prometheus adds and `le`.
    """
    unknown = set(labels) - {*metric.labels, "instance", "job", "le"}
    if unknown:
        raise ValueError(f"{metric.name} has no label {', '.join(sorted(unknown))}")
    matchers = ",".join(_matcher(name, value) for name, value in labels.items())
    braces = f"{{{matchers}}}" if matchers else ""
    return metric.name + part + braces + (f"[{window}]" if window else "")


def _matcher(name: str, value: str) -> str:
    for mark in ("!~", "!", "~"):
        if value.startswith(mark):
            operator = {"!~": "!~", "!": "!=", "~": "=~"}[mark]
            return f'{name}{operator}"{value.removeprefix(mark)}"'
    return f'{name}="{value}"'


def rate(metric: Metric, window: str, *, part: str = "", **labels: str) -> str:
    """Increase per second of a counter."""
    return f"rate({series(metric, window, part=part, **labels)})"


def increase(metric: Metric, window: str, *, part: str = "", **labels: str) -> str:
    """Increase of a counter over the window."""
    return f"increase({series(metric, window, part=part, **labels)})"
