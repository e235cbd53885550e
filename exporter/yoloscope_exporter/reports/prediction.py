"""The summary of what a process predicted, validated or exported, in the form of a training's. Pure calculation.

Figures are those of all that was seen of it; how well they are known is read from parts of the time it was sampled in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import prediction_totals
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures import prediction as measures
from yoloscope_exporter.reports.curves import predicted
from yoloscope_exporter.reports.figures import Figure, measured_figure
from yoloscope_exporter.reports.rank import RankWindow, measured, rank_windows
from yoloscope_exporter.reports.summary import Export, Summary, UnknownRunError, budget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.diagnosis.engine import Verdict
    from yoloscope_exporter.diagnosis.thresholds import Thresholds
    from yoloscope_exporter.diagnosis.time_range import RangeDiagnosis
    from yoloscope_exporter.measures.series import Store, Window

#: Counters by the names of their figures.
_COUNTED = {
    "calls": catalog.PREDICT_CALLS_TOTAL,
    "batches": catalog.PREDICT_BATCHES_TOTAL,
    "images": catalog.PREDICT_IMAGES_TOTAL,
    "boxes": catalog.PREDICT_DETECTIONS_TOTAL,
    "abandoned": catalog.PREDICT_ABANDONED_TOTAL,
}
#: Measures by the names of their figures.
_MEASURED = {
    "predict_throughput": measures.PREDICT_IMAGES,
    "latency_typical": measures.PREDICT_TYPICAL_LATENCY,
    "latency": measures.PREDICT_LATENCY,
    "detections": measures.PREDICT_DETECTIONS,
}
#: Shares of the time of predictions: a part that nothing was spent in is zero, where the model's is known.
_SHARES = {
    "source": measures.PREDICT_SOURCE,
    "preprocess": measures.PREDICT_PREPROCESS,
    "inference": measures.PREDICT_INFERENCE,
    "postprocess": measures.PREDICT_POSTPROCESS,
    "own": measures.PREDICT_OWN,
}


class _Totals(NamedTuple):
    """A run on one node: all that was seen of it, and the samples it is read from."""

    window: Window
    store: Store


def summarize(stores: Sequence[Store], run: str, limits: Thresholds | None = None) -> Summary:
    """Sum up one such run from the stores of the nodes it ran on.

    Raises:
        UnknownRunError: it is not in them.
    """
    nodes = [_Totals(window, store) for store in stores if (window := prediction_totals.totals(store, run))]
    if not nodes:
        raise UnknownRunError(run, [])
    facts = _facts(nodes[0].window, run)
    kind = prediction_totals.kind(facts)
    whole = [RankWindow(one.window, *key) for one in nodes for key in _ranks(one.window, run)]
    seen = [rank for one in nodes for rank in rank_windows(one.store, run, catalog.PREDICT_UP) if _was_followed(rank)]
    exports = _exports(nodes, run)
    course = diagnose_range(stores, limits)
    return Summary(
        run=run,
        state=_state(nodes[0].window, run),
        facts=facts,
        start=min(one.window.start for one in nodes),
        end=max(one.window.end for one in nodes),
        figures=_figures(whole, seen, exports),
        budget=budget(whole, catalog.PREDICT_PHASE_SECONDS_TOTAL, catalog.PREDICT_PHASES),
        epochs=(),
        workers=(),
        latency={},
        curves=predicted(seen),
        states=(),
        verdicts=_verdicts(course, [one.window for one in nodes], run, limits or DEFAULTS),
        notes=course.notes,
        kind=kind,
        exports=exports,
    )


def _was_followed(rank: RankWindow) -> bool:
    """Whether there is more of it than a beginning and an end, as a record has."""
    return len(rank.window.points(catalog.PREDICT_UP, *rank.key)) > 2  # noqa: PLR2004


def _ranks(window: Window, run: str) -> list[tuple[str, str]]:
    return sorted((name, rank) for name, rank in window.labels(catalog.PREDICT_UP, run))


def _facts(window: Window, run: str) -> dict[str, str]:
    labels = next(iter(window.labels(catalog.PREDICT_RUN_INFO, run)), ())
    return {name: value for name, value in zip(catalog.PREDICT_FACTS, labels[2:], strict=False) if value}


def _state(window: Window, run: str) -> str:
    values = window.current(catalog.PREDICT_STATE, run)
    return next((labels[2] for labels, value in values.items() if value == 1), "")


def _figures(whole: Sequence[RankWindow], seen: Sequence[RankWindow], exports: Sequence[Export]) -> dict[str, Figure]:
    peaks = _last(whole, catalog.PREDICT_CUDA_MEMORY_BYTES, "peak_reserved")
    sizes = [one.size for one in exports if one.size is not None]
    found = {
        **{name: _counted(whole, metric) for name, metric in _COUNTED.items()},
        **{name: measured_figure(measured(whole, measure), seen, measure) for name, measure in _MEASURED.items()},
        **_shares(whole, seen),
        "export_time": Figure(sum(one.seconds for one in exports)) if exports else None,
        "export_size": Figure(sum(sizes)) if sizes else None,
        "peak_cuda": Figure(sum(peaks)) if peaks else None,
        "duration": Figure(max(one.window.end for one in whole) - min(one.window.start for one in whole)),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _shares(whole: Sequence[RankWindow], seen: Sequence[RankWindow]) -> dict[str, Figure | None]:
    if measured(whole, measures.PREDICT_INFERENCE) is None:
        return {}
    return {name: measured_figure(measured(whole, one) or 0.0, seen, one) for name, one in _SHARES.items()}


def _counted(ranks: Sequence[RankWindow], metric: Metric) -> Figure | None:
    grown = [one.window.increase(metric, *one.key) for one in ranks]
    known = [value for value in grown if value is not None]
    return Figure(sum(known)) if known and (metric != catalog.PREDICT_ABANDONED_TOTAL or any(known)) else None


def _last(ranks: Sequence[RankWindow], metric: Metric, *labels: str) -> list[float]:
    values = [one.window.last(metric, *one.key, *labels) for one in ranks]
    return [value for value in values if value is not None]


def _exports(nodes: Sequence[_Totals], run: str) -> tuple[Export, ...]:
    """Each format's last one."""
    found = {}
    for one in nodes:
        sizes = {labels[2]: size for labels, size in one.window.current(catalog.EXPORT_ARTEFACT_BYTES, run).items()}
        for labels, seconds in one.window.current(catalog.EXPORT_SECONDS, run).items():
            found[labels[2]] = Export(labels[2], seconds, sizes.get(labels[2]))
    return tuple(found.values())


def _verdicts(
    course: RangeDiagnosis, windows: Sequence[Window], run: str, limits: Thresholds
) -> tuple[tuple[str, Verdict], ...]:
    """Those that held while it was sampled; where none could be told so, those on all of it."""
    own = [(one.rank, verdict) for one in course.diagnoses if one.run == run for verdict in one.verdicts]
    if own:
        return tuple(own)
    of_all = prediction_totals.verdicts(windows, limits, Faults())
    return tuple((rank, verdict) for (_, rank), found in of_all.items() for verdict in found)
