"""The engine: windows to verdicts with hysteresis, live or over a time range, and the account of wasted time.

The same `judge` serves the metric, `top`, `diagnose` and `report`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import advice, rules, signals, units
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.series import Store, Window, period
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from yoloscope_exporter.diagnosis.rules import Rule
    from yoloscope_exporter.diagnosis.signals import Signals
    from yoloscope_exporter.diagnosis.thresholds import Thresholds

#: Seconds of the sliding window, and of the history that slopes are read from.
WINDOW, HISTORY = 60.0, 1800.0
#: Of the window: how often it is judged, how long a condition must hold to enter, how long be gone to leave.
STEP_SHARE, ENTER_SHARE, LEAVE_SHARE = 1 / 12, 1 / 6, 1 / 3
#: A verdict over a time range is reported if it held for this share of the training.
LEAST_SHARE = 0.1
#: `insufficient_data` is reported if it held for most of it: every training has a beginning.
LEAST_UNKNOWN = 0.5
TRAINING = ("train", "validate", "checkpoint")

Key = tuple[str, str]  # run, rank


@dataclass(frozen=True)
class Verdict:
    """A verdict that holds, in words.

    Attributes:
        fix: arguments, environment variables, and what else to do; empty where nothing is to be done.
        gain: the speed-up to expect of it; None where that cannot be computed.
        share: over a time range, the share of the training it held; None for a live window and for events.
        spans: when it held, as pairs of Unix seconds.
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
    advice: Advice = field(default_factory=Advice)

    @property
    def title(self) -> str:
        """The rule's title."""
        return rules.BY_NAME[self.name].title


@dataclass(frozen=True)
class Diagnosis:
    """The findings about one rank, the most severe first.

    Attributes:
        abstained: verdicts that could not be evaluated, with the signals that are missing.
    """

    run: str
    rank: str
    state: str
    verdicts: tuple[Verdict, ...]
    abstained: Mapping[str, tuple[str, ...]]
    signals: Signals


# --- one window -----------------------------------------------------------------------------------------------------


def missing(rule: Rule, s: Signals) -> tuple[str, ...]:
    """Signals the rule needs and this rank lacks."""
    return tuple(signal.name for signal in rule.needs if signal.name not in s.numbers)


def judge(s: Signals, limits: Thresholds, faults: Faults | None = None) -> dict[str, bool]:
    """Verdicts that could be judged in the rank's state, and whether their condition is met."""
    faults = faults or Faults()
    judged: dict[str, bool] = {}
    for rule in rules.RULES:
        if s.state in rule.states and not missing(rule, s):
            with faults.passed_over(f"the rule {rule.name}", s.run, s.rank):
                judged[rule.name] = rule.when(s, limits)
    if judged.get("compute_bound") and any(judged.get(name) for name in rules.NOT_HEALTHY):
        judged["compute_bound"] = False
    return judged


def describe(rule: Rule, s: Signals, limits: Thresholds) -> Verdict:
    """The verdict in words."""
    fix = rule.fix(s) or Advice()
    return Verdict(
        rule.name,
        rule.severity,
        rule.evidence(s, limits),
        rule.cause if isinstance(rule.cause, str) else rule.cause(s, limits),
        rule.verify,
        str(fix),
        advice.gain(fix, s),
        advice=fix,
    )


def _describe(rule: Rule, s: Signals, limits: Thresholds, faults: Faults) -> Verdict:
    """The same; where the words fail, the verdict stands without them."""
    with faults.passed_over(f"telling {rule.name}", s.run, s.rank):
        return describe(rule, s, limits)
    return Verdict(rule.name, rule.severity, "its numbers cannot be shown", rule.title, rule.verify, "", None)


