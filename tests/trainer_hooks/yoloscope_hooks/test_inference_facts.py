"""What is said of a predictor: only what is known of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from yoloscope_hooks import inference_facts


def told(backend: dict[str, Any], kind: str = "predict", **arguments: Any) -> dict[str, str]:
    """The facts of an owner with this backend and these arguments."""
    owner = SimpleNamespace(args=SimpleNamespace(**arguments), model=SimpleNamespace(**backend))
    return inference_facts.gather(owner, kind, {})


@pytest.mark.parametrize(
    ("backend", "arguments", "precision"),
    [
        ({"format": "pt", "fp16": False}, {}, "fp32"),
        ({"format": "pt", "fp16": True, "metadata": {"args": {"half": False}}}, {}, "fp16"),
        ({"format": "torchscript", "fp16": False}, {}, "fp32"),
        ({"format": "engine", "fp16": False}, {}, None),  # its inputs are FP32, which says nothing of its layers
        ({"format": "engine", "fp16": True}, {}, "fp16"),
        ({"format": "engine", "fp16": False, "metadata": {"args": {"half": True}}}, {}, "fp16"),
        ({"format": "engine", "fp16": False, "metadata": {"args": {"int8": True}}}, {}, "int8"),
        ({"format": "engine", "fp16": False, "metadata": {"args": {"quantize": 16}}}, {}, "fp16"),
        ({"format": "openvino", "fp16": False, "metadata": {"args": {"quantize": "w8a16"}}}, {}, "int8"),
        ({"format": "engine", "fp16": False, "metadata": {"args": {"quantize": None}}}, {}, "fp32"),
        ({"format": "engine", "fp16": False, "metadata": {"args": {"batch": 1}}}, {}, None),
        ({"format": "onnx", "fp16": False, "metadata": None}, {"model": "best_int8.onnx"}, "int8"),
    ],
)
def test_precision(backend: dict[str, Any], arguments: dict[str, Any], precision: str | None) -> None:
    """Of an exported model what it was exported with; without that nothing is said but what its inputs show."""
    assert told(backend, **arguments).get("precision") == precision


def test_precision_of_an_export() -> None:
    """It is what was asked for."""
    assert told({}, "export", format="engine", half=True)["precision"] == "fp16"
    assert told({}, "export", format="engine", half=False)["precision"] == "fp32"


def test_what_is_saved() -> None:
    """Which of the arguments write or show results; nothing of a validation, whose `save` means something else."""
    assert told({}, save=False, save_txt=None)["saves"] == "none"
    assert told({}, save=True, save_txt=False, save_crop=True, show=False)["saves"] == "save,save_crop"
    assert "saves" not in told({}, "validate", save=True)


def test_what_may_change_from_call_to_call_is_in_the_key() -> None:
    """Each fact of a call's arguments: else the facts would stay those of the first one."""
    arguments = SimpleNamespace(task="detect", imgsz=32, batch=1, conf=0.1, save=False, mode="predict")
    before = inference_facts.key(SimpleNamespace(args=arguments))
    for name, value in (("save", True), ("show", True), ("max_det", 9), ("vid_stride", 2), ("mode", "track")):
        changed = SimpleNamespace(args=SimpleNamespace(**{**vars(arguments), name: value}))
        assert inference_facts.key(changed) != before


def test_who_tracks_is_told_apart() -> None:
    """Trackers want boxes of low confidence; a track of an export is none."""
    assert told({}, mode="track")["mode"] == "track"
    assert told({}, mode="predict")["mode"] == told({})["mode"] == "predict"
    assert told({}, "validate", mode="track")["mode"] == "validate"
