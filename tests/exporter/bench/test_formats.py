"""What formats need, in words that can be typed."""

from __future__ import annotations

import pytest
from yoloscope_exporter.bench.formats import FORMATS, MODULES, elsewhere, hindrance, reinstallation


@pytest.mark.parametrize(
    ("name", "device", "installed", "said"),
    [
        ("pt", "cpu", [], None),
        ("torchscript", "0", [], None),
        ("onnx", "cpu", ["onnx", "onnxslim", "onnxruntime"], None),
        ("onnx", "cpu", ["onnx"], "not installed: /bin/python -m pip install onnxslim onnxruntime"),
        ("onnx", "0", ["onnx", "onnxslim"], "not installed: /bin/python -m pip install onnxruntime-gpu"),
        ("openvino", "cpu", [], "not installed: /bin/python -m pip install openvino"),
        ("openvino", "cuda:0", ["openvino"], "runs on a CPU (--device cpu)"),
        ("engine", "cpu", list(MODULES), "needs an NVIDIA GPU (--device 0)"),
        (
            "engine",
            "cpu",
            ["onnx"],
            "needs an NVIDIA GPU (--device 0); not installed: /bin/python -m pip install onnxslim tensorrt",
        ),
        ("engine", "0", ["onnx", "onnxslim"], "not installed: /bin/python -m pip install tensorrt"),
    ],
)
def test_what_hinders(name: str, device: str, installed: list[str], said: str | None) -> None:
    assert hindrance(name, device, installed, "/bin/python") == said


@pytest.mark.parametrize("device", ["cpu", "0"])
@pytest.mark.parametrize(("cuda", "package"), [("12.8", "tensorrt-cu12"), ("13.0", "tensorrt-cu13"), ("", "tensorrt")])
def test_tensorrt_is_named_for_the_cuda_that_torch_has(device: str, cuda: str, package: str) -> None:
    """As Ultralytics asks for it."""
    said = hindrance("engine", device, ["onnx", "onnxslim"], "/bin/python", cuda) or ""
    assert said.endswith(f"pip install {package}")
    assert ("needs an NVIDIA GPU" in said) == (device == "cpu")


def test_what_cannot_be_imported_is_installed_again() -> None:
    """With the names that fit; of any other error there is nothing to install."""
    broken = "ImportError: libnvinfer.so.11: cannot open shared object file"
    again = "try /bin/python -m pip install --force-reinstall onnx onnxslim tensorrt-cu13"
    assert reinstallation(broken, "engine", "0", "/bin/python", "13.0") == again
    assert reinstallation(broken, "torchscript", "0", "/bin/python") == ""
    assert reinstallation("RuntimeError: no kernel", "engine", "0", "/bin/python") == ""


def test_a_runtime_without_cuda_is_not_measured_as_a_gpu() -> None:
    """Ultralytics goes on with the CPU there."""
    assert "onnxruntime-gpu" in (elsewhere("0", "cpu") or "")
    assert elsewhere("0", "cuda") is None
    assert elsewhere("cpu", "cpu") is None


def test_modules_are_named_once() -> None:
    """Those of all formats."""
    assert sorted(MODULES) == sorted({module for one in FORMATS.values() for module in one.modules})
