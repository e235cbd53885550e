"""Signals: what one rank's window says, as numbers. Pure functions over a window; what cannot be known is absent.

To add a signal: put it into the dictionary one of the functions below returns, and describe it in `SIGNALS`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise
from math import isfinite
from statistics import fmean, median
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.series import Window, longest, quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from yoloscope_exporter.diagnosis.series import Labels

Numbers = dict[str, "float | None"]

_SHM = "/dev/shm"  # noqa: S108 - a label's value

#: The phases of a training step. The rest of a rank's time is set-up, validation and checkpoints.
STEP_PHASES = (
    "data_wait",
    "callbacks",
    "h2d",
    "preprocess",
    "forward",
    "backward",
    "backward_local",
    "backward_exposed",
    "optimizer",
    "other",
)
COMPUTE_PHASES = ("forward", "backward", "backward_local", "optimizer")
THERMAL = ("sw_thermal_slowdown", "hw_thermal_slowdown", "hw_slowdown")
POWER = ("sw_power_cap", "hw_power_brake_slowdown")

#: A window is cut into this many parts to tell what is typical from what happened once (an epoch's first batch).
PARTS = 6
#: A slope needs this many bands that each rise. TraceML's memory creep asks for three (traceml policy).
BANDS = 4
#: Fewer batches than this say nothing about a step. TraceML warns from 2 steps on and is sure at 20.
FEWEST_BATCHES = 5

#: Every signal, with its unit. Documented from here; a test checks that no other is produced.
SIGNALS: dict[str, str] = {
    "batches": "training batches in the window",
    "images_per_second": "training images per second of step time",
    "step_seconds": "mean time of a batch in seconds, the data wait left out",
    "wait_seconds": "mean data wait of a batch in seconds",
    "data_wait_share": "typical share of step time spent waiting for data: median over six parts of the window, "
    "first batches of epochs left out",
    "h2d_share": "typical share of step time spent moving batches to the device",
    "exposed_share": "typical share of step time spent waiting for gradients of other ranks",
    "compute_share": "share of step time spent in forward, backward and optimizer",
    "train_share": "share of the window spent in training steps, their data wait included",
    "goodput": "share of the window's wall time spent in forward, backward and optimizer",
    "validate_share": "share of the rank's whole time so far spent validating",
    "checkpoint_share": "share of the rank's whole time so far spent writing checkpoints",
    "epoch": "epoch under way",
    "epochs": "epochs asked for",
    "last_batch_age": "seconds since the last batch or since training resumed after a validation, as far as witnessed",
    "longest_batch": "longest batch of the run so far in seconds, data wait included (upper bound of its bucket)",
    "batch_size": "images in a batch of this rank",
    "epoch_images": "training images in the data set as this rank and its peers see them",
    "ranks": "trainers alive on this node",
    "run_ranks": "trainers of this run alive on this node",
    "world_size": "ranks of this run",
    "workers": "loader workers asked for",
    "workers_alive": "loader worker processes found",
    "worker_restarts": "loader workers started again in the window",
    "prep_seconds": "time a loader worker takes for a batch, in seconds",
    "prep_cpu_ratio": "share of that time the worker was computing; the rest is waiting",
    "prep_p95_seconds": "95th percentile of the preparation time of a batch in seconds",
    "slowest_prep_seconds": "preparation time of the slowest worker in seconds",
    "others_prep_seconds": "median preparation time of the other workers in seconds",
    "slowest_ratio": "the slowest worker's preparation time over the others' median",
    "queue_fill": "ready batches over the most that can wait",
    "dwell_seconds": "time a ready batch waits for the trainer, in seconds",
    "runqueue_share": "share of a loader worker's time spent ready to run but without a CPU",
    "main_runqueue_share": "share of the training process's time spent ready to run but without a CPU",
    "worker_threads": "CPUs a loader worker uses over those its preparation accounts for: threads it started",
    "cores": "CPUs this run may use: the least of online, affinity and quota",
    "rank_cores": "CPUs for each rank: online over all trainers of the node, affinity and quota over those of the run",
    "node_cores": "CPUs online",
    "quota_cores": "CPU quota of the run's cgroup",
    "affinity_cores": "CPUs the loader workers may run on",
    "free_cores": "CPUs of the node that idle, or that the quota leaves",
    "cpu_busy_share": "share of the node's CPU time in use",
    "iowait_share": "share of the node's CPU time idle while I/O is outstanding",
    "throttled_share": "share of the time the cgroup was stopped by its CPU quota",
    "io_pressure": "share of the time some task waited for I/O (cgroup, else node)",
    "disk_busy_share": "share of the time the busiest disk had work (%util)",
    "memory_available_bytes": "memory that can still be had: node, or what the cgroup's limit leaves",
    "memory_used_share": "memory in use over the cgroup's limit, or over the node's memory",
    "shm_available_bytes": "space left in /dev/shm",
    "shm_size_bytes": "size of /dev/shm",
    "resident_bytes": "resident memory of the rank's processes",
    "worker_resident_bytes": "resident memory of one loader worker",
    "resident_growth_bytes": "steady growth of resident memory after the first epoch, in bytes; 0 if it is not steady",
    "resident_growth_rate": "the same in bytes per second",
    "available_fall_bytes": "steady fall of the node's available memory, in bytes; 0 if it is not steady",
    "growth_seconds": "how long the growth of memory was watched, in seconds",
    "cuda_allocated_bytes": "CUDA memory allocated by PyTorch",
    "cuda_peak_bytes": "peak of CUDA memory reserved by PyTorch",
    "cuda_peak_share": "that peak over the device's memory",
    "cuda_floor_bytes": "lowest CUDA memory allocated in the window: what does not depend on the batch",
    "cuda_growth_bytes": "steady growth of allocated CUDA memory after the first epoch; 0 if it is not steady",
    "cuda_growth_rate": "the same in bytes per second",
    "alloc_retries": "allocations in the window that failed, flushed the cache and were tried again",
    "ooms": "out-of-memory errors of the CUDA allocator in the window",
    "batch_reductions": "times Ultralytics halved the batch in the window",
    "oom_kills": "processes of the cgroup killed for lack of memory in the window",
    "nonfinite": "batches with a NaN or infinite loss in the window",
    "nan_recoveries": "returns to the last checkpoint after a NaN in the window",
    "gpu_busy": "share of the window in which a kernel ran",
    "gpu_idle_samples": "share of the driver's utilisation samples at or below 10 %",
    "gpu_full_samples": "share of the driver's utilisation samples above 90 %",
    "gpu_memory_used_share": "device memory in use by anybody over what is installed",
    "gpu_memory_total_bytes": "device memory installed",
    "sm_fill": "share of the streaming multiprocessors that had a warp while a kernel ran",
    "thermal_share": "share of the window in which heat held the clocks down",
    "power_share": "share of the window in which the power limit held the clocks down",
    "power_watts": "mean power drawn",
    "power_limit_watts": "power limit",
    "clock_ratio": "SM clock over the highest SM clock",
    "temperature_celsius": "highest core temperature in the window",
    "pcie_width": "PCIe lanes in use",
    "pcie_width_max": "PCIe lanes the link can have",
    "pcie_generation": "highest PCIe generation seen in the window",
    "pcie_generation_max": "PCIe generation the link can have",
    "gpus": "GPUs of the node",
    "driver_cuda": "CUDA version the driver supports",
    "torch_cuda": "CUDA version PyTorch was built for; 0 for a build without CUDA",
    "local_seconds": "a batch's time on this rank in seconds, the wait for peers left out",
    "peer_local_seconds": "median of the same over the other ranks",
    "lag": "how much longer this rank's own work takes than its peers', over the step",
    "peer_prep_seconds": "median preparation time of a batch by the other ranks' workers, in seconds",
    "peer_exposed_share": "share of step time the other ranks wait for gradients (median)",
    "held_idle_gpus": "GPUs of the node whose memory a process without training holds while they idle",
    "loss": "sum of the loss components, mean of the last epoch",
    "loss_drop": "relative fall of the loss over the epochs seen, second half against first",
    "metric_gain": "rise of mAP50-95 (or the task's own) over the epochs seen, best of the second half against first",
    "epochs_seen": "finished epochs the slope of the loss rests on",
}


@dataclass(frozen=True)
class Signals:
    """What is known of one rank.

    Attributes:
        facts: labels of train_run_info (empty values left out).
        numbers: by the names of `SIGNALS`; missing means unknown.
        names: identities that evidence speaks of: `gpu`, `slowest_worker`, `lag_phase`, `metric`.
        local: seconds per batch by step phase, for the comparison of ranks.
    """

    run: str
    rank: str
    state: str = ""
    up: bool = True
    facts: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        """The signal; KeyError if it is unknown."""
        return self.numbers[name]

    def get(self, name: str, default: float = 0.0) -> float:
        """The signal, or `default` if it is unknown."""
        return self.numbers.get(name, default)

    def has(self, *names: str) -> bool:
        """Whether all these signals are known."""
        return all(name in self.numbers for name in names)


@dataclass(frozen=True)
class Machine:
    """What a window says of the machine, whichever rank asks."""

    window: Window

    @cached_property
    def ranks(self) -> Counter[str]:
        """Living ranks of each run."""
        return Counter(run for (run, _), up in self.window.current(catalog.TRAIN_UP).items() if up)

    @cached_property
    def cpu(self) -> dict[str, float]:
        """Busy CPUs by mode; guests are counted in the other modes already."""
        rates = self.window.rates(catalog.CPU_SECONDS_TOTAL)
        return {mode: rate for (mode,), rate in rates.items() if not mode.startswith("guest")}

    @cached_property
    def idle(self) -> float | None:
        """Share of CPU time in which nothing could run."""
        total = sum(self.cpu.values())
        return (self.cpu["idle"] + self.cpu.get("iowait", 0.0)) / total if total and "idle" in self.cpu else None

    @cached_property
    def disk_busy(self) -> float | None:
        """Share of time for which the busiest disk worked."""
        return max(self.window.rates(catalog.DISK_IO_SECONDS_TOTAL).values(), default=None)

    @cached_property
    def shm(self) -> Numbers:
        """Bytes of /dev/shm."""
        sizes = {
            "shm_available_bytes": catalog.FILESYSTEM_AVAILABLE_BYTES,
            "shm_size_bytes": catalog.FILESYSTEM_SIZE_BYTES,
        }
        return {
            name: next((value for labels, value in self.window.current(metric).items() if labels[0] == _SHM), None)
            for name, metric in sizes.items()
        }

    @cached_property
    def gpus(self) -> dict[Labels, float]:
        """Info of each GPU."""
        return self.window.current(catalog.GPU_INFO)


@dataclass(frozen=True)
class View:
    """One rank's place in a window: `now` for what is, `long` for what grows, `machine` for what surrounds it."""

    run: str
    rank: str
    state: str
    facts: Mapping[str, str]
    gpu: str
    now: Window
    long: Window
    machine: Machine

    @cached_property
    def worker_seconds(self) -> dict[Labels, float]:
        """Time that each loader worker took for its batches."""
        return self.now.increases(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, self.run, self.rank)

    @cached_property
    def worker_batches(self) -> dict[Labels, float]:
        """Batches that each loader worker made."""
        return self.now.increases(catalog.TRAIN_WORKER_BATCHES_TOTAL, self.run, self.rank)

    @cached_property
    def slowest_worker(self) -> tuple[str, float, float] | None:
        """The worker that takes longest per batch: its name, its seconds, the median of the others' seconds."""
        batches = self.worker_batches
        means = {
            labels[2]: seconds / batches[labels]
            for labels, seconds in self.worker_seconds.items()
            if seconds and batches.get(labels, 0.0) > 1  # one batch may have met anything
        }
        if len(means) < 2:  # noqa: PLR2004 - one worker has nobody to be slower than
            return None
        slowest = max(means, key=lambda name: means[name])
        return slowest, means[slowest], median(value for name, value in means.items() if name != slowest)


