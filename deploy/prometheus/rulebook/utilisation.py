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
    Text,
    measured,
    series,
)
from .records import GPU_BUSY, GPU_LEVEL, STANDSTILL, THROUGHPUT, THROUGHPUT_LEVEL, TRAINING, alive, on_its_gpu

_FEED = (
    "Feed it faster: more workers (up to the number of CPUs), cache=ram, or cache=disk where memory is short, data on "
    "a local disk."
)
_FEED_ZH = "加快数据供给：增大 workers（不超过 CPU 数），cache=ram，内存不足时用 cache=disk，把数据放到本地磁盘。"

GPU_UTILIZATION_DROP = Alert(
    name="GpuUtilizationDrop",
    expr=f"{GPU_BUSY} < @drop_to@ * {GPU_LEVEL}\nand {GPU_LEVEL} >= @drop_level@",
    labels=OF_RANK_GPU,
    severity=WARNING,
    hold="2m",
    why_hold=(
        "the end of an epoch, the new workers after close_mosaic and one slow file take up to a minute",
        "epoch 结束、close_mosaic 之后重建 worker、个别慢文件，最多需要一分钟",
    ),
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-run",
    fixed_by=SLOWNESS,
    en=Text(
        summary="GPU utilization dropped to {{ $value | humanizePercentage }}",
        what="While training, the GPU is busy {{ $value | humanizePercentage }} of the time: less than @drop_to%@ of "
        "the run's usual level.",
        fix=f"If DataBound fires too: {_FEED[0].lower()}{_FEED[1:]} Otherwise look at the throttling alerts and at "
        "other processes on this GPU (nvidia-smi), and whether imgsz or multi_scale changed.",
        meaning="The GPU does less work per second of training than the median of the last hour. Validation, "
        "checkpoints and start-up are left out, and the level is the run's own: a small model that never filled the "
        "GPU does not alert.",
        verify="`yoloscope diagnose` names the cause. 'Step anatomy' on the dashboard Training run shows what takes "
        "longer than before; `nvidia-smi dmon -s pucv` shows throttling.",
        silence="The drop is wanted, for example while storage is being moved.",
    ),
    zh=Text(
        summary="GPU 利用率降到 {{ $value | humanizePercentage }}",
        what="训练过程中 GPU 只有 {{ $value | humanizePercentage }} 的时间在工作，低于该任务平时水平的 @drop_to%@。",
        fix=f"如果 DataBound 也在告警：{_FEED_ZH}否则请查看降频类告警、该 GPU 上的其他进程（nvidia-smi），"
        "以及 imgsz 或 multi_scale 是否改变。",
        meaning="与过去一小时的中位数相比，GPU 在每秒训练时间里做的工作变少了。验证、保存检查点和启动不计入；"
        "比较的是该任务自己的水平，所以本来就占不满 GPU 的小模型不会告警。",
        verify="`yoloscope diagnose` 会指出原因。仪表盘“训练任务”的“单步构成”显示哪一部分比之前更长；"
        "`nvidia-smi dmon -s pucv` 可以看到降频。",
        silence="下降是有意的，例如正在迁移存储。",
    ),
)

GPU_UTILIZATION_LOW = Alert(
    name="GpuUtilizationLow",
    expr=f"avg_over_time({GPU_BUSY}[15m]) < @gpu_low_severe@\n{alive()}",
    labels=OF_RANK_GPU,
    severity=WARNING,
    hold="15m",
    why_hold=("the first epoch fills caches and buffers", "第一个 epoch 要填充缓存和缓冲区"),
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-run",
    fixed_by=SLOWNESS,
    en=Text(
        summary="GPU busy only {{ $value | humanizePercentage }} of the training time",
        what="For half an hour the GPU has been busy {{ $value | humanizePercentage }} of the training time.",
        fix=f"If DataBound fires too: {_FEED[0].lower()}{_FEED[1:]} If not, the batches are too small for this GPU: "
        "batch=-1 chooses a larger one, amp=True, a smaller GPU or a MIG slice does as well.",
        meaning="Mean utilization over 15 minutes of training, validation left out, whatever the run did before.",
        verify="`yoloscope diagnose` tells data wait (loader_*) from small batches (small_batch).",
        silence="Short experiments and debugging on a big GPU.",
    ),
    zh=Text(
        summary="训练时 GPU 只有 {{ $value | humanizePercentage }} 的时间在工作",
        what="半小时以来，GPU 只有 {{ $value | humanizePercentage }} 的训练时间在工作。",
        fix=f"如果 DataBound 也在告警：{_FEED_ZH}否则是 batch 对这块 GPU 太小：用 batch=-1 自动选择更大的 batch，"
        "amp=True，或者换用小一些的 GPU、MIG 切片。",
        meaning="15 分钟训练时间内的平均利用率，不含验证，与该任务以前的水平无关。",
        verify="`yoloscope diagnose` 能区分等待数据（loader_*）和 batch 太小（small_batch）。",
        silence="在大 GPU 上做短实验或调试。",
    ),
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
    why_hold=(
        "filling cache=ram or scanning a large data set takes up to an hour without the GPU",
        "填充 cache=ram 或扫描大数据集最多一小时不用 GPU",
    ),
    dashboard="yoloscope-fleet",
    fixed_by=("setup_slow", "stalled"),
    en=Text(
        summary="GPU held for an hour or more and idle",
        what="A living run has held the GPU without using it; the utilization of the last five minutes is "
        "{{ $value | humanizePercentage }}.",
        fix="See 'State' on the dashboard Training run. In setup: the data set is scanned or cached; use cache=disk, "
        "or cache it "
        "once beforehand. In train: see TrainingStalled. Forgotten: end it (`kill`, `scancel`).",
        meaning="The process lives and names this GPU as its own, and the GPU is busy less than @held_idle%@ of the "
        "time. An hour with more than @mostly_validating%@ of validation, much of it the CPU's work, is left out. "
        "After two hours the same alert is critical.",
        verify="`nvidia-smi` shows 0 %; `py-spy dump --pid PID` shows where the process stands.",
        silence="An interactive session that may hold its GPU.",
    ),
    zh=Text(
        summary="GPU 被占用一小时以上却空闲",
        what="一个存活的训练任务占着 GPU 却不使用；最近五分钟利用率为 {{ $value | humanizePercentage }}。",
        fix="看仪表盘“训练任务”的“状态”。setup：正在扫描或缓存数据集，改用 cache=disk 或事先缓存一次。train：见 "
        "TrainingStalled。被遗忘的任务：结束它（`kill`、`scancel`）。",
        meaning="进程存活并登记占用该 GPU，而 GPU 忙的时间不到 @held_idle%@；"
        "一小时内验证（大部分是 CPU 的工作）超过 @mostly_validating%@ 的不计入。两小时后同一告警升为 critical。",
        verify="`nvidia-smi` 显示 0 %；`py-spy dump --pid PID` 可以看到进程停在哪里。",
        silence="允许占用 GPU 的交互会话。",
    ),
)

