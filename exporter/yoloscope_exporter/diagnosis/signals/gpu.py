"""The GPU: how busy it is, what limits its clocks, its memory as PyTorch and as the driver see it."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import at_most_one, ratio, whole
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.language import joined, text, units
from yoloscope_exporter.measures import gpu as measures
from yoloscope_exporter.measures import memory
from yoloscope_exporter.measures.reading import Reading

if TYPE_CHECKING:
    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View
    from yoloscope_exporter.measures.series import Labels, Window
    from yoloscope_exporter.measures.thresholds import Thresholds

#: Metrics of the node that these signals are computed from.
METRICS = (
    catalog.GPU_INFO,
    catalog.GPU_PART_RATIO,
    catalog.GPU_UP,
    catalog.GPU_UTILIZATION_RATIO,
    catalog.GPU_BUSY_SECONDS_TOTAL,
    catalog.GPU_UTILIZATION_SAMPLED_RATIO,
    catalog.GPU_MEMORY_USED_BYTES,
    catalog.GPU_MEMORY_TOTAL_BYTES,
    catalog.GPU_POWER_LIMIT_WATTS,
    catalog.GPU_ENERGY_JOULES_TOTAL,
    catalog.GPU_TEMPERATURE_CELSIUS,
    catalog.GPU_CLOCK_HERTZ,
    catalog.GPU_CLOCK_MAX_HERTZ,
    catalog.GPU_THROTTLED_SECONDS_TOTAL,
    catalog.GPU_SM_ACTIVE_RATIO,
    catalog.GPU_TENSOR_ACTIVE_RATIO,
    catalog.GPU_PEAK_FLOPS_PER_SECOND,
    catalog.GPU_PCIE_LINK_WIDTH,
    catalog.GPU_PCIE_LINK_WIDTH_MAX,
    catalog.GPU_PCIE_LINK_GENERATION,
    catalog.GPU_PCIE_LINK_GENERATION_MAX,
    catalog.GPU_PROCESS_MEMORY_BYTES,
)


#: Programs that draw the desktop: they hold a little of a GPU's memory for as long as it is used.
_DESKTOP = re.compile(
    r"Xorg|Xwayland|X|gnome-.*|mutter.*|kwin.*|plasma.*|sddm.*|lightdm.*|gdm.*|sway|weston|xfwm4|compiz|cinnamon.*"
    r"|firefox.*|chrom.*|code|nvidia-persiste.*"
)


class GpuSignals:
    """The rank's GPU, its memory, and the versions that must fit together."""

    cuda_peak_bytes = Signal("peak of CUDA memory reserved by PyTorch")
    cuda_peak_share = Signal("that peak over the device's memory")
    cuda_reserved_bytes = Signal("CUDA memory reserved by PyTorch now")
    cuda_batch_peak_bytes = Signal("peak of CUDA memory reserved by PyTorch with the batch size of now")
    cuda_floor_bytes = Signal("lowest CUDA memory allocated in the window: what does not depend on the batch")
    alloc_retries = Signal("allocations in the window that failed, flushed the cache and were tried again")
    ooms = Signal("out-of-memory errors of the CUDA allocator in the window")
    batch_reductions = Signal("times Ultralytics halved the batch in the window")
    gpu_busy = Signal("share of the window in which a kernel ran")
    gpu_idle_samples = Signal("share of the driver's utilization samples at or below 10 %")
    gpu_full_samples = Signal("share of the driver's utilization samples above 90 %")
    gpu_memory_used_share = Signal("device memory in use by anybody over what is installed")
    gpu_memory_total_bytes = Signal("device memory installed")
    sm_fill = Signal("share of the streaming multiprocessors that had a warp while a kernel ran")
    tensor_active = Signal("share of the window in which the tensor cores worked")
    mfu = Signal("operations of the model's layers over the most that the card can do in the training's precision")
    amp_gain = Signal("most operations per second of the rank's card in half over those in single precision")
    thermal_share = Signal("share of the window in which temperature limited the clocks")
    power_brake_share = Signal("share of the window in which the power supply held the clocks down (power brake)")
    gpu_guests_bytes = Signal("memory of the rank's GPU that other processes than the rank's hold")
    power_share = Signal("share of the window in which the power limit limited the clocks")
    power_limit_watts = Signal("power limit")
    clock_ratio = Signal("SM clock over the highest SM clock")
    temperature_celsius = Signal("highest core temperature in the window")
    pcie_width = Signal("PCIe lanes in use")
    pcie_width_max = Signal("PCIe lanes the link can have")
    pcie_generation = Signal("highest PCIe generation seen in the window")
    pcie_generation_max = Signal("PCIe generation the link can have")
    gpus = Signal("GPUs of the node")
    driver_cuda = Signal("CUDA version the driver supports")
    torch_cuda = Signal("CUDA version PyTorch was built for; 0 for a build without CUDA")
    held_idle_gpus = Signal("GPUs of the node whose memory a process without training holds while they idle")