def ranks(window: Window) -> list[tuple[str, str]]:
    """(run, rank) of every rank that is published at the end of the window, in order."""
    return sorted((run, rank) for run, rank in window.current(catalog.TRAIN_UP))


def gather(short: Window, long: Window, faults: Faults | None = None) -> list[Signals]:
    """Signals of every rank in the window, the comparison with its peers included."""
    faults = faults or Faults()
    return with_peers(gather_alone(short, long, faults), faults)


def gather_alone(short: Window, long: Window, faults: Faults) -> list[Signals]:
    """The same without the comparison, for ranks of one run that live in several stores (nodes)."""
    machine = cache(Machine)  # most ranks are judged over the same window
    gathered = []
    for run, rank in ranks(short):
        with faults.passed_over("gathering signals", run, rank):
            gathered.append(gather_one(_view(short, long, run, rank, machine), faults))
    return gathered


def _view(short: Window, long: Window, run: str, rank: str, machine: Callable[[Window], Machine]) -> View:
    """The windows of one rank: the shortest one with enough batches, none reaching back before the rank was seen."""
    facts = _facts(short, run, rank)
    now = _sampled(_widened(short, long, run, rank), run, rank)
    gpu = next((labels[2] for labels in short.current(catalog.TRAIN_DEVICE_INFO, run, rank)), "")
    return View(run, rank, state(short, run, rank), facts, gpu, now, _sampled(long, run, rank), machine(now))


