"""Recording rules: what tables and fleets show, calculated once per evaluation for each node and each run on a node.

Every recorded series keeps `cluster`, `job` and `instance`, so that dashboards narrow it as they narrow raw series and
a thousand nodes are a few thousand series. Names follow `level:metric:operation`. No rule reads another, so that
`promtool tsdb create-blocks-from rules` fills in the past in one pass.

To add one: one constant. The dashboards take it like a metric; `python -m dashboards` writes the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml
from yoloscope_exporter import catalog as m
from yoloscope_exporter.catalog import GAUGE, Metric
from yoloscope_exporter.measures.formula import TARGET
from yoloscope_exporter.measures.promql import Expr, Scope, total, zero

from dashboards import measures
from dashboards.measures import GPU, RANK, RUN

#: Long enough for four scrapes of a fleet that is scraped every 30 s.
WINDOW: Final = "2m"
ALL: Final = Scope(())


@dataclass(frozen=True, slots=True)
class Recorded(Metric):
    """A recorded series, usable wherever a metric is, and the expression behind it."""

    expr: str = ""


def _node(metric: str, operation: str, expr: Expr, text: str) -> Recorded:
    return Recorded(f"instance:{metric}:{operation}", GAUGE, expr.unit, text, (), expr=expr.text)


def _run(metric: str, operation: str, expr: Expr, text: str, *labels: str) -> Recorded:
    return Recorded(f"instance_run:{metric}:{operation}", GAUGE, expr.unit, text, ("run", *labels), expr=expr.text)


def _held() -> Expr:
    return total("max", measures.alive(ALL, ALL(m.TRAIN_DEVICE_INFO)), *GPU)


def _idle() -> Expr:
    busy = ALL.rate(m.GPU_BUSY_SECONDS_TOTAL, window=WINDOW)
    return _held().where(Expr(f"({busy}) < {measures.IDLE_RATIO}"), GPU)


def _count_gpus(which: Expr) -> Expr:
    """How many GPUs of the node, 0 where it has GPUs but none like that."""
    return zero(total("count", which, *TARGET), total("count", ALL(m.GPU_INFO), *TARGET)).of("")


# --- of each node ---------------------------------------------------------------------------------------------------
NODE_GPUS = _node("yoloscope_gpus", "count", total("count", ALL(m.GPU_INFO), *TARGET), "GPUs of the node.")
NODE_GPUS_HELD = _node(
    "yoloscope_gpus_held", "count", _count_gpus(_held()), "GPUs that a living training holds, busy or not."
)
NODE_GPUS_IDLE = _node(
    "yoloscope_gpus_held_idle",
    "count",
    _count_gpus(_idle()),
    "GPUs that a living training holds while they are busy less than 5 % of the time.",
)
NODE_GPUS_FAULTY = _node(
    "yoloscope_gpus_faulty",
    "count",
    _count_gpus(
        total("max", Expr(f"({ALL(m.GPU_UP)} == 0) or ({ALL(m.GPU_ROW_REMAP_FAILURE)} == 1)"), *GPU).or_(
            total("max", ALL(m.GPU_ROW_REMAP_PENDING).equals(1), *GPU)
        )
    ),
    "GPUs that do not answer, or whose memory needs a reset or a replacement.",
)
NODE_GPU_BUSY = _node(
    "yoloscope_gpu_busy",
    "avg_rate2m",
    total("avg", ALL.rate(m.GPU_BUSY_SECONDS_TOTAL, window=WINDOW), *TARGET),
    "Mean utilisation of the node's GPUs.",
)
NODE_GPU_POWER = _node(
    "yoloscope_gpu_power_watts", "sum", total("sum", ALL(m.GPU_POWER_WATTS), *TARGET), "Power of the node's GPUs."
)
NODE_GPU_TEMPERATURE = _node(
    "yoloscope_gpu_temperature_celsius",
    "max",
    total("max", ALL(m.GPU_TEMPERATURE_CELSIUS, sensor="core"), *TARGET),
    "The hottest GPU of the node.",
)
NODE_GPU_MEMORY = _node(
    "yoloscope_gpu_memory_used",
    "ratio",
    total("sum", ALL(m.GPU_MEMORY_USED_BYTES), *TARGET) / total("sum", ALL(m.GPU_MEMORY_TOTAL_BYTES), *TARGET),
    "Share of the node's device memory in use.",
)
NODE_GPU_THROTTLED = _node(
    "yoloscope_gpu_throttled",
    "max_rate2m",
    total("max", ALL.rate(m.GPU_THROTTLED_SECONDS_TOTAL, window=WINDOW, reason="!=sw_power_cap"), *TARGET),
    "Largest share of time a GPU of the node was slowed down by heat or a power fault.",
)
NODE_CPU_BUSY = _node(
    "yoloscope_cpu_busy", "ratio_rate2m", measures.cpu_busy(ALL, *TARGET, window=WINDOW), "Share of CPU time in use."
)
NODE_MEMORY = _node(
    "yoloscope_memory_used",
    "ratio",
    ALL(m.MEMORY_USED_BYTES) / ALL(m.MEMORY_TOTAL_BYTES),
    "Share of the node's memory in use.",
)
NODE_DISK_BUSY = _node(
    "yoloscope_disk_io",
    "max_rate2m",
    total("max", ALL.rate(m.DISK_IO_SECONDS_TOTAL, window=WINDOW), *TARGET),
    "Share of time the busiest disk had work.",
)

# --- of each run on each node ---------------------------------------------------------------------------------------
RUN_UP = _run("yoloscope_train_up", "max", total("max", ALL(m.TRAIN_UP), *RUN), "1 while a rank of the run lives.")
RUN_RANKS = _run("yoloscope_train_up", "sum", total("sum", ALL(m.TRAIN_UP), *RUN), "Living ranks of the run.")
RUN_SEVERITY = _run(
    "yoloscope_train_verdict",
    "severity",
    measures.severity(ALL, *RUN, "verdict"),
    "Verdicts that hold for a rank of the run, as 1 (healthy), 2 (to note), 3 (holds it back), 4 (broken).",
    "verdict",
)
RUN_STATE = _run(
    "yoloscope_train_state",
    "max",
    total("max", ALL(m.TRAIN_STATE), *RUN, "state").equals(1),
    "States that ranks of the run are in.",
    "state",
)
RUN_GPU_BUSY = _run(
    "yoloscope_gpu_busy",
    "avg_rate2m",
    measures.gpu_busy(ALL, *RUN, window=WINDOW),
    "Mean utilisation of the GPUs the run trains on.",
)
RUN_DATA_WAIT = _run(
    "yoloscope_train_data_wait",
    "ratio_rate2m",
    measures.data_wait(ALL, *RUN, window=WINDOW),
    "Share of the training loop's time spent waiting for data.",
)
RUN_IMAGES = _run(
    "yoloscope_train_images",
    "sum_rate2m",
    measures.images(ALL, *RUN, window=WINDOW),
    "Training images per second, over all ranks of the run.",
)
RUN_REMAINING = _run(
    "yoloscope_train_remaining_seconds",
    "max",
    total("max", measures.alive(ALL, ALL(m.TRAIN_REMAINING_SECONDS)), *RUN),
    "Time to the last epoch's end at the mean speed so far; early stopping comes sooner.",
)
RUN_LAST_BATCH = _run(
    "yoloscope_train_last_batch_timestamp_seconds",
    "max",
    total("max", ALL(m.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS), *RUN),
    "Unix time at which a rank of the run last finished a batch.",
)
RUN_PROGRESS = _run(
    "yoloscope_train_epoch",
    "ratio",
    total("max", ALL(m.TRAIN_EPOCH) / ALL(m.TRAIN_EPOCHS), *RUN).of("ratio"),
    "Epoch under way over epochs asked for.",
)
RUN_PEAK_MEMORY = _run(
    "yoloscope_train_cuda_peak_reserved_bytes",
    "max",
    total("max", ALL(m.TRAIN_CUDA_MEMORY_BYTES, kind="peak_reserved"), *RUN),
    "Most device memory that PyTorch reserved on a rank of the run.",
)
RUN_PEAK_SHARE = _run(
    "yoloscope_train_cuda_peak_reserved",
    "ratio",
    total(
        "max",
        Expr(
            f"{ALL(m.TRAIN_CUDA_MEMORY_BYTES, kind='peak_reserved')} / on ({', '.join(RANK)}) group_left () "
            f"max by ({', '.join(RANK)}) ({measures.of_ranks(ALL, ALL(m.GPU_MEMORY_TOTAL_BYTES))})",
            "ratio",
        ),
        *RUN,
    ),
    "The same as a share of the GPU's memory.",
)
RUN_BATCH_SIZE = _run(
    "yoloscope_train_batch_size", "max", total("max", ALL(m.TRAIN_BATCH_SIZE), *RUN), "Images in a batch of a rank."
)
RUN_MAP = _run(
    "yoloscope_train_metric_map",
    "max",
    total("max", ALL(m.TRAIN_METRIC, name=measures.MAP), *RUN),
    "mAP50-95 of the last validation.",
)
RUN_WASTED = _run(
    "yoloscope_train_wasted_gpus",
    "sum_rate2m",
    (total("sum", ALL.rate(m.TRAIN_WASTED_GPU_SECONDS_TOTAL, window=WINDOW), *RUN, "cause") > 0).of(""),
    "GPUs held but not computing, by cause; over time: GPU-seconds wasted.",
    "cause",
)

RECORDED: tuple[Recorded, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Recorded))

_HEADER = """\
# Generated by `python -m dashboards` from dashboards/recording.py. Do not edit.
# What the dashboards' tables and fleet panels read; within Prometheus 2.42.
"""


def rules() -> dict[str, Any]:
    """The content of a Prometheus rule file; nodes and runs are a group each and so evaluated side by side."""
    groups = {
        f"yoloscope-dashboards-{level}": [
            {"record": each.name, "expr": each.expr} for each in RECORDED if each.name.startswith(f"{prefix}:")
        ]
        for level, prefix in (("nodes", "instance"), ("runs", "instance_run"))
    }
    return {"groups": [{"name": name, "rules": rules} for name, rules in groups.items()]}


def text() -> str:
    """The rule file."""
    return _HEADER + yaml.safe_dump(rules(), sort_keys=False, width=10**6)