def cuda(v: View) -> Numbers:
    """What PyTorch's allocator says of the device's memory."""
    return {
        GpuSignals.cuda_peak_bytes: v.measure(memory.PEAK),
        GpuSignals.cuda_peak_share: v.measure(memory.PEAK_SHARE),
        GpuSignals.cuda_reserved_bytes: v.now.last(catalog.TRAIN_CUDA_MEMORY_BYTES, v.run, v.rank, "reserved"),
        GpuSignals.cuda_batch_peak_bytes: _batch_peak(v),
        GpuSignals.cuda_floor_bytes: v.now.minimum(catalog.TRAIN_CUDA_MEMORY_BYTES, v.run, v.rank, "allocated"),
        GpuSignals.alloc_retries: v.now.events(catalog.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, v.run, v.rank),
        GpuSignals.ooms: v.now.events(catalog.TRAIN_CUDA_OOMS_TOTAL, v.run, v.rank),
        GpuSignals.batch_reductions: v.now.events(catalog.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, v.run, v.rank),
    }


def _batch_peak(v: View) -> float | None:
    """The run's peak, unless Ultralytics has halved the batch: then the most that was reserved since.

    PyTorch gives back what it has reserved when Ultralytics halves the batch, and keeps what later steps reserve.
    """
    if not v.now.last(catalog.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, v.run, v.rank):
        return v.measure(memory.PEAK)
    sizes = v.long.points(catalog.TRAIN_BATCH_SIZE, v.run, v.rank)
    since = next((after for (_, a), (after, b) in reversed(list(pairwise(sizes))) if a != b), v.long.start)
    reserved = v.long.points(catalog.TRAIN_CUDA_MEMORY_BYTES, v.run, v.rank, "reserved")
    return max((size for time, size in reserved if time >= since), default=None)


def gpu(v: View) -> Numbers:
    """What the driver says of the rank's GPU; only how many there are where the rank has none."""
    w, own = v.now, v.gpu
    gpus = float(len(v.machine.gpus)) or None
    if not own:
        return {GpuSignals.gpus: gpus}
    installed = w.last(catalog.GPU_MEMORY_TOTAL_BYTES, own)
    read = v.machine.reading.about(gpu=own).one
    busy, below_full = read(measures.BUSY), read(measures.BELOW_FULL)
    return {
        GpuSignals.gpus: gpus,
        GpuSignals.gpu_busy: busy,
        GpuSignals.gpu_idle_samples: read(measures.IDLE),
        GpuSignals.gpu_full_samples: None if below_full is None else 1 - below_full,
        GpuSignals.gpu_memory_used_share: read(measures.MEMORY_USED),
        GpuSignals.gpu_memory_total_bytes: installed,
        GpuSignals.sm_fill: at_most_one(ratio(w.mean(catalog.GPU_SM_ACTIVE_RATIO, own), busy)),
        GpuSignals.tensor_active: read(measures.TENSOR_ACTIVE),
        GpuSignals.mfu: v.measure(measures.MFU),
        GpuSignals.amp_gain: ratio(
            *(w.last(catalog.GPU_PEAK_FLOPS_PER_SECOND, own, one) for one in catalog.PRECISIONS)
        ),
        GpuSignals.thermal_share: read(measures.THERMAL),
        GpuSignals.power_share: read(measures.POWER_CAP),
        GpuSignals.power_brake_share: read(measures.POWER_BRAKE),
        GpuSignals.gpu_guests_bytes: _guests(v),
        GpuSignals.power_limit_watts: w.last(catalog.GPU_POWER_LIMIT_WATTS, own),
        GpuSignals.clock_ratio: read(measures.CLOCK),
        GpuSignals.temperature_celsius: read(measures.HEAT_CELSIUS),
        GpuSignals.pcie_width: w.maximum(catalog.GPU_PCIE_LINK_WIDTH, own),
        GpuSignals.pcie_width_max: w.last(catalog.GPU_PCIE_LINK_WIDTH_MAX, own),
        GpuSignals.pcie_generation: w.maximum(catalog.GPU_PCIE_LINK_GENERATION, own),
        GpuSignals.pcie_generation_max: w.last(catalog.GPU_PCIE_LINK_GENERATION_MAX, own),
    }


