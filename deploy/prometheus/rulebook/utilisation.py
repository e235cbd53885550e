"""Is the GPU working: at all, as much as it did, as much as the others?"""

from __future__ import annotations

from dataclasses import replace

from yoloscope_exporter import catalog as c
from yoloscope_exporter.measures.gpu import BELOW_BUSY, BUSY, IDLE

from .model import (
    CRITICAL,
    DAILY,
    INFO,
    NO_FLAPPING,
    OF_RANK_GPU,
    OF_RUN,
    RUN,
    SLOWNESS,
    WARNING,
    Alert,
    measured,
    series,
)
from .records import GPU_BUSY, GPU_LEVEL, STANDSTILL, THROUGHPUT, THROUGHPUT_LEVEL, TRAINING, alive, on_its_gpu

_FEED = (
    "Feed it faster: more workers (up to the number of CPUs), cache=ram, or cache=disk where memory is short, data on "
    "a local disk."
)

GPU_UTILIZATION_DROP = Alert(
    name="GpuUtilizationDrop",
    expr=f"{GPU_BUSY} < @drop_to@ * {GPU_LEVEL}\nand {GPU_LEVEL} >= @drop_level@",
    labels=OF_RANK_GPU,
    severity=WARNING,
    hold="2m",
    why_hold="the end of an epoch, the new workers after close_mosaic and one slow file take up to a minute",
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-run",
    fixed_by=SLOWNESS,
    summary="GPU utilization dropped to {{ $value | humanizePercentage }}",
    what="While training, the GPU is busy {{ $value | humanizePercentage }} of the time: less than @drop_to%@ of the "
    "run's usual level.",
    fix=f"If DataBound fires too: {_FEED[0].lower()}{_FEED[1:]} Otherwise look at the throttling alerts and at "
    "other processes on this GPU (nvidia-smi), and whether imgsz or multi_scale changed.",
    meaning="The GPU does less work per second of training than the median of the last hour. Validation, checkpoints "
    "and start-up are left out, and the level is the run's own: a small model that never filled the GPU does not "
    "alert.",
    verify="`yoloscope diagnose` names the cause. 'Step anatomy' on the dashboard Training run shows what takes longer "
    "than before; `nvidia-smi dmon -s pucv` shows throttling.",
    silence="The drop is wanted, for example while storage is being moved.",
)

GPU_UTILIZATION_LOW = Alert(
    name="GpuUtilizationLow",
    expr=f"avg_over_time({GPU_BUSY}[15m]) < @gpu_low_severe@\n{alive()}",
    labels=OF_RANK_GPU,
    severity=WARNING,
    hold="15m",
    why_hold="the first epoch fills caches and buffers",
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-run",
    fixed_by=SLOWNESS,
    summary="GPU busy only {{ $value | humanizePercentage }} of the training time",
    what="For half an hour the GPU has been busy {{ $value | humanizePercentage }} of the training time.",
    fix=f"If DataBound fires too: {_FEED[0].lower()}{_FEED[1:]} If not, the batches are too small for this GPU: "
    "batch=-1 chooses a larger one, amp=True, a smaller GPU or a MIG slice does as well.",
    meaning="Mean utilization over 15 minutes of training, validation left out, whatever the run did before.",
    verify="`yoloscope diagnose` tells data wait (loader_*) from small batches (small_batch).",
    silence="Short experiments and debugging on a big GPU.",
)

#: Of an hour and not of the moment: what is left out for the moment of a validation begins to wait anew after it.
_VALIDATING = f"max by ({RUN}) (avg_over_time({series(c.TRAIN_STATE, '1h', state='validate')}))"
_HELD = (
    f"{on_its_gpu(measured(BUSY, '5m'))} < @held_idle@\n"
    f"{alive()}\n"
    f"unless on ({RUN}) {_VALIDATING} > @mostly_validating@"
)

GPU_HELD_IDLE = Alert(
    name="GpuHeldIdle",
    expr=_HELD,
    labels=OF_RANK_GPU,
    severity=WARNING,
    hold="1h",
    why_hold="filling cache=ram or scanning a large data set takes up to an hour without the GPU",
    dashboard="yoloscope-fleet",
    fixed_by=("setup_slow", "stalled"),
    summary="GPU held for an hour or more and idle",
    what="A living run has held the GPU without using it; the utilization of the last five minutes is {{ $value | "
    "humanizePercentage }}.",
    fix="See 'State' on the dashboard Training run. In setup: the data set is scanned or cached; use cache=disk, or "
    "cache it once beforehand. In train: see TrainingStalled. Forgotten: end it (`kill`, `scancel`).",
    meaning="The process lives and names this GPU as its own, and the GPU is busy less than @held_idle%@ of the time. "
    "An hour with more than @mostly_validating%@ of validation, much of it the CPU's work, is left out. After two "
    "hours the same alert is critical.",
    verify="`nvidia-smi` shows 0 %; `py-spy dump --pid PID` shows where the process stands.",
    silence="An interactive session that may hold its GPU.",
)

GPU_HELD_IDLE_LONG = replace(
    GPU_HELD_IDLE,
    severity=CRITICAL,
    hold="2h",
    why_hold="two hours is when job_defense_shield cancels a job",
)

