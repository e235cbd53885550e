"""Writes docs/diagnosis.md from the table of rules: `python -m yoloscope_exporter.diagnosis.document [FILE]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import engine, rules, signals, time_range
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS, SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.diagnosis.rules import Rule

DEFAULT = Path(__file__).parents[3] / "docs" / "diagnosis.md"

_HEAD = f"""# The diagnosis

Generated from `exporter/yoloscope_exporter/diagnosis/rules` by `make generate`; do not edit.

Signals are computed over a sliding window ({engine.WINDOW:.0f} s; longer where steps are slow;
{engine.HISTORY / 60:.0f} minutes for what grows). A rule turns them into a verdict. A rule whose signals are missing
abstains: `yoloscope diagnose --verbose` lists those, with what is missing. A verdict begins when its condition has held
for a sixth of the window and ends when it has not for a third; an event counts at once.

Training phases decide; GPU series only support, so a machine without a GPU gets its verdict too. Over a recording or a
Prometheus' time range a verdict is reported if it held for {time_range.LEAST_SHARE:.0%} of the training time, an event
always.

Where training waits for data, one cause is named, in this order, because each would hide the next: the cgroup's quota,
no workers at all, one slow worker, a few CPUs allowed, others on the CPUs, more threads than CPUs, storage, something
else that workers wait for, workers that Ultralytics did not start, too few workers, too little CPU. Records of hooks
that do not time callbacks count those as waiting for data: there the share is an upper bound, and where batches are
ready meanwhile no cause is named.

A verdict that ended says when, and whether the run has been healthy since. No verdict is not health: only
`compute_bound` is, of predictions `inference_bound`, and `yoloscope diagnose` exits with 0 for nothing else.

Every threshold can be changed: `input_share: 0.15` in a YAML file for `yoloscope serve --diagnosis.thresholds FILE` and
`yoloscope diagnose --thresholds FILE`.

"""


def document() -> str:
    """The text of docs/diagnosis.md."""
    trainings = [*_overview(rules.RULES), *_told_apart(rules.RULES), *_sections(rules.RULES)]
    return _HEAD + "\n".join([*trainings, *_of_predictions(), *_thresholds(), *_signals()]) + "\n"


def _of_predictions() -> Iterator[str]:
    yield "## Verdicts on predictions\n"
    yield "They are judged of processes that predict ([predict.md](predict.md)), and no other verdict is. Shares are of"
    yield "the time of predictions: set-up, and the time in which nothing is asked for, do not count.\n"
    yield from _overview(rules.PREDICTION_RULES)
    yield "### Predictions told apart\n"
    yield from _apart_table(rules.PREDICTION_RULES)
    yield from _sections(rules.PREDICTION_RULES)


def _overview(table: Sequence[Rule]) -> Iterator[str]:
    yield "| verdict | severity | means | remedy |"
    yield "|---|---|---|---|"
    for rule in table:
        yield f"| [`{rule.name}`](#{rule.name}) | {rule.severity} | {rule.title} | {rule.remedy} |"
    yield ""


def _told_apart(table: Sequence[Rule]) -> Iterator[str]:
    """Per verdict the evidence it needs, and what it is confused with."""
    yield "## Told apart\n"
    yield "A cause is named only on evidence of its own; what is left over is called that (`loader_wait`,"
    yield "`insufficient_data`).\n"
    yield from _apart_table(table)


def _apart_table(table: Sequence[Rule]) -> Iterator[str]:
    yield "| verdict | evidence it needs | confused with: how that is told apart |"
    yield "|---|---|---|"
    for rule in table:
        others = "; ".join(f"{_linked(other)}: {how}" for other, how in rule.confused_with.items())
        yield f"| {_linked(rule.name)} | {rule.requires} | {others} |"
    yield ""


def _linked(name: str) -> str:
    return f"[`{name}`](#{name})" if name in rules.BY_NAME else name


def _sections(table: Sequence[Rule]) -> Iterator[str]:
    for rule in table:
        yield f"## {rule.name}\n"
        event = " An event: reported however short it was." if rule.event else ""
        yield f"{rule.title}. Severity: {rule.severity}.{event}\n"
        yield f"- **Cause**: {cause(rule)}."
        yield f"- **Verify**: `{rule.verify}`"
        yield f"- **Remedy**: {rule.remedy}."
        yield f"- **Evidence it needs**: {rule.requires}."
        yield f"- **Evaluated** {_states(rule)}{_needs(rule)}."
        if rule.thresholds:
            yield "- **Thresholds**: " + ", ".join(f"`{name}` {_number(name)}" for name in rule.thresholds)
        if rule.waste:
            yield f"- **Wasted GPU time** it is charged with: {', '.join(f'`{phase}`' for phase in rule.waste)}"
        yield ""


def cause(rule: Rule) -> str:
    """Why it holds; of a cause that is computed, what the function's docstring says."""
    if isinstance(rule.cause, str):
        return rule.cause
    return " ".join((rule.cause.__doc__ or "").split()).rstrip(".")


def _states(rule: Rule) -> str:
    if rule.states == ("",):
        return "for the node"
    return f"in the states {', '.join(rule.states)}" if len(rule.states) > 1 else f"in the state {rule.states[0]}"


def _needs(rule: Rule) -> str:
    return f" from {', '.join(f'`{name}`' for name in rule.needs)}" if rule.needs else ""


def _number(name: str) -> str:
    return f"{getattr(DEFAULTS, name):g}"


def _thresholds() -> Iterator[str]:
    yield "## Thresholds\n"
    yield "| name | value | where it comes from |"
    yield "|---|---|---|"
    for name, source in SOURCES.items():
        yield f"| `{name}` | {_number(name)} | {source} |"
    yield ""


def _signals() -> Iterator[str]:
    yield "## Signals\n"
    yield "| name | meaning |"
    yield "|---|---|"
    for name, signal in signals.SIGNALS.items():
        yield f"| `{name}` | {signal.meaning} |"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT).write_text(document(), encoding="utf-8")
