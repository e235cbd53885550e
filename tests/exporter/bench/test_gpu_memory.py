"""Memory on the GPU: NVML's figure before torch's, and none where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pynvml
from yoloscope_exporter.bench import gpu_memory

if TYPE_CHECKING:
    import pytest

TOLD = {"calls": [1], "resident": 5, "peak": 9}
TORCH = {"torch_resident": 100, "torch_peak": 300}


def test_without_a_gpu_it_is_absent() -> None:
    """Not zero."""
    assert gpu_memory.with_gpu({}, TOLD, None) == {"resident": 5, "peak": 9}


def test_torch_where_nvml_does_not_know_the_process() -> None:
    """As in a container."""
    told = gpu_memory.with_gpu({}, {**TOLD, **TORCH}, None)
    assert told == {"resident": 5, "peak": 9, "gpu_resident": 100, "gpu_peak": 300}


def test_nvml_counts_all_of_it_and_the_peak_is_the_largest_seen() -> None:
    """Over the rounds."""
    first = gpu_memory.with_gpu({}, {**TOLD, **TORCH}, 1000)
    assert (first["gpu_resident"], first["gpu_peak"]) == (1000, 1000)
    assert gpu_memory.with_gpu(first, TOLD, 700)["gpu_peak"] == 1000


def test_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory on all GPUs; under MIG it is not known."""
    processes = {0: [(7, 100), (8, 50)], 1: [(7, 10), (9, None)]}
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(
        pynvml,
        "nvmlDeviceGetComputeRunningProcesses",
        lambda index: [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in processes[index]],
    )
    assert gpu_memory.of_process(7) == 110
    assert gpu_memory.of_process(9) is None
    assert gpu_memory.of_process(1) is None


def test_without_a_driver() -> None:
    """This machine may have none, or know no such process."""
    assert gpu_memory.of_process(-1) is None
