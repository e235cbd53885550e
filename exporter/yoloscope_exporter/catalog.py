"""Every metric yoloscope publishes, once: name, kind, unit, help, labels, buckets.

The exporter, the hooks, the dashboards, the alert rules' tests and `docs/metrics.md` read this module; no metric name
is written anywhere else. Standard library only, because the hooks import it inside the trainer.

To add a metric: add one constant, named as the metric without its prefix, in upper case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

PREFIX = "yoloscope_"

COUNTER, GAUGE, HISTOGRAM, INFO = "counter", "gauge", "histogram", "info"

#: Values of labels that are fixed sets. Everything else (run, gpu, device ...) is open.
STATES = ("setup", "train", "validate", "checkpoint", "finished", "failed", "killed")
PHASES = (
    "setup",
    "data_wait",
    "h2d",
    "forward",
    "backward",
    "backward_local",
    "backward_exposed",
    "optimizer",
    "other",
    "validate",
    "checkpoint",
)
THROTTLE_REASONS = (
    "sw_power_cap",
    "sw_thermal_slowdown",
    "hw_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
)
ROLES = ("main", "worker")

#: Seconds. From a fast step on a small model (1 ms) to a stuck loader (one minute).
STEP_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
#: Ratios. The ends are fine because 'idle' and 'saturated' are the questions; 0.85 is 'busy' in the diagnosis.
UTILIZATION_BUCKETS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)


#: What can be true of any number here. The fastest link moves 1e20 bytes in a year, no clock ticks within 1e-15 s: far
#: from where doubles overflow, whichever two are divided and however often that is squared.
MOST, LEAST = 1e21, 1e-15
#: The end of the year 2100: the last moment that can be meant, in Unix seconds.
LAST_MOMENT = 4102444800.0


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family.

    Attributes:
        name: full name with prefix; ends in `_total` iff it is a counter, in `_info` iff it is an info metric.
        kind: one of COUNTER, GAUGE, HISTOGRAM, INFO.
        unit: base unit of the value (`seconds`, `bytes`, `ratio`, ...), empty for plain counts and states.
        help: what it is, one sentence, English.
        labels: label names, in the order in which label values are given everywhere.
        buckets: upper bounds of a histogram without +Inf, ascending, in `unit`.
        least: lowest value that can be true: 0 unless the metric may be negative.
        most: highest value that can be true.
    """

    name: str
    kind: str
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    least: float = 0.0
    most: float = MOST

    @property
    def area(self) -> str:
        """The part of the catalogue the metric belongs to, from the first word of its name."""
        return self.name.removeprefix(PREFIX).split("_")[0]

    def labelled(self, values: tuple[str, ...]) -> dict[str, str]:
        """Pair `values` with the metric's label names."""
        return dict(zip(self.labels, values, strict=True))


class HistogramValue(NamedTuple):
    """A histogram's state: `counts` per bucket (not cumulative, the last one is +Inf) and the `sum` of observations."""

    counts: tuple[float, ...]
    sum: float


def plausible(metric: Metric, value: float) -> float | None:
    """The value as far as it can be true: None outside the metric's range, 0 for what is smaller than anything real."""
    if not metric.least <= value <= metric.most:  # so is NaN
        return None
    return value if value >= LEAST or value <= -LEAST else 0.0


def plausible_histogram(metric: Metric, value: HistogramValue) -> bool:
    """Whether each bucket holds a whole number of observations, none of them negative."""
    whole = all(0.0 <= count <= metric.most and count.is_integer() for count in value.counts)
    return whole and 0.0 <= value.sum <= metric.most