GPU_UTILIZATION_SWINGING = Alert(
    name="GpuUtilizationSwinging",
    expr=(
        f"({on_its_gpu(measured(IDLE, '10m'))}\n"
        f"  - on ({RUN}) group_left () (1 - avg_over_time({TRAINING}[10m]))) > @swing_share@\n"
        f"and {on_its_gpu('1 - ' + measured(BELOW_BUSY, '10m'))} > @swing_share@"
    ),
    labels=OF_RANK_GPU,
    severity=INFO,
    hold="10m",
    why_hold="an epoch or two may begin in between",
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-run",
    fixed_by=SLOWNESS,
    summary="GPU swings between busy and idle: idle {{ $value | humanizePercentage }} of the time",
    what="While training, the GPU is below 10 % for {{ $value | humanizePercentage }} of the time and above 70 % for "
    "much of the rest: it works in bursts, between which it waits.",
    fix=f"{_FEED} If one loader worker is late each time ('Batch preparation by worker' on the dashboard Data "
    "pipeline), pin threads: OMP_NUM_THREADS=1. "
    "Retries after a failed allocation (CudaAllocRetries; 'Retries' on the dashboard GPU memory) stop the GPU "
    "each time: a smaller "
    "batch, multi_scale=False.",
    meaning="From the driver's own samples, as fine as it gives them. The time in which the run was not training is "
    "subtracted from the idle share in full.",
    verify="'Utilization samples above 85 %' on the dashboard Node: far from 0 % and from 100 %.",
    silence="The run is limited by storage on purpose.",
)

GPU_STANDS_STILL = Alert(
    name="GpuStandsStill",
    expr=f"count_over_time({STANDSTILL}[10m]) >= @standstill_samples@\nand on ({RUN}) {TRAINING} >= @training_share@",
    labels=OF_RANK_GPU,
    severity=WARNING,
    hold="0m",
    why_hold="the ten minutes are in the expression",
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-data",
    fixed_by=SLOWNESS,
    summary="GPU keeps stopping for five seconds and more while training",
    what="In {{ $value }} of the last 40 evaluations the GPU had done nothing at all since the scrape before, though "
    "the run was training and no epoch began.",
    fix="Something blocks every so often: data on a network file system (copy it to a local disk), a "
    "logger that uploads in the training loop, swap. " + _FEED,
    meaning="Counted from the busy-seconds counter, so nothing between two scrapes is lost: the counter stood still "
    "over a whole scrape interval.",
    verify="'Waiting for a batch' on the dashboard Data pipeline has a second band of seconds; `yoloscope top` shows "
    "the phase in which the run waits.",
    silence="A run that shares its storage with a backup for an hour.",
)

GPU_UTILIZATION_UNEVEN = Alert(
    name="GpuUtilizationUneven",
    expr=(
        f"{GPU_BUSY}\n"
        f"< on ({RUN}) group_left () (@uneven@ * max by ({RUN}) ({GPU_BUSY}))\n"
        f"and on ({RUN}) max by ({RUN}) ({GPU_BUSY}) >= @drop_level@"
    ),
    labels=OF_RANK_GPU,
    severity=WARNING,
    hold="5m",
    why_hold="ranks do not begin an epoch in the same second",
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-ranks",
    fixed_by=("straggler",),
    summary="one GPU of the run lags behind the others at {{ $value | humanizePercentage }}",
    what="This GPU is busy {{ $value | humanizePercentage }} of the training time, less than @uneven%@ of the busiest "
    "GPU of the same run. The others look busy because they wait for it inside their kernels.",
    fix="This rank is the one that holds the run back: give its node as many workers as the others, the data on a "
    "local disk, and look for another process on its CPUs or its GPU.",
    meaning="Utilization while training, compared between the ranks of one run. In synchronous training all ranks take "
    "the same number of steps, so the idle one is late with something the others have done.",
    verify="`nvidia-smi`: the waiting ranks show 100 % at low power, this one little of both. 'Comparison of ranks' on "
    "the dashboard DDP ranks has them side by side.",
    silence="Ranks on different kinds of GPU.",
)

THROUGHPUT_REGRESSION = Alert(
    name="ThroughputRegression",
    expr=f"avg_over_time({THROUGHPUT}[15m]) / {THROUGHPUT_LEVEL} < @regression@\nand {THROUGHPUT}",
    labels=OF_RUN,
    severity=WARNING,
    hold="15m",
    why_hold="three evaluations agree",
    keep="15m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-run",
    fixed_by=SLOWNESS,
    every=DAILY,
    summary="throughput fell to {{ $value | humanizePercentage }} of the run's own level",
    what="Images per second of training are {{ $value | humanizePercentage }} of the median of the last day.",
    fix="Compare data wait and step time with yesterday's. Data wait grew: more workers, cache=ram, a local disk. Step "
    "time grew: throttling, another process on the GPU, a batch halved after running out of memory (set batch to what "
    "fits).",
    meaning="Images over the time spent in training phases, all ranks together: validation and checkpoints do not "
    "count, however often they come.",
    verify="`yoloscope report RUN` draws both over the whole run.",
    silence="The data set or augmentation was changed on purpose.",
)

ALERTS = (
    GPU_UTILIZATION_DROP,
    GPU_UTILIZATION_LOW,
    GPU_HELD_IDLE,
    GPU_HELD_IDLE_LONG,
    GPU_UTILIZATION_SWINGING,
    GPU_STANDS_STILL,
    GPU_UTILIZATION_UNEVEN,
    THROUGHPUT_REGRESSION,
)