def _guests(v: View) -> float | None:
    """Unknown where the driver names no process of the rank itself: then its own cannot be told from others'."""
    held = v.now.current(catalog.GPU_PROCESS_MEMORY_BYTES, v.gpu)
    own = [labels for labels in held if labels[3:5] == (v.run, v.rank)]
    return sum(held.values()) - sum(held[labels] for labels in own) if own else None


def gpu_busy(window: Window, gpu: str) -> float | None:
    """Share of the window in which a kernel ran."""
    return Reading(window, {"gpu": gpu}).one(measures.BUSY, gpu=gpu)


def versions(v: View) -> Numbers:
    """CUDA versions of the driver and of PyTorch."""
    drivers = [labels[4] for labels in v.machine.gpus]
    torch_cuda = _version(v.facts.get("cuda", ""))
    if torch_cuda is None and "torch" in v.facts:
        torch_cuda = 0.0
    return {GpuSignals.driver_cuda: _version(drivers[0]) if drivers else None, GpuSignals.torch_cuda: torch_cuda}


def _version(text: str) -> float | None:
    """`12.4` as 12.4; None if that is no version."""
    parts = text.split(".")[:2]
    return None if None in map(whole, parts) else float(".".join(parts))


def held_idle(window: Window, long: Window, limits: Thresholds) -> tuple[Numbers, dict[str, str]]:
    """GPUs that idle while processes without a training hold their memory: how many; which, by whom.

    A process that came a moment ago may be a training whose record has not begun. Programs of the desktop count for
    nothing. Unknown where no such process is seen, or not how busy those GPUs are.
    """
    held: defaultdict[str, list[str]] = defaultdict(list)
    trained: set[str] = set()
    for labels, size in window.current(catalog.GPU_PROCESS_MEMORY_BYTES).items():
        gpu_name, pid, command, run, _rank, user = labels
        if run:
            trained.add(gpu_name)
        elif (
            size >= limits.held_bytes
            and not _DESKTOP.fullmatch(command)
            and _age(long, catalog.GPU_PROCESS_MEMORY_BYTES, labels) >= limits.held_seconds
        ):
            held[gpu_name].append(_holder(pid, command, user, size))
    reading = Reading(window)
    busy = {name: reading.one(measures.BUSY, gpu=name) for name in held if name not in trained}
    known = {name: share for name, share in busy.items() if share is not None}
    if not known:
        return {}, {}
    idle = sorted(name for name, share in known.items() if share < limits.held_idle)
    names = {"held_idle": ", ".join(idle), "held_by": joined((one for name in idle for one in held[name]), ", ")}
    return {GpuSignals.held_idle_gpus: sum((part_of_gpu(window, name) for name in idle), 0.0)}, names


def part_of_gpu(window: Window, name: str) -> float:
    """What a GPU counts where GPUs are counted: a MIG instance less than one. One where that was never told."""
    points = window.points(catalog.GPU_PART_RATIO, name)
    return points[-1][1] if points else 1.0


def _age(window: Window, metric: Metric, labels: Labels) -> float:
    """Seconds since a series was first seen."""
    points = window.points(metric, *labels)
    return window.end - points[0][0] if points else 0.0


def _holder(pid: str, command: str, user: str, size: float) -> str:
    if not command and not user:
        return text(
            "{pid} ({size}; not visible here: another PID namespace, such as a container's)",
            pid=pid,
            size=units.size(size),
        )
    whose = text("user {user}", user=user) if user else ""
    return text("{pid} ({what})", pid=pid, what=joined((command, whose, units.size(size)), ", "))