def _sampled(window: Window, run: str, rank: str) -> Window:
    """The window from its first sample of the rank on: before that there was no run, or a gap."""
    points = window.points(catalog.TRAIN_UP, run, rank)
    return window.since(points[0][0]) if points else window


def _widened(short: Window, long: Window, run: str, rank: str) -> Window:
    """A slow step needs a longer window: twice as long until there are enough batches."""
    window = short
    while window.start > long.start and (window.increase(catalog.TRAIN_BATCHES_TOTAL, run, rank) or 0) < FEWEST_BATCHES:
        window = Window(long.store, max(window.end - 2 * window.seconds, long.start), window.end, long.period)
    batches = window.increase(catalog.TRAIN_BATCHES_TOTAL, run, rank) or 0
    return window if batches >= FEWEST_BATCHES else short


def state(window: Window, run: str, rank: str) -> str:
    """The state the rank is in, empty if it is not published."""
    values = window.current(catalog.TRAIN_STATE, run, rank)
    return next((labels[2] for labels, value in values.items() if value == 1), "")


def _facts(window: Window, run: str, rank: str) -> dict[str, str]:
    labels = next(iter(window.current(catalog.TRAIN_RUN_INFO, run, rank)), ())
    return {name: value for name, value in zip(catalog.RUN_FACTS, labels[2:], strict=False) if value}