class Sample(NamedTuple):
    """One value of one series: label values stand in the order of `metric.labels`."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | HistogramValue


def _counter(name: str, text: str, *labels: str, unit: str = "") -> Metric:
    return Metric(f"{PREFIX}{name}", COUNTER, unit or _unit(name.removesuffix("_total")), text, labels)


def _gauge(name: str, text: str, *labels: str, unit: str = "", signed: bool = False) -> Metric:
    most = LAST_MOMENT if name.endswith("_timestamp_seconds") else MOST
    return Metric(
        f"{PREFIX}{name}", GAUGE, unit or _unit(name), text, labels, least=-MOST if signed else 0.0, most=most
    )


def _info(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}{name}", INFO, "", text, labels)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(f"{PREFIX}{name}", HISTOGRAM, _unit(name), text, labels, buckets)


def _unit(name: str) -> str:
    units = ("seconds", "bytes", "ratio", "watts", "joules", "celsius", "hertz", "cores")
    return next((unit for unit in units if name.endswith(f"_{unit}")), "")


# --- exporter -------------------------------------------------------------------------------------------------------
BUILD_INFO = _info("build_info", "Version of the exporter and of the Python it runs on.", "version", "python")
COLLECTOR_UP = _gauge("collector_up", "1 if the collector's last run succeeded, else 0.", "collector")
COLLECTOR_DURATION_SECONDS = _gauge("collector_duration_seconds", "Duration of the collector's last run.", "collector")
COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS = _gauge(
    "collector_last_success_timestamp_seconds", "Unix time of the collector's last success.", "collector"
)
SAMPLES_REJECTED_TOTAL = _counter(
    "samples_rejected_total",
    "Values or whole records refused because they could not be true or safe, by reason.",
    "collector",
    "reason",
)
SNAPSHOT_TIMESTAMP_SECONDS = _gauge(
    "snapshot_timestamp_seconds", "Unix time at which the values in this exposition were gathered."
)

# --- gpu ------------------------------------------------------------------------------------------------------------
GPU_INFO = _info("gpu_info", "Facts about a GPU.", "gpu", "uuid", "name", "driver", "cuda", "bus")
GPU_UP = _gauge("gpu_up", "1 while the GPU answers; 0 once it has fallen off the bus.", "gpu")
GPU_UTILIZATION_RATIO = _gauge(
    "gpu_utilization_ratio", "Share of the driver's last sample period in which a kernel ran.", "gpu"
)
GPU_BUSY_SECONDS_TOTAL = _counter(
    "gpu_busy_seconds_total", "Time in which a kernel ran; its rate is the true mean utilisation.", "gpu"
)
GPU_UTILIZATION_SAMPLED_RATIO = _histogram(
    "gpu_utilization_sampled_ratio",
    "Utilisation samples, as finely as the driver gives them.",
    "gpu",
    buckets=UTILIZATION_BUCKETS,
)
GPU_MEMORY_USED_BYTES = _gauge("gpu_memory_used_bytes", "Device memory in use by all processes.", "gpu")
GPU_MEMORY_FREE_BYTES = _gauge("gpu_memory_free_bytes", "Device memory that is free.", "gpu")
GPU_MEMORY_RESERVED_BYTES = _gauge("gpu_memory_reserved_bytes", "Device memory kept by the driver itself.", "gpu")
GPU_MEMORY_TOTAL_BYTES = _gauge("gpu_memory_total_bytes", "Device memory installed.", "gpu")
GPU_MEMORY_BUSY_SECONDS_TOTAL = _counter(
    "gpu_memory_busy_seconds_total", "Time in which device memory was read or written.", "gpu"
)
GPU_POWER_WATTS = _gauge("gpu_power_watts", "Power drawn.", "gpu")
GPU_POWER_LIMIT_WATTS = _gauge("gpu_power_limit_watts", "Power limit in force.", "gpu")
GPU_ENERGY_JOULES_TOTAL = _counter("gpu_energy_joules_total", "Energy drawn since the driver was loaded.", "gpu")
GPU_TEMPERATURE_CELSIUS = _gauge(
    "gpu_temperature_celsius", "Temperature by sensor (core, memory).", "gpu", "sensor", signed=True
)
GPU_TEMPERATURE_LIMIT_CELSIUS = _gauge(
    "gpu_temperature_limit_celsius", "Temperature limits (slowdown, shutdown, max_operating).", "gpu", "kind"
)
GPU_CLOCK_HERTZ = _gauge("gpu_clock_hertz", "Clock now, by domain (sm, memory, graphics, video).", "gpu", "domain")
GPU_CLOCK_MAX_HERTZ = _gauge("gpu_clock_max_hertz", "Highest clock of the domain.", "gpu", "domain")
GPU_THROTTLED = _gauge("gpu_throttled", "1 while the clocks are held down for this reason.", "gpu", "reason")
GPU_THROTTLED_SECONDS_TOTAL = _counter(
    "gpu_throttled_seconds_total", "Time in which the clocks were held down for this reason.", "gpu", "reason"
)
GPU_SM_ACTIVE_RATIO = _gauge(
    "gpu_sm_active_ratio", "Share of time in which a streaming multiprocessor had a warp, mean over all.", "gpu"
)
GPU_SM_OCCUPANCY_RATIO = _gauge("gpu_sm_occupancy_ratio", "Resident warps over the most that fit.", "gpu")
GPU_TENSOR_ACTIVE_RATIO = _gauge("gpu_tensor_active_ratio", "Share of cycles the tensor cores were active.", "gpu")
GPU_DRAM_ACTIVE_RATIO = _gauge("gpu_dram_active_ratio", "Share of the memory bandwidth in use.", "gpu")
GPU_PCIE_RECEIVE_BYTES_TOTAL = _counter("gpu_pcie_receive_bytes_total", "Bytes the GPU received over PCIe.", "gpu")
GPU_PCIE_TRANSMIT_BYTES_TOTAL = _counter("gpu_pcie_transmit_bytes_total", "Bytes the GPU sent over PCIe.", "gpu")
GPU_PCIE_LINK_GENERATION = _gauge(
    "gpu_pcie_link_generation", "PCIe generation of the link now; it falls when the GPU idles.", "gpu"
)
GPU_PCIE_LINK_GENERATION_MAX = _gauge("gpu_pcie_link_generation_max", "Highest PCIe generation of the link.", "gpu")
GPU_PCIE_LINK_WIDTH = _gauge("gpu_pcie_link_width", "PCIe lanes in use.", "gpu")
GPU_PCIE_LINK_WIDTH_MAX = _gauge("gpu_pcie_link_width_max", "PCIe lanes the link can have.", "gpu")
GPU_NVLINK_RECEIVE_BYTES_TOTAL = _counter(
    "gpu_nvlink_receive_bytes_total", "Bytes the GPU received over all its NVLinks.", "gpu"
)
GPU_NVLINK_TRANSMIT_BYTES_TOTAL = _counter(
    "gpu_nvlink_transmit_bytes_total", "Bytes the GPU sent over all its NVLinks.", "gpu"
)
GPU_NVLINK_ERRORS_TOTAL = _counter("gpu_nvlink_errors_total", "NVLink errors over all links, by kind.", "gpu", "kind")
GPU_ECC_ERRORS_TOTAL = _counter(
    "gpu_ecc_errors_total", "ECC errors in the life of the GPU (corrected, uncorrected).", "gpu", "kind"
)
GPU_REMAPPED_ROWS_TOTAL = _counter(
    "gpu_remapped_rows_total", "Memory rows remapped after errors (correctable, uncorrectable).", "gpu", "kind"
)
GPU_ROW_REMAP_PENDING = _gauge("gpu_row_remap_pending", "1 if a row remapping waits for a GPU reset.", "gpu")
GPU_ROW_REMAP_FAILURE = _gauge("gpu_row_remap_failure", "1 if a row remapping has failed.", "gpu")
GPU_RETIRED_PAGES_TOTAL = _counter(
    "gpu_retired_pages_total", "Memory pages retired after errors (single_bit, double_bit).", "gpu", "kind"
)
GPU_XID_ERRORS_TOTAL = _counter(
    "gpu_xid_errors_total", "Xid errors the driver reported since the exporter started.", "gpu", "xid"
)
GPU_PERFORMANCE_STATE = _gauge("gpu_performance_state", "P-state: 0 is the highest performance, 15 the lowest.", "gpu")
GPU_ENCODER_UTILIZATION_RATIO = _gauge("gpu_encoder_utilization_ratio", "Utilisation of the video encoder.", "gpu")
GPU_DECODER_UTILIZATION_RATIO = _gauge("gpu_decoder_utilization_ratio", "Utilisation of the video decoder.", "gpu")
_GPU_PROCESS = ("gpu", "pid", "command", "run", "rank")
GPU_PROCESS_MEMORY_BYTES = _gauge(
    "gpu_process_memory_bytes",
    "Device memory of a process; run and rank are empty if it is no training yoloscope knows.",
    *_GPU_PROCESS,
)
GPU_PROCESS_SM_RATIO = _gauge("gpu_process_sm_ratio", "Share of the SM time used by a process.", *_GPU_PROCESS)

# --- host -----------------------------------------------------------------------------------------------------------
CPU_SECONDS_TOTAL = _counter("cpu_seconds_total", "CPU time of all cores by mode, as in /proc/stat.", "mode")
CPU_CORES = _gauge("cpu_cores", "CPUs that are online.")
LOAD_AVERAGE = _gauge("load_average", "Load average over 1m, 5m and 15m.", "window")
CONTEXT_SWITCHES_TOTAL = _counter("context_switches_total", "Context switches of all cores.")
MEMORY_TOTAL_BYTES = _gauge("memory_total_bytes", "Memory installed.")
MEMORY_AVAILABLE_BYTES = _gauge("memory_available_bytes", "Memory that can be had without swapping.")
MEMORY_USED_BYTES = _gauge("memory_used_bytes", "Memory in use: total less available.")
MEMORY_CACHED_BYTES = _gauge("memory_cached_bytes", "Page cache, shared memory included.")
SWAP_USED_BYTES = _gauge("swap_used_bytes", "Swap in use.")
DISK_READ_BYTES_TOTAL = _counter("disk_read_bytes_total", "Bytes read from the device.", "device")
DISK_WRITTEN_BYTES_TOTAL = _counter("disk_written_bytes_total", "Bytes written to the device.", "device")
DISK_READS_TOTAL = _counter("disk_reads_total", "Reads completed.", "device")
DISK_WRITES_TOTAL = _counter("disk_writes_total", "Writes completed.", "device")
DISK_READ_SECONDS_TOTAL = _counter("disk_read_seconds_total", "Time spent by all reads.", "device")
DISK_WRITE_SECONDS_TOTAL = _counter("disk_write_seconds_total", "Time spent by all writes.", "device")
DISK_IO_SECONDS_TOTAL = _counter(
    "disk_io_seconds_total", "Time in which the device had work; its rate is %util of iostat.", "device"
)
FILESYSTEM_SIZE_BYTES = _gauge("filesystem_size_bytes", "Size of the file system.", "mountpoint", "fstype")
FILESYSTEM_AVAILABLE_BYTES = _gauge(
    "filesystem_available_bytes", "Space left for ordinary users.", "mountpoint", "fstype"
)
NETWORK_RECEIVE_BYTES_TOTAL = _counter("network_receive_bytes_total", "Bytes received.", "device")
NETWORK_TRANSMIT_BYTES_TOTAL = _counter("network_transmit_bytes_total", "Bytes sent.", "device")
NETWORK_RECEIVE_ERRORS_TOTAL = _counter("network_receive_errors_total", "Errors while receiving.", "device")
NETWORK_TRANSMIT_ERRORS_TOTAL = _counter("network_transmit_errors_total", "Errors while sending.", "device")
PRESSURE_SECONDS_TOTAL = _counter(
    "pressure_seconds_total",
    "Time in which some or all (full) tasks of the node waited for the resource.",
    "resource",
    "kind",
)

# --- cgroup of each run ---------------------------------------------------------------------------------------------
CGROUP_CPU_SECONDS_TOTAL = _counter("cgroup_cpu_seconds_total", "CPU time of the run's cgroup.", "run")
CGROUP_CPU_THROTTLED_SECONDS_TOTAL = _counter(
    "cgroup_cpu_throttled_seconds_total", "Time the run's cgroup was stopped by its CPU quota.", "run"
)
CGROUP_CPU_QUOTA_CORES = _gauge(
    "cgroup_cpu_quota_cores", "CPU quota of the run's cgroup; absent when there is none.", "run"
)
CGROUP_MEMORY_USED_BYTES = _gauge(
    "cgroup_memory_used_bytes", "Memory of the run's cgroup, page cache that can be dropped left out.", "run"
)
CGROUP_MEMORY_LIMIT_BYTES = _gauge(
    "cgroup_memory_limit_bytes", "Memory limit of the run's cgroup; absent when there is none.", "run"
)
CGROUP_OOM_KILLS_TOTAL = _counter(
    "cgroup_oom_kills_total", "Processes of the run's cgroup killed for lack of memory.", "run"
)
CGROUP_PRESSURE_SECONDS_TOTAL = _counter(
    "cgroup_pressure_seconds_total",
    "Time in which some or all (full) tasks of the run's cgroup waited for the resource.",
    "run",
    "resource",
    "kind",
)

# --- processes of each run ------------------------------------------------------------------------------------------
_PROCESS = ("run", "rank", "role")
TRAIN_PROCESS_CPU_SECONDS_TOTAL = _counter(
    "train_process_cpu_seconds_total", "CPU time of the rank's processes by role (main, worker).", *_PROCESS
)
TRAIN_PROCESS_RESIDENT_BYTES = _gauge(
    "train_process_resident_bytes", "Resident memory of the rank's processes.", *_PROCESS
)
TRAIN_PROCESS_READ_BYTES_TOTAL = _counter(
    "train_process_read_bytes_total", "Bytes the rank's processes had read from storage.", *_PROCESS
)
TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL = _counter(
    "train_process_runqueue_seconds_total",
    "Time the rank's processes were ready but had no CPU; a cgroup's throttling counts here too.",
    *_PROCESS,
)
TRAIN_PROCESSES = _gauge("train_processes", "Processes of the rank.", *_PROCESS)
TRAIN_PROCESS_AFFINITY_CORES = _gauge(
    "train_process_affinity_cores", "CPUs the rank's processes may run on.", *_PROCESS
)

# --- run ------------------------------------------------------------------------------------------------------------
_RANK = ("run", "rank")
RUN_FACTS = (
    "task",
    "model",
    "data",
    "imgsz",
    "optimizer",
    "amp",
    "cache",
    "world_size",
    "device",
    "close_mosaic",
    "ultralytics",
    "torch",
    "cuda",
    "user",
    "pid",
    "slurm_job_id",
    "pod",
)
TRAIN_RUN_INFO = _info("train_run_info", "Facts about a training, per rank.", *_RANK, *RUN_FACTS)
JOB_FACTS = ("slurm_job_id", "slurm_job_user", "slurm_partition", "namespace", "pod", "container")
TRAIN_JOB_INFO = _info(
    "train_job_info", "The Slurm job or the Kubernetes pod a rank belongs to, where there is one.", *_RANK, *JOB_FACTS
)
TRAIN_DEVICE_INFO = _info("train_device_info", "Which GPU a rank trains on.", *_RANK, "gpu", "uuid")
TRAIN_UP = _gauge("train_up", "1 while the training process lives; 0 after a clean end as after a death.", *_RANK)
TRAIN_STATE = _gauge(
    "train_state",
    "1 for the state the rank is in (setup, train, validate, checkpoint, finished, failed, killed).",
    *_RANK,
    "state",
)
TRAIN_START_TIMESTAMP_SECONDS = _gauge("train_start_timestamp_seconds", "Unix time of the start.", *_RANK)
TRAIN_LAST_BATCH_TIMESTAMP_SECONDS = _gauge(
    "train_last_batch_timestamp_seconds", "Unix time at which the last training batch ended.", *_RANK
)
TRAIN_END_TIMESTAMP_SECONDS = _gauge(
    "train_end_timestamp_seconds", "Unix time of a clean or failed end; absent before and after a kill.", *_RANK
)
TRAIN_EPOCH = _gauge("train_epoch", "Epoch under way, counted from 1.", *_RANK)
TRAIN_EPOCHS = _gauge("train_epochs", "Epochs asked for.", *_RANK)
TRAIN_EPOCH_BATCHES = _gauge("train_epoch_batches", "Batches in an epoch of this rank.", *_RANK)
TRAIN_BATCHES_TOTAL = _counter("train_batches_total", "Training batches done.", *_RANK)
TRAIN_IMAGES_TOTAL = _counter("train_images_total", "Training images done.", *_RANK)
TRAIN_OPTIMIZER_STEPS_TOTAL = _counter("train_optimizer_steps_total", "Optimizer steps done.", *_RANK)
TRAIN_PHASE_SECONDS_TOTAL = _counter(
    "train_phase_seconds_total", "Where the rank's wall time went, by phase.", *_RANK, "phase"
)
TRAIN_STEP_SECONDS = _histogram(
    "train_step_seconds",
    "Time of a step from batch start to batch end, the data wait left out.",
    *_RANK,
    buckets=STEP_BUCKETS,
)
TRAIN_DATA_WAIT_SECONDS = _histogram(
    "train_data_wait_seconds", "Time a step waited for its batch.", *_RANK, buckets=STEP_BUCKETS
)
TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL = _counter(
    "train_first_batch_wait_seconds_total",
    "The part of the data wait that went to the first batch of an epoch: workers started, prefetch filled.",
    *_RANK,
)
TRAIN_REMAINING_SECONDS = _gauge(
    "train_remaining_seconds",
    "Time to the last epoch's end at the mean speed so far; early stopping comes sooner.",
    *_RANK,
)
TRAIN_CHECKPOINTS_TOTAL = _counter("train_checkpoints_total", "Times Ultralytics saved the model.", *_RANK)
TRAIN_BATCH_SIZE = _gauge("train_batch_size", "Images in a batch of this rank.", *_RANK)
TRAIN_WORKERS = _gauge("train_workers", "Loader workers of this rank.", *_RANK)

# --- loader ---------------------------------------------------------------------------------------------------------
_WORKER = ("run", "rank", "worker")
TRAIN_WORKER_BATCHES_TOTAL = _counter("train_worker_batches_total", "Batches prepared by the worker.", *_WORKER)
TRAIN_WORKER_BATCH_SECONDS_TOTAL = _counter(
    "train_worker_batch_seconds_total", "Time the worker spent preparing batches.", *_WORKER
)
TRAIN_WORKER_CPU_SECONDS_TOTAL = _counter(
    "train_worker_cpu_seconds_total",
    "CPU time of the worker while preparing batches; the rest of the preparation is waiting, mostly for storage.",
    *_WORKER,
)
TRAIN_WORKER_MAJOR_FAULTS_TOTAL = _counter(
    "train_worker_major_faults_total", "Pages the worker had to fetch from storage while preparing batches.", *_WORKER
)
TRAIN_LOADER_BATCH_SECONDS = _histogram(
    "train_loader_batch_seconds",
    "Time to prepare a batch, over all loader workers of the rank.",
    *_RANK,
    buckets=STEP_BUCKETS,
)
TRAIN_QUEUE_DEPTH = _gauge("train_queue_depth", "Batches ready and waiting for the trainer.", *_RANK)
TRAIN_QUEUE_CAPACITY = _gauge("train_queue_capacity", "Most batches that can wait: workers x prefetch.", *_RANK)
TRAIN_BATCH_DWELL_SECONDS_TOTAL = _counter(
    "train_batch_dwell_seconds_total", "Time ready batches waited for the trainer.", *_RANK
)
TRAIN_WORKER_RESTARTS_TOTAL = _counter(
    "train_worker_restarts_total", "Loader workers started again (close_mosaic, OOM rebuild).", *_RANK
)
TRAIN_WORKER_DEATHS_TOTAL = _counter(
    "train_worker_deaths_total", "Loader workers that ended by a signal or an error.", *_RANK
)

# --- CUDA memory ----------------------------------------------------------------------------------------------------
TRAIN_CUDA_MEMORY_BYTES = _gauge(
    "train_cuda_memory_bytes",
    "PyTorch's CUDA memory (allocated, reserved, active, inactive_split, peak_allocated, peak_reserved).",
    *_RANK,
    "kind",
)
TRAIN_CUDA_MEMORY_GROWTH_BYTES = _gauge(
    "train_cuda_memory_growth_bytes",
    "Change of the allocated memory from the last epoch's end to this one's.",
    *_RANK,
    signed=True,
)
TRAIN_CUDA_ALLOC_RETRIES_TOTAL = _counter(
    "train_cuda_alloc_retries_total", "Allocations that failed, flushed the cache and were tried again.", *_RANK
)
TRAIN_CUDA_OOMS_TOTAL = _counter("train_cuda_ooms_total", "Out-of-memory errors of the CUDA allocator.", *_RANK)

# --- learning -------------------------------------------------------------------------------------------------------
TRAIN_LOSS = _gauge(
    "train_loss", "Mean loss of the epoch so far, by Ultralytics' own name.", *_RANK, "component", signed=True
)
TRAIN_LEARNING_RATE = _gauge("train_learning_rate", "Learning rate by parameter group.", *_RANK, "group")
TRAIN_ACCUMULATED_BATCHES = _gauge(
    "train_accumulated_batches", "Batches whose gradients make one optimizer step; ramps up at the start.", *_RANK
)
TRAIN_EPOCHS_SINCE_BEST = _gauge("train_epochs_since_best", "Epochs since the best validation result.", *_RANK)
TRAIN_PATIENCE_EPOCHS = _gauge(
    "train_patience_epochs", "Epochs without a better result after which training stops early.", *_RANK
)
TRAIN_METRIC = _gauge("train_metric", "Validation metrics by Ultralytics' own name.", *_RANK, "name", signed=True)
TRAIN_NONFINITE_LOSS_TOTAL = _counter("train_nonfinite_loss_total", "Batches seen with a NaN or infinite loss.", *_RANK)
TRAIN_OOM_BATCH_REDUCTIONS_TOTAL = _counter(
    "train_oom_batch_reductions_total", "Times Ultralytics halved the batch after running out of memory.", *_RANK
)
TRAIN_NAN_RECOVERIES_TOTAL = _counter(
    "train_nan_recoveries_total", "Times Ultralytics went back to the last checkpoint after a NaN.", *_RANK
)

# --- ourselves, inside the trainer ----------------------------------------------------------------------------------
TRAIN_HOOK_SECONDS_TOTAL = _counter("train_hook_seconds_total", "Time spent in yoloscope's own callbacks.", *_RANK)
TRAIN_HOOK_ERRORS_TOTAL = _counter("train_hook_errors_total", "Errors caught in yoloscope's own callbacks.", *_RANK)

# --- diagnosis ------------------------------------------------------------------------------------------------------
TRAIN_VERDICT = _gauge("train_verdict", "1 while the verdict holds, else 0.", *_RANK, "verdict")
TRAIN_GOODPUT_RATIO = _gauge(
    "train_goodput_ratio", "Share of the window's wall time spent computing training steps.", *_RANK
)
TRAIN_WASTED_GPU_SECONDS_TOTAL = _counter(
    "train_wasted_gpu_seconds_total", "Time a GPU was held but not computing, by cause.", *_RANK, "cause"
)

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
