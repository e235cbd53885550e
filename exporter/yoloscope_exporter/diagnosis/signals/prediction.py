"""Where the time of predictions goes: of a process that predicts, validates or exports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import at_most_one, ratio
from yoloscope_exporter.diagnosis.signals.gpu import gpu_busy
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.diagnosis.signals.view import FEWEST_BATCHES
from yoloscope_exporter.language import text
from yoloscope_exporter.measures import prediction as measures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View
    from yoloscope_exporter.measures.series import Window

#: Parts of the user's own share, by how they are called: that of a phase, and what the phase `save` is where nothing is
#: saved or shown.
USER, LOADING, CALLBACKS, SAVING, PRINTING = (
    text("your own code"),
    text("loading models"),
    text("callbacks and trackers"),
    text("saving and drawing"),
    text("callbacks and printing"),
)
_OWN = {"user": USER, "load": LOADING, "callbacks": CALLBACKS, "save": SAVING}
#: The fact `saves` of predictions that save and show nothing.
NOTHING = "none"


class PredictionSignals:
    """Times and shares of predictions."""

    predict_batches = Signal("predicted batches in the window")
    predict_images_per_second = Signal("predicted images per second of the time of predictions")
    predict_batch_seconds = Signal("mean time of a predicted batch in seconds, what lies between two batches included")
    predict_batch_size = Signal("mean number of images in a predicted batch")
    predict_source_share = Signal("share of the time of predictions that waits for the source")
    predict_inference_share = Signal("share of the time of predictions spent in the model")
    predict_preprocess_share = Signal("share of the time of predictions spent in preprocessing")
    predict_postprocess_share = Signal("share of the time of predictions spent in postprocessing")
    predict_own_share = Signal("share of the time of predictions in the user's own code, callbacks and saving")
    predict_idle_share = Signal("share of the time since the set-up in which nothing was asked for")
    predict_detections = Signal("mean number of boxes in a predicted image")
    predict_calls_per_batch = Signal("calls of predict over batches: 1 where each image is a call of its own")
    predict_latency = Signal("99th percentile of the time from an image's arrival to its result, in seconds")
    predict_gpu_busy = Signal("share of the time of predictions in which the predicting GPU ran a kernel, at most")


def prediction(v: View) -> Numbers:
    """The signals; only the number of batches where there are too few to judge."""
    batches = v.now.increase(catalog.PREDICT_BATCHES_TOTAL, v.run, v.rank)
    if not batches or batches < FEWEST_BATCHES:
        return {PredictionSignals.predict_batches: batches}
    images = v.now.increase(catalog.PREDICT_IMAGES_TOTAL, v.run, v.rank)
    return {
        PredictionSignals.predict_batches: batches,
        PredictionSignals.predict_images_per_second: v.measure(measures.PREDICT_IMAGES),
        PredictionSignals.predict_batch_seconds: v.measure(measures.PREDICT_BATCH_SECONDS),
        PredictionSignals.predict_batch_size: ratio(images, batches),
        PredictionSignals.predict_source_share: v.measure(measures.PREDICT_SOURCE) or 0.0,
        PredictionSignals.predict_inference_share: v.measure(measures.PREDICT_INFERENCE),
        PredictionSignals.predict_preprocess_share: v.measure(measures.PREDICT_PREPROCESS),
        PredictionSignals.predict_postprocess_share: v.measure(measures.PREDICT_POSTPROCESS),
        PredictionSignals.predict_own_share: v.measure(measures.PREDICT_OWN) or 0.0,
        PredictionSignals.predict_idle_share: v.measure(measures.PREDICT_IDLE) or 0.0,
        PredictionSignals.predict_detections: v.measure(measures.PREDICT_DETECTIONS),
        PredictionSignals.predict_calls_per_batch: ratio(
            v.now.increase(catalog.PREDICT_CALLS_TOTAL, v.run, v.rank) or 0.0, batches
        ),
        PredictionSignals.predict_latency: v.measure(measures.PREDICT_LATENCY),
        PredictionSignals.predict_gpu_busy: _gpu_busy(v),
    }


def _gpu_busy(v: View) -> float | None:
    """As if the GPU had run nothing while nothing was asked for: that it idles then says nothing of predictions."""
    busy = gpu_busy(v.now, v.gpu) if v.gpu else None
    told = v.now.rates(catalog.PREDICT_PHASE_SECONDS_TOTAL, v.run, v.rank)
    asked = sum(rate for (*_, phase), rate in told.items() if phase not in measures.NOT_ASKED)
    return at_most_one(ratio(busy, min(asked, 1.0)))


def own_part(v: View) -> dict[str, str]:
    """What the user's own part mostly is."""
    grown = v.now.increases(catalog.PREDICT_PHASE_SECONDS_TOTAL, v.run, v.rank)
    spent = {labels[2]: seconds for labels, seconds in grown.items() if labels[2] in _OWN and seconds}
    if not spent:
        return {}
    part = _OWN[max(spent, key=lambda phase: spent[phase])]
    return {"own_part": PRINTING if part == SAVING and v.facts.get("saves") == NOTHING else part}


def facts(window: Window, run: str, rank: str) -> dict[str, str]:
    """Labels of predict_run_info, empty values left out."""
    labels = next(iter(window.current(catalog.PREDICT_RUN_INFO, run, rank)), ())
    return {name: value for name, value in zip(catalog.PREDICT_FACTS, labels[2:], strict=False) if value}


def sources(told: Mapping[str, str]) -> frozenset[str]:
    """Where the images come from: of predictors that take turns several, as the video and the cuts of a cascade."""
    return frozenset(filter(None, told.get("source", "").split(",")))


def state(window: Window, run: str, rank: str) -> str:
    """The state the run is in, empty if it is not published."""
    values = window.current(catalog.PREDICT_STATE, run, rank)
    return next((labels[2] for labels, value in values.items() if value == 1), "")


def gpu(window: Window, told: Mapping[str, str]) -> str:
    """Index of the GPU with the UUID that the facts tell; empty where there is none."""
    uuid, infos = told.get("gpu_uuid"), _labels(window, catalog.GPU_INFO)
    return next((labels[0] for labels in infos if uuid and labels[1] == uuid), "")


def _labels(window: Window, metric: Metric) -> Iterable[tuple[str, ...]]:
    return window.current(metric)
