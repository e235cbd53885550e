"""All samples of one simulated node at one time: hardware, host and training, from the same course of events.

Every function here takes a `Moment` and yields samples of one area of the catalogue. Counters are closed forms of the
timeline, so they never go backwards and agree with one another; gauges carry a little noise that depends on nothing
but seed, series and time.
"""

from __future__ import annotations

import math
import platform
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import yoloscope_exporter
from yoloscope_exporter import catalog, collectors
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.diagnosis import causes, rules
from yoloscope_exporter.diagnosis.live import in_labels
from yoloscope_exporter.language import CHINESE, finished, translated
from yoloscope_exporter.simulation import prediction, timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.simulation.timeline import Node, Progress, Regime, Training

VERDICTS = tuple(rule.name for rule in rules.RULES)

KEEP_SECONDS = {"finished": 900.0, "failed": 900.0, "killed": 3600.0}  # as the exporter keeps ended runs
UPTIME_SECONDS = 3e5  # of the node when the training starts
CORES_PER_GPU, MEMORY_PER_GPU = 16, 128 * timeline.GIB
IDLE_WATTS, DYNAMIC_WATTS, LIMIT_WATTS = 90.0, 520.0, 700.0
SM_HERTZ, MEMORY_HERTZ, VIDEO_HERTZ = 1.98e9, 2.619e9, 1.545e9
PEAK = (989.5e12, 494.5e12)  # of an H100, by precision
IMAGE_FLOPS = 3 * 68e9  # forward and backward of a yolo11m at 640 pixels
UTILIZATION_SAMPLES_PER_SECOND = 6.0  # as NVML's sample buffer
BUSY = {"h2d": 0.3, "validate": 0.7}  # share of a phase in which a kernel runs; all other phases on the GPU: BUSY_STEP
BUSY_STEP = 0.97
IMAGE_BYTES = 150e3
#: Of an image at 640 pixels, most of them landscapes.
CACHED_BYTES = 3.0 * 640 * 480
QUOTA_PERIODS_PER_SECOND = 10.0  # of 100 ms, the kernel's default
ROLES = ("main", "worker")  # their validations have no processes of their own
DECODING = 0.4  # share of the preparation
LOSSES = {"box_loss": (0.9, 1.6), "cls_loss": (0.5, 3.0), "dfl_loss": (1.0, 1.1)}  # final value, excess at the start
METRICS = {
    "metrics/precision(B)": 0.71,
    "metrics/recall(B)": 0.62,
    "metrics/mAP50(B)": 0.68,
    "metrics/mAP50-95(B)": 0.50,
}


@dataclass(frozen=True)
class Moment:
    """A node at one time."""

    node: Node
    training: Training
    time: float

    @cached_property
    def progress(self) -> Progress:
        """Where the training stands."""
        return self.training.at(self.time - self.node.start)

    @property
    def regime(self) -> Regime:
        """How batches go now."""
        return self.training.degraded if self.degraded else self.training.healthy

    @property
    def degraded(self) -> bool:
        """Whether the scenario has set in."""
        return self.progress.since_onset >= 0

    @property
    def alive(self) -> bool:
        """Whether the training's processes live."""
        return self.progress.ended < 0

    @property
    def published(self) -> bool:
        """Whether the exporter still shows the training."""
        return not 0 <= KEEP_SECONDS[self.training.outcome] <= self.progress.ended

    @property
    def uptime(self) -> float:
        """Seconds since the node was booted."""
        return UPTIME_SECONDS + self.time - self.node.start

    @cached_property
    def ranks(self) -> tuple[str, ...]:
        """Values of the label `rank`."""
        return tuple(map(str, range(self.node.ranks)))

    @cached_property
    def gpus(self) -> tuple[str, ...]:
        """Values of the label `gpu` that are still there."""
        lost = self.node.scenario.dies and not self.alive
        return tuple(map(str, range(self.node.gpus - lost)))

    def noise(self, *key: object, every: float = 5.0) -> float:
        """A number in [-1, 1) that stays for `every` seconds."""
        text = f"{self.node.seed}/{self.node.index}/{key}/{int(self.time // every)}"
        return zlib.crc32(text.encode()) / (1 << 31) - 1

    def phase_seconds(self, rank: int) -> dict[str, float]:
        """Wall time of the rank by phase, since the start."""
        progress = self.progress
        parts = (
            (self.training.healthy.phases[rank], progress.healthy.batches),
            (self.training.degraded.phases[rank], progress.degraded.batches),
        )
        total = {"setup": progress.setup}
        for phases, batches in parts:
            for phase, seconds in phases.items():
                total[phase] = total.get(phase, 0.0) + seconds * batches
        total["validate"] = progress.healthy.validate + progress.degraded.validate
        total["checkpoint"] = progress.healthy.checkpoint + progress.degraded.checkpoint
        return total

    def busy_seconds(self, gpu: int) -> float:
        """Time in which the GPU ran a kernel, since the start."""
        return _busy(self.phase_seconds(gpu)) if gpu < self.node.ranks else 0.0

    def utilization(self, gpu: int) -> float:
        """Utilization of the GPU now."""
        if gpu >= self.node.ranks or not self.alive:
            return 0.0
        state = self.progress.state
        if state == "train":
            level = _busy(self.regime.phases[gpu]) / self.regime.period
        else:
            level = BUSY["validate"] if state == "validate" else 0.0
        return min(1.0, max(0.0, level * (1 + 0.03 * self.noise("utilization", gpu, every=1.0))))


