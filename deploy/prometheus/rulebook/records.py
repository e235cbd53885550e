"""All recording rules: what alerts share, and what tables and fleets show of each node and of each run on a node.

A recorded series is used wherever a metric is. Names follow `level:metric:operation`. What dashboards read keeps
`cluster`, `job` and `instance`, so that it is narrowed as raw series are, and a thousand nodes are a few thousand
series; none of it reads another record, so that `promtool tsdb create-blocks-from rules` fills in the past in one pass.

GPU series know no run. A rank's `train_device_info` names its GPU, so it is the many-side of every join: a GPU on which
one run ended and the next began, or which two runs share, gives a series for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from yoloscope_exporter import catalog as c
from yoloscope_exporter.catalog import GAUGE, Metric
from yoloscope_exporter.measures import formula as labels
from yoloscope_exporter.measures import gpu, host, memory, ranks, training
from yoloscope_exporter.measures.formula import last
from yoloscope_exporter.measures.promql import Expr, render, total, zero

from .levels import severity
from .model import ALL, DAILY, GPU, RANK, RANK_GPU, RUN, SLOW, rate, series

if TYPE_CHECKING:
    from yoloscope_exporter.measures.measure import Measure

#: Ultralytics' name for the figure by which models are compared.
MAP: Final = "metrics/mAP50-95(B)"
#: Of what dashboards read: long enough for four scrapes of a fleet that is scraped every 30 s.
WINDOW: Final = "2m"
_OF_RUN: Final = labels.RUN_ON_NODE


@dataclass(frozen=True, slots=True)
class Recorded(Metric):
    """A recorded series, usable wherever a metric is, and the expression behind it; its name stands for it in text.

    Attributes:
        expr: PromQL, `@name@` for thresholds.
    """

    expr: str = ""

    def __str__(self) -> str:
        return self.name


def _record(name: str, expr: str, text: str, unit: str = "ratio", of: tuple[str, ...] = ()) -> Recorded:
    return Recorded(name, GAUGE, unit, text, of, expr=expr)


def _measured(level: str, name: str, measure: Measure, window: str, by: tuple[str, ...]) -> Recorded:
    """A measure by the labels `by`, those of the target aside also the record's."""
    own = tuple(label for label in by if label not in labels.TARGET)
    expr = render(measure.formula, ALL, *by, window=window)
    return Recorded(f"{level}:yoloscope_{name}", GAUGE, measure.unit, measure.help, own, expr=expr.text)


def on_its_gpu(gpu_series: str) -> str:
    """A series of GPUs as a series of the ranks that train on them."""
    return (
        f"max by ({RANK_GPU}) ({series(c.TRAIN_DEVICE_INFO)} * on ({GPU}) group_left () max by ({GPU}) ({gpu_series}))"
    )


def alive(labels: str = RANK) -> str:
    """Condition: the training process lives."""
    return f"and on ({labels}) {series(c.TRAIN_UP)} == 1"


#: Seconds of training per second of a rank, where there is enough of it to say something.
ENOUGH_TRAINING: Final = f"{render(training.TRAINING_TIME, ALL, *labels.RANK, window='5m')} >= @training_share@"

