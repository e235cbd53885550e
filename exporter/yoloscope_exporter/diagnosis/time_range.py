"""The diagnosis of a time range: of a recording, of a Prometheus, of the records of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import prediction_totals, rules, signals, slow_files
from yoloscope_exporter.diagnosis.engine import (
    ALIVE,
    ENTER_SHARE,
    HISTORY,
    LEAVE_SHARE,
    STEP_SHARE,
    WINDOW,
    WORKING,
    Diagnosis,
    Key,
    Verdict,
    describe,
    judge,
    last_met,
    worst_first,
)
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.follow_up import History
from yoloscope_exporter.diagnosis.hysteresis import Hysteresis, holding
from yoloscope_exporter.diagnosis.rules import lifecycle
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.signals.view import sampled
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS
from yoloscope_exporter.language import text, units
from yoloscope_exporter.measures.prediction import PREDICT_IMAGES
from yoloscope_exporter.measures.reading import Reading
from yoloscope_exporter.measures.series import Store, Window, period
from yoloscope_exporter.measures.training import IMAGES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from yoloscope_exporter.diagnosis.thresholds import Thresholds

#: A node's store, and the distance of its own samples: nodes are not sampled at the same moments.
_Node = tuple[Store, float]

#: A verdict over a time range is reported if it held for this share of the training.
LEAST_SHARE = 0.1
#: Events that last; of the others the window around their moment is all there is.
LASTING = ("stalled", "setup_slow")
#: A verdict is over if it has not held for this many steps before the end.
OVER_AFTER = 3
#: `insufficient_data` is reported if it held for most of it: every training has a beginning.
LEAST_UNKNOWN = 0.5
#: Seconds a window has at least, if there are as many: three readings of the sources that are read every ten.
LEAST_WINDOW = 30.0


@dataclass
class _RankHistory:
    """What happened to one rank over a time range."""

    last: Signals
    trained: float = 0.0
    lived: bool = False  # in its set-up at least
    until: float = 0.0  # when it was last seen to live
    spans: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[str, Signals] = field(default_factory=dict)  # how it was when a verdict's condition was last met
    excused: list[float] = field(default_factory=list)  # when silences ended that were none of a standstill
    abstained: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class RangeDiagnosis:
    """The diagnosis of a time range, and what of it could not be used."""

    diagnoses: tuple[Diagnosis, ...]
    start: float
    end: float
    notes: tuple[str, ...]


def diagnose_range(stores: Sequence[Store], limits: Thresholds | None = None, window: float = WINDOW) -> RangeDiagnosis:
    """Diagnose the whole of what the stores of one or more nodes hold, each cluster for itself.

    The window slides over it; a verdict is reported if it held for LEAST_SHARE of the rank's training, an
    event always.
    Where samples are missing for longer than a window, nothing is judged, and that is noted.
    """
    clusters = sorted({store.cluster for store in stores})
    found = [
        _diagnose_cluster([store for store in stores if store.cluster == cluster], limits or DEFAULTS, window)
        for cluster in clusters
    ]
    found = [one for one in found if one.end]
    return RangeDiagnosis(
        tuple(diagnosis for one in found for diagnosis in one.diagnoses),
        min((one.start for one in found), default=0.0),
        max((one.end for one in found), default=0.0),
        (*_skipped(stores), *(note for one in found for note in one.notes)),
    )


def _diagnose_cluster(stores: Sequence[Store], limits: Thresholds, window: float) -> RangeDiagnosis:
    """The same for nodes among which the name of a run means one run."""
    times = sorted({time for store in stores for time in store.times()})
    if not times:
        return RangeDiagnosis((), 0.0, 0.0, ())
    nodes = [(store, period(store.times())) for store in stores]
    usual = max(own for _, own in nodes)
    window = _fitting(window, usual, times[-1] - times[0])
    step = max(window * STEP_SHARE, usual)
    hysteresis = Hysteresis(window * ENTER_SHARE, window * LEAVE_SHARE)
    histories: dict[Key, _RankHistory] = {}
    started: dict[Key, float] = {}
    gaps = [(a, b) for a, b in pairwise(times) if b - a > max(window, 5 * usual)]
    faults = Faults()
    for now in _moments(times, step):
        views = [
            (Window(store, now - window, now, own), Window(store, now - HISTORY, now, own)) for store, own in nodes
        ]
        everybody = signals.gather(views, faults, started)
        alone = [signals.of_node(short, long, limits) for short, long in views]
        everybody += [s for s in alone if s.numbers]
        hysteresis.keep((s.run, s.rank) for s in everybody)
        for s in everybody:
            key = (s.run, s.rank)
            history = histories.setdefault(key, _RankHistory(s))
            judged = judge(s, limits, faults)
            history.seen = last_met(history.seen, judged, s)
            if lifecycle.excused(s, limits):
                history.excused.append(now - s.excused_age)
            _note(history, s, holding(hysteresis.update(key, judged, now)), now, step)
    found = [_summary(history, nodes, limits, faults, step) for history in histories.values()]
    # A run that had ended before, and a node on which nothing is held, have no part in this time range.
    found = [one for one in found if one.verdicts or (histories[one.run, one.rank].lived and one.run)]
    past = History()
    for one in found:
        past.learn(one)
    found = list(map(past.applied, found))
    return RangeDiagnosis(tuple(found), times[0], times[-1], (*_gaps(gaps), *map(str, faults.seen)))


def _fitting(window: float, usual: float, length: float) -> float:
    """A window that holds at least six samples, and of which a short recording holds four, if it can."""
    return max(min(window, max(length / 4, min(length, LEAST_WINDOW))), 6 * usual)


def _moments(times: Sequence[float], step: float) -> Iterator[float]:
    """Sampled moments at least `step` apart, the last one included."""
    due = times[0]
    for time in times:
        if time >= due or time == times[-1]:
            yield time
            due = time + step * 0.999


def _note(history: _RankHistory, s: Signals, held: Sequence[str], now: float, step: float) -> None:
    history.last = s
    if s.up and (s.state in ALIVE or not s.run):
        history.lived, history.until = True, now
    if s.up and (s.state in WORKING or not s.run):
        history.trained += step
    for name in held:
        spans = history.spans[name]
        if spans and now - spans[-1][1] <= 2 * step:
            spans[-1][1] = now
        else:
            spans.append([now - step, now])
    history.abstained.update(rule.name for rule in rules.of(s) if s.state in rule.states and rule.missing(s))


def _after(history: _RankHistory, verdict: Verdict, step: float) -> str:
    """What came after a verdict that ended while the rank lived on; empty of one that held to the end."""
    end = verdict.spans[-1][1]
    if rules.BY_NAME[verdict.name].event and verdict.name not in LASTING:
        return ""
    if not history.lived or history.until - end <= OVER_AFTER * step:
        return ""
    healthy = next((history.spans[name] for name in rules.HEALTHY if history.spans.get(name)), [])
    well = bool(healthy) and healthy[-1][1] >= history.until - OVER_AFTER * step and verdict.severity != rules.OK
    return text("healthy since") if well else text("over since")


def _unexplained(history: _RankHistory, name: str, step: float) -> list[list[float]]:
    """The spans of a verdict; of a standstill those that no batch ended which was slow, or late for what is known."""
    spans = history.spans[name]
    if name != "stalled":
        return spans
    ended = [*(start for start, _ in history.spans.get("slow_batch", ())), *history.excused]
    return [span for span in spans if not any(span[0] <= told <= span[1] + 2 * step for told in ended)]


def counts(name: str, share: float) -> bool:
    """Whether a verdict is told of a run if it held for this share of the training."""
    return rules.BY_NAME[name].event or share >= (LEAST_UNKNOWN if name == "insufficient_data" else LEAST_SHARE)


def known_enough(found: list[Verdict]) -> list[Verdict]:
    """The same without `insufficient_data` where enough was known for a warning."""
    if not any(rules.BY_NAME[verdict.name].severity in (rules.WARNING, rules.CRITICAL) for verdict in found):
        return found
    return [verdict for verdict in found if verdict.name != "insufficient_data"]


def _summary(
    history: _RankHistory, nodes: Sequence[_Node], limits: Thresholds, faults: Faults, step: float
) -> Diagnosis:
    found = []
    for name in history.spans:
        spans, rule = _unexplained(history, name, step), rules.BY_NAME[name]
        if not spans:
            continue
        share = sum(end - start for start, end in spans) / history.trained if history.trained else 0.0
        if not counts(name, share):
            continue
        s = history.seen[name] if rule.event else _over_span(history, name, nodes, limits, faults)
        held = tuple((start, end) for start, end in spans)
        found.append(
            replace(describe(rule, s, limits, faults), share=None if rule.event else min(share, 1.0), spans=held)
        )
    found = known_enough(found)
    whole = [Window(store, store.first, store.last, own) for store, own in nodes]
    if len(found) > 1:  # a short run is mostly beginning, and yet enough may be known of it as a whole
        found = [
            verdict
            for verdict in found
            if verdict.name != "insufficient_data"
            or _held(verdict.name, history.seen[verdict.name], whole, limits, faults)
        ]
    found = [replace(verdict, after=_after(history, verdict, step)) for verdict in found]
    last = history.last
    if history.lived and not found:
        found = _of_totals(last, nodes, limits, faults) if last.predicts else _of_all(last, whole, limits, faults)
    judged = {name for name in history.abstained if name in history.spans}
    abstained = {
        name: gone for name in history.abstained if name not in judged and (gone := rules.BY_NAME[name].missing(last))
    }
    cluster = nodes[0][0].cluster
    speed = _speed(last, whole) if last.run else None
    files = slow_files.of(whole, last.run, last.rank) if last.run else ()
    return Diagnosis(
        last.run, last.rank, last.state, worst_first(found), abstained, last, cluster, speed, slow_files=files
    )


def _speed(last: Signals, nodes: Sequence[Window]) -> float | None:
    """Images per second of the rank over all that was seen of it, as a report tells it."""
    for node in nodes:
        whole = prediction_totals.totals(node.store, last.run) if last.predicts else sampled(node, last.run, last.rank)
        measure = PREDICT_IMAGES if last.predicts else IMAGES
        speed = Reading(whole).one(measure, run=last.run, rank=last.rank) if whole else None
        if speed is not None:
            return speed
    return None


def _of_all(last: Signals, whole: Sequence[Window], limits: Thresholds, faults: Faults) -> list[Verdict]:
    """Verdicts on a training that no window could judge, on all of it."""
    return list(by_all(whole, {(last.run, last.rank)}, limits, faults).get((last.run, last.rank), ()))


def by_all(
    windows: Sequence[Window], wanted: Collection[Key], limits: Thresholds, faults: Faults
) -> dict[Key, tuple[Verdict, ...]]:
    """Verdicts on trainings as a whole, events left out: of those wanted of whose steps enough is known."""
    found = {}
    for s in signals.gather([(window, window) for window in windows], faults):
        if (s.run, s.rank) in wanted and s.has(Signals.data_wait_share):
            asked = replace(s, state="train")
            met = [rules.BY_NAME[name] for name, holds in judge(asked, limits, faults).items() if holds]
            found[s.run, s.rank] = tuple(describe(one, asked, limits, faults) for one in met if not one.event)
    return found


def _of_totals(last: Signals, nodes: Sequence[_Node], limits: Thresholds, faults: Faults) -> list[Verdict]:
    """Verdicts on predictions that no window could judge, on all of them: many are over within seconds."""
    windows = [window for store, _ in nodes if (window := prediction_totals.totals(store, last.run))]
    return list(prediction_totals.verdicts(windows, limits, faults).get((last.run, last.rank), ()))


def _over_span(history: _RankHistory, name: str, nodes: Sequence[_Node], limits: Thresholds, faults: Faults) -> Signals:
    """The signals over the longest span of a verdict, if it holds over the whole of it; else as last seen."""
    start, end = max(history.spans[name], key=lambda span: span[1] - span[0])
    windows = [Window(store, start, end, own) for store, own in nodes]
    return _held(name, history.seen[name], windows, limits, faults) or history.seen[name]


def _held(name: str, seen: Signals, windows: Sequence[Window], limits: Thresholds, faults: Faults) -> Signals | None:
    """The signals over the whole of these windows, if the verdict holds over it."""
    everybody = signals.gather([(window, window) for window in windows], faults)
    everybody += [signals.of_node(w, Window(w.store, w.end - HISTORY, w.end, w.period), limits) for w in windows]
    whole = next((s for s in everybody if (s.run, s.rank) == (seen.run, seen.rank)), seen)
    whole = replace(whole, state=seen.state)
    return whole if judge(whole, limits, faults).get(name) else None


def _skipped(stores: Sequence[Store]) -> Iterator[str]:
    """What could not be used, in words."""
    skipped: Counter[str] = Counter()
    resets = 0
    for store in stores:
        skipped.update(store.skipped)
        resets += sum(series.resets for family in store.series.values() for series in family.values())
    for reason, count in sorted(skipped.items()):
        yield text("{counted} skipped: {reason}", counted=units.counted(count, "sample"), reason=reason)
    if resets:
        yield text("{counted} bridged", counted=units.counted(resets, "counter reset"))


def _gaps(gaps: Sequence[tuple[float, float]]) -> Iterator[str]:
    """What was not judged, in words."""
    if gaps:
        total = sum(end - start for start, end in gaps)
        number = units.counted(len(gaps), "gap")
        yield text(
            "{number} without samples, {total:.0f} s together: nothing is said about that time",
            number=number,
            total=total,
        )