def _busy(phases: Mapping[str, float]) -> float:
    idle = ("setup", "data_wait", "checkpoint", "other")
    return sum(seconds * BUSY.get(phase, BUSY_STEP) for phase, seconds in phases.items() if phase not in idle)


def samples(moment: Moment) -> Iterator[Sample]:
    """Everything the node's exporter would show."""
    yield from _exporter(moment)
    yield from _gpus(moment)
    yield from _host(moment)
    if moment.node.index == 0:
        yield from prediction.samples(moment.node.start, moment.time, uuid(moment.node, 0))
    if moment.published:
        yield from _run(moment)


# --- histograms ------------------------------------------------------------------------------------------------------
def spread(total: float, mean: float, bounds: tuple[float, ...], sigma: float = 0.2) -> HistogramValue:
    """`total` observations, log-normal around `mean`, as a histogram that only ever grows with `total`."""
    cumulative = [int(total * _lognormal(bound, mean, sigma)) for bound in bounds]
    return HistogramValue(_differences([*cumulative, int(total)]), int(total) * mean)


def _lognormal(bound: float, mean: float, sigma: float) -> float:
    if bound <= 0:
        return 0.0
    return 0.5 * (1 + math.erf((math.log(bound / mean) + sigma**2 / 2) / (sigma * math.sqrt(2))))


def _differences(cumulative: list[int]) -> tuple[float, ...]:
    return tuple(float(after - before) for before, after in zip([0, *cumulative], cumulative, strict=False))


def _both(first: HistogramValue, second: HistogramValue) -> HistogramValue:
    counts = tuple(a + b for a, b in zip(first.counts, second.counts, strict=True))
    return HistogramValue(counts, first.sum + second.sum)


def _utilization_histogram(moment: Moment, gpu: int) -> HistogramValue:
    """Samples are so short that a GPU is found busy or idle, hardly ever in between."""
    bounds = catalog.UTILIZATION_BUCKETS
    seen = int(UTILIZATION_SAMPLES_PER_SECOND * moment.uptime)
    busy = min(seen, int(UTILIZATION_SAMPLES_PER_SECOND * moment.busy_seconds(gpu)))
    counts = [0.0] * (len(bounds) + 1)
    counts[0], counts[len(bounds) - 1] = float(seen - busy), float(busy)
    return HistogramValue(tuple(counts), float(busy))


# --- exporter --------------------------------------------------------------------------------------------------------
def _exporter(moment: Moment) -> Iterator[Sample]:
    version = (yoloscope_exporter.__version__, platform.python_version())
    yield Sample(catalog.BUILD_INFO, version, 1.0)
    yield Sample(catalog.SNAPSHOT_TIMESTAMP_SECONDS, (), moment.time)
    yield Sample(catalog.SAMPLES_REJECTED_TOTAL, ("gpu", "sentinel"), 0.0)
    yield Sample(catalog.RECORDS_REFUSED_TOTAL, ("identity", "simulated"), 0.0)
    for name in collectors.names():
        yield Sample(catalog.COLLECTOR_UP, (name,), 1.0)
        yield Sample(catalog.COLLECTOR_DURATION_SECONDS, (name,), 0.002 * (1.5 + moment.noise("collector", name)))
        yield Sample(catalog.COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS, (name,), moment.time)