def gather_one(v: View, faults: Faults) -> Signals:
    """Signals of one rank, without its peers; those of a part that fails are unknown."""
    up = v.now.last(catalog.TRAIN_UP, v.run, v.rank)
    names: dict[str, str] = {"gpu": v.gpu} if v.gpu else {}
    numbers: Numbers = {}
    for part in PARTS_OF_SIGNALS:
        with faults.passed_over(f"the signals of {part.__name__.strip('_')}", v.run, v.rank):
            numbers |= part(v)
    if v.slowest_worker:
        names["slowest_worker"] = v.slowest_worker[0]
    known = {name: value for name, value in numbers.items() if value is not None and isfinite(value)}
    return Signals(v.run, v.rank, v.state, up != 0, v.facts, known, names, _local(v))


# --- the training loop ----------------------------------------------------------------------------------------------


def _phases(v: View) -> Numbers:
    grown = {phase: _phase(v, phase) for phase in STEP_PHASES}
    known = {phase: value for phase, value in grown.items() if value is not None}
    total = sum(known.values())
    batches = v.now.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    images = v.now.increase(catalog.TRAIN_IMAGES_TOTAL, v.run, v.rank)
    if total <= 0 or not batches or batches < FEWEST_BATCHES or grown["data_wait"] is None:
        return {"batches": batches}
    compute = sum(known.get(phase, 0.0) for phase in COMPUTE_PHASES)
    if not compute:  # a trainer whose steps could not be split
        compute = known.get("other", 0.0)
    typical = _typical(v)
    return {
        "batches": batches,
        "images_per_second": images / total if images is not None else None,
        "step_seconds": (total - grown["data_wait"]) / batches,
        "wait_seconds": grown["data_wait"] / batches,
        "data_wait_share": typical.get("data_wait"),
        "h2d_share": typical.get("h2d"),
        "exposed_share": typical.get("backward_exposed"),
        "compute_share": compute / total,
        "train_share": min(total / v.now.seconds, 1.0) if v.now.seconds > 0 else None,
        "goodput": min(compute / v.now.seconds, 1.0) if v.now.seconds > 0 else None,
    }


def _phase(v: View, phase: str) -> float | None:
    """Growth of a phase."""
    return v.now.increase(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank, phase)


def _typical(v: View) -> dict[str, float]:
    """Median share of each phase in step time over parts of the window: one long wait does not speak for all."""
    count = max(1, min(PARTS, int(v.now.seconds / max(v.now.period, 1e-9))))
    parts = {
        name: values
        for name in STEP_PHASES
        if (values := v.now.shares(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank, name, count=count))
    }
    # Starting workers and filling the queue once an epoch is no starvation. Older hooks had no phase for it.
    apart = v.now.shares(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank, "loader_start", count=count)
    first = v.now.shares(catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, v.run, v.rank, count=count)
    if first and not apart and "data_wait" in parts:
        parts["data_wait"] = [max(wait - once, 0.0) for wait, once in zip(parts["data_wait"], first, strict=True)]
    totals = [sum(column) for column in zip(*parts.values(), strict=True)]
    if not any(total > 0 for total in totals):
        return {}
    return {
        name: median(part / total for part, total in zip(values, totals, strict=True) if total > 0)
        for name, values in parts.items()
    }


def _local(v: View) -> dict[str, float]:
    batches = v.now.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    phases = {phase: _phase(v, phase) for phase in STEP_PHASES}
    return {phase: value / batches for phase, value in phases.items() if value is not None and batches}


def _whole_run(v: View) -> Numbers:
    """Shares of the whole run: a validation fills a short window without meaning anything."""
    phases = {phase: v.now.last(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank, phase) for phase in catalog.PHASES}
    total = sum(value for value in phases.values() if value is not None)
    shares = {
        f"{phase}_share": value / total
        for phase in ("validate", "checkpoint")
        if total and (value := phases[phase]) is not None
    }
    size = v.now.last(catalog.TRAIN_BATCH_SIZE, v.run, v.rank)
    epoch_batches = v.now.last(catalog.TRAIN_EPOCH_BATCHES, v.run, v.rank)
    world = whole(v.facts.get("world_size", ""))
    images = size * epoch_batches * max(world or 1.0, 1.0) if size and epoch_batches else None
    return shares | {
        "epoch": v.now.last(catalog.TRAIN_EPOCH, v.run, v.rank),
        "epochs": v.now.last(catalog.TRAIN_EPOCHS, v.run, v.rank),
        "batch_size": size,
        "epoch_images": images,
        "ranks": float(v.machine.ranks.total()) or None,
        "run_ranks": float(v.machine.ranks[v.run]) or None,
        "world_size": world,
        "workers": v.now.last(catalog.TRAIN_WORKERS, v.run, v.rank),
    }


def _liveness(v: View) -> Numbers:
    batch = v.now.last(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, v.run, v.rank)
    waits = v.now.total(catalog.TRAIN_DATA_WAIT_SECONDS, v.run, v.rank)
    steps = v.now.total(catalog.TRAIN_STEP_SECONDS, v.run, v.rank)
    wait = longest(catalog.TRAIN_DATA_WAIT_SECONDS, waits) if waits else None
    step = longest(catalog.TRAIN_STEP_SECONDS, steps) if steps else None
    resumed = _entered(v, "train")
    known = [moment for moment in (batch, resumed) if moment is not None]
    witnessed = max(_unchanged(window, v) for window in (v.now, v.long))
    return {
        "last_batch_age": min(max(v.now.end - max(known), 0.0), witnessed) if batch is not None else None,
        "longest_batch": wait + step if wait is not None and step is not None else None,
    }


