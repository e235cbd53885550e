"""What a simulated node shows of its GPUs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.simulation import timeline
from yoloscope_exporter.simulation.moment import pid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.simulation.moment import Moment, Part
    from yoloscope_exporter.simulation.timeline import Node


IDLE_WATTS, DYNAMIC_WATTS, LIMIT_WATTS = 90.0, 520.0, 700.0


SM_HERTZ, MEMORY_HERTZ, VIDEO_HERTZ = 1.98e9, 2.619e9, 1.545e9


PEAK = (989.5e12, 494.5e12)  # of an H100, by precision


UTILIZATION_SAMPLES_PER_SECOND = 6.0  # as NVML's sample buffer


def _utilization_histogram(moment: Moment, gpu: int) -> HistogramValue:
    """Samples are so short that a GPU is found busy or idle, hardly ever in between."""
    bounds = catalog.UTILIZATION_BUCKETS
    seen = int(UTILIZATION_SAMPLES_PER_SECOND * moment.uptime)
    busy = min(seen, int(UTILIZATION_SAMPLES_PER_SECOND * moment.busy_seconds(gpu)))
    counts = [0.0] * (len(bounds) + 1)
    counts[0], counts[len(bounds) - 1] = float(seen - busy), float(busy)
    return HistogramValue(tuple(counts), float(busy))


def samples(moment: Moment) -> Iterator[Sample]:
    """All of them, those that are lost included: what they are, and whether they answer."""
    for gpu in map(str, range(moment.node.gpus)):
        yield Sample(catalog.GPU_UP, (gpu,), float(gpu in moment.gpus))
        bus = f"00000000:{16 + 8 * int(gpu):02X}:00.0"
        facts = (uuid(moment.node, int(gpu)), "NVIDIA H100 80GB HBM3", "580.82.07", "13.0", bus)
        yield Sample(catalog.GPU_INFO, (gpu, *facts), 1.0)
        yield Sample(catalog.GPU_PART_RATIO, (gpu,), 1.0)
        for precision, most in zip(catalog.PRECISIONS, PEAK, strict=True):
            yield Sample(catalog.GPU_PEAK_FLOPS_PER_SECOND, (gpu, precision), most)
    for gpu in moment.gpus:
        for part in (_load, _heat, _links, _errors):
            for metric, labels, value in part(moment, int(gpu)):
                yield Sample(metric, (gpu, *labels), value)


def uuid(node: Node, gpu: int) -> str:
    """The GPU's name for life."""
    return f"GPU-{node.seed & 0xFFFFFFFF:08x}-{node.index:04x}-4{gpu:03x}-8000-{node.index * 64 + gpu:012x}"


def device_memory(moment: Moment, rank: int) -> tuple[float, float]:
    """Bytes allocated and reserved by PyTorch."""
    progress = moment.progress
    if not moment.alive or progress.state == "setup":
        return 0.0, 0.0
    warm = 1 - math.exp(-progress.batches / 20)
    leaked = moment.node.scenario.leak * moment.node.speed * progress.degraded.batches
    allocated = timeline.ALLOCATED_BYTES * warm * (1 + 0.005 * moment.noise("memory", rank, every=1.0)) + leaked
    most = timeline.DEVICE_BYTES - timeline.CONTEXT_BYTES
    return min(allocated, most), min(timeline.ALLOCATED_BYTES * warm * 1.005 + leaked + timeline.RESERVED_BYTES, most)