# --- gpu -------------------------------------------------------------------------------------------------------------
def _gpus(moment: Moment) -> Iterator[Sample]:
    for gpu in map(str, range(moment.node.gpus)):
        yield Sample(catalog.GPU_UP, (gpu,), float(gpu in moment.gpus))
        bus = f"00000000:{16 + 8 * int(gpu):02X}:00.0"
        facts = (uuid(moment.node, int(gpu)), "NVIDIA H100 80GB HBM3", "580.82.07", "13.0", bus)
        yield Sample(catalog.GPU_INFO, (gpu, *facts), 1.0)
        yield Sample(catalog.GPU_PART_RATIO, (gpu,), 1.0)
        for precision, most in zip(catalog.PRECISIONS, PEAK, strict=True):
            yield Sample(catalog.GPU_PEAK_FLOPS_PER_SECOND, (gpu, precision), most)
    for gpu in moment.gpus:
        for part in (_gpu_load, _gpu_heat, _gpu_links, _gpu_errors):
            for metric, labels, value in part(moment, int(gpu)):
                yield Sample(metric, (gpu, *labels), value)


_Part = tuple["Metric", tuple[str, ...], "float | HistogramValue"]


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


def _gpu_load(moment: Moment, gpu: int) -> Iterator[_Part]:
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
        owner = (str(_pid(gpu)), "python", moment.node.run, str(gpu), "li")
        yield catalog.GPU_PROCESS_MEMORY_BYTES, owner, used
        yield catalog.GPU_PROCESS_SM_RATIO, owner, 0.82 * utilization


def _gpu_heat(moment: Moment, gpu: int) -> Iterator[_Part]:
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


def _gpu_links(moment: Moment, gpu: int) -> Iterator[_Part]:
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


def _gpu_errors(moment: Moment, gpu: int) -> Iterator[_Part]:
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


# --- host ------------------------------------------------------------------------------------------------------------
def loader_seconds(moment: Moment) -> float:
    """Time one worker has spent preparing batches."""
    training, progress = moment.training, moment.progress
    workers = max(1, moment.node.workers)
    prepared = progress.healthy.batches * training.healthy.preparation
    return (prepared + progress.degraded.batches * training.degraded.preparation) / workers


def _host(moment: Moment) -> Iterator[Sample]:
    yield from _cpu(moment)
    yield from _memory(moment)
    yield from _disk(moment)
    for device, share in (("eth0", 0.1), ("ib0", 1.0)):
        count = share * moment.progress.batches * 5e5 + 2e4 * moment.uptime
        yield Sample(catalog.NETWORK_RECEIVE_BYTES_TOTAL, (device,), count)
        yield Sample(catalog.NETWORK_TRANSMIT_BYTES_TOTAL, (device,), count)
        yield Sample(catalog.NETWORK_RECEIVE_ERRORS_TOTAL, (device,), 0.0)
        yield Sample(catalog.NETWORK_TRANSMIT_ERRORS_TOTAL, (device,), 0.0)
    for (resource, kind), seconds in _pressure(moment).items():
        yield Sample(catalog.PRESSURE_SECONDS_TOTAL, (resource, kind), seconds + 0.0004 * UPTIME_SECONDS)


def _pressure(moment: Moment) -> dict[tuple[str, str], float]:
    trained = moment.progress.trained
    shares = {"cpu": 0.02, "io": 0.01, "memory": 0.0}
    return {
        (resource, kind): share * trained * (1.0 if kind == "some" else 0.3)
        for resource, share in shares.items()
        for kind in ("some", "full")
        if (resource, kind) != ("cpu", "full") or share
    }


def _cpu(moment: Moment) -> Iterator[Sample]:
    node = moment.node
    cores = float(CORES_PER_GPU * node.gpus)
    workers = node.ranks * max(1, node.workers)
    loaders = loader_seconds(moment) * timeline.PREPARATION_CPU * workers
    mains = node.ranks * 0.9 * moment.progress.trained
    user = 0.92 * (loaders + mains) + 0.004 * cores * moment.uptime
    system = 0.08 * (loaders + mains) + 0.002 * cores * moment.uptime
    iowait = (1 - timeline.PREPARATION_CPU) * loader_seconds(moment) * workers * 0.5
    idle = max(0.0, cores * moment.uptime - user - system - iowait)
    modes = {"user": user, "nice": 0.0, "system": system, "idle": idle, "iowait": iowait}
    for mode, seconds in {**modes, "irq": 0.0, "softirq": 1e-4 * cores * moment.uptime, "steal": 0.0}.items():
        yield Sample(catalog.CPU_SECONDS_TOTAL, (mode,), seconds)
    yield Sample(catalog.CPU_CORES, (), cores)
    for package in ("0", "1"):
        yield Sample(catalog.CPU_ENERGY_JOULES_TOTAL, (package,), 60.0 * moment.uptime + 2.5 * (user + system))
    load = _loader_cores(moment) * workers + node.ranks if moment.alive else 0.3
    for window in ("1m", "5m", "15m"):
        yield Sample(catalog.LOAD_AVERAGE, (window,), load * (1 + 0.05 * moment.noise("load", window)))
    yield Sample(catalog.CONTEXT_SWITCHES_TOTAL, (), float(int(8e3 * moment.uptime + 4e3 * moment.progress.batches)))


