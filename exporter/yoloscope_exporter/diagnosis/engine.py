"""The engine: signals to verdicts. The same `judge` serves the metric, `top`, `diagnose` and `report`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yoloscope_exporter.catalog import DEAD
from yoloscope_exporter.diagnosis import causes, rules
from yoloscope_exporter.diagnosis.advice import Advice, gain
from yoloscope_exporter.diagnosis.advice.checks import settled
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import finished, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from yoloscope_exporter.diagnosis.follow_up import FollowUp
    from yoloscope_exporter.diagnosis.rules import Rule
    from yoloscope_exporter.diagnosis.slow_files import SlowFile
    from yoloscope_exporter.diagnosis.thresholds import Thresholds

#: Seconds of the sliding window, and of the history that slopes are read from.
WINDOW, HISTORY = 60.0, 1800.0
#: Of the window: how often it is judged, how long a condition must hold to enter, how long be gone to leave.
STEP_SHARE, ENTER_SHARE, LEAVE_SHARE = 1 / 12, 1 / 6, 1 / 3
TRAINING = ("train", "validate", "checkpoint")
#: States in which verdicts on the run's speed hold, of trainings and of all else.
WORKING = (*TRAINING, "predict", "export")
#: States of a rank that has not ended.
ALIVE = ("setup", *WORKING)

Key = tuple[str, str]  # run, rank


@dataclass(frozen=True)
class Verdict:
    """A verdict that holds, in words.

    Attributes:
        fix: arguments, environment variables, and what else to do; empty where nothing is to be done.
        gain: what to expect of it, in words; None where that cannot be computed.
        share: over a time range, the share of the training it held; None for a live window and for events.
        spans: when it held, as pairs of Unix seconds.
        after: over a time range, that it ended and what came then: `until 14:13:00; healthy since`.
        advice: the fix in parts.
    """

    name: str
    severity: str
    evidence: str
    cause: str
    verify: str
    fix: str
    gain: str | None
    share: float | None = None
    spans: tuple[tuple[float, float], ...] = ()
    after: str = ""
    advice: Advice = field(default_factory=Advice)

    @property
    def title(self) -> str:
        """The rule's title."""
        return text(rules.BY_NAME[self.name].title)


@dataclass(frozen=True)
class Diagnosis:
    """The findings about one rank, the most severe first.

    Attributes:
        cluster: where Prometheus tells it; empty otherwise.
        abstained: verdicts that could not be evaluated, with the signals that are missing.
        images_per_second: of training, in the window or over all of a time range; None where not known.
        followed: advice to earlier runs that this one followed, with what it delivered.
        whole_run: of a running exporter, what it has found since it first saw the rank.
        joules: what was drawn for the rank so far, by source (gpu, cpu).
        slow_files: those that took its loader workers longest, the slowest first.
    """

    run: str
    rank: str
    state: str
    verdicts: tuple[Verdict, ...]
    abstained: Mapping[str, tuple[str, ...]]
    signals: Signals
    cluster: str = ""
    images_per_second: float | None = None
    followed: tuple[FollowUp, ...] = ()
    whole_run: tuple[Verdict, ...] = ()
    joules: Mapping[str, float] = field(default_factory=dict)
    slow_files: tuple[SlowFile, ...] = ()


def judge(s: Signals, limits: Thresholds, faults: Faults | None = None) -> dict[str, bool]:
    """Verdicts that could be judged in the rank's state, and whether their condition is met."""
    faults = faults or Faults()
    judged: dict[str, bool] = {}
    for rule in rules.of(s):
        if rule.applies(s):
            with faults.passed_over("the rule {part}", s.run, s.rank, rule.name):
                judged[rule.name] = rule.when(s, limits)
    unhealthy = any(judged.get(name) for name in rules.NOT_HEALTHY)
    judged |= {name: False for name in rules.HEALTHY if unhealthy and judged.get(name)}
    return judged


def last_met(before: Mapping[str, Signals], judged: Mapping[str, bool], s: Signals) -> dict[str, Signals]:
    """How the rank was when the condition of each verdict was last met; of a death, when its cause was told best."""
    met = [name for name, is_met in judged.items() if is_met]
    return {**before, **{name: causes.still_told(before.get(name), s) if name in DEAD else s for name in met}}


def _in_words(rule: Rule, s: Signals, limits: Thresholds) -> Verdict:
    """The verdict in words."""
    fix = settled(rule.fix(s) or Advice(), s)
    return Verdict(
        rule.name,
        rule.severity,
        rule.evidence(s, limits),
        finished(rule.cause if isinstance(rule.cause, str) else rule.cause(s, limits)),
        text(rule.verify),
        str(fix),
        gain(fix),
        advice=fix,
    )


def describe(rule: Rule, s: Signals, limits: Thresholds, faults: Faults) -> Verdict:
    """The same; where the words fail, the verdict stands without them."""
    with faults.passed_over("telling {part}", s.run, s.rank, rule.name):
        return _in_words(rule, s, limits)
    return Verdict(
        rule.name, rule.severity, text("its numbers cannot be shown"), text(rule.title), text(rule.verify), "", None
    )


def worst_first(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """By severity, then in the table's order."""
    order = list(rules.BY_NAME)
    return tuple(sorted(verdicts, key=lambda v: (-rules.SEVERITIES.index(v.severity), order.index(v.name))))


def diagnose(s: Signals, held: Mapping[str, Signals], limits: Thresholds, faults: Faults | None = None) -> Diagnosis:
    """Put the verdicts a rank holds into words, each with the signals that last met its condition."""
    faults = faults or Faults()
    verdicts = worst_first(describe(rules.BY_NAME[name], met, limits, faults) for name, met in held.items())
    abstained = {rule.name: gone for rule in rules.of(s) if s.state in rule.states and (gone := rule.missing(s))}
    speed = Signals.predict_images_per_second if s.predicts else Signals.images_per_second
    now = s.numbers.get(speed.name) if s.state in WORKING else None
    return Diagnosis(s.run, s.rank, s.state, verdicts, abstained, s, images_per_second=now)
