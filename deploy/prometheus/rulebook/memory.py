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
    Text,
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
    why_hold=("a peak in a validation or at a large image passes", "验证或大图像造成的峰值会过去"),
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-memory",
    fixed_by=("gpu_memory_pressure", "gpu_memory_leak", "imbalanced_memory"),
    en=Text(
        summary="PyTorch holds {{ $value | humanizePercentage }} of the GPU's memory",
        what="PyTorch has reserved {{ $value | humanizePercentage }} of the device: one larger batch (crowded images, "
        "multi_scale) and the training fails.",
        fix="A smaller batch; `yoloscope diagnose` says which one, and with which nbs and weight_decay the optimizer's "
        "steps stay as they are. Or a smaller imgsz, amp=True, multi_scale=False. On one GPU batch=-1 measures what "
        "fits.",
        meaning="The most that PyTorch's allocator reserved, over the memory of the device.",
        verify="'Device memory by user' on the dashboard GPU memory; 'Peak in each epoch' on the dashboard GPU "
        "memory: growing over epochs means a leak.",
        silence="A run known to fit exactly.",
    ),
    zh=Text(
        summary="PyTorch 占用了 GPU 显存的 {{ $value | humanizePercentage }}",
        what=(
            "PyTorch 已保留显存的 {{ $value | humanizePercentage }}：再来一个更大的 batch（目标密集的图像、"
            "multi_scale）"
            "训练就会失败。"
        ),
        fix="减小 batch：`yoloscope diagnose` 会给出放得下的 batch，以及保持优化步不变所需的 nbs 和 weight_decay；"
        "或减小 imgsz、amp=True、multi_scale=False。单 GPU 时 batch=-1 会测量放得下的 batch。",
        meaning="PyTorch 保留显存的最大值与设备显存之比。",
        verify="仪表盘“显存”的“显存按用途”；仪表盘“显存”的“每个 epoch 的峰值”：逐个 epoch 增长说明有泄漏。",
        silence="已知刚好放得下的任务。",
    ),
)

