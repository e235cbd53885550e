"""The formats that are compared: what each needs to be installed, and where it runs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.language import joined, text

if TYPE_CHECKING:
    from collections.abc import Collection

#: The format that the others are compared with.
REFERENCE = "pt"


class Format(NamedTuple):
    """What a format needs.

    Attributes:
        modules: that have to be importable.
        on_cpu, on_gpu: whether it runs there.
    """

    modules: tuple[str, ...] = ()
    on_cpu: bool = True
    on_gpu: bool = True


#: By the names that Ultralytics' export has for them.
FORMATS = {
    REFERENCE: Format(),
    "torchscript": Format(),
    "onnx": Format(("onnx", "onnxslim", "onnxruntime")),
    "openvino": Format(("openvino",), on_gpu=False),
    "engine": Format(("onnx", "onnxslim", "tensorrt"), on_cpu=False),
}
#: All modules that any of them needs.
MODULES = tuple(dict.fromkeys(module for one in FORMATS.values() for module in one.modules))
#: Packages of another name on a machine with a GPU.
_GPU_PACKAGES = {"onnxruntime": "onnxruntime-gpu"}


def is_cpu(device: str) -> bool:
    """Whether `device`, as Ultralytics names it, is the CPU."""
    return device == "cpu"


def hindrance(name: str, device: str, installed: Collection[str], python: str, cuda: str = "") -> str | None:
    """Why a format cannot run on this machine, and what to do about it; None where it can be tried.

    `cuda` is the version that torch is built for, empty where it has none.
    """
    wanted = FORMATS[name]
    if not is_cpu(device) and not wanted.on_gpu:
        return text("runs on a CPU (--device cpu)")
    no_gpu = text("needs an NVIDIA GPU (--device 0)") if is_cpu(device) and not wanted.on_cpu else ""
    on = "0" if no_gpu else device  # where it would run
    missing = " ".join(_package(module, on, cuda) for module in wanted.modules if module not in installed)
    install = text("not installed: {python} -m pip install {missing}", python=python, missing=missing)
    return joined((no_gpu, install if missing else ""), "; ") or None


def reinstallation(error: str, name: str, device: str, python: str, cuda: str = "") -> str:
    """What to type where what a format needs is installed and cannot be imported; empty for any other error."""
    wanted = " ".join(_package(module, device, cuda) for module in FORMATS[name].modules)
    if not wanted or not error.startswith(("ImportError", "ModuleNotFoundError")):
        return ""
    return text("try {python} -m pip install --force-reinstall {wanted}", python=python, wanted=wanted)


def elsewhere(asked: str, used: str) -> str | None:
    """What to say of a format that ran on the CPU where a GPU was asked for; None where it did not."""
    if is_cpu(asked) or not is_cpu(used):
        return None
    return text(
        "ran on the CPU: its runtime has no CUDA (for onnx: pip install onnxruntime-gpu in place of onnxruntime)"
    )


def _package(module: str, device: str, cuda: str) -> str:
    if module == "tensorrt" and cuda:
        return f"tensorrt-cu{cuda.partition('.')[0]}"  # of another CUDA it finds no libraries
    return module if is_cpu(device) else _GPU_PACKAGES.get(module, module)
