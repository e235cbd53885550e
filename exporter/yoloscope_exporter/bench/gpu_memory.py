"""Memory on the GPU of a process that is measured: NVML's figure for the process, else that of torch's allocator.

NVML counts all of it, the CUDA context and a runtime's own memory included, but knows no process of another PID
namespace (a container's) and under MIG none at all. torch knows what it has itself reserved alone.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pynvml

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Of a process, by the names that `Line.memory` has.
HOST, RESIDENT, PEAK = ("resident", "peak"), "gpu_resident", "gpu_peak"


def of_process(pid: int) -> int | None:
    """Bytes on all GPUs now, by NVML; None where that is not known."""
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        try:
            used = [
                one.usedGpuMemory
                for index in range(pynvml.nvmlDeviceGetCount())
                for one in pynvml.nvmlDeviceGetComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByIndex(index))
                if one.pid == pid and one.usedGpuMemory
            ]
        finally:
            pynvml.nvmlShutdown()
        return sum(used) or None
    return None


def with_gpu(before: Mapping[str, int], told: Mapping[str, int], by_nvml: int | None) -> dict[str, int]:
    """What a process told of its memory, and what NVML tells of it; `before` is what was known in the last round."""
    now = {name: told[name] for name in HOST if name in told}
    if by_nvml is not None:
        return now | {RESIDENT: by_nvml, PEAK: max(by_nvml, before.get(PEAK, 0))}
    if "torch_resident" in told:
        return now | {RESIDENT: told["torch_resident"], PEAK: told["torch_peak"]}
    return now