CUDA_ALLOC_RETRIES = Alert(
    name="CudaAllocRetries",
    expr=f"{increase(c.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, '5m')} > 0",
    labels=OF_RANK,
    severity=WARNING,
    hold="10m",
    why_hold=("one retry while the allocator warms up is nothing", "分配器预热时的一次重试无关紧要"),
    dashboard="yoloscope-memory",
    fixed_by=("oom_retry", "gpu_memory_pressure"),
    en=Text(
        summary="CUDA allocations keep failing and being tried again",
        what="{{ $value | humanize }} allocations in five minutes failed, flushed PyTorch's cache and were tried "
        "again; each costs a synchronisation of the GPU, and the next step is an out-of-memory error.",
        fix="A smaller batch (half of it, if accumulation is to make up for it), multi_scale=False, or "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True against fragmentation.",
        meaning="The allocator's own count of retries grew in each five minutes for ten minutes.",
        verify="'Retries and out of memory' on the dashboard GPU memory; 'Step time, quantiles' on the dashboard "
        "Training run jumps with each.",
        silence="A run that ends within the hour.",
    ),
    zh=Text(
        summary="CUDA 显存分配不断失败重试",
        what=(
            "五分钟内有 {{ $value | humanize }} 次分配失败、清空 PyTorch 缓存后重试；每次都会同步 GPU，"
            "再下一步就是显存不足错误。"
        ),
        fix="减小 batch（减半时梯度累积可以补足）、multi_scale=False，或用 "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True 缓解碎片。",
        meaning="分配器自身的重试计数在十分钟内持续增长。",
        verify="仪表盘“显存”的“重试与显存不足”；仪表盘“训练任务”的“单步时间分位数”随每次重试跳升。",
        silence="一小时内就结束的任务。",
    ),
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
    why_hold=(
        "Ultralytics needs some seconds to halve the batch, and then it is a warning",
        "Ultralytics 需要几秒钟把 batch 减半，之后只是 warning",
    ),
    keep="15m",
    why_keep=STAY_VISIBLE,
    dashboard="yoloscope-memory",
    fixed_by=("oom_retry",),
    en=Text(
        summary="CUDA ran out of memory",
        what="The allocator reported about {{ $value | humanize }} out-of-memory errors in ten minutes and the batch "
        "was not reduced: the training failed, or computes targets on the CPU, hundreds of times slower.",
        fix="A smaller batch (`yoloscope diagnose` says which one, and what keeps the optimizer's steps), a smaller "
        "imgsz, amp=True; end other processes on the GPU (nvidia-smi).",
        meaning="Ultralytics halves the batch by itself in the first epoch of a single-process training; anywhere else "
        "an out-of-memory error is final or slow. Where it halved the batch, this is a warning.",
        verify="The traceback in the trainer's output; `nvidia-smi` for other processes.",
        silence="Searching for the largest batch on purpose.",
    ),
    zh=Text(
        summary="CUDA 显存不足",
        what=(
            "分配器十分钟内报告约 {{ $value | humanize }} 次显存不足，而 batch 没有减小：训练已失败，或改在 CPU "
            "上计算目标，"
            "慢数百倍。"
        ),
        fix="减小 batch（`yoloscope diagnose` 会给出数值以及保持优化步不变的方法）、减小 imgsz、amp=True；结束 GPU "
        "上的其他进程（nvidia-smi）。",
        meaning="单进程训练的第一个 epoch 中 Ultralytics 会自动把 batch 减半；其他情况下显存不足要么终止训练，"
        "要么使其极慢。已减半时为 warning。",
        verify="训练输出中的堆栈；用 `nvidia-smi` 查看其他进程。",
        silence="有意寻找最大 batch 时。",
    ),
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
    en=Text(
        summary="Ultralytics halved the batch after running out of memory",
        what="The training goes on, about {{ $value | humanize }} times with half the batch: slower than it was asked "
        "to be, and with other results.",
        fix="Start with the batch it was halved to, which fits; batch=-1 measures one. Accumulation makes up for half "
        "the batch as long as batch x accumulated batches stays at nbs. Other processes on the GPU take memory as well "
        "(nvidia-smi).",
        meaning="Ultralytics catches the error in the first epoch, at most three times, and rebuilds the loader.",
        verify="'Batch' on the dashboard Training run is smaller than the batch argument.",
        silence="The smaller batch is fine.",
    ),
    zh=Text(
        summary="显存不足后 Ultralytics 将 batch 减半",
        what="训练继续，batch 约 {{ $value | humanize }} 次减半：比要求的慢，结果也会不同。",
        fix="一开始就用减半后的 batch（放得下），或用 batch=-1 自动测量。只要 batch 乘以累积的 batch 数仍等于 nbs，"
        "梯度累积就能补足减半的 batch。GPU 上的其他进程也占显存（nvidia-smi）。",
        meaning="Ultralytics 在第一个 epoch 捕获该错误，最多三次，并重建 loader。",
        verify="仪表盘“训练任务”的“batch size 与累积”小于 batch 参数。",
        silence="较小的 batch 可以接受。",
    ),
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
    why_hold=("the allocator gives segments back when it has to", "分配器在必要时会归还段"),
    dashboard="yoloscope-memory",
    fixed_by=("gpu_memory_pressure",),
    en=Text(
        summary="{{ $value | humanizePercentage }} of the GPU's memory is reserved but fragmented and unusable",
        what="PyTorch reserved {{ $value | humanizePercentage }} of the device more than it ever used at once, and "
        "little is left: the next large block may not fit.",
        fix=(
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, and multi_scale=False, which makes blocks of every size."
        ),
        meaning="Reserved less the peak of what was allocated: blocks that differ in size leave holes. What batches "
        "free after each step is not counted, it is used again.",
        verify="'Reserved but unused, by rank' on the dashboard GPU memory; `torch.cuda.memory_summary()`.",
        silence="A run that is stable at this level.",
    ),
    zh=Text(
        summary="{{ $value | humanizePercentage }} 的显存被保留却是无法使用的碎片",
        what=(
            "PyTorch 保留的显存比曾经同时用到的多出 {{ $value | humanizePercentage }}，而剩余很少："
            "下一个大块可能放不下。"
        ),
        fix="PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True，以及 multi_scale=False（它会产生各种大小的块）。",
        meaning="保留显存减去分配峰值：大小不一的块会留下空洞。每步之后释放的显存会被再次使用，不计入。",
        verify="仪表盘“显存”的“已保留但未使用（按 rank）”；`torch.cuda.memory_summary()`。",
        silence="在这一水平上稳定的任务。",
    ),
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
    why_hold=("the time for which it has to grow is in the expression", "需要持续增长的时间已包含在表达式中"),
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-memory",
    fixed_by=("gpu_memory_leak",),
    every=SLOW,
    en=Text(
        summary="GPU memory grows and is full in {{ $value | humanizeDuration }}",
        what="What is allocated even between batches grows steadily; at this rate the training runs "
        "out of memory in {{ $value | humanizeDuration }}.",
        fix="A callback or custom loss that keeps tensors: store numbers (loss.item()), not tensors. Until then "
        "a smaller batch delays it; resume=True goes on from the last checkpoint.",
        meaning="Valleys, four of them, rising in all by what the table says and not flattening: of five minutes each, "
        "of fifteen or of sixty, so that what grows once in an epoch of up to an hour is seen. In the first epoch "
        "caches may fill: there it is told, after five minutes, only if memory does not last for the epoch. "
        "multi_scale moves the peaks, not the valleys. What is left is free device memory and what PyTorch holds in "
        "reserve.",
        verify="'Peak in each epoch' on the dashboard GPU memory: a staircase. `torch.cuda.memory._dump_snapshot()` "
        "names the line.",
        silence="A run that ends before the memory does.",
    ),
    zh=Text(
        summary="显存持续增长，{{ $value | humanizeDuration }}后耗尽",
        what="batch 之间仍被占用的显存在持续增长；按此速度，显存将在 {{ $value | humanizeDuration }}后耗尽。",
        fix="某个回调或自定义损失保留了张量：请保存数值（loss.item()），不要保存张量。在此之前减小 batch 可以推迟；"
        "resume=True 从上一个检查点继续。",
        meaning="四个谷值依次升高，增长达到下表的阈值且没有变缓：每个谷值取五分钟、十五分钟或一小时，因此也能发现在"
        "不超过一小时的 epoch 中每个 epoch 增长一次的泄漏。首个 epoch 中缓存可能正在填充：五分钟后，仅当显存不足以完成"
        "该 epoch 时才告警。multi_scale 影响峰值，不影响谷值。剩余量为空闲显存加 PyTorch 的保留显存。",
        verify="仪表盘“显存”的“每个 epoch 的峰值”呈阶梯状。`torch.cuda.memory._dump_snapshot()` 可定位到代码行。",
        silence="在显存用完之前就会结束的任务。",
    ),
)

