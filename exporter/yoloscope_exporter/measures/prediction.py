"""Where the time of predictions goes, and how long an image waits for its result.

The time of predictions is all that a process spends in calls or, between two of them, computes: not its set-up, and not
the time in which nothing was asked for (`idle`).
"""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import catalog
from yoloscope_exporter.measures.formula import RANK, Formula, age, last, quantile, rate
from yoloscope_exporter.measures.measure import Measure


def _phase(phases: str) -> Formula:
    """Seconds in some phases, a regular expression of them, per second."""
    return rate(catalog.PREDICT_PHASE_SECONDS_TOTAL, phase=phases).total("sum")


#: Phases in which nothing is predicted.
NOT_ASKED: Final = ("setup", "idle")
TIME: Final = _phase(f"!~{'|'.join(NOT_ASKED)}")
#: What is done with the results: trackers and other callbacks, saving, and what the user makes of them.
OWN: Final = "callbacks|save|user"


def _share(phases: str) -> Formula:
    return _phase(phases) / TIME


PREDICT_SOURCE: Final = Measure(
    name="predict_source",
    title="Waiting for the source",
    help="Share of the time of predictions that waits for the source: decoding video, reading files.",
    formula=_share("source"),
    of=RANK,
    thresholds=("predict_part_share",),
)
PREDICT_INFERENCE: Final = Measure(
    name="predict_inference",
    title="Inference",
    help="Share of the time of predictions spent in the model.",
    formula=_share("inference"),
    of=RANK,
    thresholds=("inference_share",),
)
PREDICT_POSTPROCESS: Final = Measure(
    name="predict_postprocess",
    title="Postprocessing",
    help="Share of the time of predictions spent in postprocessing: non-maximum suppression and making results.",
    formula=_share("postprocess"),
    of=RANK,
    thresholds=("predict_part_share",),
)
PREDICT_PREPROCESS: Final = Measure(
    name="predict_preprocess",
    title="Preprocessing (predict)",
    help="Share of the time of predictions spent in preprocessing: resizing, padding and copying to the device.",
    formula=_share("preprocess"),
    of=RANK,
)
PREDICT_IDLE: Final = Measure(
    name="predict_idle",
    title="Nothing asked for (predict)",
    help="Share of the time since the set-up in which nothing was asked for: between calls the thread that predicts "
    "waited, for requests or for what its own code reads.",
    formula=_phase("idle") / _phase("!=setup"),
    of=RANK,
    thresholds=("predict_part_share",),
)
PREDICT_OWN: Final = Measure(
    name="predict_own",
    title="Your own code, trackers, saving",
    help="Share of the time of predictions spent between batches: your own code, callbacks and trackers, saving.",
    formula=_share(f"=~{OWN}"),
    of=RANK,
    thresholds=("predict_part_share",),
)
PREDICT_IMAGES: Final = Measure(
    name="predict_images",
    title="Images per second (predict)",
    help="Images per second of the time of predictions: pauses in which nothing is asked for do not count.",
    formula=rate(catalog.PREDICT_IMAGES_TOTAL).total("sum") / TIME,
    of=RANK,
)
PREDICT_BATCH_SECONDS: Final = Measure(
    name="predict_batch_seconds",
    title="Time of a batch (predict)",
    help="Mean time of a predicted batch, all of what lies between two batches included.",
    formula=TIME / rate(catalog.PREDICT_BATCHES_TOTAL).total("sum"),
    of=RANK,
)
PREDICT_DETECTIONS: Final = Measure(
    name="predict_detections",
    title="Boxes per image",
    help="Mean number of boxes found in an image.",
    formula=rate(catalog.PREDICT_DETECTIONS_TOTAL).total("sum") / rate(catalog.PREDICT_IMAGES_TOTAL).total("sum"),
    of=RANK,
)
PREDICT_TYPICAL_LATENCY: Final = Measure(
    name="predict_typical_latency",
    title="Latency, median",
    help="Time from an image's arrival to its result that half of the images stay below.",
    formula=quantile(0.5, catalog.PREDICT_IMAGE_SECONDS),
    of=RANK,
)
PREDICT_LATENCY: Final = Measure(
    name="predict_latency",
    title="Latency, 99th percentile",
    help="Time from an image's arrival to its result that 99 of 100 images stay below.",
    formula=quantile(0.99, catalog.PREDICT_IMAGE_SECONDS),
    of=RANK,
)
PREDICT_SINCE_BATCH: Final = Measure(
    name="predict_since_batch",
    title="Since the last batch (predict)",
    help="Seconds since the last batch of a prediction, or before there is one since the first call, while a call is "
    "under way.",
    formula=age(catalog.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS)
    .or_(age(catalog.PREDICT_START_TIMESTAMP_SECONDS))
    .total("min")
    .where(last(catalog.PREDICT_UNDER_WAY).compared(">", 0).total("max"), RANK),
    of=RANK,
    thresholds=("inference_stalled",),
)

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
