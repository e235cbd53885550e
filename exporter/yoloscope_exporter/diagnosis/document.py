"""Writes docs/diagnosis.md and docs/diagnosis.zh-CN.md from the table of rules.

`python -m yoloscope_exporter.diagnosis.document [FOLDER]`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import engine, rules, signals, time_range
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS, SOURCES
from yoloscope_exporter.language import CHINESE, ENGLISH, Text, joined, say, say_page, speaking, text
from yoloscope_exporter.language.zh_cn import documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.diagnosis.rules import Rule

FOLDER = Path(__file__).parents[3] / "docs"

HEAD = """\
# The diagnosis

Generated from `exporter/yoloscope_exporter/diagnosis/rules` by `make generate`; do not edit.

Signals are computed over a sliding window ({window:.0f} s; longer where steps are slow;
{minutes:.0f} minutes for what grows). A rule turns them into a verdict. A rule whose signals are missing
abstains: `yoloscope diagnose --verbose` lists those, with what is missing. A verdict begins when its condition has held
for a sixth of the window and ends when it has not for a third; an event counts at once.

Training phases decide; GPU series only support, so a machine without a GPU gets its verdict too. Over a recording or a
Prometheus' time range a verdict is reported if it held for {least:.0%} of the training time, an event
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
#: The file of each language.
NAMES = {ENGLISH: "diagnosis.md", CHINESE: "diagnosis.zh-CN.md"}


def document(language: str = ENGLISH) -> str:
    """The text of the language's document."""
    with speaking(language, documents.TEXTS):
        head = say_page(HEAD, window=engine.WINDOW, minutes=engine.HISTORY / 60, least=time_range.LEAST_SHARE)
        trainings = [*_overview(rules.RULES), *_told_apart(rules.RULES), *_sections(rules.RULES)]
        return "\n".join([head, *trainings, *_of_predictions(), *_thresholds(), *_signals()]) + "\n"


def _row(*heads: str) -> str:
    return f"| {' | '.join(map(say, heads))} |"


def _of_predictions() -> Iterator[str]:
    yield f"## {say('Verdicts on predictions')}\n"
    yield say("They are judged of processes that predict ([predict.md](predict.md)), and no other verdict is.")
    yield say("Of validations on their own only `validate_callback_bound` is judged, of exports none.")
    yield say(
        "Shares are of the time of predictions: set-up, and the time in which nothing is asked for, do not count."
    )
    yield ""
    yield from _overview(rules.PREDICTION_RULES)
    yield f"### {say('Predictions told apart')}\n"
    yield from _apart_table(rules.PREDICTION_RULES)
    yield from _sections(rules.PREDICTION_RULES)


def _overview(table: Sequence[Rule]) -> Iterator[str]:
    yield _row("verdict", "severity", "means", "remedy")
    yield "|---|---|---|---|"
    for rule in table:
        yield f"| [`{rule.name}`](#{rule.name}) | {rule.severity} | {say(rule.title)} | {say(rule.remedy)} |"
    yield ""


def _told_apart(table: Sequence[Rule]) -> Iterator[str]:
    """Per verdict the evidence it needs, and what it is confused with."""
    yield f"## {say('Told apart')}\n"
    yield say(
        "A cause is named only on evidence of its own; what is left over is called that (`loader_wait`, "
        "`insufficient_data`)."
    )
    yield ""
    yield from _apart_table(table)


def _apart_table(table: Sequence[Rule]) -> Iterator[str]:
    yield _row("verdict", "evidence it needs", "confused with: how that is told apart")
    yield "|---|---|---|"
    for rule in table:
        told = (joined((_linked(other), text(how)), ": ") for other, how in rule.confused_with.items())
        yield f"| {_linked(rule.name)} | {say(rule.requires)} | {say(joined(told))} |"
    yield ""


def _linked(name: str) -> str:
    return f"[`{name}`](#{name})" if name in rules.BY_NAME else text(name)


def _sections(table: Sequence[Rule]) -> Iterator[str]:
    for rule in table:
        yield f"## {rule.name}\n"
        event = say(" An event: reported however short it was.") if rule.event else ""
        yield say("{title}. Severity: {severity}.", title=text(rule.title), severity=rule.severity) + event + "\n"
        yield say("- **Cause**: {cause}.", cause=text(cause(rule)))
        yield say("- **Verify**: `{verify}`", verify=text(rule.verify))
        yield say("- **Remedy**: {remedy}.", remedy=text(rule.remedy))
        yield say("- **Evidence it needs**: {requires}.", requires=text(rule.requires))
        yield say("- **Evaluated** {states}{needs}.", states=_states(rule), needs=_needs(rule))
        if rule.thresholds:
            limits = joined((f"`{name}` {_number(name)}" for name in rule.thresholds), ", ")
            yield say("- **Thresholds**: {limits}", limits=limits)
        if rule.waste:
            phases = joined((f"`{phase}`" for phase in rule.waste), ", ")
            yield say("- **Wasted GPU time** it is charged with: {phases}", phases=phases)
        yield ""


def cause(rule: Rule) -> str:
    """Why it holds; of a cause that is computed, what the function's docstring says."""
    if isinstance(rule.cause, str):
        return rule.cause
    return " ".join((rule.cause.__doc__ or "").split()).rstrip(".")


def _states(rule: Rule) -> Text:
    if rule.states == ("",):
        return text("for the node")
    states = joined(rule.states, ", ")
    return text("in the states {states}" if len(rule.states) > 1 else "in the state {states}", states=states)


def _needs(rule: Rule) -> str:
    names = joined((f"`{name}`" for name in rule.needs), ", ")
    return text(" from {names}", names=names) if rule.needs else ""


def _number(name: str) -> str:
    return f"{getattr(DEFAULTS, name):.15g}"


def _thresholds() -> Iterator[str]:
    yield f"## {say('Thresholds')}\n"
    yield _row("name", "value", "where it comes from")
    yield "|---|---|---|"
    for name, source in SOURCES.items():
        yield f"| `{name}` | {_number(name)} | {say(source)} |"
    yield ""


def _signals() -> Iterator[str]:
    yield f"## {say('Signals')}\n"
    yield _row("name", "meaning")
    yield "|---|---|"
    for name, signal in signals.SIGNALS.items():
        yield f"| `{name}` | {say(signal.meaning)} |"


if __name__ == "__main__":
    for language, name in NAMES.items():
        ((Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER) / name).write_text(document(language), encoding="utf-8")