SHM_NEARLY_FULL = Alert(
    name="ShmNearlyFull",
    expr=f"{measured(SHM_USED, '1m')} > @shm@",
    labels=OF_NODE,
    severity=WARNING,
    hold="5m",
    why_hold=("batches in flight come and go", "传递中的 batch 时多时少"),
    dashboard="yoloscope-node",
    fixed_by=("worker_died",),
    en=Text(
        summary="/dev/shm is {{ $value | humanizePercentage }} full",
        what="/dev/shm is {{ $value | humanizePercentage }} full. Loader workers hand batches over through it; when it "
        "is full they die with a bus error.",
        fix="More shared memory (docker --shm-size, an emptyDir with medium Memory, mount -o remount,size=), fewer "
        "workers or a smaller batch. Remove what ended runs left: ls -la /dev/shm.",
        meaning="The fullest of the node's /dev/shm and of those that its trainings see: containers have others. "
        "Into these the exporter can look only as root or as the training's user.",
        verify="`df -h /dev/shm` in the container of the training.",
        silence="It is used by something else on purpose.",
    ),
    zh=Text(
        summary="/dev/shm 已用 {{ $value | humanizePercentage }}",
        what="/dev/shm 已用 {{ $value | humanizePercentage }}。数据加载 worker 通过它传递 batch，写满后会因 bus error "
        "异常退出。",
        fix="增大共享内存（docker --shm-size、medium 为 Memory 的 emptyDir、mount -o remount,size=），减少数据加载 "
        "worker 或减小 batch。清理已结束的训练任务留下的文件：ls -la /dev/shm。",
        meaning="取节点的 /dev/shm 与各训练任务所见的 /dev/shm（容器中是另一个）中最满的一个。"
        "后者需要 exporter 以 root 或训练用户的身份运行才能看到。",
        verify="在训练容器内执行 `df -h /dev/shm`。",
        silence="有意把它用于其他用途。",
    ),
)

