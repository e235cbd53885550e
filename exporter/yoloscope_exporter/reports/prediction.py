"""A report on what a process predicted, validated or exported: its totals, where its time went, and its verdicts.

Counters of such a run begin with it, so its last values are its totals.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import COUNTER, HistogramValue, Sample
from yoloscope_exporter.diagnosis import rules, signals, units
from yoloscope_exporter.diagnosis.engine import describe, judge, worst_first
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS
from yoloscope_exporter.language import say, text
from yoloscope_exporter.measures.series import Store, Window, quantile
from yoloscope_exporter.reports.markdown import heads, verdict_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.diagnosis.engine import Verdict
    from yoloscope_exporter.diagnosis.thresholds import Thresholds

#: Seconds of the window that all of a run is put into for its verdicts: they ask for shares.
_WHOLE = 60.0
_FACTS = ("task", "model", "format", "precision", "imgsz", "batch", "device", "source", "stream", "ultralytics")


def known(stores: Sequence[Store]) -> list[str]:
    """Names of the runs that are no training."""
    return sorted({labels[0] for store in stores for labels in store.series.get(catalog.PREDICT_UP.name, {})})


def totals(stores: Sequence[Store], run: str) -> list[Sample]:
    """The last value of each series of a run."""
    found = []
    for store in stores:
        everything = Window(store, store.first, store.last)
        for name in store.series:
            metric = catalog.BY_NAME.get(name)
            if metric is not None and metric.area in {"predict", "export"}:
                found += [Sample(metric, key, value) for key, value in _last(everything, metric, run)]
    return found


def _last(window: Window, metric: Metric, run: str) -> Iterator[tuple[tuple[str, ...], float | HistogramValue]]:
    for labels in window.labels(metric, run):
        value = window.total(metric, *labels) if metric.kind == catalog.HISTOGRAM else window.last(metric, *labels)
        if value is not None:
            yield labels, value


def report(found: Sequence[Sample], limits: Thresholds = DEFAULTS) -> str:
    """Markdown: figures, time by phase, exports, verdicts."""
    who = found[0].labels[:2]
    plain = {one.metric: one.value for one in found if len(one.labels) == 2 and isinstance(one.value, float)}  # noqa: PLR2004
    by_label = {(one.metric, one.labels[2]): one.value for one in found if len(one.labels) == 3}  # noqa: PLR2004
    state = next(
        (label for (metric, label), value in by_label.items() if metric == catalog.PREDICT_STATE and value), ""
    )
    lines = [f"# {who[0]}", "", say(state or "state unknown"), "", f"| {say('figure')} | |", "|---|---|"]
    lines += [f"| {say(name)} | {value} |" for name, value in (*_facts(found), *_figures(plain, found))]
    phases = {label: float(v) for (m, label), v in by_label.items() if m == catalog.PREDICT_PHASE_SECONDS_TOTAL and v}  # type: ignore[arg-type]
    if phases:
        whole = sum(phases.values())
        lines += ["", f"## {say('Where the time went')}", "", *heads("phase", "time", "share")]
        lines += [f"| {p} | {units.duration(one)} | {one / whole:.1%} |" for p, one in phases.items()]
    exports = {label: float(v) for (m, label), v in by_label.items() if m == catalog.EXPORT_SECONDS}  # type: ignore[arg-type]
    if exports:
        lines += ["", f"## {say('Exports')}", "", *heads("format", "time", "size")]
        sizes = {label: float(v) for (m, label), v in by_label.items() if m == catalog.EXPORT_ARTEFACT_BYTES}  # type: ignore[arg-type]
        lines += [f"| {f} | {units.duration(one)} | {_mebibytes(sizes.get(f))} |" for f, one in exports.items()]
    verdicts = of_run(found, limits)
    lines += ["", f"## {say('Verdicts')}", "", *(map(verdict_line, verdicts) if verdicts else [say("None.")])]
    return "\n".join(lines) + "\n"


def _facts(found: Sequence[Sample]) -> Iterator[tuple[str, str]]:
    labels = next((one.labels[2:] for one in found if one.metric == catalog.PREDICT_RUN_INFO), ())
    told = dict(zip(catalog.PREDICT_FACTS, labels, strict=False))
    yield from ((name, told[name]) for name in _FACTS if told.get(name))


def _figures(plain: dict[Metric, float], found: Sequence[Sample]) -> Iterator[tuple[str, str]]:
    names = {
        catalog.PREDICT_CALLS_TOTAL: text("calls"),
        catalog.PREDICT_BATCHES_TOTAL: text("batches"),
        catalog.PREDICT_IMAGES_TOTAL: text("images"),
        catalog.PREDICT_DETECTIONS_TOTAL: text("boxes"),
        catalog.PREDICT_ABANDONED_TOTAL: text("dropped generators"),
    }
    yield from ((name, f"{plain[metric]:.0f}") for metric, name in names.items() if metric in plain)
    (s,) = _signals(found)
    if s.has(type(s).predict_images_per_second):
        yield text("images per second"), f"{s.predict_images_per_second:.3g}"
    latency = next((one.value for one in found if one.metric == catalog.PREDICT_IMAGE_SECONDS), None)
    if isinstance(latency, HistogramValue):
        for share in (0.5, 0.95, 0.99):
            value = quantile(catalog.PREDICT_IMAGE_SECONDS, latency, share)
            if value is not None:
                yield text("latency of an image, {share:.0%}", share=share), units.milliseconds(value)


def _mebibytes(size: float | None) -> str:
    return "-" if size is None else f"{size / 2**20:.1f} MiB"


def _signals(found: Sequence[Sample]) -> list[signals.Signals]:
    """Those of all of the run, as if it had taken a window's time."""
    store = Store()
    store.add(0.0, [_zero(one) if one.metric.kind in (COUNTER, catalog.HISTOGRAM) else one for one in found])
    store.add(_WHOLE, found)
    window = Window(store, 0.0, _WHOLE, _WHOLE)
    return signals.gather([(window, window)])


def _zero(one: Sample) -> Sample:
    if isinstance(one.value, HistogramValue):
        return one._replace(value=HistogramValue((0.0,) * len(one.value.counts), 0.0))
    return one._replace(value=0.0)


def of_run(found: Sequence[Sample], limits: Thresholds = DEFAULTS) -> tuple[Verdict, ...]:
    """Verdicts on all of a run that predicted, whatever became of it."""
    mode = next((one.labels[2] for one in found if one.metric == catalog.PREDICT_RUN_INFO), "")
    if mode != "predict":
        return ()
    faults = Faults()
    (s,) = _signals(found)
    s = replace(s, state="predict")
    judged = judge(s, limits, faults)
    return worst_first(describe(rules.BY_NAME[name], s, limits, faults) for name, met in judged.items() if met)