# --- read by alerts --------------------------------------------------------------------------------------------------
_STARTED: Final = series(c.TRAIN_START_TIMESTAMP_SECONDS)
SUPERSEDED: Final = _record(
    "rank:yoloscope_superseded:timestamp_seconds",
    f"(\n"
    f"  ({series(c.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS)} or {_STARTED})\n"
    f"  < on ({RUN}) group_left () min by ({RUN}) ({_STARTED} {alive()})\n"
    f")\n"
    f"and on ({RANK}) {series(c.TRAIN_UP)} == 0",
    "Dead ranks whose run has started anew since their last batch, with the time of that: resumed on another node, it "
    "is still shown, dead, on the first one, and must not speak for the living.",
    "seconds",
    ("run", "rank"),
)
TRAINING: Final = _record(
    "run:yoloscope_training:ratio1m",
    f"min by ({RUN}) (avg_over_time({series(c.TRAIN_STATE, '1m', state='train')}) unless on ({RANK}) {SUPERSEDED})",
    "Share of the last minute in which every rank of the run was training: not setting up, validating, saving, "
    "ended. The least of all ranks, because older Ultralytics validates on rank 0 while the others wait.",
    of=("run",),
)
GPU_BUSY: Final = _record(
    "rank:yoloscope_gpu_busy:ratio_rate1m",
    f"clamp_max(\n"
    f"  ({on_its_gpu(rate(c.GPU_BUSY_SECONDS_TOTAL, '1m'))} {alive()})\n"
    f"  / on ({RUN}) group_left () ({TRAINING} >= @training_share@),\n"
    f"  1\n"
    f")",
    "Utilization while training: all busy time of the last minute over its training time. Work done in a "
    "validation counts as if it were training, so this errs upwards, and never takes a validation for a drop.",
    of=("run", "rank", "gpu"),
)
_SINCE_SCRAPE: Final = f"irate({series(c.GPU_BUSY_SECONDS_TOTAL, '1m')})"
STANDSTILL: Final = _record(
    "rank:yoloscope_gpu_standstill:irate",
    f"{on_its_gpu(_SINCE_SCRAPE)} < @standstill@\n"
    f"and on ({RUN}) {TRAINING} == 1\n"
    f"and on ({RANK}) {series(c.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS)}\n"
    f"{alive()}\n"
    f"unless on ({RANK}) changes({series(c.TRAIN_EPOCH, '1m')}) > 0",
    "Present only where the GPU did nothing between the last two scrapes though the run has been training for a "
    "minute; the first batch, which may be compiled, and the minute in which an epoch begins are left out.",
    of=("run", "rank", "gpu"),
)
DATA_WAIT: Final = _measured("rank", "data_wait:ratio_rate5m", training.DATA_WAIT, "5m", labels.RANK)
OWN: Final = _measured("rank", "own_batch:seconds_rate5m", ranks.OWN, "5m", labels.RANK)
EXPOSED: Final = _measured("rank", "exposed_batch:seconds_rate5m", training.EXPOSED_SECONDS, "5m", labels.RANK)
PAUSED: Final = _measured("rank", "paused_batch:seconds_rate5m", ranks.PAUSED, "5m", labels.RANK)
LAG: Final = _record(
    "rank:yoloscope_lag:ratio_rate5m", str(render(ranks.lag(last(OWN)), ALL)), ranks.LAG.help, of=("run", "rank")
)
GPU_LEVEL: Final = _record(
    "rank:yoloscope_gpu_busy:median1h",
    f"quantile_over_time(0.5, {GPU_BUSY}[1h])\nand count_over_time({GPU_BUSY}[1h]) >= @level_samples@",
    "The run's own usual level. The median, so that half an hour of a drop does not pull it down.",
    of=("run", "rank", "gpu"),
)
GPU_GROWTH: Final = _measured("rank", "gpu_memory_growth:bytes20m", memory.GPU_GROWTH, "20m", labels.RANK)
#: The same over longer windows: what grows once in an epoch rises in each quarter only of one that is long enough.
GPU_GROWTH_1H: Final = _measured("rank", "gpu_memory_growth:bytes1h", memory.GPU_GROWTH, "1h", labels.RANK)
GPU_GROWTH_4H: Final = _measured("rank", "gpu_memory_growth:bytes4h", memory.GPU_GROWTH, "4h", labels.RANK)
NODE_GPUS: Final = _record(
    "instance:yoloscope_gpus:count", str(total("count", ALL(c.GPU_INFO), *labels.TARGET)), "GPUs of the node.", ""
)
THROUGHPUT: Final = _record(
    "run:yoloscope_images_per_training_second:rate5m",
    f"{render(training.IMAGES.formula, ALL, *labels.RUN, window='5m')}\n"
    f"and on ({RUN}) max by ({RUN}) ({ENOUGH_TRAINING})",
    training.IMAGES.help,
    "images/s",
    ("run",),
)
THROUGHPUT_LEVEL: Final = _record(
    "run:yoloscope_images_per_training_second:median1d",
    f"quantile_over_time(0.5, {THROUGHPUT}[1d])\nand count_over_time({THROUGHPUT}[1d]) >= @throughput_samples@",
    "The run's own usual throughput.",
    "images/s",
    ("run",),
)