def _unchanged(window: Window, v: View) -> float:
    """For how long, in samples, no batch has been counted: a clock that jumps is not a training that stands still."""
    points = window.points(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    same = [value for _, value in points if value == points[-1][1]]
    return len(same) * window.period


def _entered(v: View, wanted: str) -> float | None:
    """When the rank last went over into the state `wanted`, as far as the long window knows."""
    entered, before = None, True
    for time, value in v.long.points(catalog.TRAIN_STATE, v.run, v.rank, wanted):
        if value == 1 and not before:
            entered = time
        before = value == 1
    return entered


# --- loader workers -------------------------------------------------------------------------------------------------


def _workers(v: View) -> Numbers:
    seconds, batches = _sum(v.worker_seconds), _sum(v.worker_batches)
    computing = _sum(v.now.increases(catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, v.run, v.rank))
    histogram = v.now.histogram(catalog.TRAIN_LOADER_BATCH_SECONDS, v.run, v.rank)
    slowest = v.slowest_worker
    return {
        "prep_seconds": seconds / batches if seconds and batches else None,
        "prep_cpu_ratio": min(computing / seconds, 1.0) if computing is not None and seconds else None,
        "prep_p95_seconds": quantile(catalog.TRAIN_LOADER_BATCH_SECONDS, histogram, 0.95) if histogram else None,
        "slowest_prep_seconds": slowest[1] if slowest else None,
        "others_prep_seconds": slowest[2] if slowest else None,
        "slowest_ratio": slowest[1] / slowest[2] if slowest else None,
        "queue_fill": _queue_fill(v),
        "dwell_seconds": _ratio(
            v.now.increase(catalog.TRAIN_BATCH_DWELL_SECONDS_TOTAL, v.run, v.rank),
            v.now.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank),
        ),
        "worker_restarts": v.now.events(catalog.TRAIN_WORKER_RESTARTS_TOTAL, v.run, v.rank),
    }


def _without_workers(v: View) -> Numbers:
    """With workers=0 the data wait is the preparation, done by the training process itself.

    How much of it computes is told from the process's CPU time, taking the rest of its time for one busy CPU: at most
    that much. It may compute on more CPUs than one, so a low share is sure and a high one is not.
    """
    workers = v.now.last(catalog.TRAIN_WORKERS, v.run, v.rank)
    waited, batches = _phase(v, "data_wait"), v.now.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    rate = v.now.steady_rate(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, v.run, v.rank, "main")
    if workers != 0 or not waited or not batches or batches < FEWEST_BATCHES:
        return {}
    rest = v.now.seconds - waited
    computing = None if rate is None else min(max((rate * v.now.seconds - rest) / waited, 0.0), 1.0)
    return {"prep_seconds": waited / batches, "prep_cpu_ratio": computing}


def _queue_fill(v: View) -> float | None:
    capacity = v.now.last(catalog.TRAIN_QUEUE_CAPACITY, v.run, v.rank)
    return _ratio(v.now.mean(catalog.TRAIN_QUEUE_DEPTH, v.run, v.rank), capacity)


# --- processes, CPU, memory -----------------------------------------------------------------------------------------


def _processes(v: View) -> Numbers:
    alive = v.now.mean(catalog.TRAIN_PROCESSES, v.run, v.rank, "worker")
    waiting = v.now.steady_rate(catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, v.run, v.rank, "worker")
    used = v.now.steady_rate(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, v.run, v.rank, "worker")
    preparing = _sum(v.now.rates(catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, v.run, v.rank))
    memory = v.now.last(catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank, "worker")
    return {
        "workers_alive": v.now.last(catalog.TRAIN_PROCESSES, v.run, v.rank, "worker"),
        "runqueue_share": _ratio(waiting, alive),
        "main_runqueue_share": v.now.steady_rate(catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, v.run, v.rank, "main"),
        "worker_threads": _ratio(used, preparing),
        "worker_resident_bytes": _ratio(memory, alive),
        "resident_bytes": _sum(v.now.current(catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank)),
    }


def _cpu(v: View) -> Numbers:
    modes = v.machine.cpu
    total = sum(modes.values())
    node = v.now.last(catalog.CPU_CORES)
    quota = v.now.last(catalog.CGROUP_CPU_QUOTA_CORES, v.run)
    affinity = v.now.last(catalog.TRAIN_PROCESS_AFFINITY_CORES, v.run, v.rank, "worker") or v.now.last(
        catalog.TRAIN_PROCESS_AFFINITY_CORES, v.run, v.rank, "main"
    )
    idle = v.machine.idle
    free = idle * node if idle is not None and node is not None else None
    used = v.now.rate(catalog.CGROUP_CPU_SECONDS_TOTAL, v.run)
    if quota is not None and used is not None:
        free = min(quota - used, free if free is not None else quota)
    own, everybody = max(v.machine.ranks[v.run], 1), max(v.machine.ranks.total(), 1)
    return {
        "cores": _least(node, quota, affinity),
        "rank_cores": _least(_ratio(node, everybody), _ratio(quota, own), _ratio(affinity, own)),
        "node_cores": node,
        "quota_cores": quota,
        "affinity_cores": affinity,
        "free_cores": max(free, 0.0) if free is not None else None,
        "cpu_busy_share": 1 - idle if idle is not None else None,
        "iowait_share": modes.get("iowait", 0.0) / total if total else None,
        "throttled_share": _at_most_one(v.now.rate(catalog.CGROUP_CPU_THROTTLED_SECONDS_TOTAL, v.run)),
    }