_USED = measured(HOST_USED, "5m")
_STALL = measured(MEMORY_STALL, "5m")

HOST_MEMORY_PRESSURE = Alert(
    name="HostMemoryPressure",
    expr=f"{_USED} > @host_memory@\nor {_USED} and on ({NODE}) {_STALL} > @memory_stall@",
    labels=OF_NODE,
    severity=WARNING,
    hold="15m",
    why_hold=("validation loaders take memory for some minutes", "验证用的 worker 会占用几分钟内存"),
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-node",
    fixed_by=("host_memory_leak",),
    en=Text(
        summary="host memory {{ $value | humanizePercentage }} used, or tasks wait for it",
        what="{{ $value | humanizePercentage }} of the node's memory is in use, or all its tasks stood waiting for "
        "memory more than @memory_stall%@ of the time. The kernel will kill the largest process: the training.",
        fix="cache=disk instead of cache=ram, fewer workers (each holds its own buffers), a smaller batch; "
        "or fewer runs on the node.",
        meaning="Total less available, so the page cache does not count as used; or the kernel's own measure of "
        "waiting (PSI, memory full).",
        verify="`free -h`; `cat /proc/pressure/memory`; 'Memory' on the dashboard Node.",
        silence="A node that is full by design.",
    ),
    zh=Text(
        summary="主机内存已用 {{ $value | humanizePercentage }}，或任务在等待内存",
        what="节点内存已用 {{ $value | humanizePercentage }}，或全部任务超过 @memory_stall%@ 的时间在等待内存。"
        "内核将杀死最大的进程，也就是训练。",
        fix="用 cache=disk 代替 cache=ram，减少数据加载 worker（每个都有自己的缓冲），减小 batch；"
        "或减少该节点上的训练任务。",
        meaning="总量减可用量，页缓存不算已用；或内核自己的等待度量（PSI，memory full）。",
        verify="`free -h`；`cat /proc/pressure/memory`；仪表盘“节点”的“内存”。",
        silence="有意用满内存的节点。",
    ),
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
    why_hold=(
        "a program that starts beside the training takes memory, and stops",
        "训练旁边启动的程序会占用内存，但会停止",
    ),
    dashboard="yoloscope-node",
    fixed_by=("host_memory_leak",),
    every=SLOW,
    en=Text(
        summary="host memory will run out in {{ $value | humanizeDuration }}",
        what="The node's available memory falls steadily; at this rate it is gone in {{ $value | humanizeDuration }}.",
        fix="A leak in the loader or in a callback: look whose resident memory grows. Workers that grow: fewer of "
        "them, cache=False. The main process: a callback that keeps results. resume=True goes on from the last "
        "checkpoint.",
        meaning="The highest available memory of four stretches, falling and not flattening, while a run is alive: of "
        "five minutes each, of fifteen or of sixty, so that what grows once in an epoch is seen. In the set-up and the "
        "first epoch of a run caches may fill: there it is told only if the processes of runs that are past it grow by "
        "at least half of the fall; or if memory does not last for the epoch, after five minutes in which the buffers "
        "were full.",
        verify="'Host memory of the run' on the dashboard GPU memory; `ps aux --sort=-rss | head`.",
        silence="The run ends sooner.",
    ),
    zh=Text(
        summary="主机内存将在 {{ $value | humanizeDuration }}后耗尽",
        what="节点可用内存在持续下降；按此速度将在 {{ $value | humanizeDuration }}后耗尽。",
        fix="数据加载 worker 或回调有泄漏：看哪一类进程的常驻内存在增长。worker：减少数量，cache=False。"
        "主进程：某个回调保留了结果。resume=True 从上一个检查点继续。",
        meaning="四个时段内可用内存的最大值依次下降且没有变缓，仅当有训练任务存活：每个时段为"
        "五分钟、十五分钟或一小时，因此也能发现每个 epoch 增长一次的泄漏。setup 和首个 epoch 中缓存可能正在填充："
        "此时仅当已过首个 epoch 的任务的进程增长至少达到下降量的一半，或缓冲填满并再过五分钟后内存不足以完成该 epoch "
        "时才告警。",
        verify="仪表盘“显存”的“任务的主机内存”；`ps aux --sort=-rss | head`。",
        silence="任务会更早结束。",
    ),
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
    en=Text(
        summary="the container's memory limit is reached in {{ $value | humanizeDuration }}",
        what="What the run's container uses grows steadily; at this rate it is at its memory limit in "
        "{{ $value | humanizeDuration }}, and the kernel kills one of its processes.",
        fix="A leak in the loader or in a callback: look whose resident memory grows. Workers that grow: fewer of "
        "them, cache=False. The main process: a callback that keeps results. A higher limit (docker --memory, "
        "resources.limits.memory, sbatch --mem) delays it.",
        meaning="The same as for HostMemoryRunningOut, of the memory of the run's cgroup without the page cache that "
        "can be dropped; files in /dev/shm and other tmpfs count.",
        verify="'Host memory of the run' on the dashboard GPU memory; `cat /sys/fs/cgroup/memory.stat` in the "
        "container.",
        silence="The run ends sooner.",
    ),
    zh=Text(
        summary="容器将在 {{ $value | humanizeDuration }}后达到内存上限",
        what="该任务容器的内存用量在持续增长；按此速度将在 {{ $value | humanizeDuration }}后达到上限，"
        "内核会杀死其中一个进程。",
        fix="数据加载 worker 或回调有泄漏：看哪一类进程的常驻内存在增长。worker：减少数量，cache=False。"
        "主进程：某个回调保留了结果。提高上限（docker --memory、resources.limits.memory、sbatch --mem）只能推迟。",
        meaning="与 HostMemoryRunningOut 相同，但针对该任务 cgroup 的内存，不含可丢弃的页缓存；"
        "/dev/shm 等 tmpfs 中的文件计入。",
        verify="仪表盘“显存”的“任务的主机内存”；在容器内执行 `cat /sys/fs/cgroup/memory.stat`。",
        silence="任务会更早结束。",
    ),
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
    en=Text(
        summary="the kernel killed a process of the run for lack of memory",
        what="About {{ $value | humanize }} processes of the run's container were killed by the kernel in ten minutes "
        "because its memory limit was reached.",
        fix="cache=disk or cache=False instead of cache=ram, fewer workers, or a higher limit (docker "
        "--memory, resources.limits.memory, sbatch --mem). Shared memory counts against the limit too.",
        meaning="The cgroup's own count. A killed worker usually takes the training along, a killed trainer leaves no "
        "traceback.",
        verify="`cat /sys/fs/cgroup/memory.events` in the container; `journalctl -k | grep -i oom`.",
        silence="Not needed: it ends by itself.",
    ),
    zh=Text(
        summary="内核因内存不足杀死了该任务的进程",
        what="十分钟内约有 {{ $value | humanize }} 个进程因容器达到内存上限被内核杀死。",
        fix="用 cache=disk 或 cache=False 代替 cache=ram，减少数据加载 worker，或提高上限（docker --memory、"
        "resources.limits.memory、sbatch --mem）。共享内存也计入上限。",
        meaning="cgroup 自身的计数。worker 被杀通常会使训练失败；训练进程被杀不会留下堆栈。",
        verify="在容器内执行 `cat /sys/fs/cgroup/memory.events`；`journalctl -k | grep -i oom`。",
        silence="不需要：它会自行结束。",
    ),
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