_EXPORTERS: Final = "instance:yoloscope_exporter:info"
#: It reads itself, and so remembers for as long as the target is scraped; a day bridges Prometheus's own absence.
EXPORTERS: Final = _record(
    _EXPORTERS,
    f"{total('max', ALL(c.BUILD_INFO), *labels.TARGET)}\n"
    f"or last_over_time({_EXPORTERS}[1d]) and on ({', '.join(labels.TARGET)}) up",
    "Targets that answer as an exporter of yoloscope or once did and are scraped still, whatever their job is called.",
    "",
)

#: Those that alerts read, by the interval at which they are evaluated, empty for the server's.
RECORDS: Final = {
    "": (SUPERSEDED, TRAINING, GPU_BUSY, STANDSTILL, DATA_WAIT, OWN, EXPOSED, PAUSED, LAG),
    SLOW: (GPU_LEVEL, GPU_GROWTH, GPU_GROWTH_1H, GPU_GROWTH_4H, NODE_GPUS, EXPORTERS),
    DAILY: (THROUGHPUT, THROUGHPUT_LEVEL),
}


# --- read by dashboards ----------------------------------------------------------------------------------------------
def _node(metric: str, operation: str, expr: Expr, text: str) -> Recorded:
    return Recorded(f"instance:{metric}:{operation}", GAUGE, expr.unit, text, (), expr=expr.text)


def _run(metric: str, operation: str, expr: Expr, text: str, *of: str) -> Recorded:
    return Recorded(f"instance_run:{metric}:{operation}", GAUGE, expr.unit, text, ("run", *of), expr=expr.text)


def _node_measure(name: str, measure: Measure) -> Recorded:
    return _measured("instance", name, measure, WINDOW, labels.TARGET)


def _run_measure(name: str, measure: Measure) -> Recorded:
    return _measured("instance_run", name, measure, WINDOW, _OF_RUN)


def _living(expr: Expr) -> Expr:
    return expr.where(ALL(c.TRAIN_UP).equals(1), labels.RANK)


def _held() -> Expr:
    return total("max", _living(ALL(c.TRAIN_DEVICE_INFO)), *labels.GPU)


def _idle() -> Expr:
    busy = render(gpu.BUSY.formula, ALL, *labels.GPU, window=WINDOW)
    return _held().where(Expr(f"({busy}) < @held_idle@"), labels.GPU)


def _count_gpus(which: Expr) -> Expr:
    """How many GPUs of the node, 0 where it has GPUs but none like that."""
    return zero(total("count", which, *labels.TARGET), total("count", ALL(c.GPU_INFO), *labels.TARGET)).of("")


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
        total("max", Expr(f"({ALL(c.GPU_UP)} == 0) or ({ALL(c.GPU_ROW_REMAP_FAILURE)} == 1)"), *labels.GPU).or_(
            total("max", ALL(c.GPU_ROW_REMAP_PENDING).equals(1), *labels.GPU)
        )
    ),
    "GPUs that do not answer, or whose memory needs a reset or a replacement.",
)
NODE_GPU_BUSY = _node_measure("gpu_busy:avg_rate2m", gpu.BUSY)
NODE_GPU_POWER = _node(
    "yoloscope_gpu_power_watts",
    "sum",
    total("sum", ALL(c.GPU_POWER_WATTS), *labels.TARGET),
    "Power of the node's GPUs.",
)
NODE_GPU_TEMPERATURE = _node(
    "yoloscope_gpu_temperature_celsius",
    "max",
    total("max", ALL(c.GPU_TEMPERATURE_CELSIUS, sensor="core"), *labels.TARGET),
    "The hottest GPU of the node.",
)
NODE_GPU_MEMORY = _node_measure("gpu_memory_used:ratio", gpu.MEMORY_USED)
NODE_GPU_THROTTLED = _node_measure("gpu_throttled:max_rate2m", gpu.SLOWED)
NODE_CPU_BUSY = _node_measure("cpu_busy:ratio_rate2m", host.CPU_BUSY)
NODE_MEMORY = _node_measure("memory_used:ratio", memory.HOST_USED)
NODE_DISK_BUSY = _node_measure("disk_io:max_rate2m", host.DISK_BUSY)