def _storage(v: View) -> Numbers:
    pressure = v.now.rate(catalog.CGROUP_PRESSURE_SECONDS_TOTAL, v.run, "io", "some")
    if pressure is None:
        pressure = v.now.rate(catalog.PRESSURE_SECONDS_TOTAL, "io", "some")
    return {
        **v.machine.shm,
        "io_pressure": _at_most_one(pressure),
        "disk_busy_share": _at_most_one(v.machine.disk_busy),
    }


def _memory(v: View) -> Numbers:
    total, available = v.now.last(catalog.MEMORY_TOTAL_BYTES), v.now.last(catalog.MEMORY_AVAILABLE_BYTES)
    limit, used = (
        v.now.last(catalog.CGROUP_MEMORY_LIMIT_BYTES, v.run),
        v.now.last(catalog.CGROUP_MEMORY_USED_BYTES, v.run),
    )
    in_use = total - available if total is not None and available is not None else None
    if limit is not None and used is not None and (total is None or limit < total):
        available = min(max(limit - used, 0.0), available if available is not None else limit)
        total, in_use = limit, used
    return {
        "memory_available_bytes": available,
        "memory_used_share": _ratio(in_use, total),
        "oom_kills": v.now.events(catalog.CGROUP_OOM_KILLS_TOTAL, v.run),
    }


def _growth(v: View) -> Numbers:
    """Steady growth over the long window, after the first epoch: until then caches and buffers fill."""
    window = v.long.since(_settled(v))
    resident = _merged(
        window,
        [
            (v.run, v.rank, role)
            for role in catalog.ROLES
            if window.points(catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank, role)
        ],
    )
    allocated = window.points(catalog.TRAIN_CUDA_MEMORY_BYTES, v.run, v.rank, "allocated")
    available = [(time, -value) for time, value in window.points(catalog.MEMORY_AVAILABLE_BYTES)]
    return {
        "resident_growth_bytes": steady_growth(resident),
        "resident_growth_rate": _per_second(resident),
        "available_fall_bytes": steady_growth(available),
        "cuda_growth_bytes": steady_growth(allocated),
        "cuda_growth_rate": _per_second(allocated),
        "growth_seconds": window.seconds if resident or allocated else None,
    }


def _settled(v: View) -> float:
    """When the second epoch began; later than the window where that has not been seen."""
    points = v.long.points(catalog.TRAIN_EPOCH, v.run, v.rank)
    if points and points[0][1] > 1:
        return v.long.start
    return next((time for time, epoch in points if epoch > 1), v.long.end)


def _merged(window: Window, keys: Sequence[tuple[str, str, str]]) -> list[tuple[float, float]]:
    """The sum of several series at the moments they share."""
    columns = [dict(window.points(catalog.TRAIN_PROCESS_RESIDENT_BYTES, *key)) for key in keys]
    shared = set.intersection(*(set(column) for column in columns)) if columns else set()
    return [(time, sum(column[time] for column in columns)) for time in sorted(shared)]


def steady_growth(points: Sequence[tuple[float, float]]) -> float | None:
    """How much the floor of a gauge rose, if it rose in every one of BANDS + 1 bands and did not flatten; else 0.

    The floor (the least value of a band) is what is never given back. A buffer that fills slows down: growth counts
    only if the last step is at least half the mean one. None with fewer than four points per band.
    """
    bands = BANDS + 1
    if len(points) < 4 * bands:
        return None
    start, width = points[0][0], (points[-1][0] - points[0][0]) / bands
    floors = []
    for index in range(bands):
        low, high = start + index * width, start + (index + 1) * width
        inside = [value for time, value in points if low <= time <= high]
        if not inside:
            return None
        floors.append(min(inside))
    steps = [later - earlier for earlier, later in pairwise(floors)]
    total = floors[-1] - floors[0]
    steady = min(steps) > 0 and steps[-1] >= 0.5 * total / len(steps)
    return total if steady else 0.0


def _per_second(points: Sequence[tuple[float, float]]) -> float | None:
    if len(points) < 2 or points[-1][0] <= points[0][0]:  # noqa: PLR2004
        return None
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])


# --- GPU ------------------------------------------------------------------------------------------------------------


