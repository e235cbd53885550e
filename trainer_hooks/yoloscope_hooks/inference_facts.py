"""What a predictor, validator or exporter is, in words: label values of `predict_run_info`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_hooks import facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    Owner = Any  # duck-typed

_ARGUMENTS = ("task", "imgsz", "batch", "conf", "max_det", "vid_stride", "agnostic_nms")
#: Those that have results written or shown.
_SAVES = ("save", "save_txt", "save_crop", "save_frames", "show", "visualize")
#: What else may change from call to call.
_CHANGING = ("mode", "model", "imgsz", "batch", "conf", "max_det", "vid_stride", "half", "quantize", *_SAVES)
#: Those that decide on an export's precision.
_QUANTIZE = {"half", "int8", "quantize"}
#: Ultralytics before 8.4 tells a backend's format by flags.
_FLAGS = {
    "pt": "pt",
    "jit": "torchscript",
    "onnx": "onnx",
    "xml": "openvino",
    "engine": "engine",
    "coreml": "coreml",
    "saved_model": "saved_model",
    "pb": "pb",
    "tflite": "tflite",
    "edgetpu": "edgetpu",
    "tfjs": "tfjs",
    "paddle": "paddle",
    "mnn": "mnn",
    "ncnn": "ncnn",
    "imx": "imx",
    "rknn": "rknn",
    "triton": "triton",
}
#: What exported files and folders are called.
_SUFFIXES = {
    ".torchscript": "torchscript",
    ".onnx": "onnx",
    "_openvino_model": "openvino",
    ".engine": "engine",
    ".mlpackage": "coreml",
    "_saved_model": "saved_model",
    ".pb": "pb",
    ".tflite": "tflite",
    "_paddle_model": "paddle",
    ".mnn": "mnn",
    "_ncnn_model": "ncnn",
}


def key(owner: Owner) -> tuple[Any, ...]:
    """What the facts depend on that may change from call to call, at little cost."""
    arguments = owner.args
    dataset = getattr(owner, "dataset", None)
    return (
        *(str(getattr(arguments, name, None)) for name in _CHANGING),
        getattr(arguments, "format", None),
        type(dataset).__name__,
        (getattr(dataset, "video_flag", None) or (None,))[-1],  # videos come last
        getattr(owner, "stream", None),
        id(getattr(owner, "model", None)),
    )


def gather(owner: Owner, kind: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Every fact that is known; what is not known is left out."""
    return facts.known(
        (
            partial(_mode, owner, kind),
            partial(_asked_for, owner),
            partial(_model, owner, kind),
            partial(_source, owner),
            partial(_saves, owner, kind),
            partial(facts.results, owner),
            facts.software,
            partial(facts.environment, environ),
            partial(facts.gpu, owner, environ),
            partial(_device, owner),
            partial(facts.process, environ),
            _daemon,
        )
    )


def _daemon() -> dict[str, Any]:
    """Whether this is a daemon of multiprocessing, as the workers of a Pool are: its parent terminates it."""
    process = sys.modules.get("multiprocessing.process")
    return {"daemon": True} if process is not None and process.current_process().daemon else {}


def _mode(owner: Owner, kind: str) -> dict[str, Any]:
    tracks = kind == "predict" and getattr(getattr(owner, "args", None), "mode", None) == "track"
    return {"mode": "track" if tracks else kind}


def _asked_for(owner: Owner) -> dict[str, Any]:
    return {name: getattr(owner.args, name, None) for name in _ARGUMENTS}


def _model(owner: Owner, kind: str) -> dict[str, Any]:
    """The model's name, format and precision."""
    arguments, backend = owner.args, getattr(owner, "model", None)
    name = getattr(arguments, "model", None) or getattr(backend, "pt_path", None) or getattr(owner, "file", None)
    if kind == "export":
        form = getattr(arguments, "format", None)
    else:
        form = getattr(backend, "format", None) or _flagged(backend) or _by_name(str(name or ""))
    return {"model": name, "format": form, "precision": _precision(owner, kind, form, str(name or ""))}


def _flagged(backend: Any) -> str | None:
    return next((name for flag, name in _FLAGS.items() if getattr(backend, flag, None) is True), None)


def _by_name(name: str) -> str | None:
    path = Path(name.rstrip("/"))
    found = next((form for suffix, form in _SUFFIXES.items() if path.name.endswith(suffix)), None)
    return found or ("pt" if path.suffix in {".pt", ".yaml", ".yml"} else None)


def _precision(owner: Owner, kind: str, form: str | None, name: str) -> str | None:
    """What is computed with; None where it is not known: an engine's inputs are FP32 whatever it computes with."""
    arguments, backend = owner.args, getattr(owner, "model", None)
    if kind != "export" and form != "pt" and (exported := _exported_with(backend)):
        return exported
    if "int8" in name or _quantized(vars(arguments)) == "int8":
        return "int8"
    half = getattr(backend, "fp16", None)
    if half is None:
        half = _quantized(vars(arguments)) == "fp16"
    if half is True:
        return "fp16"
    return "fp32" if kind == "export" or form in ("pt", "torchscript") else None


def _exported_with(backend: Any) -> str | None:
    """What an exported model says of itself, as newer versions of Ultralytics write it into the file."""
    metadata = getattr(backend, "metadata", None)
    told = metadata.get("args") if isinstance(metadata, dict) else None
    return _quantized(told) if isinstance(told, dict) and not _QUANTIZE.isdisjoint(told) else None


def _quantized(arguments: Mapping[str, Any]) -> str:
    quantize = str(arguments.get("quantize"))
    if arguments.get("int8") is True or quantize == "8" or quantize.startswith("w8"):
        return "int8"
    return "fp16" if arguments.get("half") is True or quantize == "16" else "fp32"


def _source(owner: Owner) -> dict[str, Any]:
    """What is read from, and whether results are taken one by one."""
    dataset, told = getattr(owner, "dataset", None), getattr(owner, "source_type", None)
    if told is None:
        return {}
    if told.stream:
        sources = [str(one) for one in getattr(dataset, "sources", None) or ()]
        kind = "camera" if sources and all(one.isdigit() for one in sources) else "stream"
    elif told.screenshot:
        kind = "screenshot"
    elif told.tensor:
        kind = "tensor"
    elif told.from_img:
        kind = "images"
    else:
        kind = "video" if any(getattr(dataset, "video_flag", None) or ()) else "files"
    return {"source": kind, "stream": getattr(owner, "stream", True)}


def _saves(owner: Owner, kind: str) -> dict[str, Any]:
    """What a prediction writes or shows of its results; `none` where that is nothing."""
    if kind != "predict":  # what a validation or an export makes of them is another matter
        return {}
    return {"saves": ",".join(name for name in _SAVES if getattr(owner.args, name, None)) or "none"}


def _device(owner: Owner) -> dict[str, Any]:
    """The device; of a GPU its name and compute capability, which PyTorch has read when it began to use it."""
    device, torch = getattr(owner, "device", None), sys.modules.get("torch")
    told: dict[str, Any] = {"device": device}
    if torch is not None and getattr(device, "type", "") == "cuda" and torch.cuda.is_initialized():
        properties = torch.cuda.get_device_properties(device)
        told["device_name"], told["capability"] = properties.name, f"{properties.major}.{properties.minor}"
    return told