# --- of each run on each node ---------------------------------------------------------------------------------------
RUN_UP = _run("yoloscope_train_up", "max", total("max", ALL(c.TRAIN_UP), *_OF_RUN), "1 while a rank of the run lives.")
RUN_SEVERITY = _run(
    "yoloscope_train_verdict",
    "severity",
    severity(ALL, *_OF_RUN, "verdict"),
    "Verdicts that hold for a rank of the run, as 1 (healthy), 2 (to note), 3 (holds it back), 4 (broken).",
    "verdict",
)
RUN_STATE = _run(
    "yoloscope_train_state",
    "max",
    total("max", ALL(c.TRAIN_STATE), *_OF_RUN, "state").equals(1),
    "States that ranks of the run are in.",
    "state",
)
RUN_GPU_BUSY = _run_measure("gpu_busy:avg_rate2m", gpu.BUSY_OF_RANK)
RUN_DATA_WAIT = _run_measure("train_data_wait:ratio_rate2m", training.DATA_WAIT)
RUN_IMAGES = _run_measure("train_images:sum_rate2m", training.IMAGES)
RUN_REMAINING = _run(
    "yoloscope_train_remaining_seconds",
    "max",
    total("max", _living(ALL(c.TRAIN_REMAINING_SECONDS)), *_OF_RUN),
    "Time to the last epoch's end at the mean speed so far; early stopping comes sooner.",
)
RUN_LAST_BATCH = _run(
    "yoloscope_train_last_batch_timestamp_seconds",
    "max",
    total("max", ALL(c.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS), *_OF_RUN),
    "Unix time at which a rank of the run last finished a batch.",
)
RUN_PROGRESS = _run(
    "yoloscope_train_epoch",
    "ratio",
    render(training.PROGRESS.formula, ALL, *_OF_RUN),
    training.PROGRESS.help,
)
RUN_PEAK_MEMORY = _run_measure("train_cuda_peak_reserved_bytes:max", memory.PEAK)
RUN_PEAK_SHARE = _run_measure("train_cuda_peak_reserved:ratio", memory.PEAK_SHARE)
RUN_BATCH_SIZE = _run(
    "yoloscope_train_batch_size",
    "max",
    total("max", ALL(c.TRAIN_BATCH_SIZE), *_OF_RUN),
    "Images in a batch of a rank.",
)
RUN_MAP = _run(
    "yoloscope_train_metric_map",
    "max",
    total("max", ALL(c.TRAIN_METRIC, name=MAP), *_OF_RUN),
    "mAP50-95 of the last validation.",
)


def _by_cause(counter: c.Metric) -> Expr:
    """What is lost of a run per second, by causes that lose any."""
    return total("sum", ALL.rate(counter, window=WINDOW), *_OF_RUN, "cause") > 0


RUN_WASTED = _run(
    "yoloscope_train_wasted_gpus",
    "sum_rate2m",
    _by_cause(c.TRAIN_WASTED_GPU_SECONDS_TOTAL).of(""),
    "GPUs held but not computing, by cause; over time: GPU-seconds wasted.",
    "cause",
)
RUN_WASTED_POWER = _run(
    "yoloscope_train_wasted_power_watts",
    "sum_rate2m",
    _by_cause(c.TRAIN_WASTED_ENERGY_JOULES_TOTAL).of("watts"),
    "Power that GPUs drew in wasted time, by cause, at most; over time: the energy wasted.",
    "cause",
)