GPU_HELD_IDLE_LONG = replace(
    GPU_HELD_IDLE,
    severity=CRITICAL,
    hold="2h",
    why_hold=("two hours is when job_defense_shield cancels a job", "job_defense_shield 在两小时时取消任务"),
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
    why_hold=("an epoch or two may begin in between", "其间可能有一两个 epoch 开始"),
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-run",
    fixed_by=SLOWNESS,
    en=Text(
        summary="GPU swings between busy and idle: idle {{ $value | humanizePercentage }} of the time",
        what="While training, the GPU is below 10 % for {{ $value | humanizePercentage }} of the time and above 70 % "
        "for much of the rest: it works in bursts, between which it waits.",
        fix=f"{_FEED} If one loader worker is late each time ('Batch preparation by worker' on the dashboard Data "
        "pipeline), pin threads: OMP_NUM_THREADS=1. "
        "Retries after a failed allocation (CudaAllocRetries; 'Retries' on the dashboard GPU memory) stop the GPU "
        "each time: a smaller "
        "batch, multi_scale=False.",
        meaning="From the driver's own samples, as fine as it gives them. The time in which the run was not training "
        "is subtracted from the idle share in full.",
        verify="'Utilization samples above 85 %' on the dashboard Node: far from 0 % and from 100 %.",
        silence="The run is limited by storage on purpose.",
    ),
    zh=Text(
        summary="GPU 忙闲交替：{{ $value | humanizePercentage }} 的时间空闲",
        what="训练过程中，GPU 有 {{ $value | humanizePercentage }} 的时间低于 10 %，其余很多时间高于 70 %："
        "它一阵一阵地工作，中间在等待。",
        fix=f"{_FEED_ZH}如果每次都是同一个数据加载 worker 慢（仪表盘“数据管道”的“各 worker 准备 batch 的时间”），固定"
        "线程数：OMP_NUM_THREADS=1。"
        "显存分配失败后的重试（CudaAllocRetries；仪表盘“显存”的“重试”）每次都会让 GPU 停顿：减小 batch，"
        "multi_scale=False。",
        meaning="取自驱动自身的采样。任务不在训练的时间全部从空闲比例中扣除。",
        verify="仪表盘“节点”的“利用率高于 85% 的采样”：离 0% 和 100% 都很远。",
        silence="有意受限于存储的任务。",
    ),
)