def _loader_cores(moment: Moment) -> float:
    """CPUs a worker keeps busy now."""
    busy = moment.regime.preparation / max(1, moment.node.workers) / moment.regime.period
    return min(1.0, busy) * timeline.PREPARATION_CPU if moment.progress.state == "train" else 0.05


def _memory(moment: Moment) -> Iterator[Sample]:
    node = moment.node
    total = MEMORY_PER_GPU * node.gpus
    processes = sum(_resident(moment, role) for role in ROLES) * node.ranks if moment.alive else 0.0
    used = 6 * timeline.GIB + processes
    yield Sample(catalog.MEMORY_TOTAL_BYTES, (), total)
    yield Sample(catalog.MEMORY_AVAILABLE_BYTES, (), total - used)
    yield Sample(catalog.MEMORY_USED_BYTES, (), used)
    yield Sample(catalog.MEMORY_CACHED_BYTES, (), 0.4 * (total - used))
    yield Sample(catalog.SWAP_USED_BYTES, (), 0.0)
    yield Sample(catalog.MEMORY_OOM_KILLS_TOTAL, (), 0.0)


def _resident(moment: Moment, role: str) -> float:
    return 5.2 * timeline.GIB if role == "main" else 1.4 * timeline.GIB * moment.node.workers


def _disk(moment: Moment) -> Iterator[Sample]:
    node, progress = moment.node, moment.progress
    read = 0.1 * progress.batches * timeline.BATCH_SIZE * IMAGE_BYTES * node.ranks  # the rest is in the page cache
    written = 2e3 * moment.uptime + 40e6 * progress.epochs
    device = ("nvme0n1",)
    yield Sample(catalog.DISK_READ_BYTES_TOTAL, device, read)
    yield Sample(catalog.DISK_WRITTEN_BYTES_TOTAL, device, written)
    yield Sample(catalog.DISK_READS_TOTAL, device, float(int(read / IMAGE_BYTES)))
    yield Sample(catalog.DISK_WRITES_TOTAL, device, float(int(written / 65536)))
    yield Sample(catalog.DISK_READ_SECONDS_TOTAL, device, read / 1.5e9)
    yield Sample(catalog.DISK_WRITE_SECONDS_TOTAL, device, written / 1e9)
    yield Sample(catalog.DISK_IO_SECONDS_TOTAL, device, (read + written) / 3e9)
    places = (("/", "ext4", 0.9e12, 0.6), ("/data", "xfs", 7.5e12, 0.35), ("/dev/shm", "tmpfs", 5e11, 0.98))  # noqa: S108
    for mountpoint, fstype, size, left in places:
        yield Sample(catalog.FILESYSTEM_SIZE_BYTES, (mountpoint, fstype), size)
        available = size * left - (20e6 * progress.epochs if mountpoint == "/data" else 0.0)
        yield Sample(catalog.FILESYSTEM_AVAILABLE_BYTES, (mountpoint, fstype), available)


# --- training --------------------------------------------------------------------------------------------------------
def _run(moment: Moment) -> Iterator[Sample]:
    run = moment.node.run
    if moment.alive:
        for metric, labels, value in _cgroup(moment):
            yield Sample(metric, (run, *labels), value)
    for rank in moment.ranks:
        parts = (_facts, _clockwork, _histograms, _loader, _cuda, _learning, _ourselves, _diagnosis)
        for part in (*parts, _processes) if moment.alive else parts:
            for metric, labels, value in part(moment, int(rank)):
                yield Sample(metric, (run, rank, *labels), value)
    if moment.progress.state in catalog.DEAD:
        yield Sample(catalog.TRAIN_POST_MORTEMS_TOTAL, ("kept",), float(moment.node.ranks))


