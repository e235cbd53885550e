"""Every threshold once: its value, its unit, and where it comes from.

What is severe has a name of its own (`input_share`, `input_share_severe`); otherwise verdict, alert and panel read the
same one. (J) and `ours` mark a judgement that nobody has published.

To add one: a field of `Thresholds` if a verdict reads it, else a line of `MORE`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple


class Threshold(NamedTuple):
    """A number to compare a measure with.

    Attributes:
        value: in `unit`.
        unit: `ratio`, `seconds`, `celsius` ...; seconds are shortened where a rule is rendered for a rehearsal.
        source: who uses this figure, or why we chose it.
    """

    value: float
    unit: str
    source: str


_OURS: Final = "ours: "
_TRACEML: Final = "TraceML policy"
_DEFENSE: Final = "PrincetonUniversity/job_defense_shield"
_NODE_MIXIN: Final = "prometheus/node_exporter docs/node-mixin"
_GPU_EXPORTER: Final = "utkuozdemir/nvidia_gpu_exporter chart"
_DCGM: Final = "NVIDIA/DCGM common/DcgmGPUHardwareLimits.h"


def threshold(value: float, source: str, unit: str = "ratio") -> Any:  # noqa: ANN401 - a dataclass's field, for the type checker a float
    """A field with its default, its unit, and where that comes from."""
    return field(default=value, metadata={"source": source, "unit": unit})


@dataclass(frozen=True)
class Thresholds:
    """Those that verdicts compare with, and alerts and panels that ask the same; a YAML file may change them."""

    input_share: float = threshold(0.10, "TraceML policy: input share 10 % warn, 20 % critical")
    h2d_share: float = threshold(0.10, "TraceML policy: H2D share 10 % warn, 20 % critical")
    callbacks_share: float = threshold(0.10, _OURS + "as for the other parts of a step")
    callback_pauses: float = threshold(2, _OURS + "pauses from which on they are no chance", unit="pauses")
    preprocess_share: float = threshold(0.10, _OURS + "as for the copy, of which older hooks count it a part")
    loader_start_share: float = threshold(0.10, _OURS + "as for the other parts of training time")
    compute_share: float = threshold(
        0.75, "TraceML policy says >= 0.90; less, because the wait and the copy may each be just below their own limit"
    )
    validate_share: float = threshold(
        0.35, _OURS + "a validation per epoch that takes a third of the run is worth thinning"
    )
    checkpoint_share: float = threshold(0.10, _OURS + "as for the other parts of a step")
    epochs_for_shares: float = threshold(
        2, _OURS + "shares of the whole run mean something after two epochs", unit="epochs"
    )
    throttled_share: float = threshold(0.10, _OURS + "a tenth of the quota's periods; below, CFS rounds")
    io_pressure: float = threshold(
        0.10, _OURS + "a tenth of the time somebody waits for I/O; the wait to explain is as long"
    )
    io_delay_share: float = threshold(
        0.10, _OURS + "a tenth of a worker's own time, as the kernel's delay accounting has it; cached pages cost none"
    )
    disk_busy: float = threshold(0.80, "iostat(1): %util near 100 is saturation; a queue forms from 80 % on")
    major_faults: float = threshold(
        50, _OURS + "pages fetched from storage per batch: at 0.1 to 10 ms each they make a wait", unit="faults"
    )
    network_read: float = threshold(
        2**20, _OURS + "less read from a network file system than 1 MiB/s holds nobody up", unit="bytes/s"
    )
    contended_share: float = threshold(0.25, _OURS + "a quarter of the node's CPUs is used by others")
    slow_worker_ratio: float = threshold(
        2.0, _OURS + "twice the others' time; measured spread of healthy workers is < 1.5", unit="times"
    )
    runqueue_share: float = threshold(0.20, _OURS + "a fifth of a worker's time ready but without a CPU")
    worker_threads: float = threshold(
        1.5, _OURS + "CPUs per worker above its own thread's, as from OpenMP or OpenCV pools", unit="CPUs"
    )
    waiting_ratio: float = threshold(
        0.50, "measured: CPU over wall time of a worker is 0.03 to 0.04 with slow storage, 0.69 to 0.89 when computing"
    )
    free_cores: float = threshold(0.5, _OURS + "half an idle CPU is room for another worker", unit="CPUs")
    gpu_low: float = threshold(0.50, "pytorch/kineto tb_plugin: GPU utilization < 50 % is low")
    sm_fill: float = threshold(0.50, _OURS + "kernels that leave half the multiprocessors without a warp")
    mfu_low: float = threshold(
        0.05, _OURS + "measured: yolo11l with AMP on an H200 reaches 0.076 at batch 96, where the host is its limit"
    )
    train_share: float = threshold(0.80, _OURS + "below, validation and pauses blur what the GPU does in a step")
    memory_spare: float = threshold(0.50, _OURS + "a batch can grow by half and more")
    cuda_peak_share: float = threshold(0.92, "TraceML policy: step memory 92 % warn, 97 % critical")
    growth_bytes: float = threshold(
        100 * 2**20, "TraceML policy: memory creep from 100 MiB, three rising bands", unit="bytes"
    )
    growth_images: float = threshold(
        2.0, _OURS + "a cache of decoded images grows by one batch with each, also where they are larger", unit="times"
    )
    growth_seconds: float = threshold(
        300.0, _OURS + "five minutes of batches: what fills buffers flattens sooner", unit="seconds"
    )
    available_fall_share: float = threshold(0.05, _OURS + "a twentieth of the memory, gone and not in the training")
    exposed_share: float = threshold(
        0.20, "pytorch/kineto tb_plugin: communication > 10 %; twice that, PCIe boxes live with 10 %"
    )
    lag: float = threshold(0.10, "TraceML policy: straggler 0.10 warn, 0.20 critical")
    lag_covered: float = threshold(0.5, "TraceML#235: a straggler is named where what is seen covers most of its lag")
    peer_exposed_share: float = threshold(0.05, _OURS + "half the lag: somebody must be seen waiting")
    thermal_share: float = threshold(0.05, _OURS + "3 s in a minute; gpud counts 0.6 slowdown events per minute")
    power_share: float = threshold(0.50, _OURS + "a capped GPU under load is normal; most of the time is not")
    clock_ratio: float = threshold(0.85, _OURS + "a power cap that costs less than 15 % of the clock costs little")
    power_brake: float = threshold(0.1, "leptonai/gpud: 0.6 events of hardware slowdown per minute over 10 min")
    gpu_under_load: float = threshold(0.50, _OURS + "an idle GPU slows its link on purpose; small models stay below")
    stall_factor: float = threshold(5.0, "nvidia-resiliency-ext: timeout = longest seen x 5", unit="times")
    stall_seconds: float = threshold(
        15.0, _OURS + "people look after 5 s at 0 %; three times that, to be sure", unit="seconds"
    )
    slow_batch_factor: float = threshold(
        5.0, _OURS + "as for a standstill, so that each that ended is told", unit="times"
    )
    setup_seconds: float = threshold(
        180.0, _OURS + "labels and cache of COCO take one to three minutes on a local SSD", unit="seconds"
    )
    computing_cores: float = threshold(
        1.5, _OURS + "CPUs used: a thread that waits or spins uses at most one", unit="CPUs"
    )
    stall_most_seconds: float = threshold(600.0, "PrimeIntellect-ai/prime-rl#1547: no step for 600 s", unit="seconds")
    still_seconds: float = threshold(
        60.0, _OURS + "four times `stall_seconds`: a validation has no batches to go by", unit="seconds"
    )
    loss_drop: float = threshold(0.01, _OURS + "less than 1 % between the halves of the epochs seen")
    loss_drop_most: float = threshold(
        0.05, _OURS + "what the loss may have fallen by at most between those halves, as far as its variation tells"
    )
    metric_gain: float = threshold(0.002, _OURS + "less than the spread of mAP50-95 between two seeds")
    plateau_epochs: float = threshold(10, _OURS + "two halves of five epochs", unit="epochs")
    gpu_busy: float = threshold(0.80, "the table practitioners work by: GPU above 80 % yet the loss falls slowly")
    held_idle: float = threshold(
        0.05, f"gpud and others call a GPU idle below 5 %; {_DEFENSE} warns after 60 and 105 min, cancels after 120"
    )
    held_seconds: float = threshold(
        120.0,
        _OURS + "a training is known as one from its record on, up to two minutes after it holds a GPU; "
        "seen on an H200: 2 s",
        unit="seconds",
    )
    held_bytes: float = threshold(
        256 * 2**20, _OURS + "a CUDA context takes 200 to 500 MiB; desktop programs less", unit="bytes"
    )
    memory_imbalance: float = threshold(
        0.15, _OURS + "of the device, more than the run's other GPUs: a seventh of the batch"
    )
    loss_epochs: float = threshold(8, _OURS + "epochs after warm-up: six turns are no chance", unit="epochs")
    loss_swing: float = threshold(
        0.10, _OURS + "of the loss, from epoch to epoch and back; between seeds it is 1 to 3 %"
    )
    image_swing: float = threshold(
        3.0,
        _OURS
        + "of the loss, by chance from one image to another; of the mean of n images over the root of n; 60 images "
        "with a learning rate of 1e-9 swung by 0.31 from epoch to epoch",
    )
    loss_rise: float = threshold(
        2.0, _OURS + "thrice the lowest loss so far: that is no chance of epochs of many batches", unit="times"
    )
    loss_turns: float = threshold(0.60, "independent random numbers turn in 2/3 of their steps; a trend does not")
    predict_part_share: float = threshold(
        0.25, _OURS + "a quarter of the time of predictions: less is gained by anything than a run varies"
    )
    inference_share: float = threshold(0.50, _OURS + "the model has at least half of the time of predictions")
    inference_busy: float = threshold(
        0.50,
        _OURS + "the GPU runs kernels for half of the model's time, else FP16 shortens little; measured on an H200: "
        "0.68 with 32 images a call, 0.27 with one",
    )
    small_inference_batch: float = threshold(
        4.0, _OURS + "images; the articles that ask for 8 to 32 begin there", unit="images"
    )


DEFAULTS: Final = Thresholds()

#: Those that only alerts and panels read.
MORE: Final[dict[str, Threshold]] = {
    # --- where there is a second, worse degree
    "input_share_severe": Threshold(
        0.20, "ratio", f"{_TRACEML}: input share 20 % is critical; tensorflow op_stats: high"
    ),
    "lag_severe": Threshold(0.20, "ratio", f"{_TRACEML}: straggler 0.20 critical"),
    "cuda_peak_share_severe": Threshold(0.97, "ratio", f"{_TRACEML}: step memory 97 % is critical"),
    "gpu_low_severe": Threshold(0.3, "ratio", f"{_TRACEML}: low below 30 %; {_DEFENSE} writes below 25 %"),
    # --- degrees that panels alone show
    "gpu_well_used": Threshold(
        0.85, "ratio", "the table practitioners work by: a training that is fed keeps a GPU above it"
    ),
    "fleet_used": Threshold(0.6, "ratio", "(J) of a shared cluster over a day"),
    "many_idle_gpus": Threshold(8, "GPUs", "(J) a whole node of them"),
    "goodput": Threshold(
        0.7, "ratio", "(J) of wall time: less goes into validation and waits that are no verdict each"
    ),
    "goodput_low": Threshold(0.5, "ratio", "(J) half of the time goes elsewhere"),
    "late_batch": Threshold(60, "seconds", "(J) a batch takes seconds"),
    "batches_apart": Threshold(3, "batches", "(J) ranks step together; scrapes fall between steps"),
    "queue_low": Threshold(0.5, "ratio", "(J) half of the queue is empty"),
    "queue_empty": Threshold(0.1, "ratio", "(J) whatever is ready is taken at once"),
    "preparation_cpu": Threshold(0.7, "ratio", "measured: workers that compute are at 0.69 to 0.89"),
    "pressure": Threshold(0.1, "ratio", "(J) of the time some process waited for the resource"),
    "pressure_severe": Threshold(0.4, "ratio", "(J) of nearly half the time"),
    "busy": Threshold(0.9, "ratio", "(J) of the CPUs: hardly anything is left"),
    "busy_severe": Threshold(0.97, "ratio", "(J) nothing is left"),
    "shm_some": Threshold(0.5, "ratio", "(J) half of it in use"),
    "disk_used": Threshold(0.85, "ratio", "(J) before the alert at 5 % left"),
    "disk_used_severe": Threshold(0.95, "ratio", f"{_NODE_MIXIN}: 5 % left warns"),
    "hot": Threshold(85, "celsius", "NVIDIA's boards slow down from about 88 to 93 on"),
    "retired_pages_some": Threshold(15, "pages", f"{_DCGM}: 15 with a recent one"),
    "fragmented_severe": Threshold(0.5, "ratio", "(J) of the device: half of it, reserved but never used at once"),
    "age_of_figures": Threshold(30, "seconds", "(J) two scrapes"),
    "age_of_figures_severe": Threshold(120, "seconds", "(J) eight scrapes"),
    # --- what counts as training
    "training_share": Threshold(0.25, "ratio", "(J) a minute with less training in it says nothing about training"),
    # --- utilization
    "level_samples": Threshold(
        40, "samples", "(J) 10 min of training, one evaluation per 15 s, before there is a level"
    ),
    "drop_to": Threshold(0.6, "ratio", "(J) of the run's own median; multi-scale training stays above 0.8 of it"),
    "drop_level": Threshold(0.3, "ratio", f"{_TRACEML}: below 30 % is low; what is low cannot drop far"),
    "mostly_validating": Threshold(
        0.75, "ratio", "(J) of an hour: a long validation reaches it before held_idle has lasted an hour"
    ),
    "standstill": Threshold(
        0.01,
        "ratio",
        "(J) between two scrapes no more than a display draws; idle for minutes is held_idle",
    ),
    "swing_share": Threshold(0.2, "ratio", "(J); SageMaker Debugger: p95 > 70 % and p5 < 10 %"),
    "standstill_samples": Threshold(8, "samples", "(J) 2 of the last 10 min, one evaluation per 15 s"),
    "uneven": Threshold(0.5, "ratio", "(J) of the busiest GPU of the run"),
    "regression": Threshold(0.75, "ratio", "NVIDIA/nvidia-resiliency-ext straggler/reporting.py: score below 0.75"),
    "throughput_samples": Threshold(12, "samples", "(J) 1 h of training, one evaluation per 5 min"),
    # --- data pipeline
    "restarts_per_worker": Threshold(3, "restarts", "Ultralytics rebuilds the loader at most 3 times after an OOM"),
    # --- memory
    "fragmented": Threshold(0.25, "ratio", "(J) of the device, reserved but never used at once"),
    "headroom": Threshold(0.1, "ratio", "(J) of the device still free"),
    "shm": Threshold(0.85, "ratio", "(J) the next prefetched batch of a large model takes the rest"),
    "host_memory": Threshold(0.9, "ratio", _NODE_MIXIN),
    "memory_stall": Threshold(0.1, "ratio", "(J) of wall time in which every task waited for memory"),
    "memory_ahead": Threshold(14400, "seconds", "(J) 4 h: time to act before the kernel does"),
    "memory_available": Threshold(0.5, "ratio", "(J) a forecast from a half-empty node is noise"),
    # --- liveness
    "stuck": Threshold(7200, "seconds", f"(J); {_DEFENSE} cancels after 120 min; Ultralytics' NCCL timeout is 3 h"),
    "epochs_without_checkpoint": Threshold(3, "epochs", "(J) three times the interval in which Ultralytics saves"),
    "inference_stalled": Threshold(
        300, "seconds", "(J) no batch is expected to take minutes; a camera that is gone, a source that blocks"
    ),
    "inference_images": Threshold(200, "images", "(J) two of them are above the 99th percentile"),
    "inference_slower": Threshold(2.0, "times", "(J) twice the run's own 99th percentile of an hour before"),
    # --- hardware
    "retired_pages": Threshold(63, "pages", _DCGM),
    "margin": Threshold(5, "celsius", "leptonai/gpud"),
    "crc_rate": Threshold(100, "per second", _DCGM),
    "replays": Threshold(1, "errors", f"{_DCGM}: any replay or recovery; one is forgiven"),
    # --- host
    "disk_low": Threshold(0.05, "ratio", f"{_NODE_MIXIN}: 5 % warns"),
    "disk_critical": Threshold(0.03, "ratio", f"{_NODE_MIXIN}: 3 % is critical"),
    "disk_forecast": Threshold(0.4, "ratio", f"{_NODE_MIXIN}: forecasts are read below 40 %"),
    "load_per_core": Threshold(2, "ratio", _NODE_MIXIN),
    # --- Kubernetes
    "eviction_memory_bytes": Threshold(
        500 * 2**20,
        "bytes",
        "kubelet evicts below 100 MiB by default; (J) more, because MemAvailable counts page cache that it does not",
    ),
    "eviction_disk_left": Threshold(0.10, "ratio", "kubelet evicts below nodefs.available 10 % by default"),
    # --- ourselves
    "snapshot_age": Threshold(60, "seconds", f"(J); {_GPU_EXPORTER}: 300 s"),
    "hook_share": Threshold(0.01, "ratio", "(J) ten times what the hooks are built for"),
}

THRESHOLDS: Final[dict[str, Threshold]] = {
    one.name: Threshold(getattr(DEFAULTS, one.name), one.metadata["unit"], one.metadata["source"])
    for one in fields(Thresholds)
} | MORE