def _load(moment: Moment, gpu: int) -> Iterator[Part]:
    utilization, busy = moment.utilization(gpu), moment.busy_seconds(gpu)
    yield catalog.GPU_UTILIZATION_RATIO, (), utilization
    yield catalog.GPU_BUSY_SECONDS_TOTAL, (), busy
    yield catalog.GPU_UTILIZATION_SAMPLED_RATIO, (), _utilization_histogram(moment, gpu)
    yield catalog.GPU_MEMORY_BUSY_SECONDS_TOTAL, (), 0.45 * busy
    trains = gpu < moment.node.ranks and moment.alive
    used = device_memory(moment, gpu)[1] + timeline.CONTEXT_BYTES if trains else 0.0
    reserved = 0.64 * timeline.GIB
    yield catalog.GPU_MEMORY_USED_BYTES, (), used
    yield catalog.GPU_MEMORY_RESERVED_BYTES, (), reserved
    yield catalog.GPU_MEMORY_FREE_BYTES, (), timeline.DEVICE_BYTES - used
    yield catalog.GPU_MEMORY_TOTAL_BYTES, (), timeline.DEVICE_BYTES + reserved
    yield catalog.GPU_GRAPHICS_ACTIVE_RATIO, (), utilization
    yield catalog.GPU_SM_ACTIVE_RATIO, (), 0.82 * utilization
    yield catalog.GPU_SM_OCCUPANCY_RATIO, (), 0.34 * utilization
    yield catalog.GPU_TENSOR_ACTIVE_RATIO, (), 0.31 * utilization
    yield catalog.GPU_DRAM_ACTIVE_RATIO, (), 0.46 * utilization
    yield catalog.GPU_ENCODER_UTILIZATION_RATIO, (), 0.0
    yield catalog.GPU_DECODER_UTILIZATION_RATIO, (), 0.0
    if trains:
        owner = (str(pid(gpu)), "python", moment.node.run, str(gpu), "li")
        yield catalog.GPU_PROCESS_MEMORY_BYTES, owner, used
        yield catalog.GPU_PROCESS_SM_RATIO, owner, 0.82 * utilization


def _heat(moment: Moment, gpu: int) -> Iterator[Part]:
    node, utilization = moment.node, moment.utilization(gpu)
    hot = node.scenario.clock < 1 and moment.degraded and moment.alive
    clock = node.scenario.clock if hot else 1.0
    celsius = 34 + 32 * utilization + (20 if hot else 0) + 2 * moment.noise("celsius", gpu, every=20.0)
    yield catalog.GPU_POWER_WATTS, (), IDLE_WATTS + DYNAMIC_WATTS * clock * utilization
    yield catalog.GPU_POWER_LIMIT_WATTS, (), LIMIT_WATTS
    yield catalog.GPU_POWER_LIMIT_MIN_WATTS, (), 200.0
    yield catalog.GPU_POWER_LIMIT_DEFAULT_WATTS, (), LIMIT_WATTS
    yield catalog.GPU_POWER_LIMIT_MAX_WATTS, (), LIMIT_WATTS
    yield catalog.GPU_FAN_SPEED_RATIO, (), 0.3 + 0.6 * utilization
    yield catalog.GPU_TEMPERATURE_MARGIN_CELSIUS, (), 83.0 - celsius
    energy = IDLE_WATTS * moment.uptime + DYNAMIC_WATTS * moment.busy_seconds(gpu)
    yield catalog.GPU_ENERGY_JOULES_TOTAL, (), energy
    yield catalog.GPU_TEMPERATURE_CELSIUS, ("core",), celsius
    yield catalog.GPU_TEMPERATURE_CELSIUS, ("memory",), celsius + 9
    for kind, limit in (("slowdown", 87.0), ("shutdown", 92.0), ("max_operating", 83.0)):
        yield catalog.GPU_TEMPERATURE_LIMIT_CELSIUS, (kind,), limit
    idle = 1.0 if utilization else 0.175
    for domain, hertz in (("sm", SM_HERTZ), ("graphics", SM_HERTZ), ("memory", MEMORY_HERTZ), ("video", VIDEO_HERTZ)):
        yield catalog.GPU_CLOCK_HERTZ, (domain,), hertz * (idle if domain == "memory" else idle * clock)
        yield catalog.GPU_CLOCK_MAX_HERTZ, (domain,), hertz
    hot_seconds = moment.progress.degraded.train if node.scenario.clock < 1 and gpu < node.ranks else 0.0
    for reason in catalog.THROTTLE_REASONS:
        share = {"sw_thermal_slowdown": 0.9, "hw_thermal_slowdown": 0.1, "hw_slowdown": 0.1}.get(reason, 0.0)
        now = hot and share > 0.5 and utilization > 0.1  # noqa: PLR2004 - the reason that is on most of the time
        yield catalog.GPU_THROTTLED, (reason,), float(now)
        yield catalog.GPU_THROTTLED_SECONDS_TOTAL, (reason,), share * hot_seconds
    for reason in catalog.COUNTED_REASONS:
        yield catalog.GPU_THROTTLED_SECONDS_TOTAL, (reason,), 0.0
    yield catalog.GPU_PERSISTENCE_MODE, (), 1.0
    yield catalog.GPU_PERFORMANCE_STATE, (), 0.0 if utilization else 8.0