def _cgroup(moment: Moment) -> Iterator[_Part]:
    node = moment.node
    workers = node.ranks * max(1, node.workers)
    seconds = loader_seconds(moment) * timeline.PREPARATION_CPU * workers + node.ranks * 0.9 * moment.progress.trained
    yield catalog.CGROUP_CPU_SECONDS_TOTAL, (), seconds
    yield catalog.CGROUP_CPU_THROTTLED_SECONDS_TOTAL, (), 0.0
    yield catalog.CGROUP_CPU_PERIODS_TOTAL, (), QUOTA_PERIODS_PER_SECOND * moment.progress.trained
    yield catalog.CGROUP_CPU_THROTTLED_PERIODS_TOTAL, (), 0.0
    yield catalog.CGROUP_CPU_QUOTA_CORES, (), float(CORES_PER_GPU * node.ranks)
    used = sum(_resident(moment, role) for role in ROLES) * node.ranks
    yield catalog.CGROUP_MEMORY_USED_BYTES, (), used
    yield catalog.CGROUP_MEMORY_LIMIT_BYTES, (), 0.9 * MEMORY_PER_GPU * node.gpus
    yield catalog.CGROUP_OOM_KILLS_TOTAL, (), 0.0
    for labels, pressure in _pressure(moment).items():
        yield catalog.CGROUP_PRESSURE_SECONDS_TOTAL, labels, pressure


def _pid(rank: int) -> int:
    return 40_000 + 100 * rank


def _facts(moment: Moment, rank: int) -> Iterator[_Part]:
    node = moment.node
    facts = {
        "task": "detect",
        "model": "yolo11m.pt",
        "data": "coco.yaml",
        "imgsz": "640",
        "optimizer": "SGD",
        "amp": "true",
        "amp_asked": "true",
        "workers": str(node.workers),
        "cache": "false",
        "world_size": str(node.ranks),
        "device": ",".join(moment.ranks),
        "close_mosaic": "10",
        "ultralytics": "8.4.2",
        "torch": "2.8.0+cu128",
        "cuda": "12.8",
        "user": "simulated",
        "pid": str(_pid(rank)),
        "slurm_job_id": str(100_000 + node.index),
        "pod": "",
        "visible_gpus": str(node.ranks),
        "nbs": "64",
        "weight_decay": "0.0005",
        "lr0": "0.01",
        "lrf": "0.01",
        "warmup_epochs": "3.0",
        "patience": "100",
        "val": "True",
        "save_period": "-1",
        "rect": "False",
        "mosaic": "1.0",
        "multi_scale": "0.0",
        "compile": "False",
        "deterministic": "True",
        "fraction": "1.0",
        "channels_last": "False",
    }
    yield catalog.TRAIN_RUN_INFO, tuple(facts[name] for name in catalog.RUN_FACTS), 1.0
    job = {"slurm_job_id": facts["slurm_job_id"], "slurm_job_user": "simulated", "slurm_partition": "gpu"}
    yield catalog.TRAIN_JOB_INFO, tuple(job.get(name, "") for name in catalog.TRAIN_JOB_INFO.labels[2:]), 1.0
    yield catalog.TRAIN_DEVICE_INFO, (str(rank), uuid(node, rank)), 1.0
    yield catalog.TRAIN_EPOCHS, (), float(node.epochs)
    yield catalog.TRAIN_EPOCH_BATCHES, (), float(moment.training.healthy.batches)
    yield catalog.TRAIN_BATCH_SIZE, (), float(timeline.BATCH_SIZE)
    yield catalog.TRAIN_WORKERS, (), float(node.workers)
    images = moment.training.healthy.batches * timeline.BATCH_SIZE * node.ranks
    yield catalog.TRAIN_CACHE_NEEDED_BYTES, ("ram",), CACHED_BYTES * images
    yield catalog.TRAIN_CACHE_NEEDED_BYTES, ("disk",), CACHED_BYTES * images
    yield catalog.TRAIN_CACHE_DISK_AVAILABLE_BYTES, (), float(200 << 30)


