"""What predicts on the first of the simulated nodes: a service on a GPU, and an export that is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.live import in_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.catalog import Metric

    _Part = tuple[Metric, tuple[str, ...], float | HistogramValue]

SERVICE, EXPORT = "detect/predict-20261127-090000", "detect/export-20261127-080000"
#: Seconds of an image by phase, eight of them in a batch; the rest of the second nothing is asked for.
PHASES = {"source": 0.001, "preprocess": 0.001, "inference": 0.008, "postprocess": 0.001, "save": 0.0, "user": 0.002}
RATE, BATCH = 50.0, 8  # images per second
EXPORT_SECONDS, EXPORT_BYTES = 94.0, 22.4e6
#: What is said of the service.
VERDICTS = ("precision", "inference_bound")
_FACTS = {
    "task": "detect",
    "model": "yolo11m.pt",
    "imgsz": "640,640",
    "batch": str(BATCH),
    "device": "cuda:0",
    "device_name": "NVIDIA H100 80GB HBM3",
    "capability": "9.0",
    "stream": "True",
    "source": "files",
    "conf": "0.25",
    "max_det": "300",
    "vid_stride": "1",
    "agnostic_nms": "False",
    "ultralytics": "8.4.190",
    "torch": "2.8.0+cu128",
    "cuda": "12.8",
    "user": "simulated",
    "pid": "9000",
}


def samples(start: float, now: float, uuid: str) -> Iterator[Sample]:
    """What the exporter would show of both, `start` being when the service began; `uuid` is its GPU's."""
    for part in _service(start, now, uuid):
        yield Sample(part[0], (SERVICE, "0", *part[1]), part[2])
    for part in _export(start):
        yield Sample(part[0], (EXPORT, "0", *part[1]), part[2])


def _run(mode: str, state: str, more: dict[str, str]) -> Iterator[_Part]:
    facts = {**_FACTS, **more, "mode": mode}
    yield catalog.PREDICT_RUN_INFO, tuple(facts.get(name, "") for name in catalog.PREDICT_FACTS), 1.0
    yield catalog.PREDICT_UP, (), float(state == mode)
    for one in catalog.PREDICT_STATES:
        yield catalog.PREDICT_STATE, (one,), float(one == state)


def _service(start: float, now: float, uuid: str) -> Iterator[_Part]:
    yield from _run("predict", "predict", {"format": "pt", "precision": "fp32", "gpu_uuid": uuid})
    batches = int(max(now - start, 0.0) * RATE / BATCH)
    images = BATCH * batches
    yield catalog.PREDICT_START_TIMESTAMP_SECONDS, (), start
    yield catalog.PREDICT_UNDER_WAY, (), 1.0
    yield catalog.PREDICT_CALLS_TOTAL, (), 2.0
    yield catalog.PREDICT_ABANDONED_TOTAL, (), 1.0
    yield catalog.PREDICT_BATCHES_TOTAL, (), float(batches)
    yield catalog.PREDICT_IMAGES_TOTAL, (), float(images)
    yield catalog.PREDICT_DETECTIONS_TOTAL, (), 3.0 * images
    yield catalog.PREDICT_BATCH_SIZE, (), float(BATCH)
    yield catalog.PREDICT_HOOK_SECONDS_TOTAL, (), 3e-5 * batches
    if batches:
        yield catalog.PREDICT_LAST_BATCH_TIMESTAMP_SECONDS, (), start + batches * BATCH / RATE
    busy = {phase: seconds * images for phase, seconds in PHASES.items() if seconds}
    idle = max(batches * BATCH / RATE - sum(busy.values()), 0.0)
    for phase, seconds in {"setup": 4.0, **busy, "idle": idle}.items():
        yield catalog.PREDICT_PHASE_SECONDS_TOTAL, (phase,), seconds
    latency = BATCH * (PHASES["preprocess"] + PHASES["inference"] + PHASES["postprocess"])
    place = sum(bound < latency for bound in catalog.IMAGE_BUCKETS)
    counts = [0.0] * (len(catalog.IMAGE_BUCKETS) + 1)
    slow = images // 50
    counts[place], counts[place + 1] = float(images - slow), float(slow)
    yield catalog.PREDICT_IMAGE_SECONDS, (), HistogramValue(tuple(counts), latency * images)
    for kind, size in {"allocated": 1.1e9, "reserved": 1.6e9, "peak_allocated": 1.4e9, "peak_reserved": 1.6e9}.items():
        yield catalog.PREDICT_CUDA_MEMORY_BYTES, (kind,), size
    for rule in rules.PREDICTION_RULES:
        yield catalog.PREDICT_VERDICT, (rule.name,), float(rule.name in VERDICTS)
    for name in VERDICTS:
        yield catalog.PREDICT_VERDICT_FIX_INFO, (name, *in_labels(rules.BY_NAME[name].remedy)), 1.0


def _export(start: float) -> Iterator[_Part]:
    yield from _run("export", "finished", {"format": "engine", "precision": "fp16"})
    yield catalog.PREDICT_START_TIMESTAMP_SECONDS, (), start - 3600
    yield catalog.PREDICT_END_TIMESTAMP_SECONDS, (), start - 3600 + EXPORT_SECONDS
    yield catalog.PREDICT_UNDER_WAY, (), 0.0
    yield catalog.PREDICT_CALLS_TOTAL, (), 1.0
    yield catalog.EXPORT_SECONDS, ("engine",), EXPORT_SECONDS
    yield catalog.EXPORT_ARTEFACT_BYTES, ("engine",), EXPORT_BYTES
