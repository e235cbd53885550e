"""Advice on predictions: arguments of `predict`, which change other things than those of `train` of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import forecast
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.settings import number
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.signals.prediction import CALLBACKS, LOADING, PRINTING, SAVING, sources
from yoloscope_exporter.diagnosis.ultralytics_arguments import (
    PREDICT_DEFAULTS,
    READ_AT_ONCE,
    READ_AT_ONCE_SINCE,
    version_of,
    without_cuda,
)
from yoloscope_exporter.language import joined, text

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.forecast import Forecast
    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value

#: The largest batch that is advised, and how many times that of now.
MOST_IMAGES, TIMES = 32, 8
#: A `max_det` that leaves something out only where a picture has more boxes.
_FEWER = 100
#: Tasks whose results are maps, of a class or a distance for each pixel; and all without boxes.
MAPS, CLASSIFIES = frozenset({"semantic", "depth"}), "classify"
WITHOUT_BOXES = MAPS | {CLASSIFIES}
#: Sources whose batch is what is passed: Ultralytics looks at `batch` for files only.
_IN_MEMORY = frozenset({"images", "tensor"})


def _without(s: Signals, share: float) -> Forecast | None:
    """At most what predictions would do without a share of their time."""
    return forecast.saved(s.numbers.get(Signals.predict_images_per_second.name), share, spread=0.0)


def lighter_source(s: Signals) -> Advice:
    """Fewer frames of a video, or files that are read at once."""
    share, read = _without(s, s.predict_source_share), sources(s.facts)
    if "video" in read:
        stride = int(number("vid_stride", s))
        note = text("or give it smaller frames (ffmpeg -vf scale=1280:-2), from a local disk")
        return Advice({"vid_stride": max(2 * stride, 2)}, note=note, forecast=share)
    if "files" in read:
        threads = version_of(s.facts.get("ultralytics", "")) >= READ_AT_ONCE_SINCE
        helps = threads and s.get(Signals.predict_batch_size) < READ_AT_ONCE and not _one_by_one(s)
        note = text(
            "{at_once}put the images on a local SSD, store them smaller, "
            "or read ahead in threads of your own and pass arrays",
            at_once=text("batch=8 reads eight files at once, on three CPUs or more; ") if helps else "",
        )
        return Advice(note=note, forecast=share)
    return Advice(note=text("prepare the next images in a thread of your own meanwhile"), forecast=share)


def prepared_images(s: Signals) -> Advice:
    """Images that cost the process that predicts less."""
    share = _without(s, s.predict_preprocess_share)
    note = text("pass tensors (BCHW, RGB, 0 to 1) that threads of your own prepare meanwhile")
    if s.facts.get("task") == CLASSIFIES:
        note = text("scale the images down beforehand, or in threads of your own: a classifier takes them in full size")
    return Advice(note=note, forecast=share)


def fewer_boxes(s: Signals) -> Advice:
    """Boxes that are not needed are not compared; where there are none, that is not what takes the time."""
    if s.facts.get("task") in MAPS:
        return Advice(note=_of_maps(s), predicts=True)
    if s.facts.get("task") == CLASSIFIES or (s.has(Signals.predict_detections) and s.predict_detections < 1):
        return Advice(note=_without_boxes(s), predicts=True)
    arguments: dict[str, Value] = {}
    if number("conf", s) < PREDICT_DEFAULTS["conf"] and s.facts.get("mode") != "track":  # trackers use the faint ones
        arguments["conf"] = PREDICT_DEFAULTS["conf"]
    if s.get(Signals.predict_detections) >= _FEWER and number("max_det", s) > _FEWER:
        arguments["max_det"] = _FEWER
    note = text("name only the classes that you need (classes=)")
    return Advice(arguments, note=note, forecast=_without(s, s.predict_postprocess_share))


def _of_maps(s: Signals) -> str:
    """They are scaled to the image's own size, one for each class unless the exported model chooses the class itself.

    Ultralytics 8.4.190, `SemanticSegmentationPredictor.postprocess`.
    """
    smaller = text("scale large images down beforehand: the result is scaled to the size of each image")
    if s.facts["task"] != "semantic" or s.facts.get("format", "pt") != "pt":
        return smaller
    exported = text(
        "or export once, yolo export format=onnx: the exported model chooses the classes itself, and one map is scaled "
        "instead of one for each class (edges get coarser)"
    )
    return joined((smaller, exported))


def _without_boxes(s: Signals) -> str:
    """Ultralytics copies the images of a tensor back to the host, as its results hold them as arrays."""
    if s.facts.get("source") == "tensor":
        return text(
            "a tensor's images are copied back to the host for the results: compare with arrays, whose preprocessing "
            "takes time instead, or call the network and non-maximum suppression yourself"
        )
    return text("there are hardly any boxes: no setting of non-maximum suppression makes that quicker")


def less_between(s: Signals) -> Advice:
    """What is done with results beside the predictions, or less of it."""
    share, part = _without(s, s.predict_own_share), s.names.get("own_part", "")
    if part == SAVING:
        arguments: dict[str, Value] = dict.fromkeys(s.facts.get("saves", "save").split(","), False)
        return Advice(arguments, note=text("keep the results as numbers"), forecast=share)
    if part == LOADING:
        note = text("make the model once, before the loop, and call it for every image")
        return Advice(note=note, forecast=share)
    if part == PRINTING:
        note = text("callbacks that hand their work to a thread; verbose=False prints nothing")
        return Advice(note=note, forecast=share)
    if part == CALLBACKS:
        note = text(
            "a tracker without ReID (with_reid: False in its YAML), and callbacks that hand their work to a thread"
        )
        return Advice(note=note, forecast=share)
    several = text("pass several images in one call; ") if _one_by_one(s) else ""
    note = text(
        "{several}do your own work in a thread or process of its own while the next batch is predicted", several=several
    )
    return Advice(note=note, forecast=share)


def less_called(s: Signals) -> Advice:
    """Callbacks of a validation that do not hold up its batches."""
    note = text("let the callback hand its work to a thread, or do it once, at on_val_end")
    return Advice(note=note, forecast=_without(s, s.predict_own_share))


def _one_by_one(s: Signals) -> bool:
    """Whether nearly each batch is a call of its own."""
    return s.get(Signals.predict_calls_per_batch) > 0.9  # noqa: PLR2004 - nearly each


def larger_inference_batch(s: Signals) -> Advice:
    """More images at once; results come later then, and take memory all at once without `stream=True`."""
    if not sources(s.facts).isdisjoint(_IN_MEMORY) or _one_by_one(s):
        return Advice(note=text("pass several images in one call, as a list: batch= is for folders and video"))
    size = min(max(round(s.predict_batch_size * TIMES), TIMES), MOST_IMAGES)
    arguments: dict[str, Value] = {"batch": size}
    if s.facts.get("stream", "").lower() == "false":
        arguments["stream"] = True
    note = text("an exported model takes the batch it was exported with (dynamic=True for any)")
    return Advice(arguments, note=note)


def half_precision(s: Signals) -> Advice:
    """FP16, in the call for a PyTorch model, in the export for others."""
    if s.facts.get("format", "pt") == "pt":
        note = text("or export once: yolo export format=engine half=True")
        return Advice({"half": True}, note=note)
    return Advice(note=text("export it again: yolo export format={format} half=True", format=s.facts["format"]))


def other_format(s: Signals) -> Advice | None:
    """A healthy prediction is only made faster by another model, or another format of it."""
    if s.facts.get("format") != "pt":
        return None
    on_cpu = without_cuda(s.facts.get("device", "cpu"))
    return Advice(note=text("faster still: yolo export format={format}", format="openvino" if on_cpu else "engine"))