def _clockwork(moment: Moment, rank: int) -> Iterator[_Part]:
    node, progress = moment.node, moment.progress
    batches = int(progress.batches)
    yield catalog.TRAIN_UP, (), float(moment.alive)
    for state in catalog.STATES:
        yield catalog.TRAIN_STATE, (state,), float(state == progress.state)
    yield catalog.TRAIN_START_TIMESTAMP_SECONDS, (), node.start
    ended = node.start + moment.training.end
    if batches:
        yield catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, (), _last_batch(moment)
    if progress.state in catalog.FINAL:
        yield catalog.TRAIN_END_TIMESTAMP_SECONDS, (), ended
    if progress.state == "failed":
        told = {"exception": "OutOfMemoryError", "message": "CUDA out of memory. Tried to allocate 2.00 GiB."}
        yield catalog.TRAIN_END_INFO, tuple(told.get(name, "") for name in catalog.END_FACTS), 1.0
    if progress.state != "setup":
        yield catalog.TRAIN_EPOCH, (), float(min(node.epochs, progress.epochs + 1))
    yield catalog.TRAIN_BATCHES_TOTAL, (), float(batches)
    yield catalog.TRAIN_IMAGES_TOTAL, (), float(batches * timeline.BATCH_SIZE)
    yield catalog.TRAIN_FLOPS_TOTAL, (), IMAGE_FLOPS * batches * timeline.BATCH_SIZE
    yield catalog.TRAIN_OPTIMIZER_STEPS_TOTAL, (), float(batches)
    yield catalog.TRAIN_CHECKPOINTS_TOTAL, (), float(progress.epochs)
    lived = min(moment.time - node.start, moment.training.end)
    joules = {"gpu": IDLE_WATTS * lived + DYNAMIC_WATTS * moment.busy_seconds(rank), "cpu": 30.0 * lived}
    for source in catalog.ENERGY_SOURCES:
        yield catalog.TRAIN_ENERGY_JOULES_TOTAL, (source,), joules[source]
    phases = moment.phase_seconds(rank)
    first = 0.1 * phases["data_wait"]  # the part of the wait that is an epoch's first
    callbacks = 0.002 * progress.epochs
    divided = {
        **phases,
        "loader_start": first,
        "data_wait": phases["data_wait"] - first,
        "callbacks": callbacks,
        "other": phases["other"] - callbacks,
    }
    for phase, seconds in divided.items():
        yield catalog.TRAIN_PHASE_SECONDS_TOTAL, (phase,), seconds
    for part, share in {
        "loader": 0.1,
        "preprocess": 0.02,
        "inference": 0.55,
        "postprocess": 0.2,
        "metrics": 0.1,
    }.items():
        yield catalog.TRAIN_VALIDATE_SECONDS_TOTAL, (part,), share * phases["validate"]
    yield from _setup(progress.state == "setup", phases["setup"], timeline.SETUP_SECONDS / node.speed)
    yield catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, (), first
    yield catalog.TRAIN_CALLBACK_SECONDS_TOTAL, ("(others)",), callbacks
    yield catalog.TRAIN_CALLBACK_CALLS_TOTAL, ("(others)",), float(2 * progress.epochs)
    if moment.alive and batches:
        yield catalog.TRAIN_REMAINING_SECONDS, (), (node.epochs - progress.epochs) * moment.regime.epoch


def _setup(under_way: bool, spent: float, whole: float) -> Iterator[_Part]:  # noqa: FBT001 - one caller
    """Set-up by stage: the stages follow each other, each for its share of the `whole`, in seconds."""
    before = 0.0
    for stage, share in timeline.SETUP_STAGES.items():
        seconds = min(max(spent - before, 0.0), share * whole)
        yield catalog.TRAIN_SETUP_SECONDS_TOTAL, (stage,), seconds
        if under_way and before <= spent < before + share * whole:
            yield catalog.TRAIN_SETUP_STAGE, (stage,), 1.0
            if stage == "scan":
                yield catalog.TRAIN_SETUP_PROGRESS_RATIO, (), seconds / (share * whole)
        before += share * whole


def _last_batch(moment: Moment) -> float:
    """When the last batch ended: after the ones done in this epoch, or before validation and checkpoint."""
    now = moment.time - max(0.0, moment.progress.ended)
    training, regime = moment.training, moment.regime
    begin = training.onset if moment.degraded else timeline.SETUP_SECONDS / moment.node.speed
    into = max(0.0, now - moment.node.start - begin) % regime.epoch
    done = min(regime.batches, int(into / regime.period))
    pause = regime.epoch - regime.batches * regime.period
    return now - (into - done * regime.period) - (0.0 if done else pause)


def _histograms(moment: Moment, _rank: int) -> Iterator[_Part]:
    healthy, degraded = moment.training.healthy, moment.training.degraded
    before, after = moment.progress.healthy.batches, moment.progress.degraded.batches
    bounds = catalog.STEP_BUCKETS
    steps = _both(spread(before, healthy.step, bounds, 0.1), spread(after, degraded.step, bounds, 0.1))
    waits = _both(spread(before, healthy.wait, bounds, 0.6), spread(after, degraded.wait, bounds, 0.4))
    prepared = _both(spread(before, healthy.preparation, bounds), spread(after, degraded.preparation, bounds))
    yield catalog.TRAIN_STEP_SECONDS, (), steps
    yield catalog.TRAIN_DATA_WAIT_SECONDS, (), waits
    yield catalog.TRAIN_LOADER_BATCH_SECONDS, (), prepared