def _links(moment: Moment, gpu: int) -> Iterator[Part]:
    batches = moment.progress.batches if gpu < moment.node.ranks else 0.0
    yield catalog.GPU_PCIE_RECEIVE_BYTES_TOTAL, (), batches * timeline.BATCH_SIZE * 3 * 640 * 640.0
    yield catalog.GPU_PCIE_TRANSMIT_BYTES_TOTAL, (), batches * 4e6
    yield catalog.GPU_PCIE_LINK_GENERATION, (), 5.0 if moment.utilization(gpu) else 1.0
    yield catalog.GPU_PCIE_LINK_GENERATION_MAX, (), 5.0
    yield catalog.GPU_PCIE_LINK_WIDTH, (), 16.0
    yield catalog.GPU_PCIE_LINK_WIDTH_MAX, (), 16.0
    yield catalog.GPU_PCIE_REPLAYS_TOTAL, (), 0.0
    yield catalog.GPU_FABRIC_READY, (), 1.0
    for fault in catalog.FABRIC_FAULTS:
        yield catalog.GPU_FABRIC_FAULT, (fault,), 0.0
    exchanged = batches * 160e6 * (moment.node.ranks > 1)
    yield catalog.GPU_NVLINK_RECEIVE_BYTES_TOTAL, (), exchanged
    yield catalog.GPU_NVLINK_TRANSMIT_BYTES_TOTAL, (), exchanged
    for kind in ("replay", "recovery", "crc"):
        yield catalog.GPU_NVLINK_ERRORS_TOTAL, (kind,), 0.0


def _errors(moment: Moment, gpu: int) -> Iterator[Part]:
    sick = moment.node.scenario.dies and gpu == moment.node.gpus - 1 and moment.degraded
    since = moment.progress.since_onset * moment.node.speed if sick else 0.0
    late = since > timeline.DEATH_SECONDS / 2
    for kind, errors in (("corrected", float(int(since * 3))), ("uncorrected", float(int(since / 40)))):
        yield catalog.GPU_ECC_ERRORS_TOTAL, (kind,), errors
        yield catalog.GPU_ECC_VOLATILE_ERRORS_TOTAL, (kind,), errors
        yield catalog.GPU_SRAM_ECC_ERRORS_TOTAL, (kind,), 0.0
    yield catalog.GPU_SRAM_ECC_THRESHOLD_EXCEEDED, (), 0.0
    yield catalog.GPU_RECOVERY_ACTION, (), float(late)
    yield catalog.GPU_REMAPPED_ROWS_TOTAL, ("correctable",), float(int(since / 30))
    yield catalog.GPU_REMAPPED_ROWS_TOTAL, ("uncorrectable",), float(late)
    yield catalog.GPU_ROW_REMAP_PENDING, (), float(late)
    yield catalog.GPU_ROW_REMAP_FAILURE, (), 0.0
    for kind in ("single_bit", "double_bit"):
        yield catalog.GPU_RETIRED_PAGES_TOTAL, (kind,), 0.0
    if late:
        yield catalog.GPU_XID_ERRORS_TOTAL, ("63",), 1.0
        yield catalog.GPU_XID_ERRORS_TOTAL, ("48",), float(int(since / 40))