# --- whose run it is, and what it costs -------------------------------------------------------------------------------
def _owner() -> Expr:
    """Ranks with whom they belong to, and a name for where they run."""
    job = total("max", ALL(c.TRAIN_JOB_INFO), *labels.RANK, "slurm_job_user", "namespace")
    run, where = ALL(c.TRAIN_RUN_INFO), f"on ({', '.join(labels.RANK)})"
    own = f"({run} * {where} group_left (slurm_job_user, namespace) ({job})) or ({run} unless {where} {job})"
    pod = f'label_join({own}, "workload", "/", "namespace", "pod")'
    trimmed = f'label_replace({pod}, "workload", "$1", "workload", "/(.*)")'
    named = f'label_replace({trimmed}, "workload", "$1", "slurm_job_id", "(.+)")'
    return Expr(f'label_replace({named}, "user", "$1", "slurm_job_user", "(.+)")', "", c.TRAIN_JOB_INFO.help)


RUN_OWNER = _run(
    "yoloscope_train_owner",
    "info",
    total("max", _owner(), *_OF_RUN, "user", "workload"),
    "Whose run it is: the Slurm job's user, else the process's; as workload the Slurm job, else namespace/pod.",
    "user",
    "workload",
)
#: Of each living rank its GPU: one, or what a MIG instance is of one.
_GPUS: Final = gpu.on_ranks(last(c.GPU_PART_RATIO)).or_(
    last(c.TRAIN_DEVICE_INFO).where(last(c.TRAIN_UP).compared("==", 1), labels.RANK)
)
RUN_GPUS_HELD = _run(
    "yoloscope_gpus_held",
    "count",
    render(_GPUS.total("max", (*_OF_RUN, "gpu")).total("sum", _OF_RUN), ALL).of(""),
    "GPUs that the living ranks of the run hold, busy or not; a MIG instance counts as its part of one.",
)
#: As counted by rank, where the exporter does; else that of the GPUs, of which one that runs share counts for each.
_POWER: Final = (
    labels.rate(c.TRAIN_ENERGY_JOULES_TOTAL, source="gpu")
    .where(last(c.TRAIN_UP).compared("==", 1), labels.RANK)
    .total("sum", _OF_RUN)
    .or_(gpu.on_ranks(last(c.GPU_POWER_WATTS)).total("sum", _OF_RUN))
)
RUN_GPU_POWER = _run(
    "yoloscope_gpu_power_watts",
    "sum",
    render(_POWER, ALL, window=WINDOW).of("watts"),
    "Power that the GPUs of the living ranks of the run draw for it; a GPU that others use is shared by SM time.",
)

#: What things cost, in whatever currency; there only where somebody said so: see `prices`.
PRICE_GPU_HOUR = Recorded("yoloscope_price_per_gpu_hour", GAUGE, "", "Price of a GPU held for an hour.")
PRICE_KWH = Recorded("yoloscope_price_per_kwh", GAUGE, "", "Price of a kilowatt-hour.")
CO2_KWH = Recorded("yoloscope_co2_kilograms_per_kwh", GAUGE, "", "CO2 emitted for a kilowatt-hour, in kilograms.")
PRICES: Final = (PRICE_GPU_HOUR, PRICE_KWH, CO2_KWH)

#: Of nodes and of runs on nodes, in the order of the rule file.
SHOWN: Final = tuple(
    one
    for one in list(globals().values())
    if isinstance(one, Recorded) and one.name.startswith("instance") and one not in (NODE_GPUS, EXPORTERS)
)
RECORDED: Final = (*SHOWN, *PRICES, *(one for group in RECORDS.values() for one in group))