def _loader(moment: Moment, rank: int) -> Iterator[_Part]:
    node = moment.node
    each = moment.progress.batches / max(1, node.workers)
    seconds = loader_seconds(moment)
    for worker in map(str, range(node.workers)):
        yield catalog.TRAIN_WORKER_BATCHES_TOTAL, (worker,), float(int(each))
        yield catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, (worker,), seconds
        yield catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, (worker,), seconds * timeline.PREPARATION_CPU
        yield catalog.TRAIN_WORKER_MAJOR_FAULTS_TOTAL, (worker,), float(int(0.02 * each))
        yield catalog.TRAIN_WORKER_DECODE_SECONDS_TOTAL, (worker,), seconds * DECODING
    capacity = 2 * node.workers
    starved = moment.regime.wait > 2 * timeline.LEAST_WAIT_SECONDS
    ready = 0 if starved else int(capacity * (0.85 + 0.1 * moment.noise("queue", rank, every=1.0)))
    if moment.alive:
        yield catalog.TRAIN_QUEUE_DEPTH, (), float(ready)
    yield catalog.TRAIN_QUEUE_CAPACITY, (), float(capacity)
    ahead = 0.85 * capacity * moment.training.healthy.period
    dwell = ahead * (moment.progress.batches - (moment.progress.degraded.batches if starved else 0.0))
    yield catalog.TRAIN_BATCH_DWELL_SECONDS_TOTAL, (), dwell
    yield catalog.TRAIN_WORKER_RESTARTS_TOTAL, (), 0.0
    yield catalog.TRAIN_WORKER_DEATHS_TOTAL, (), 0.0
    yield catalog.TRAIN_WORKER_DEATH_SIGNAL_TOTAL, ("SIGKILL",), 0.0
    yield catalog.TRAIN_VAL_WORKERS, (), 0.0
    for number in range(5 if each else 0):
        file = f"/data/images/train/{rank:02d}{number:04d}.jpg"
        yield catalog.TRAIN_SLOW_FILE_SECONDS, (file,), 0.09 - 0.01 * number
        yield catalog.TRAIN_SLOW_FILE_BYTES, (file,), IMAGE_BYTES * (6 - number)
        yield catalog.TRAIN_SLOW_FILE_CPU_SECONDS, (file,), 0.04 - 0.004 * number
        yield catalog.TRAIN_SLOW_FILE_INFO, (file, "1920", "1080", "JPEG", "nfs4", ""), 1.0


def _cuda(moment: Moment, rank: int) -> Iterator[_Part]:
    allocated, reserved = device_memory(moment, rank)
    kinds = {
        "allocated": allocated,
        "reserved": reserved,
        "active": allocated * 1.01,
        "inactive_split": (reserved - allocated) * 0.4,
        "peak_allocated": min(allocated * 1.06, reserved),
        "peak_reserved": reserved,
    }
    if moment.alive:
        for kind, value in kinds.items():
            yield catalog.TRAIN_CUDA_MEMORY_BYTES, (kind,), value
        leak = moment.node.scenario.leak * moment.node.speed * moment.degraded
        yield catalog.TRAIN_CUDA_MEMORY_GROWTH_BYTES, (), leak * moment.regime.batches
    full = moment.training.outcome == "failed"
    left = -moment.progress.ended * moment.node.speed  # seconds before it runs out of memory
    retries = max(0, int(30 - max(0.0, left) / 2)) if full else 0
    yield catalog.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, (), float(retries)
    yield catalog.TRAIN_CUDA_OOMS_TOTAL, (), float(full and not moment.alive)


def _learning(moment: Moment, rank: int) -> Iterator[_Part]:
    epochs = moment.progress.epochs
    left = math.exp(-epochs / 30)
    if moment.progress.batches >= 1:
        for component, (final, excess) in LOSSES.items():
            noise = 0.02 * moment.noise("loss", component, every=10.0)
            yield catalog.TRAIN_LOSS, (component,), final + excess * left + noise
        for group in ("pg0", "pg1", "pg2"):
            yield catalog.TRAIN_LEARNING_RATE, (group,), 0.01 * (1 - 0.99 * epochs / moment.node.epochs)
        yield catalog.TRAIN_ACCUMULATED_BATCHES, (), 1.0
        yield catalog.TRAIN_EPOCHS_SINCE_BEST, (), 0.0
    if epochs and rank == 0:
        for name, final in METRICS.items():
            yield catalog.TRAIN_METRIC, (name,), final * (1 - left) * (1 + 0.01 * moment.noise(name, epochs, every=1e9))
    yield catalog.TRAIN_PATIENCE_EPOCHS, (), 100.0
    yield catalog.TRAIN_NONFINITE_LOSS_TOTAL, (), 0.0
    yield catalog.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, (), 0.0
    yield catalog.TRAIN_NAN_RECOVERIES_TOTAL, (), 0.0


