"""The diagnosis of what the exporter samples: a derived stage that publishes verdicts, goodput and wasted GPU time."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import prediction_totals, rules, signals, slow_files
from yoloscope_exporter.diagnosis.engine import (
    ALIVE,
    ENTER_SHARE,
    HISTORY,
    LEAVE_SHARE,
    STEP_SHARE,
    TRAINING,
    WINDOW,
    Diagnosis,
    Key,
    Verdict,
    diagnose,
    judge,
    last_met,
)
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.follow_up import History
from yoloscope_exporter.diagnosis.hysteresis import Hysteresis, holding
from yoloscope_exporter.diagnosis.serialize import to_json
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS, Thresholds
from yoloscope_exporter.diagnosis.time_range import by_all
from yoloscope_exporter.diagnosis.wasted_time import wasted, wasted_gpu_seconds, wasted_joules
from yoloscope_exporter.diagnosis.whole_run import WholeRuns
from yoloscope_exporter.language import CHINESE, finished, translated
from yoloscope_exporter.measures.series import Store, Window, period

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from yoloscope_exporter.collectors import Context
    from yoloscope_exporter.diagnosis.engine import Verdict
    from yoloscope_exporter.sampling.snapshot import Snapshot


#: Of the window and of the history: the distance between the snapshots that are kept. Counters lose nothing between.
SAMPLE_SHARE, THIN_SHARE = 1 / 30, 1 / 180
#: Moments of the last samples, which tell how far apart they usually are.
RECENT = 10
#: Seconds for which the history of a run is kept that is told no more: its collector may be down for a while.
GONE_SECONDS = 300.0
#: What is lost to a cause, in seconds and in joules.
_WASTE = (catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL, catalog.TRAIN_WASTED_ENERGY_JOULES_TOTAL)
#: Of a fix as a label: characters, and seconds for which it is kept, so that numbers which waver make no new series.
FIX_LENGTH, FIX_SECONDS = 200, 600.0
_MORE = "……"
#: The stage's name, under which what it could not judge is counted.
NAME = "diagnosis"


def derived(context: Context) -> Live:
    """The stage, as `collectors.DERIVED` wants it; its settings are `diagnosis.window` and `diagnosis.thresholds`."""
    return Live(
        window=context.config().diagnosis_window,
        thresholds=lambda: context.config().diagnosis_thresholds,
        faults=Faults(lambda: context.reject(NAME, "error")),
    )


class _Said(NamedTuple):
    """What is published of a verdict, since when; cause and evidence of a death only."""

    since: float
    fix: tuple[str, str]
    why: tuple[str, ...] = ()
    """Cause, evidence and the cause in Chinese."""

    def holds(self, verdict: Verdict, now: float) -> bool:
        """Whether it still is what is to be said, in these words or in others that mean the same."""
        return now - self.since < FIX_SECONDS and (not self.why or self.why[0] == _shortened(verdict.cause))


@dataclass
class Live:
    """Diagnosis of what a sampler sees: fed with every snapshot, judged every few seconds.

    Two stores: the short one for the window, the long and thin one for slopes and slow steps.
    """

    limits: Thresholds = field(default_factory=lambda: DEFAULTS)
    window: float = WINDOW
    history: float = HISTORY
    thresholds: Callable[[], Thresholds | None] = lambda: None
    """The thresholds configured now, in place of the defaults."""
    faults: Faults = field(default_factory=Faults)
    short: Store = field(default_factory=Store)
    long: Store = field(default_factory=Store)
    diagnoses: tuple[Diagnosis, ...] = ()
    _told: tuple[catalog.Sample, ...] = ()
    _hysteresis: Hysteresis = field(init=False)
    _judged: float = 0.0
    _thinned: float = 0.0
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    _held: dict[Key, dict[str, bool]] = field(default_factory=dict)
    _met: dict[Key, dict[str, Signals]] = field(default_factory=dict)
    _history: History = field(default_factory=History)
    _whole: WholeRuns = field(default_factory=WholeRuns)
    _wasted: dict[catalog.Metric, defaultdict[tuple[str, str, str], float]] = field(
        default_factory=lambda: {metric: defaultdict(float) for metric in _WASTE}
    )
    _said: dict[tuple[str, str, str], _Said] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Derive the hysteresis from the window."""
        self._hysteresis = Hysteresis(self.window * ENTER_SHARE, self.window * LEAVE_SHARE)

    def __call__(self, snapshot: Snapshot) -> Iterable[catalog.Sample]:
        """Take in a sampler's snapshot, with the thresholds that are configured now."""
        self.limits = self.thresholds() or DEFAULTS
        return self.feed(snapshot.time, snapshot)

    def feed(self, now: float, samples: Iterable[catalog.Sample]) -> Sequence[catalog.Sample]:
        """Take in the samples of one cycle at Unix time `now`; return the diagnosis as samples."""
        if now < self.short.last:  # the clock was set back: what was seen lies in the future now
            self._forget()
        if now - self.short.last >= 0.9 * self.window * SAMPLE_SHARE:
            self._take(now, [sample for sample in samples if sample.metric.name in signals.METRICS])
        if now - self._judged >= self.window * STEP_SHARE or self._has_ended():
            self._judge(now)
            self._told = tuple(self._samples())
        return self._told

    def _has_ended(self) -> bool:
        """Whether a rank has ended that was last judged alive: that is worth a judgement at once."""
        families = [self.short.series.get(up.name, {}) for up in (catalog.TRAIN_UP, catalog.PREDICT_UP)]
        ups = [one for family in families for one in family.items()]
        gone = {labels for labels, series in ups if series.values and not series.values[-1]}
        return any((told.run, told.rank) in gone and told.state in ALIVE for told in self.diagnoses)

    def _take(self, now: float, samples: list[catalog.Sample]) -> None:
        self._times.append(now)
        self.short.add(now, samples)
        if now - self._thinned >= self.history * THIN_SHARE:
            self.long.add(now, samples)
            self.long.trim(now - self.history)
            self._forget_gone(now - GONE_SECONDS)
            self._thinned = now

    def _forget_gone(self, before: float) -> None:
        """Forget the history of runs that were told last before a moment: a thousand short ones fill the memory."""
        families = [self.long.series.get(up.name, {}) for up in (catalog.TRAIN_UP, catalog.PREDICT_UP)]
        last = {labels: series.times[-1] for family in families for labels, series in family.items()}
        there = {run for (run, _), time in last.items() if time >= before}
        if {run for run, _ in last} - there:
            self.long.keep(lambda metric, labels: metric.labels[:1] != ("run",) or labels[0] in there)

    def _forget(self) -> None:
        self.short, self.long = Store(), Store()
        self._judged = self._thinned = 0.0
        self._times.clear()
        self._hysteresis.memory.clear()
        self._said.clear()

    def _judge(self, now: float) -> None:
        self.short.trim(now - self.window)
        usual = period(self._times)  # which one pause, of a clock that was set or a machine that slept, makes no longer
        since = Window(self.short, max(self._judged, now - self.window), now, usual)
        short = Window(self.short, now - self.window, now, usual)
        long = Window(self.long, now - self.history, now, self.history * THIN_SHARE)
        everybody = signals.gather([(short, long)], self.faults)
        self._hysteresis.keep((s.run, s.rank) for s in everybody)
        told = [self._tell(s, now) for s in everybody]
        alone = signals.of_node(short, long, self.limits)
        if alone.get(Signals.held_idle_gpus):
            told.append(diagnose(alone, {"held_idle": alone}, self.limits, self.faults))
        present = {(s.run, s.rank) for s in everybody}
        self.faults.keep([*signals.ranks(short), (alone.run, alone.rank)])
        self._held = {key: held for key, held in self._held.items() if key in present}
        self._met = {key: met for key, met in self._met.items() if key in present}
        for diagnosis in told:
            self._history.learn(diagnosis)
        told = list(map(self._history.applied, told))
        for diagnosis in told:
            self._whole.note(diagnosis, since)
        self._whole.keep({(diagnosis.run, diagnosis.rank) for diagnosis in told})
        self._sum_up(Window(self.short, self.short.first, now, usual))
        files = ((one, slow_files.of([short], one.run, one.rank) if one.run else ()) for one in told)
        self.diagnoses = tuple(self._whole.applied(replace(one, slow_files=slowest)) for one, slowest in files)
        self._say(now)
        self._charge(since, [*everybody, alone])
        self._judged = now

    def _sum_up(self, seen: Window) -> None:
        """Judge runs by all of them that were over before a window was full, as the diagnosis of a range does."""
        wanted = self._whole.unjudged()
        if not wanted:
            return
        begun = seen.current(catalog.TRAIN_START_TIMESTAMP_SECONDS)
        whole = {key for key in wanted if begun.get(key, 0.0) >= seen.start - seen.period}
        predictions = [one for run, _ in wanted if (one := prediction_totals.totals(seen.store, run))]
        found = by_all([seen], whole, self.limits, self.faults)
        found |= prediction_totals.verdicts(predictions, self.limits, self.faults)
        for key in wanted:
            self._whole.sum_up(key, found.get(key, ()))

    def _tell(self, s: Signals, now: float) -> Diagnosis:
        key = (s.run, s.rank)
        judged = judge(s, self.limits, self.faults)
        met = self._met[key] = last_met(self._met.get(key, {}), judged, s)
        self._held[key] = self._hysteresis.update(key, judged, now)
        return diagnose(s, {name: met[name] for name in holding(self._held[key])}, self.limits, self.faults)

    def _say(self, now: float) -> None:
        """Keep what is said about each verdict while it holds, for FIX_SECONDS; of a death unless its cause changes."""
        said, self._said = self._said, {}
        for told in self.diagnoses:
            for verdict in told.verdicts:
                key = (told.run, told.rank, verdict.name)
                known = said.get(key)
                self._said[key] = known if known and known.holds(verdict, now) else _texts(verdict, now)

    def _charge(self, window: Window, everybody: Sequence[Signals]) -> None:
        present = {(s.run, s.rank) for s in everybody}
        seconds, joules = (self._wasted[metric] for metric in _WASTE)
        for account in (seconds, joules):
            for key in [key for key in account if key[:2] not in present]:
                del account[key]
        for s in everybody:
            with self.faults.passed_over("the account of wasted time", s.run, s.rank):
                lost = wasted(window, s, self._held)
                for account, amounts in (
                    (seconds, wasted_gpu_seconds(window, s, lost)),
                    (joules, wasted_joules(window, s, lost)),
                ):
                    for cause, amount in amounts.items():
                        account[s.run, s.rank, cause] += amount
            if s.get(Signals.held_idle_gpus):
                seconds["", "", "held_idle"] += s.held_idle_gpus * window.seconds

    def document(self) -> dict[str, Any]:
        """The diagnosis with its signals, as the exporter serves it."""
        return to_json(self.diagnoses, [str(fault) for fault in self.faults.seen], with_signals=True)

    def _samples(self) -> Iterator[catalog.Sample]:
        """The diagnosis as samples: verdicts 0 or 1 where they could be judged, fixes, goodput, wasted GPU time."""
        for (run, rank), verdicts in self._held.items():
            for name, holds in verdicts.items():
                metric = catalog.PREDICT_VERDICT if name in rules.OF_PREDICTIONS else catalog.TRAIN_VERDICT
                yield catalog.Sample(metric, (run, rank, name), float(holds))
        for key, said in self._said.items():
            predicts = key[2] in rules.OF_PREDICTIONS
            metric = catalog.PREDICT_VERDICT_FIX_INFO if predicts else catalog.TRAIN_VERDICT_FIX_INFO
            yield catalog.Sample(metric, (*key, *said.fix), 1.0)
        for key, said in self._said.items():
            if key[2] in catalog.DEAD:
                yield catalog.Sample(catalog.TRAIN_VERDICT_CAUSE_INFO, (*key, *said.why), 1.0)
        for told in self.diagnoses:
            if told.signals.has(Signals.goodput) and told.state in TRAINING:
                labels = (told.run, told.rank)
                yield catalog.Sample(catalog.TRAIN_GOODPUT_RATIO, labels, told.signals.goodput)
        for metric, account in self._wasted.items():
            for key, amount in account.items():
                yield catalog.Sample(metric, key, amount)


def _texts(verdict: Verdict, now: float) -> _Said:
    return _Said(now, in_labels(verdict.fix), _explained(verdict) if verdict.name in catalog.DEAD else ())


def _explained(verdict: Verdict) -> tuple[str, str, str]:
    """Cause, evidence and the cause in Chinese, each at most FIX_LENGTH characters of a line."""
    return _shortened(verdict.cause), _shortened(verdict.evidence), _cut(translated(finished(verdict.cause), CHINESE))


def in_labels(fix: str) -> tuple[str, str]:
    """The fix in English and in Chinese, each at most FIX_LENGTH characters of a line."""
    return _shortened(fix), _cut(translated(finished(fix), CHINESE))


def _cut(chinese: str) -> str:
    """At most FIX_LENGTH characters of a line, cut anywhere: between words there is no space."""
    line = " ".join(chinese.split())
    return line if len(line) <= FIX_LENGTH else line[: FIX_LENGTH - len(_MORE)] + _MORE


def _shortened(text: str) -> str:
    """At most FIX_LENGTH characters of a line, cut between words."""
    return shorten(text, FIX_LENGTH, placeholder=" ...")