def worst_first(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """By severity, then in the table's order."""
    order = list(rules.BY_NAME)
    return tuple(sorted(verdicts, key=lambda v: (-rules.SEVERITIES.index(v.severity), order.index(v.name))))


def diagnose(s: Signals, held: Mapping[str, Signals], limits: Thresholds, faults: Faults | None = None) -> Diagnosis:
    """Put the verdicts a rank holds into words, each with the signals that last met its condition."""
    faults = faults or Faults()
    verdicts = worst_first(_describe(rules.BY_NAME[name], met, limits, faults) for name, met in held.items())
    abstained = {rule.name: gone for rule in rules.RULES if s.state in rule.states and (gone := missing(rule, s))}
    return Diagnosis(s.run, s.rank, s.state, verdicts, abstained, s)


# --- hysteresis -----------------------------------------------------------------------------------------------------


@dataclass
class _Memory:
    holds: bool = False
    since: float = 0.0  # since when the condition has differed from `holds`
    differs: bool = False


@dataclass
class Hysteresis:
    """Remembers verdicts, so that they neither appear nor vanish by a single window.

    Attributes:
        enter, leave: seconds for which a condition must be met, or not be met, to change the verdict. Events do both
            at once.
    """

    enter: float
    leave: float
    memory: dict[Key, dict[str, _Memory]] = field(default_factory=dict)

    def update(self, key: Key, judged: Mapping[str, bool], now: float) -> dict[str, bool]:
        """Verdicts of one rank after the window that ends `now`; what was not judged is not among them."""
        known = self.memory.setdefault(key, {})
        for name in set(known) - set(judged):
            del known[name]
        return {name: self._one(known.setdefault(name, _Memory()), name, now, met=met) for name, met in judged.items()}

    def _one(self, memory: _Memory, name: str, now: float, *, met: bool) -> bool:
        if met == memory.holds:
            memory.differs = False
            return memory.holds
        if not memory.differs:
            memory.differs, memory.since = True, now
        patience = 0.0 if rules.BY_NAME[name].event else self.enter if met else self.leave
        if now - memory.since >= patience:
            memory.holds, memory.differs = met, False
        return memory.holds

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget every rank but these."""
        kept = set(keys)
        for key in list(self.memory):
            if key not in kept:
                del self.memory[key]


def holding(verdicts: Mapping[str, bool]) -> list[str]:
    """Names of the verdicts that hold."""
    return [name for name, holds in verdicts.items() if holds]


# --- wasted time ----------------------------------------------------------------------------------------------------


def wasted(window: Window, s: Signals, held: Mapping[Key, Mapping[str, bool]]) -> Mapping[str, float]:
    """GPU-seconds of one rank in the window that a verdict in force explains, by verdict.

    Each phase is charged once: waiting for data to what starves the loader, the exposed gradient exchange to the run's
    straggler or starved loader, copies and checkpoints to their own verdicts. A stall takes all of it. Waits too short
    for a verdict are not counted. Empty for a rank without a GPU.
    """
    if "gpu" not in s.names:
        return {}
    own = set(holding(held.get((s.run, s.rank), {})))
    if "stalled" in own:
        return {"stalled": window.seconds}
    run = {name for key, verdicts in held.items() if key[0] == s.run for name in holding(verdicts)}
    charged: defaultdict[str, float] = defaultdict(float)
    for rule in rules.RULES:
        if rule.waste and rule.waste != EXPOSED and rule.name in own:
            charged[rule.name] += _phases(window, s, rule.waste)
    blamed = next((name for name in ("straggler", *_STARVING, "communication_bound") if name in run), None)
    if blamed:
        charged[blamed] += _phases(window, s, EXPOSED)
    return charged


def _phases(window: Window, s: Signals, phases: tuple[str, ...]) -> float:
    """Seconds of the rank in these phases."""
    spent = [window.increase(catalog.TRAIN_PHASE_SECONDS_TOTAL, s.run, s.rank, phase) for phase in phases]
    return sum(value for value in spent if value is not None)


EXPOSED = ("backward_exposed",)
#: Verdicts by which the whole run waits for one rank's data.
_STARVING = tuple(rule.name for rule in rules.RULES if rule.waste == ("data_wait",))


# --- a time range ---------------------------------------------------------------------------------------------------


@dataclass
class _RankHistory:
    """What happened to one rank over a time range."""

    last: Signals
    trained: float = 0.0
    spans: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[str, Signals] = field(default_factory=dict)  # how it was when a verdict's condition was last met
    abstained: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class RangeDiagnosis:
    """The diagnosis of a time range, and what of it could not be used."""

    diagnoses: tuple[Diagnosis, ...]
    start: float
    end: float
    notes: tuple[str, ...]


def diagnose_range(stores: Sequence[Store], limits: Thresholds | None = None, window: float = WINDOW) -> RangeDiagnosis:
    """Diagnose the whole of what the stores of one or more nodes hold.

    The window slides over it; a verdict is reported if it held for LEAST_SHARE of the rank's training, an
    event always.
    Where samples are missing for longer than a window, nothing is judged, and that is noted.
    """
    limits = limits or DEFAULTS
    times = sorted({time for store in stores for time in store.times()})
    if not times:
        return RangeDiagnosis((), 0.0, 0.0, ())
    usual = period(times)
    window = _fitting(window, usual, times[-1] - times[0])
    step = max(window * STEP_SHARE, usual)
    hysteresis = Hysteresis(window * ENTER_SHARE, window * LEAVE_SHARE)
    histories: dict[Key, _RankHistory] = {}
    gaps = [(a, b) for a, b in pairwise(times) if b - a > max(window, 5 * usual)]
    faults = Faults()
    for now in _moments(times, step):
        views = [
            (Window(store, now - window, now, usual), Window(store, now - HISTORY, now, usual)) for store in stores
        ]
        everybody = signals.gather(views, faults)
        alone = [signals.of_node(short, limits.held_idle) for short, _ in views]
        everybody += [s for s in alone if s.numbers]
        hysteresis.keep((s.run, s.rank) for s in everybody)
        for s in everybody:
            key = (s.run, s.rank)
            history = histories.setdefault(key, _RankHistory(s))
            judged = judge(s, limits, faults)
            history.seen |= {name: s for name, met in judged.items() if met}
            _note(history, s, holding(hysteresis.update(key, judged, now)), now, step)
    found = [_summary(history, stores, limits, usual, faults) for history in histories.values()]
    # A run that had ended before, and a node on which nothing is held, have no part in this time range.
    found = [one for one in found if one.verdicts or (histories[one.run, one.rank].trained and one.run)]
    return RangeDiagnosis(tuple(found), times[0], times[-1], (*_notes(stores, gaps), *map(str, faults.seen)))


def _fitting(window: float, usual: float, length: float) -> float:
    """A window that holds at least six samples, and of which a short recording holds four."""
    return max(min(window, length / 4), 6 * usual)


def _moments(times: Sequence[float], step: float) -> Iterator[float]:
    """Sampled moments at least `step` apart, the last one included."""
    due = times[0]
    for time in times:
        if time >= due or time == times[-1]:
            yield time
            due = time + step * 0.999


def _note(history: _RankHistory, s: Signals, held: Sequence[str], now: float, step: float) -> None:
    history.last = s
    if s.up and (s.state in TRAINING or not s.run):
        history.trained += step
    for name in held:
        spans = history.spans[name]
        if spans and now - spans[-1][1] <= 2 * step:
            spans[-1][1] = now
        else:
            spans.append([now - step, now])
    history.abstained.update(rule.name for rule in rules.RULES if s.state in rule.states and missing(rule, s))


def _summary(
    history: _RankHistory, stores: Sequence[Store], limits: Thresholds, usual: float, faults: Faults
) -> Diagnosis:
    found = []
    for name, spans in history.spans.items():
        rule = rules.BY_NAME[name]
        share = sum(end - start for start, end in spans) / history.trained if history.trained else 0.0
        if not rule.event and share < (LEAST_UNKNOWN if name == "insufficient_data" else LEAST_SHARE):
            continue
        s = history.seen[name] if rule.event else _over_span(history, name, stores, limits, usual, faults)
        whole = tuple((start, end) for start, end in spans)
        found.append(
            replace(_describe(rule, s, limits, faults), share=None if rule.event else min(share, 1.0), spans=whole)
        )
    last = history.last
    judged = {name for name in history.abstained if name in history.spans}
    abstained = {
        name: missing(rules.BY_NAME[name], last)
        for name in history.abstained
        if name not in judged and missing(rules.BY_NAME[name], last)
    }
    return Diagnosis(last.run, last.rank, last.state, worst_first(found), abstained, last)


def _over_span(  # noqa: PLR0913, PLR0917 - what `over` works with
    history: _RankHistory, name: str, stores: Sequence[Store], limits: Thresholds, usual: float, faults: Faults
) -> Signals:
    """The signals over the longest span of a verdict, if it holds over the whole of it; else as last seen."""
    seen = history.seen[name]
    start, end = max(history.spans[name], key=lambda span: span[1] - span[0])
    windows = [Window(store, start, end, usual) for store in stores]
    everybody = signals.gather([(window, window) for window in windows], faults)
    everybody += [signals.of_node(window, limits.held_idle) for window in windows]
    whole = next((s for s in everybody if (s.run, s.rank) == (seen.run, seen.rank)), seen)
    whole = replace(whole, state=seen.state)
    return whole if judge(whole, limits, faults).get(name) else seen


def _notes(stores: Sequence[Store], gaps: Sequence[tuple[float, float]]) -> Iterator[str]:
    """What was skipped, in words."""
    skipped: Counter[str] = Counter()
    resets = 0
    for store in stores:
        skipped.update(store.skipped)
        resets += sum(series.resets for family in store.series.values() for series in family.values())
    for reason, count in sorted(skipped.items()):
        yield f"{units.counted(count, 'sample')} skipped: {reason}"
    if resets:
        yield f"{units.counted(resets, 'counter reset')} bridged"
    if gaps:
        total = sum(end - start for start, end in gaps)
        number = units.counted(len(gaps), "gap")
        yield f"{number} without samples, {total:.0f} s together: nothing is said about that time"