def _cuda(v: View) -> Numbers:
    def kind(name: str) -> float | None:
        return v.now.last(catalog.TRAIN_CUDA_MEMORY_BYTES, v.run, v.rank, name)

    total = v.now.last(catalog.GPU_MEMORY_TOTAL_BYTES, v.gpu)
    peak = kind("peak_reserved") or kind("reserved")
    return {
        "cuda_allocated_bytes": kind("allocated"),
        "cuda_peak_bytes": peak,
        "cuda_peak_share": _ratio(peak, total),
        "cuda_floor_bytes": v.now.minimum(catalog.TRAIN_CUDA_MEMORY_BYTES, v.run, v.rank, "allocated"),
        "alloc_retries": v.now.events(catalog.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, v.run, v.rank),
        "ooms": v.now.events(catalog.TRAIN_CUDA_OOMS_TOTAL, v.run, v.rank),
        "batch_reductions": v.now.events(catalog.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, v.run, v.rank),
        "nonfinite": v.now.events(catalog.TRAIN_NONFINITE_LOSS_TOTAL, v.run, v.rank),
        "nan_recoveries": v.now.events(catalog.TRAIN_NAN_RECOVERIES_TOTAL, v.run, v.rank),
    }


def _gpu(v: View) -> Numbers:
    w, gpu = v.now, v.gpu
    gpus = float(len(v.machine.gpus)) or None
    if not gpu:
        return {"gpus": gpus}
    total = w.last(catalog.GPU_MEMORY_TOTAL_BYTES, gpu)
    samples = w.histogram(catalog.GPU_UTILIZATION_SAMPLED_RATIO, gpu)
    clock = w.mean(catalog.GPU_CLOCK_HERTZ, gpu, "sm")
    return {
        "gpus": gpus,
        "gpu_busy": gpu_busy(w, gpu),
        "gpu_idle_samples": _below(samples, 0.1),
        "gpu_full_samples": _opposite(_below(samples, 0.9)),
        "gpu_memory_used_share": _ratio(w.last(catalog.GPU_MEMORY_USED_BYTES, gpu), total),
        "gpu_memory_total_bytes": total,
        "sm_fill": _at_most_one(_ratio(w.mean(catalog.GPU_SM_ACTIVE_RATIO, gpu), gpu_busy(w, gpu))),
        "thermal_share": _throttled(w, gpu, THERMAL),
        "power_share": _throttled(w, gpu, POWER),
        "power_watts": w.mean(catalog.GPU_POWER_WATTS, gpu),
        "power_limit_watts": w.last(catalog.GPU_POWER_LIMIT_WATTS, gpu),
        "clock_ratio": _ratio(clock, w.last(catalog.GPU_CLOCK_MAX_HERTZ, gpu, "sm")),
        "temperature_celsius": w.maximum(catalog.GPU_TEMPERATURE_CELSIUS, gpu, "core"),
        "pcie_width": w.maximum(catalog.GPU_PCIE_LINK_WIDTH, gpu),
        "pcie_width_max": w.last(catalog.GPU_PCIE_LINK_WIDTH_MAX, gpu),
        "pcie_generation": w.maximum(catalog.GPU_PCIE_LINK_GENERATION, gpu),
        "pcie_generation_max": w.last(catalog.GPU_PCIE_LINK_GENERATION_MAX, gpu),
    }


def gpu_busy(window: Window, gpu: str) -> float | None:
    """Share of the window in which a kernel ran: from the counter, else the mean of the gauge."""
    rate = window.rate(catalog.GPU_BUSY_SECONDS_TOTAL, gpu)
    return _at_most_one(rate if rate is not None else window.mean(catalog.GPU_UTILIZATION_RATIO, gpu))


def _throttled(window: Window, gpu: str, reasons: tuple[str, ...]) -> float | None:
    rates = [window.rate(catalog.GPU_THROTTLED_SECONDS_TOTAL, gpu, reason) for reason in reasons]
    return _at_most_one(max((rate for rate in rates if rate is not None), default=None))


def _below(samples: catalog.HistogramValue | None, bound: float) -> float | None:
    if samples is None or not sum(samples.counts):
        return None
    count = sum(n for n, upper in zip(samples.counts, catalog.UTILIZATION_BUCKETS, strict=False) if upper <= bound)
    return count / sum(samples.counts)


def _opposite(share: float | None) -> float | None:
    return None if share is None else 1 - share


def _environment(v: View) -> Numbers:
    drivers = [labels[4] for labels in v.machine.gpus]
    torch_cuda = _version(v.facts.get("cuda", ""))
    if torch_cuda is None and "torch" in v.facts:
        torch_cuda = 0.0
    return {"driver_cuda": _version(drivers[0]) if drivers else None, "torch_cuda": torch_cuda}


def _version(text: str) -> float | None:
    """`12.4` as 12.4; None if that is no version."""
    parts = text.split(".")[:2]
    return None if None in map(whole, parts) else float(".".join(parts))


# --- learning -------------------------------------------------------------------------------------------------------


def _learning(v: View) -> Numbers:
    ends = _epoch_ends(v)
    components = v.long.labels(catalog.TRAIN_LOSS, v.run, v.rank)
    columns = [dict(v.long.points(catalog.TRAIN_LOSS, *labels)) for labels in components]
    losses = [sum(column[end] for column in columns) for end in ends if columns and all(end in c for c in columns)]
    reached = [value for _, value in scores(v.long, v.run, v.rank)]
    return {
        "loss": losses[-1] if losses else None,
        "loss_drop": _drop(losses),
        "metric_gain": _gain(reached),
        "epochs_seen": float(len(losses)) if losses else None,
    }


