"""All that was seen of a process that predicts, validates or exports, as a window of two moments: before it, its end.

What is read of that window holds for the whole run, however short it was and however seldom it was sampled.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.diagnosis import rules, signals
from yoloscope_exporter.diagnosis.engine import describe, judge, worst_first
from yoloscope_exporter.measures.series import Store, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_exporter.diagnosis.engine import Key, Verdict
    from yoloscope_exporter.diagnosis.faults import Faults
    from yoloscope_exporter.diagnosis.thresholds import Thresholds
    from yoloscope_exporter.measures.series import Labels, Series

#: Seconds of a run that is over in no time.
_SHORTEST = 0.001
_AREAS = ("predict", "export")


def kind(facts: Mapping[str, str]) -> str:
    """What a run with these facts is: one of PREDICTIONS."""
    return catalog.KINDS_OF_MODES.get(facts.get("mode", ""), "predict")


def totals(store: Store, run: str) -> Window | None:
    """The window of a run on a node; None if it was not there.

    Counters of such a run begin with it, at zero; of one that began before it was looked at, only what was seen counts.
    """
    ups = [series for _, series in store.family(catalog.PREDICT_UP.name, (run,))]
    if not ups:
        return None
    first = min(series.times[0] for series in ups)
    began = min(_values(store, run, catalog.PREDICT_START_TIMESTAMP_SECONDS), default=first)
    alive = [time for series in ups for time, up in zip(series.times, series.values, strict=True) if up]
    whole = began >= store.first or not alive
    start = began if whole else first
    end = max(_end(store, run, alive, ups), start + _SHORTEST)
    made = Store(store.name, store.cluster, store.job)
    made.add(start, [*(_moment(store, run, -1, zero=True) if whole else _moment(store, run, 0))])
    made.add(end, _moment(store, run, -1))
    whole_run = Window(made, start, end, end - start)
    for gpu, busy in _gpus(whole_run, Window(store, start, end), run):
        made.add(start, (Sample(catalog.GPU_BUSY_SECONDS_TOTAL, gpu[:1], 0.0),))
        counted = Sample(catalog.GPU_BUSY_SECONDS_TOTAL, gpu[:1], busy * (end - start))
        made.add(end, (Sample(catalog.GPU_INFO, gpu, 1.0), counted))
    return whole_run


def _gpus(whole_run: Window, seen: Window, run: str) -> list[tuple[Labels, float]]:
    """Labels of the GPUs on which it predicts, and the share of the time in which each ran a kernel, if known."""
    ranks = {labels[1] for labels in whole_run.labels(catalog.PREDICT_RUN_INFO)}
    uuids = {signals.prediction.facts(whole_run, run, rank).get("gpu_uuid") for rank in ranks} - {None}
    infos = [labels for labels, _ in seen.store.family(catalog.GPU_INFO.name, ()) if labels[1] in uuids]
    return [(info, busy) for info in infos if (busy := signals.gpu.gpu_busy(seen, info[0])) is not None]


def _end(store: Store, run: str, alive: Sequence[float], ups: Sequence[Series]) -> float:
    """When it ended; where that is not told, when it was last seen alive, or did something."""
    told = _values(store, run, catalog.PREDICT_END_TIMESTAMP_SECONDS)
    seen = [*alive, *_values(store, run, catalog.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS)]
    return max(told or seen, default=max(series.times[-1] for series in ups))


def _values(store: Store, run: str, metric: catalog.Metric) -> list[float]:
    return [series.values[-1] for _, series in store.family(metric.name, (run,))]


def _moment(store: Store, run: str, place: int, *, zero: bool = False) -> Iterator[Sample]:
    """The first or the last sample of each series; counters and histograms at zero if that is what they began with.

    Of facts that have changed only the latest.
    """
    for name in store.series:
        metric = catalog.BY_NAME[name]
        if metric.area not in _AREAS:
            continue
        counts = metric.kind in (catalog.COUNTER, catalog.HISTOGRAM)
        family = store.family(name, (run,))
        latest = max((series.times[-1] for _, series in family), default=0.0)
        for labels, series in family:
            if metric.kind == catalog.INFO and series.times[-1] < latest:
                continue
            at = place if counts else -1
            from_zero = counts and (zero or (place == 0 and series.born))
            if series.histograms:
                parts = tuple(0.0 for _ in series.histograms[at]) if from_zero else series.histograms[at]
                yield Sample(metric, labels, HistogramValue(parts[:-1], parts[-1]))
            else:
                yield Sample(metric, labels, 0.0 if from_zero else series.values[at])


def verdicts(windows: Sequence[Window], limits: Thresholds, faults: Faults) -> dict[Key, tuple[Verdict, ...]]:
    """By run and rank, the verdicts on predictions over such windows, whatever became of them."""
    found = {}
    for s in signals.gather([(window, window) for window in windows], faults):
        if s.predicts:
            asked = replace(s, state=kind(s.facts))
            judged = judge(asked, limits, faults)
            told = [describe(rules.BY_NAME[name], asked, limits, faults) for name, met in judged.items() if met]
            found[s.run, s.rank] = worst_first(told)
    return found
