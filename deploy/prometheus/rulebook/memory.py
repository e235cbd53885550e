"""Is memory, of the GPU, the process or the node, about to run out?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog as c
from yoloscope_exporter.measures.formula import last
from yoloscope_exporter.measures.host import MEMORY_STALL, SHM_USED
from yoloscope_exporter.measures.memory import (
    CGROUP_FILLS,
    CGROUP_FIRST_SECONDS_LEFT,
    CGROUP_SECONDS_LEFT,
    DEVICE_FREE,
    FRAGMENTED,
    GPU_FIRST_GROWTH,
    GPU_FIRST_SECONDS_LEFT,
    HOST_FILLS,
    HOST_FIRST_SECONDS_LEFT,
    HOST_SECONDS_LEFT,
    HOST_USED,
    PEAK_SHARE,
    SETS_UP,
    gpu_left,
)
from yoloscope_exporter.measures.promql import render

from .model import (
    ALL,
    AT_ONCE,
    CRITICAL,
    NO_FLAPPING,
    NODE,
    OF_NODE,
    OF_RANK,
    OF_RANK_GPU,
    OF_RUN_ON_NODE,
    RANK,
    RANK_GPU,
    RUN_ON_NODE,
    SLOW,
    STAY_VISIBLE,
    WARNING,
    Alert,
    increase,
    measured,
    series,
)
from .records import GPU_GROWTH, GPU_GROWTH_1H, GPU_GROWTH_4H

if TYPE_CHECKING:
    from yoloscope_exporter.measures.formula import Formula
    from yoloscope_exporter.measures.measure import Measure

    from .records import Recorded

#: Which GPU a rank trains on, as 1.
_RANKS_GPU = f"max by ({RANK_GPU}) ({series(c.TRAIN_DEVICE_INFO)})"

GPU_MEMORY_NEAR_LIMIT = Alert(
    name="GpuMemoryNearLimit",
    expr=(f"{_RANKS_GPU} * on ({RANK}) group_left ()\n({measured(PEAK_SHARE, '1m')}) >= @cuda_peak_share_severe@"),
    labels=OF_RANK_GPU,
    severity=WARNING,
    hold="10m",
    why_hold="a peak in a validation or at a large image passes",
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-memory",
    fixed_by=("gpu_memory_pressure", "gpu_memory_leak", "imbalanced_memory"),
    summary="PyTorch holds {{ $value | humanizePercentage }} of the GPU's memory",
    what="PyTorch has reserved {{ $value | humanizePercentage }} of the device: one larger batch (crowded images, "
    "multi_scale) and the training fails.",
    fix="A smaller batch; `yoloscope diagnose` says which one, and with which nbs and weight_decay the optimizer's "
    "steps stay as they are. Or a smaller imgsz, amp=True, multi_scale=False. On one GPU batch=-1 measures what fits.",
    meaning="The most that PyTorch's allocator reserved, over the memory of the device.",
    verify="'Device memory by user' on the dashboard GPU memory; 'Peak in each epoch' on the dashboard GPU memory: "
    "growing over epochs means a leak.",
    silence="A run known to fit exactly.",
)

CUDA_ALLOC_RETRIES = Alert(
    name="CudaAllocRetries",
    expr=f"{increase(c.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, '5m')} > 0",
    labels=OF_RANK,
    severity=WARNING,
    hold="10m",
    why_hold="one retry while the allocator warms up is nothing",
    dashboard="yoloscope-memory",
    fixed_by=("oom_retry", "gpu_memory_pressure"),
    summary="CUDA allocations keep failing and being tried again",
    what="{{ $value | humanize }} allocations in five minutes failed, flushed PyTorch's cache and were tried again; "
    "each costs a synchronisation of the GPU, and the next step is an out-of-memory error.",
    fix="A smaller batch (half of it, if accumulation is to make up for it), multi_scale=False, or "
    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True against fragmentation.",
    meaning="The allocator's own count of retries grew in each five minutes for ten minutes.",
    verify="'Retries and out of memory' on the dashboard GPU memory; 'Step time, quantiles' on the dashboard Training "
    "run jumps with each.",
    silence="A run that ends within the hour.",
)

CUDA_OUT_OF_MEMORY = Alert(
    name="CudaOutOfMemory",
    expr=(
        f"{increase(c.TRAIN_CUDA_OOMS_TOTAL, '10m')} > 0\n"
        f"unless {increase(c.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, '15m')} > 0"
    ),
    labels=OF_RANK,
    severity=CRITICAL,
    hold="1m",
    why_hold="Ultralytics needs some seconds to halve the batch, and then it is a warning",
    keep="15m",
    why_keep=STAY_VISIBLE,
    dashboard="yoloscope-memory",
    fixed_by=("oom_retry",),
    summary="CUDA ran out of memory",
    what="The allocator reported about {{ $value | humanize }} out-of-memory errors in ten minutes and the batch was "
    "not reduced: the training failed, or computes targets on the CPU, hundreds of times slower.",
    fix="A smaller batch (`yoloscope diagnose` says which one, and what keeps the optimizer's steps), a smaller imgsz, "
    "amp=True; end other processes on the GPU (nvidia-smi).",
    meaning="Ultralytics halves the batch by itself in the first epoch of a single-process training; anywhere else an "
    "out-of-memory error is final or slow. Where it halved the batch, this is a warning.",
    verify="The traceback in the trainer's output; `nvidia-smi` for other processes.",
    silence="Searching for the largest batch on purpose.",
)

OOM_BATCH_REDUCED = Alert(
    name="CudaOutOfMemory",
    expr=f"{increase(c.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, '15m')} > 0",
    labels=OF_RANK,
    severity=WARNING,
    hold="0m",
    why_hold=AT_ONCE,
    keep="30m",
    why_keep=STAY_VISIBLE,
    dashboard="yoloscope-memory",
    fixed_by=("oom_retry",),
    summary="Ultralytics halved the batch after running out of memory",
    what="The training goes on, about {{ $value | humanize }} times with half the batch: slower than it was asked to "
    "be, and with other results.",
    fix="Start with the batch it was halved to, which fits; batch=-1 measures one. Accumulation makes up for half the "
    "batch as long as batch x accumulated batches stays at nbs. Other processes on the GPU take memory as well "
    "(nvidia-smi).",
    meaning="Ultralytics catches the error in the first epoch, at most three times, and rebuilds the loader.",
    verify="'Batch' on the dashboard Training run is smaller than the batch argument.",
    silence="The smaller batch is fine.",
)

GPU_MEMORY_FRAGMENTED = Alert(
    name="GpuMemoryFragmented",
    expr=(
        f"{_RANKS_GPU} * on ({RANK}) group_left ()\n"
        f"({measured(FRAGMENTED, '1m')}) > @fragmented@\n"
        f"and on ({RANK}) {measured(DEVICE_FREE, '1m')} < @headroom@"
    ),
    labels=OF_RANK_GPU,
    severity=WARNING,
    hold="15m",
    why_hold="the allocator gives segments back when it has to",
    dashboard="yoloscope-memory",
    fixed_by=("gpu_memory_pressure",),
    summary="{{ $value | humanizePercentage }} of the GPU's memory is reserved but fragmented and unusable",
    what="PyTorch reserved {{ $value | humanizePercentage }} of the device more than it ever used at once, and little "
    "is left: the next large block may not fit.",
    fix="PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, and multi_scale=False, which makes blocks of every size.",
    meaning="Reserved less the peak of what was allocated: blocks that differ in size leave holes. What batches free "
    "after each step is not counted, it is used again.",
    verify="'Reserved but unused, by rank' on the dashboard GPU memory; `torch.cuda.memory_summary()`.",
    silence="A run that is stable at this level.",
)

#: What grows with every batch rises in each quarter of the shortest of these windows, what grows once in an epoch in
#: those of which an epoch is no more than a quarter.
_AFTER_FIRST_EPOCH = {"20m": GPU_GROWTH, "1h": GPU_GROWTH_1H, "4h": GPU_GROWTH_4H}
#: The first epoch may leave no time for these.
_IN_FIRST_EPOCH = ("20m", "5m")


def _gpu_leaks(window: str, growth: Recorded) -> str:
    left = render(gpu_left(last(growth)), ALL, window=window)
    return f"({left})\nand on ({RANK}) {growth} >= @growth_bytes@"


def _gpu_leaks_at_once(window: str) -> str:
    growth = measured(GPU_FIRST_GROWTH, window)
    return f"({measured(GPU_FIRST_SECONDS_LEFT, window)})\nand on ({RANK}) ({growth}) >= @growth_bytes@"


GPU_MEMORY_LEAK = Alert(
    name="GpuMemoryLeak",
    expr="\nor ".join(
        [
            *(_gpu_leaks(window, growth) for window, growth in _AFTER_FIRST_EPOCH.items()),
            *map(_gpu_leaks_at_once, _IN_FIRST_EPOCH),
        ]
    ),
    labels=OF_RANK,
    severity=WARNING,
    hold="2m",
    why_hold="the time for which it has to grow is in the expression",
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-memory",
    fixed_by=("gpu_memory_leak",),
    every=SLOW,
    summary="GPU memory grows and is full in {{ $value | humanizeDuration }}",
    what="What is allocated even between batches grows steadily; at this rate the training runs out of memory in {{ "
    "$value | humanizeDuration }}.",
    fix="A callback or custom loss that keeps tensors: store numbers (loss.item()), not tensors. Until then a smaller "
    "batch delays it; resume=True goes on from the last checkpoint.",
    meaning="Valleys, four of them, rising in all by what the table says and not flattening: of five minutes each, of "
    "fifteen or of sixty, so that what grows once in an epoch of up to an hour is seen. In the first epoch caches may "
    "fill: there it is told, after five minutes, only if memory does not last for the epoch. multi_scale moves the "
    "peaks, not the valleys. What is left is free device memory and what PyTorch holds in reserve.",
    verify="'Peak in each epoch' on the dashboard GPU memory: a staircase. `torch.cuda.memory._dump_snapshot()` names "
    "the line.",
    silence="A run that ends before the memory does.",
)

SHM_NEARLY_FULL = Alert(
    name="ShmNearlyFull",
    expr=f"{measured(SHM_USED, '1m')} > @shm@",
    labels=OF_NODE,
    severity=WARNING,
    hold="5m",
    why_hold="batches in flight come and go",
    dashboard="yoloscope-node",
    fixed_by=("worker_died",),
    summary="/dev/shm is {{ $value | humanizePercentage }} full",
    what="/dev/shm is {{ $value | humanizePercentage }} full. Loader workers hand batches over through it; when it is "
    "full they die with a bus error.",
    fix="More shared memory (docker --shm-size, an emptyDir with medium Memory, mount -o remount,size=), fewer workers "
    "or a smaller batch. Remove what ended runs left: ls -la /dev/shm.",
    meaning="The fullest of the node's /dev/shm and of those that its trainings see: containers have others. Into "
    "these the exporter can look only as root or as the training's user.",
    verify="`df -h /dev/shm` in the container of the training.",
    silence="It is used by something else on purpose.",
)

_USED = measured(HOST_USED, "5m")
_STALL = measured(MEMORY_STALL, "5m")

HOST_MEMORY_PRESSURE = Alert(
    name="HostMemoryPressure",
    expr=f"{_USED} > @host_memory@\nor {_USED} and on ({NODE}) {_STALL} > @memory_stall@",
    labels=OF_NODE,
    severity=WARNING,
    hold="15m",
    why_hold="validation loaders take memory for some minutes",
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-node",
    fixed_by=("host_memory_leak",),
    summary="host memory {{ $value | humanizePercentage }} used, or tasks wait for it",
    what="{{ $value | humanizePercentage }} of the node's memory is in use, or all its tasks stood waiting for memory "
    "more than @memory_stall%@ of the time. The kernel will kill the largest process: the training.",
    fix="cache=disk instead of cache=ram, fewer workers (each holds its own buffers), a smaller batch; or fewer runs "
    "on the node.",
    meaning="Total less available, so the page cache does not count as used; or the kernel's own measure of waiting "
    "(PSI, memory full).",
    verify="`free -h`; `cat /proc/pressure/memory`; 'Memory' on the dashboard Node.",
    silence="A node that is full by design.",
)

_AVAILABLE = series(c.MEMORY_AVAILABLE_BYTES)


def _runs_out(after: Measure, fills: Formula, first: Measure, place: str) -> str:
    """In which time: after the first epoch, where nothing `fills` caches; or within the first epoch of a run there."""
    later = (
        f"({measured(after, window)} < @memory_ahead@ unless on ({place}) ({render(fills, ALL, window=window)}))"
        for window in _AFTER_FIRST_EPOCH
    )
    soon = (f"({measured(first, window)} unless on ({place}) {render(SETS_UP, ALL)})" for window in _IN_FIRST_EPOCH)
    return "(\n  " + "\n  or ".join([*later, *soon]) + "\n)"


HOST_MEMORY_RUNNING_OUT = Alert(
    name="HostMemoryRunningOut",
    expr=(
        f"{_runs_out(HOST_SECONDS_LEFT, HOST_FILLS, HOST_FIRST_SECONDS_LEFT, NODE)}\n"
        f"and on ({NODE}) {_AVAILABLE} / {series(c.MEMORY_TOTAL_BYTES)} < @memory_available@\n"
        f"and on ({NODE}) {series(c.TRAIN_UP)} == 1"
    ),
    labels=OF_NODE,
    severity=WARNING,
    hold="5m",
    why_hold="a program that starts beside the training takes memory, and stops",
    dashboard="yoloscope-node",
    fixed_by=("host_memory_leak",),
    every=SLOW,
    summary="host memory will run out in {{ $value | humanizeDuration }}",
    what="The node's available memory falls steadily; at this rate it is gone in {{ $value | humanizeDuration }}.",
    fix="A leak in the loader or in a callback: look whose resident memory grows. Workers that grow: fewer of them, "
    "cache=False. The main process: a callback that keeps results. resume=True goes on from the last checkpoint.",
    meaning="The highest available memory of four stretches, falling and not flattening, while a run is alive: of five "
    "minutes each, of fifteen or of sixty, so that what grows once in an epoch is seen. In the set-up and the first "
    "epoch of a run caches may fill: there it is told only if the processes of runs that are past it grow by at least "
    "half of the fall; or if memory does not last for the epoch, after five minutes in which the buffers were full.",
    verify="'Host memory of the run' on the dashboard GPU memory; `ps aux --sort=-rss | head`.",
    silence="The run ends sooner.",
)

_CGROUP_USED = f"{series(c.CGROUP_MEMORY_USED_BYTES)} / {series(c.CGROUP_MEMORY_LIMIT_BYTES)}"

CONTAINER_MEMORY_RUNNING_OUT = Alert(
    name="ContainerMemoryRunningOut",
    expr=(
        f"{_runs_out(CGROUP_SECONDS_LEFT, CGROUP_FILLS, CGROUP_FIRST_SECONDS_LEFT, RUN_ON_NODE)}\n"
        f"and on ({RUN_ON_NODE}) 1 - {_CGROUP_USED} < @memory_available@"
    ),
    labels=OF_RUN_ON_NODE,
    severity=WARNING,
    hold="5m",
    why_hold=HOST_MEMORY_RUNNING_OUT.why_hold,
    dashboard="yoloscope-memory",
    fixed_by=("host_memory_leak",),
    every=SLOW,
    summary="the container's memory limit is reached in {{ $value | humanizeDuration }}",
    what="What the run's container uses grows steadily; at this rate it is at its memory limit in {{ $value | "
    "humanizeDuration }}, and the kernel kills one of its processes.",
    fix="A leak in the loader or in a callback: look whose resident memory grows. Workers that grow: fewer of them, "
    "cache=False. The main process: a callback that keeps results. A higher limit (docker --memory, "
    "resources.limits.memory, sbatch --mem) delays it.",
    meaning="The same as for HostMemoryRunningOut, of the memory of the run's cgroup without the page cache that can "
    "be dropped; files in /dev/shm and other tmpfs count.",
    verify="'Host memory of the run' on the dashboard GPU memory; `cat /sys/fs/cgroup/memory.stat` in the container.",
    silence="The run ends sooner.",
)

CGROUP_OOM_KILL = Alert(
    name="CgroupOomKill",
    expr=f"{increase(c.CGROUP_OOM_KILLS_TOTAL, '10m')} > 0",
    labels=OF_RUN_ON_NODE,
    severity=CRITICAL,
    hold="0m",
    why_hold=AT_ONCE,
    keep="15m",
    why_keep=STAY_VISIBLE,
    dashboard="yoloscope-run",
    fixed_by=("worker_died", "killed"),
    summary="the kernel killed a process of the run for lack of memory",
    what="About {{ $value | humanize }} processes of the run's container were killed by the kernel in ten minutes "
    "because its memory limit was reached.",
    fix="cache=disk or cache=False instead of cache=ram, fewer workers, or a higher limit (docker --memory, "
    "resources.limits.memory, sbatch --mem). Shared memory counts against the limit too.",
    meaning="The cgroup's own count. A killed worker usually takes the training along, a killed trainer leaves no "
    "traceback.",
    verify="`cat /sys/fs/cgroup/memory.events` in the container; `journalctl -k | grep -i oom`.",
    silence="Not needed: it ends by itself.",
)

ALERTS = (
    GPU_MEMORY_NEAR_LIMIT,
    CUDA_ALLOC_RETRIES,
    CUDA_OUT_OF_MEMORY,
    OOM_BATCH_REDUCED,
    GPU_MEMORY_FRAGMENTED,
    GPU_MEMORY_LEAK,
    SHM_NEARLY_FULL,
    HOST_MEMORY_PRESSURE,
    HOST_MEMORY_RUNNING_OUT,
    CONTAINER_MEMORY_RUNNING_OUT,
    CGROUP_OOM_KILL,
)
