"""The course of a run over time, for plots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.gpu import gpu_busy
from yoloscope_exporter.diagnosis.signals.learning import score_name, scores
from yoloscope_exporter.language import text
from yoloscope_exporter.measures import prediction, training
from yoloscope_exporter.reports.rank import RankWindow, measured_parts, resident

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.measures.series import Window

#: Phases by whose share of step time a slow run is told.
SHARES = {"data_wait": training.DATA_WAIT, "h2d": training.COPY, "backward_exposed": training.EXPOSED}
#: Points of a curve in a plot.
POINTS = 240


class Curve(NamedTuple):
    """A course over time; points are (Unix seconds, value)."""

    name: str
    points: tuple[tuple[float, float], ...]


def curves(ranks: Sequence[RankWindow]) -> dict[str, tuple[Curve, ...]]:
    """Courses by plot."""
    plots = {
        text("images/s"): [_measured(f"rank {one.rank}", one, training.IMAGES) for one in ranks],
        text("share of step time"): [_measured(name, ranks[0], measure) for name, measure in SHARES.items()],
        text("GPU utilization"): [curve for one in ranks for curve in _gpu_curves(one)],
        text("GPU memory (GiB)"): [curve for one in ranks for curve in _memory_curves(one)],
        text("process memory (GiB)"): [Curve(f"rank {one.rank}", _scaled(resident(one), 2**30)) for one in ranks],
        text("loss"): [
            Curve(labels[2], _scaled(ranks[0].window.points(catalog.TRAIN_LOSS, *labels)))
            for labels in ranks[0].window.labels(catalog.TRAIN_LOSS, *ranks[0].key)
        ],
        score_name(ranks[0].window, *ranks[0].key): [
            Curve(text("validation"), _scaled(scores(ranks[0].window, *ranks[0].key)))
        ],
    }
    return _drawn(plots.items())


def predicted(ranks: Sequence[RankWindow]) -> dict[str, tuple[Curve, ...]]:
    """The same of what is no training."""
    shares = {
        text("source"): prediction.PREDICT_SOURCE,
        text("in the model"): prediction.PREDICT_INFERENCE,
        text("postprocessing"): prediction.PREDICT_POSTPROCESS,
        text("your own code"): prediction.PREDICT_OWN,
    }
    plots = {
        text("images/s"): [_measured(f"rank {one.rank}", one, prediction.PREDICT_IMAGES) for one in ranks],
        text("latency of an image (s)"): [
            _measured(text("{share:.0%} of the images", share=share), one, measure)
            for one in ranks[:1]
            for share, measure in ((0.5, prediction.PREDICT_TYPICAL_LATENCY), (0.99, prediction.PREDICT_LATENCY))
        ],
        text("share of the time of predictions"): [
            _measured(name, one, measure) for one in ranks[:1] for name, measure in shares.items()
        ],
        text("GPU memory (GiB)"): [
            curve for one in ranks for curve in _memory_curves(one, catalog.PREDICT_CUDA_MEMORY_BYTES)
        ],
    }
    return _drawn(plots.items())


def _drawn(plots: Iterable[tuple[str, Sequence[Curve]]]) -> dict[str, tuple[Curve, ...]]:
    drawn = {name: tuple(curve for curve in curves if len(curve.points) > 1) for name, curves in plots}
    return {name: curves for name, curves in drawn.items() if curves}


def _edges(window: Window) -> int:
    return max(2, min(POINTS, int(window.seconds / max(window.period, 1e-3) / 2)))


def _measured(name: str, one: RankWindow, measure: Measure) -> Curve:
    points = measured_parts([one], measure, _edges(one.window))
    drawn = tuple((time, part.value) for time, part in points)
    return Curve(name, drawn if any(value for _, value in drawn) else ())


def _gpu_curves(one: RankWindow) -> list[Curve]:
    curves = []
    for labels in one.window.labels(catalog.TRAIN_DEVICE_INFO, *one.key):
        parts = one.window.parts(_edges(one.window))
        busy = [((part.start + part.end) / 2, gpu_busy(part, labels[2])) for part in parts]
        curves.append(Curve(f"GPU {labels[2]}", tuple((time, share) for time, share in busy if share is not None)))
    return curves


def _memory_curves(one: RankWindow, metric: Metric = catalog.TRAIN_CUDA_MEMORY_BYTES) -> list[Curve]:
    kinds = ("allocated", "reserved")
    points = {kind: one.window.points(metric, *one.key, kind) for kind in kinds}
    return [
        Curve(text("rank {rank} {kind}", rank=one.rank, kind=text(kind)), _scaled(values, 2**30))
        for kind, values in points.items()
        if values
    ]


def _scaled(points: Sequence[tuple[float, float]], by: float = 1.0) -> tuple[tuple[float, float], ...]:
    """At most POINTS of the points, each the highest of its stretch, over `by`."""
    stride = max(1, math.ceil(len(points) / POINTS))
    groups = [points[index : index + stride] for index in range(0, len(points), stride)]
    return tuple((group[-1][0], max(value for _, value in group) / by) for group in groups)