def _ourselves(moment: Moment, _rank: int) -> Iterator[_Part]:
    yield catalog.TRAIN_HOOK_SECONDS_TOTAL, (), 18e-6 * int(moment.progress.batches)
    yield catalog.TRAIN_HOOK_ERRORS_TOTAL, (), 0.0


def _processes(moment: Moment, _rank: int) -> Iterator[_Part]:
    node = moment.node
    workers = max(1, node.workers)
    seconds = {"main": 0.9 * moment.progress.trained}
    seconds["worker"] = loader_seconds(moment) * timeline.PREPARATION_CPU * workers
    read = 0.1 * moment.progress.batches * timeline.BATCH_SIZE * IMAGE_BYTES
    for role in ROLES:
        yield catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, (role,), seconds[role]
        yield catalog.TRAIN_PROCESS_RESIDENT_BYTES, (role,), _resident(moment, role)
        yield catalog.TRAIN_PROCESS_READ_BYTES_TOTAL, (role,), read if role == "worker" else 0.0
        yield catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, (role,), 0.004 * seconds[role]
        yield catalog.TRAIN_PROCESS_IO_DELAY_SECONDS_TOTAL, (role,), 0.01 * seconds[role]
        yield catalog.TRAIN_PROCESSES, (role,), 1.0 if role == "main" else float(node.workers)
        yield catalog.TRAIN_PROCESS_AFFINITY_CORES, (role,), float(CORES_PER_GPU * node.gpus)
        yield catalog.TRAIN_PROCESS_FAIR_CORES, (role,), float(CORES_PER_GPU * node.gpus) / node.ranks
    yield catalog.TRAIN_SHM_SIZE_BYTES, (), MEMORY_PER_GPU * node.gpus / 2
    yield catalog.TRAIN_SHM_AVAILABLE_BYTES, (), 0.98 * MEMORY_PER_GPU * node.gpus / 2


def _diagnosis(moment: Moment, rank: int) -> Iterator[_Part]:
    verdict = _verdict(moment, rank)
    for name in VERDICTS:
        yield catalog.TRAIN_VERDICT, (name,), float(name == verdict)
    if verdict:
        yield catalog.TRAIN_VERDICT_FIX_INFO, (verdict, *in_labels(rules.BY_NAME[verdict].remedy)), 1.0
    if verdict in catalog.DEAD:
        yield catalog.TRAIN_VERDICT_CAUSE_INFO, (verdict, *_why(verdict)), 1.0
    phases = moment.regime.phases[rank]
    lost = phases["data_wait"] + phases.get("backward_exposed", 0.0)
    if moment.alive and moment.progress.state == "train":
        yield catalog.TRAIN_GOODPUT_RATIO, (), 1 - lost / moment.regime.period
    for cause, seconds in _wasted(moment, rank):
        yield catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL, (cause,), seconds
        yield catalog.TRAIN_WASTED_ENERGY_JOULES_TOTAL, (cause,), IDLE_WATTS * seconds


def _why(verdict: str) -> tuple[str, str, str]:
    """The cause of a death, its evidence, and the cause in Chinese."""
    why = "unknown: it was killed from outside, mostly by SIGKILL, which leaves nothing behind"
    how = "the process exited without a final state"
    if verdict == "failed":
        cause = causes.BY_NAME["cuda_out_of_memory"]
        why = f"{cause.name}: {cause.title}"
        how = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    return why, how, translated(finished(why), CHINESE)


def _verdict(moment: Moment, rank: int) -> str:
    """What holds for the rank; nothing does for the ranks that wait for a straggler."""
    scenario, state = moment.node.scenario, moment.progress.state
    if state in catalog.DEAD:
        return state
    if moment.progress.batches < 1:
        return "insufficient_data"
    if not moment.degraded or scenario.dies:
        return "compute_bound"
    waits = scenario.straggler > 1 and rank < moment.node.ranks - 1
    return "" if waits else scenario.verdict


def _wasted(moment: Moment, rank: int) -> Iterable[tuple[str, float]]:
    """Seconds the GPU waited for data or for the slowest rank, or ran below its clock."""
    scenario, batches = moment.node.scenario, moment.progress.degraded.batches
    degraded = moment.training.degraded
    healthy = moment.training.healthy
    if moment.degraded and not scenario.dies and not scenario.leak and scenario.verdict != "compute_bound":
        lost = degraded.period - healthy.period
        slow = scenario.straggler > 1 and rank == moment.node.ranks - 1
        yield scenario.verdict, 0.0 if slow else lost * batches
