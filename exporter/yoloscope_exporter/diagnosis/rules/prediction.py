"""Verdicts on predictions. They are judged of nothing else, and no verdict on trainings is judged of a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.advice.prediction import (
    WITHOUT_BOXES,
    fewer_boxes,
    half_precision,
    larger_inference_batch,
    less_between,
    less_called,
    lighter_source,
    other_format,
    prepared_images,
)
from yoloscope_exporter.diagnosis.rules.rule import INFO, OK, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.signals.prediction import sources
from yoloscope_exporter.language import text, units

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds

#: What a rule about a prediction needs at least.
_PARTS = (Signals.predict_batch_seconds, Signals.predict_inference_share)
#: Sources that come in their own time: who waits for them keeps up.
LIVE = frozenset({"camera", "stream", "screenshot"})
#: First compute capability with tensor cores (Volta); the GTX 16 cards have 7.5 and none.
_TENSOR_CORES, _WITHOUT = (7, 0), "GTX 16"
_STATES, _VALIDATES = ("predict",), ("validate",)


def _is_live(s: Signals) -> bool:
    return not LIVE.isdisjoint(sources(s.facts))


def _waits(s: Signals, t: Thresholds) -> bool:
    return s.predict_source_share >= t.predict_part_share and not _is_live(s)


def _per_batch(s: Signals, share: float) -> str:
    return text("{share} per batch", share=units.milliseconds(share * s.predict_batch_seconds))


def _inference(s: Signals) -> str:
    return s.text("the model takes {predict_inference_share:.0%}")


def _source_evidence(s: Signals, _: Thresholds) -> str:
    source = s.facts.get("source", "source")
    share = s.predict_source_share
    return text(
        "{share:.0%} of the time waits for the next batch ({source}): {per_batch}; {inference}",
        share=share,
        source=source,
        per_batch=_per_batch(s, share),
        inference=_inference(s),
    )


def _postprocess_evidence(s: Signals, _: Thresholds) -> str:
    share = s.predict_postprocess_share
    boxes = s.text("; {predict_detections:.0f} boxes per image") if s.has(Signals.predict_detections) else ""
    known = () if s.facts.get("task") in WITHOUT_BOXES else ("conf", "max_det")
    settings = ", ".join(f"{name} {s.facts[name]}" for name in known if name in s.facts)
    told = text(" ({settings})", settings=settings) if settings else ""
    return text(
        "{share:.0%} of the time goes into postprocessing: {per_batch}{boxes}{told}; {inference}",
        share=share,
        per_batch=_per_batch(s, share),
        boxes=boxes,
        told=told,
        inference=_inference(s),
    )


def _preprocess_evidence(s: Signals, _: Thresholds) -> str:
    share = s.predict_preprocess_share
    size = text(" (imgsz {imgsz})", imgsz=s.facts["imgsz"]) if "imgsz" in s.facts else ""
    return text(
        "{share:.0%} of the time goes into preprocessing{size}: {per_batch} of {images}; {inference}",
        share=share,
        size=size,
        per_batch=_per_batch(s, share),
        images=units.counted(max(round(s.get(Signals.predict_batch_size)), 1), "image"),
        inference=_inference(s),
    )


def _own_evidence(s: Signals, _: Thresholds) -> str:
    share, part = s.predict_own_share, s.names.get("own_part", text("your own code"))
    return text(
        "{share:.0%} of the time lies between batches, mostly {part}: {per_batch}; {inference}",
        share=share,
        part=part,
        per_batch=_per_batch(s, share),
        inference=_inference(s),
    )


def _called_evidence(s: Signals, _: Thresholds) -> str:
    share = s.predict_own_share
    return text(
        "{share:.0%} of the time goes into other callbacks: {per_batch}; {inference}",
        share=share,
        per_batch=_per_batch(s, share),
        inference=_inference(s),
    )


def _small(s: Signals, t: Thresholds) -> bool:
    """The GPU idles although the host is in the model most of the time: it launches kernels that are over at once."""
    in_model = s.predict_inference_share >= t.inference_share
    idle = s.predict_gpu_busy < t.gpu_low
    return in_model and idle and s.predict_batch_size <= t.small_inference_batch and not _is_live(s)


def _small_evidence(s: Signals, _: Thresholds) -> str:
    size = s.text("{predict_batch_size:.3g} images per batch")
    return s.text(
        "{size}, GPU busy {predict_gpu_busy:.0%}, while {predict_inference_share:.0%} of the time is the model's",
        size=size,
    )


def has_tensor_cores(s: Signals) -> bool:
    """Whether the card that predicts has tensor cores, by its compute capability."""
    parts = s.facts.get("capability", "").split(".")
    if not all(part.isdecimal() for part in parts):
        return False
    return tuple(map(int, parts)) >= _TENSOR_CORES and _WITHOUT not in s.facts.get("device_name", "")


def _unused(s: Signals, t: Thresholds) -> bool:
    """A GPU that idles while the host is in the model is not waited for: half precision makes it idle more."""
    in_model = s.predict_inference_share >= t.inference_share
    works = s.get(Signals.predict_gpu_busy, 1.0) >= t.inference_busy * s.predict_inference_share
    return in_model and works and has_tensor_cores(s) and s.facts.get("precision") == "fp32"


def _unused_evidence(s: Signals, _: Thresholds) -> str:
    name, version = s.facts.get("device_name", text("the GPU")), s.facts["capability"]
    return s.text(
        "FP32 on {name} (compute capability {version}), where {predict_inference_share:.0%} of the time is spent",
        name=name,
        version=version,
    )


def _healthy(s: Signals, t: Thresholds) -> bool:
    """Every other part is below its limit, and the model has the largest."""
    around = (s.get(Signals.predict_preprocess_share), s.get(Signals.predict_postprocess_share), s.predict_own_share)
    if max(around) >= t.predict_part_share:
        return False
    return _is_live(s) or (s.predict_inference_share >= max(*around, s.predict_source_share) and not _waits(s, t))


def _pauses(s: Signals, t: Thresholds) -> str:
    """That it was mostly not asked for anything, or has read something itself: which, cannot be seen."""
    if s.get(Signals.predict_idle_share) < t.predict_part_share:
        return ""
    return s.text(
        "; between calls it waited for {predict_idle_share:.0%} of the time, "
        "for requests, for what its own code reads, or for a CPU"
    )


def _healthy_evidence(s: Signals, t: Thresholds) -> str:
    rate = s.text("; {predict_images_per_second:.3g} images/s") if s.has(Signals.predict_images_per_second) else ""
    latency = (
        text("; 99 % below {predict_latency}", predict_latency=units.milliseconds(s.predict_latency))
        if s.has(Signals.predict_latency)
        else ""
    )
    if _is_live(s) and s.predict_source_share >= s.predict_inference_share:
        waits = s.text("{predict_source_share:.0%} of the time waits for the {source}", source=s.facts["source"])
        return text(
            "it keeps up with its source: {waits}, {inference}{rate}{latency}",
            waits=waits,
            inference=_inference(s),
            rate=rate,
            latency=latency,
        )
    return s.text(
        "{predict_inference_share:.0%} of the time is the model's{rate}{latency}{pauses}",
        rate=rate,
        latency=latency,
        pauses=_pauses(s, t),
    )


RULES = (
    Rule(
        name="source_bound",
        title="Predictions wait for their source",
        severity=WARNING,
        requires="phase `source`: to open what a call is given, and the wait for the next batch",
        confused_with={
            "user_code_bound": "the moment at which the last result of a batch is taken divides the two",
            "inference_bound": "a camera or a stream sets the pace itself: to wait for it is to keep up",
        },
        needs=(*_PARTS, Signals.predict_source_share),
        when=_waits,
        thresholds=("predict_part_share",),
        evidence=_source_evidence,
        cause="video is decoded, or files are downloaded, read and decoded, one by one in the process that predicts",
        verify="py-spy record --pid <pid> --duration 30 --output predict.svg: time in cv2's read and imread",
        fix=lighter_source,
        states=_STATES,
        remedy="`vid_stride`, smaller frames or files, a local disk, or a thread of your own that reads ahead",
        slows=True,
    ),
    Rule(
        name="predict_preprocess_bound",
        title="Preprocessing takes too long",
        severity=WARNING,
        requires="Ultralytics' own profiler of preprocessing",
        confused_with={
            "source_bound": "to read and decode is the source's; preprocessing begins when the batch is there",
            "inference_bound": "Ultralytics' profilers wait for the GPU before and after each part",
        },
        needs=(*_PARTS, Signals.predict_preprocess_share),
        when=lambda s, t: s.predict_preprocess_share >= t.predict_part_share,
        thresholds=("predict_part_share",),
        evidence=_preprocess_evidence,
        cause="the host scales, pads and copies the images one after the other, for classifiers from their full size",
        verify="the last line of a prediction: Speed: ... ms preprocess",
        fix=prepared_images,
        states=_STATES,
        remedy="tensors that are prepared in threads of your own, a smaller `imgsz`; for classifiers smaller images",
        slows=True,
    ),
    Rule(
        name="postprocess_bound",
        title="Postprocessing takes too long",
        severity=WARNING,
        requires="Ultralytics' own profiler of postprocessing",
        confused_with={
            "inference_bound": "Ultralytics' profilers wait for the GPU before and after each part",
            "user_code_bound": "trackers and what is done with results have phases of their own",
        },
        needs=(*_PARTS, Signals.predict_postprocess_share),
        when=lambda s, t: s.predict_postprocess_share >= t.predict_part_share,
        thresholds=("predict_part_share",),
        evidence=_postprocess_evidence,
        cause="non-maximum suppression compares all boxes above `conf` with each other, masks are made for each, maps "
        "of classes or depths are scaled to the image's own size, and the images of a tensor are copied back to the "
        "host",
        verify="the last line of a prediction: Speed: ... ms postprocess per image",
        fix=fewer_boxes,
        states=_STATES,
        remedy="a higher `conf`, a lower `max_det`, only the `classes` that you need; smaller images where results are "
        "maps; no tensors as images",
        slows=True,
    ),
    Rule(
        name="user_code_bound",
        title="Your own code takes a large part of predicting",
        severity=WARNING,
        requires="phases `callbacks`, `save`, `user`, `load`: results are taken, or the thread computes between calls",
        confused_with={
            "source_bound": "the source's time begins when the last result of a batch has been taken",
            "idle": "between two calls only the thread's CPU time counts: who waits for requests computes nothing",
        },
        needs=(*_PARTS, Signals.predict_own_share),
        when=lambda s, t: s.predict_own_share >= t.predict_part_share,
        thresholds=("predict_part_share",),
        evidence=_own_evidence,
        cause="the next batch begins only when everything that is done with the results of the last one is over",
        verify="py-spy record --pid <pid> --duration 30 --output predict.svg: what is called outside of Ultralytics",
        fix=less_between,
        states=_STATES,
        remedy="do it in a thread or process of its own, `save=False`, `show=False`, several images in one call",
        slows=True,
    ),
    Rule(
        name="validate_callback_bound",
        title="Callbacks take a large part of the validation",
        severity=WARNING,
        requires="phase `callbacks` of a validation on its own: what others do at the begin and the end of a batch",
        confused_with={
            "callback_bound": "that is told of trainings, whose validations' callbacks are among its own",
            "source": "the wait for the loader begins when the last callback of a batch has returned",
        },
        needs=(*_PARTS, Signals.predict_own_share),
        when=lambda s, t: s.predict_own_share >= t.predict_part_share,
        thresholds=("predict_part_share",),
        evidence=_called_evidence,
        cause="a logger's or your own callback does its work while the validation waits for it",
        verify="py-spy record --pid <pid> --duration 30 --output callbacks.svg: what the main thread does",
        fix=less_called,
        states=_VALIDATES,
        remedy="a callback that does less, once at `on_val_end`, or in a thread",
        slows=True,
    ),
    Rule(
        name="small_inference_batch",
        title="The batch is too small to fill the GPU",
        severity=WARNING,
        requires="the GPU's own utilization, beside the share of the time that the model has",
        confused_with={
            "inference_bound": "a GPU that is busy is not filled by larger batches",
            "precision": "half precision is a fact of its own",
        },
        needs=(*_PARTS, Signals.predict_gpu_busy, Signals.predict_batch_size),
        when=_small,
        thresholds=("small_inference_batch", "inference_share", "gpu_low"),
        evidence=_small_evidence,
        cause="the host takes longer to launch the kernels of so few images than the GPU to run them",
        verify="nvidia-smi dmon -s u while it predicts",
        fix=larger_inference_batch,
        states=_STATES,
        remedy="`batch=8` to `32` with files or video (`stream=True`), several images in one call, `format=engine`",
        slows=True,
    ),
    Rule(
        name="precision",
        title="Half precision is not used",
        severity=INFO,
        requires="the card's compute capability and the precision of the loaded model; the GPU's utilization, if known",
        confused_with={
            "small_inference_batch": "a GPU that idles while the host is in the model gains nothing by half precision",
        },
        needs=_PARTS,
        when=_unused,
        thresholds=("inference_share", "inference_busy"),
        evidence=_unused_evidence,
        cause="tensor cores compute with FP16, FP32 leaves most of them unused",
        verify="yolo val model=MODEL data=DATA half=True: the same mAP, and less inference per image",
        fix=half_precision,
        states=_STATES,
        remedy="`half=True`, or an export with it",
    ),
    Rule(
        name="inference_bound",
        title="Healthy: the time goes into the model",
        severity=OK,
        requires="the model's share of the time is the largest, and every other part below its limit",
        confused_with={
            "small_inference_batch": "the host may be in the model while the GPU idles: its utilization tells",
        },
        needs=(*_PARTS, Signals.predict_source_share, Signals.predict_own_share),
        when=_healthy,
        thresholds=("predict_part_share",),
        evidence=_healthy_evidence,
        cause="nothing holds predictions back but the model itself",
        verify="the last line of a prediction: Speed: ... ms inference per image",
        fix=other_format,
        states=_STATES,
        remedy="nothing; an export (`format=engine` on NVIDIA GPUs, `openvino` or `onnx` on CPUs), a smaller `imgsz`",
    ),
)
