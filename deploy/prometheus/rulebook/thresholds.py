"""Every number in the alert rules, once, with its source. (J) marks a judgement that nobody has published."""

from __future__ import annotations

from .model import Threshold

_DEFENSE = "PrincetonUniversity/job_defense_shield"
_TRACEML = "TraceML policy"
_NODE_MIXIN = "prometheus/node_exporter docs/node-mixin"
_GPU_EXPORTER = "utkuozdemir/nvidia_gpu_exporter chart"
_DCGM = "NVIDIA/DCGM common/DcgmGPUHardwareLimits.h"

THRESHOLDS: dict[str, Threshold] = {
    # --- what counts as training
    "training_share": Threshold(0.25, "ratio", "(J) a minute with less training in it says nothing about training"),
    # --- utilisation
    "level_samples": Threshold(
        40, "samples", "(J) 10 min of training, one evaluation per 15 s, before there is a level"
    ),
    "drop_to": Threshold(0.6, "ratio", "(J) of the run's own median; multi-scale training stays above 0.8 of it"),
    "drop_level": Threshold(0.3, "ratio", f"{_TRACEML}: below 30 % is low; what is low cannot drop far"),
    "low": Threshold(0.3, "ratio", f"{_TRACEML}: low below 30 %; {_DEFENSE} writes below 25 %"),
    "idle": Threshold(0.01, "ratio", f"{_DEFENSE}: 0 % held for 60 and 105 min warns, 120 min cancels"),
    "swing_share": Threshold(0.2, "ratio", "(J); SageMaker Debugger: p95 > 70 % and p5 < 10 %"),
    "standstill_samples": Threshold(8, "samples", "(J) 2 of the last 10 min, one evaluation per 15 s"),
    "uneven": Threshold(0.5, "ratio", "(J) of the busiest GPU of the run"),
    "regression": Threshold(0.75, "ratio", "NVIDIA/nvidia-resiliency-ext straggler/reporting.py: score below 0.75"),
    "throughput_samples": Threshold(12, "samples", "(J) 1 h of training, one evaluation per 5 min"),
    # --- data pipeline
    "data_bound": Threshold(0.2, "ratio", "tensorflow/tensorflow op_stats_to_input_pipeline_analysis: 20 % is high"),
    "data_mild": Threshold(0.05, "ratio", "the same: 5 % is moderate; pytorch/kineto tb_plugin: DataLoader > 5 %"),
    "restarts_per_worker": Threshold(3, "restarts", "Ultralytics rebuilds the loader at most 3 times after an OOM"),
    "quota": Threshold(0.25, "ratio", "kubernetes-mixin CPUThrottlingHigh: 25 % of the periods"),
    # --- memory
    "gpu_memory": Threshold(0.95, "ratio", f"(J) between {_TRACEML}: 92 % warns, 97 % is critical"),
    "fragmented": Threshold(0.25, "ratio", "(J) of the device, reserved but never used at once"),
    "headroom": Threshold(0.1, "ratio", "(J) of the device still free"),
    "leak_step": Threshold(536870912, "bytes", f"{_TRACEML}: creep of 100 MiB to 1 GiB in three rising bands"),
    "leak_after": Threshold(4800, "seconds", "(J) 20 min of warm-up and three bands of 20 min"),
    "shm": Threshold(0.85, "ratio", "(J) the next prefetched batch of a large model takes the rest"),
    "host_memory": Threshold(0.9, "ratio", _NODE_MIXIN),
    "memory_stall": Threshold(0.1, "ratio", "(J) of wall time in which every task waited for memory"),
    "memory_ahead": Threshold(14400, "seconds", "(J) 4 h: time to act before the kernel does"),
    "memory_available": Threshold(0.5, "ratio", "(J) a forecast from a half-empty node is noise"),
    # --- liveness
    "stalled": Threshold(300, "seconds", "(J); PrimeIntellect-ai/prime-rl#1547 waits 600 s"),
    "stalled_steps": Threshold(20, "steps", "(J) for batches that take longer than 15 s"),
    "stuck": Threshold(7200, "seconds", f"(J); {_DEFENSE} cancels after 120 min; Ultralytics' NCCL timeout is 3 h"),
    "epochs_without_checkpoint": Threshold(3, "epochs", "(J) three times the interval in which Ultralytics saves"),
    # --- distributed
    "straggler": Threshold(1.33, "ratio", "NVIDIA/nvidia-resiliency-ext: 1 / 0.75"),
    "exposed": Threshold(0.2, "ratio", "(J); pytorch/kineto tb_plugin: communication above 10 %"),
    # --- hardware
    "retired_pages": Threshold(63, "pages", _DCGM),
    "throttled": Threshold(0.1, "ratio", "leptonai/gpud: 0.6 events of hardware slowdown per minute over 10 min"),
    "margin": Threshold(5, "celsius", "leptonai/gpud"),
    "crc_rate": Threshold(100, "per second", _DCGM),
    "replays": Threshold(1, "errors", f"{_DCGM}: any replay or recovery; one is forgiven"),
    "under_load": Threshold(0.5, "ratio", "(J) an idle GPU slows its link on purpose"),
    # --- host
    "disk_low": Threshold(0.05, "ratio", f"{_NODE_MIXIN}: 5 % warns"),
    "disk_critical": Threshold(0.03, "ratio", f"{_NODE_MIXIN}: 3 % is critical"),
    "disk_forecast": Threshold(0.4, "ratio", f"{_NODE_MIXIN}: forecasts are read below 40 %"),
    "load_per_core": Threshold(2, "ratio", _NODE_MIXIN),
    # --- ourselves
    "snapshot_age": Threshold(60, "seconds", f"(J); {_GPU_EXPORTER}: 300 s"),
    "hook_share": Threshold(0.01, "ratio", "(J) ten times what the hooks are built for"),
}