GPU_STANDS_STILL = Alert(
    name="GpuStandsStill",
    expr=f"count_over_time({STANDSTILL}[10m]) >= @standstill_samples@\nand on ({RUN}) {TRAINING} >= @training_share@",
    labels=OF_RANK_GPU,
    severity=WARNING,
    hold="0m",
    why_hold=("the ten minutes are in the expression", "十分钟已包含在表达式中"),
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-data",
    fixed_by=SLOWNESS,
    en=Text(
        summary="GPU keeps stopping for five seconds and more while training",
        what="In {{ $value }} of the last 40 evaluations the GPU had done nothing at all since the scrape before, "
        "though the run was training and no epoch began.",
        fix="Something blocks every so often: data on a network file system (copy it to a local disk), a "
        "logger that uploads in the training loop, swap. " + _FEED,
        meaning="Counted from the busy-seconds counter, so nothing between two scrapes is lost: the counter stood "
        "still over a whole scrape interval.",
        verify="'Waiting for a batch' on the dashboard Data pipeline has a second band of seconds; `yoloscope top` "
        "shows the phase "
        "in which the run waits.",
        silence="A run that shares its storage with a backup for an hour.",
    ),
    zh=Text(
        summary="训练过程中 GPU 反复停顿五秒以上",
        what="最近 40 次评估中有 {{ $value }} 次，GPU 自上次抓取以来完全没有工作，而任务正在训练，也没有新的 epoch "
        "开始。",
        fix="有东西不时阻塞训练：数据在网络文件系统上（拷到本地磁盘）、在训练循环里上传的日志工具、交换分区。"
        + _FEED_ZH,
        meaning="由忙时计数器得出，两次抓取之间不会遗漏：计数器在整个抓取间隔内没有增长。",
        verify="仪表盘“数据管道”的“等待 batch”有第二条以秒计的带；`yoloscope top` 显示任务在哪个阶段等待。",
        silence="与备份共用存储的一小时。",
    ),
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
    why_hold=("ranks do not begin an epoch in the same second", "各 rank 不会在同一秒开始新的 epoch"),
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-ranks",
    fixed_by=("straggler",),
    en=Text(
        summary="one GPU of the run lags behind the others at {{ $value | humanizePercentage }}",
        what="This GPU is busy {{ $value | humanizePercentage }} of the training time, less than @uneven%@ of the "
        "busiest GPU of the same run. The others look busy because they wait for it inside their kernels.",
        fix="This rank is the one that holds the run back: give its node as many workers as the others, "
        "the data on a local disk, and look for another process on its CPUs or its GPU.",
        meaning="Utilization while training, compared between the ranks of one run. In synchronous training all ranks "
        "take the same number of steps, so the idle one is late with something the others have done.",
        verify="`nvidia-smi`: the waiting ranks show 100 % at low power, this one little of both. 'Comparison of "
        "ranks' on "
        "the dashboard DDP ranks has them side by side.",
        silence="Ranks on different kinds of GPU.",
    ),
    zh=Text(
        summary="该任务的一块 GPU 落后于其他 GPU，仅 {{ $value | humanizePercentage }}",
        what="这块 GPU 只有 {{ $value | humanizePercentage }} 的训练时间在工作，不到同一任务最忙 GPU 的 @uneven%@。"
        "其他 GPU 看起来忙，是因为它们在 CUDA kernel 里等它。",
        fix="拖慢任务的就是这个 rank：给它的节点同样多的数据加载 worker，把数据放到本地磁盘，并检查它的 CPU 和 GPU "
        "上是否有其他进程。",
        meaning=(
            "同一任务各 rank 之间比较训练时的利用率。同步训练中各 rank 步数相同，空闲的那个在其他 rank "
            "已完成的事情上落后了。"
        ),
        verify="`nvidia-smi`：等待的 rank 显示 100 % 但功耗低，这个 rank 两者都低。仪表盘“DDP 各 rank”的“各 rank”把"
        "它们并列显示。",
        silence="各 rank 使用不同型号的 GPU。",
    ),
)

THROUGHPUT_REGRESSION = Alert(
    name="ThroughputRegression",
    expr=f"avg_over_time({THROUGHPUT}[15m]) / {THROUGHPUT_LEVEL} < @regression@\nand {THROUGHPUT}",
    labels=OF_RUN,
    severity=WARNING,
    hold="15m",
    why_hold=("three evaluations agree", "连续三次评估一致"),
    keep="15m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-run",
    fixed_by=SLOWNESS,
    every=DAILY,
    en=Text(
        summary="throughput fell to {{ $value | humanizePercentage }} of the run's own level",
        what="Images per second of training are {{ $value | humanizePercentage }} of the median of the last day.",
        fix="Compare data wait and step time with yesterday's. Data wait grew: more workers, cache=ram, a local disk. "
        "Step time grew: throttling, another process on the GPU, a batch halved after running out of memory (set "
        "batch to what fits).",
        meaning="Images over the time spent in training phases, all ranks together: validation and checkpoints do not "
        "count, however often they come.",
        verify="`yoloscope report RUN` draws both over the whole run.",
        silence="The data set or augmentation was changed on purpose.",
    ),
    zh=Text(
        summary="吞吐量降到该任务自身水平的 {{ $value | humanizePercentage }}",
        what="每秒训练时间处理的图像数是过去一天中位数的 {{ $value | humanizePercentage }}。",
        fix="与昨天比较数据等待和单步时间。数据等待变长：更多 workers、cache=ram、本地磁盘。单步时间变长：降频、GPU "
        "上的其他进程、显存不足后 batch 被减半（把 batch 设为放得下的值）。",
        meaning="图像数除以训练阶段的时间，所有 rank 合计：验证和检查点无论多频繁都不计入。",
        verify="`yoloscope report RUN` 画出整个任务的两条曲线。",
        silence="有意更换了数据集或增强方式。",
    ),
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