def scores(window: Window, run: str, rank: str) -> list[tuple[float, float]]:
    """Times and values of what validation says: mAP50-95, or the accuracy of a classifier."""
    found = window.labels(catalog.TRAIN_METRIC, run, rank)
    chosen = [labels for wanted in ("mAP50-95", "accuracy_top1") for labels in found if wanted in labels[2]]
    return window.points(catalog.TRAIN_METRIC, *chosen[0]) if chosen else []


def _epoch_ends(v: View) -> list[float]:
    """The last moments sampled in each finished epoch, the one under way at the window's start left out."""
    points = v.long.points(catalog.TRAIN_EPOCH, v.run, v.rank)
    return [time for (time, epoch), (_, following) in pairwise(points) if following > epoch]


def _drop(losses: Sequence[float]) -> float | None:
    half = len(losses) // 2
    if not half:
        return None
    first = fmean(losses[:half])
    return (first - fmean(losses[-half:])) / first if first > 0 else None


def _gain(scores: Sequence[float]) -> float | None:
    half = len(scores) // 2
    return max(scores[half:]) - max(scores[:half]) if half else None


# --- ranks side by side ---------------------------------------------------------------------------------------------


def with_peers(signals: Sequence[Signals], faults: Faults) -> list[Signals]:
    """The same signals, with what a rank looks like beside the other ranks of its run."""
    compared = list(signals)
    for index, one in enumerate(signals):
        with faults.passed_over("the comparison with peers", one.run, one.rank):
            compared[index] = _beside(one, [other for other in signals if other.run == one.run and other is not one])
    return compared


def _beside(one: Signals, others: Sequence[Signals]) -> Signals:
    own = _own_time(one)
    peers = [time for other in others if (time := _own_time(other)) is not None]
    if own is None or not peers or len(peers) < len(others):
        return one
    step = sum(one.local.values())
    middle = median(peers)
    numbers: dict[str, float] = {"local_seconds": own, "peer_local_seconds": middle, "lag": (own - middle) / step}
    exposed = [other["exposed_share"] for other in others if other.has("exposed_share")]
    if exposed:
        numbers["peer_exposed_share"] = median(exposed)
    if preps := [other["prep_seconds"] for other in others if other.has("prep_seconds")]:
        numbers["peer_prep_seconds"] = median(preps)
    excess = {
        phase: value - median(other.local.get(phase, 0.0) for other in others)
        for phase, value in one.local.items()
        if phase != "backward_exposed"
    }
    names = {"lag_phase": max(excess, key=lambda phase: excess[phase])}
    return replace(one, numbers={**one.numbers, **numbers}, names={**one.names, **names})


def _own_time(one: Signals) -> float | None:
    """Seconds of a batch that are this rank's own doing; None where the wait for peers cannot be told apart."""
    if not one.local.get("backward_local"):
        return None
    return sum(value for phase, value in one.local.items() if phase != "backward_exposed")


# --- GPUs that nobody trains on -------------------------------------------------------------------------------------


def node(window: Window, idle_below: float) -> Signals:
    """Signals of the node itself: which GPUs are held by processes without a training. No run; its name for a rank."""
    held: dict[str, str] = {}
    trained: set[str] = set()
    for gpu, pid, command, run, _rank in window.current(catalog.GPU_PROCESS_MEMORY_BYTES):
        if run:
            trained.add(gpu)
        else:
            held[gpu] = f"{pid} ({command})"
    busy = {gpu: gpu_busy(window, gpu) for gpu in held if gpu not in trained}
    known = {gpu: share for gpu, share in busy.items() if share is not None}
    idle = sorted(gpu for gpu, share in known.items() if share < idle_below)
    if not known:
        return Signals("", window.store.name)
    names = {"held_idle": ", ".join(idle), "held_by": ", ".join(held[gpu] for gpu in idle)}
    return Signals("", window.store.name, numbers={"held_idle_gpus": float(len(idle))}, names=names)


# --- small helpers --------------------------------------------------------------------------------------------------


def whole(text: str) -> float | None:
    """A whole number as a fact gives it, in at most nine decimal digits; None if it is anything else."""
    return float(text) if text.isdecimal() and len(text) <= 9 else None  # noqa: PLR2004


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _least(*values: float | None) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _at_most_one(share: float | None) -> float | None:
    return None if share is None else min(share, 1.0)


def _sum(parts: Mapping[Labels, float]) -> float | None:
    return sum(parts.values()) if parts else None


PARTS_OF_SIGNALS: tuple[Callable[[View], Numbers], ...] = (
    _phases,
    _whole_run,
    _liveness,
    _workers,
    _without_workers,
    _processes,
    _cpu,
    _storage,
    _memory,
    _growth,
    _cuda,
    _gpu,
    _environment,
    _learning,
)
