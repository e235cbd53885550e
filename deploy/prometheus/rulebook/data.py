"""Does the data come fast enough?"""

from __future__ import annotations

from yoloscope_exporter import catalog as c
from yoloscope_exporter.measures.host import THROTTLED

from .model import (
    AT_ONCE,
    INFO,
    LOADER,
    NO_FLAPPING,
    OF_RANK,
    OF_RUN_ON_NODE,
    RANK,
    RUN_ON_NODE,
    STAY_VISIBLE,
    WARNING,
    Alert,
    Text,
    increase,
    measured,
    series,
)
from .records import DATA_WAIT, ENOUGH_TRAINING

DATA_BOUND = Alert(
    name="DataBound",
    expr=f"{DATA_WAIT} > @input_share_severe@\nand on ({RANK}) {ENOUGH_TRAINING}",
    labels=OF_RANK,
    severity=WARNING,
    hold="10m",
    why_hold=("caches fill and readers settle in the first minutes", "最初几分钟缓存在填充，读取尚未稳定"),
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-data",
    fixed_by=LOADER,
    en=Text(
        summary="training waits for data {{ $value | humanizePercentage }} of the time",
        what="{{ $value | humanizePercentage }} of the training time goes into waiting for the next batch; the GPU "
        "is idle meanwhile.",
        fix="Verdict loader_workers: more workers, up to the number of CPUs. loader_io: cache=ram, or cache=disk on a "
        "local disk. loader_cpu: smaller images on disk (imgsz), less mosaic, more CPUs. cpu_throttled: a higher CPU "
        "limit, or workers equal to it.",
        meaning="Data wait over step time, for five minutes; first batches of epochs are left out of both (their wait "
        "is workers starting), as are validation and checkpoints. From @input_share%@ on it is for the dashboards.",
        verify="`yoloscope diagnose` tells too few workers, slow storage, heavy augmentation and a CPU quota apart, "
        "with the number of workers needed.",
        silence="A run on slow storage that is not urgent.",
    ),
    zh=Text(
        summary="{{ $value | humanizePercentage }} 的训练时间在等待数据",
        what="{{ $value | humanizePercentage }} 的训练时间用于等待下一个 batch，期间 GPU 空闲。",
        fix="诊断为 loader_workers：增大 workers，不超过 CPU 数。loader_io：cache=ram，或在本地磁盘上用 cache=disk。"
        "loader_cpu：磁盘上存更小的图像（imgsz），减少 mosaic，更多 CPU。cpu_throttled：提高 CPU 限额，或让 workers "
        "等于限额。",
        meaning=(
            "五分钟内等待数据占训练步时间的比例；都不含每个 epoch 的第一个 batch（启动 worker）、验证和检查点。达到 "
            "@input_share%@ 起只显示在仪表盘上。"
        ),
        verify="`yoloscope diagnose` 能区分数据加载 worker 太少、存储慢、增强太重和 CPU 限额，并给出所需的 worker 数。",
        silence="在慢存储上运行、并不着急的任务。",
    ),
)

DATA_BOUND_MILD = Alert(
    name="DataBound",
    expr=f"{DATA_WAIT} >= @input_share@ <= @input_share_severe@\nand on ({RANK}) {ENOUGH_TRAINING}",
    labels=OF_RANK,
    severity=INFO,
    hold="30m",
    why_hold=("a small loss matters only if it lasts", "小的损失只有持续存在才重要"),
    dashboard="yoloscope-data",
    fixed_by=LOADER,
    en=Text(
        summary="training waits for data {{ $value | humanizePercentage }} of the time",
        what="{{ $value | humanizePercentage }} of the training time has gone into waiting for data for half an hour.",
        fix="A few more workers usually suffice; cache=ram where the data set fits into memory.",
        meaning="As DataBound, between @input_share%@ and @input_share_severe%@.",
        verify="`yoloscope diagnose` gives the number of workers needed.",
        silence="Not needed: nobody is notified, it is on the dashboards only.",
    ),
    zh=Text(
        summary="{{ $value | humanizePercentage }} 的训练时间在等待数据",
        what="半小时以来，{{ $value | humanizePercentage }} 的训练时间用于等待数据。",
        fix="通常再加几个数据加载 worker 就够了；内存放得下数据集时用 cache=ram。",
        meaning="同 DataBound，但在 @input_share%@ 与 @input_share_severe%@ 之间。",
        verify="`yoloscope diagnose` 给出所需的 worker 数。",
        silence="不会通知任何人，只显示在仪表盘上。",
    ),
)

LOADER_WORKER_DIED = Alert(
    name="LoaderWorkerDied",
    expr=f"{increase(c.TRAIN_WORKER_DEATHS_TOTAL, '10m')} > 0",
    labels=OF_RANK,
    severity=WARNING,
    hold="0m",
    why_hold=AT_ONCE,
    keep="15m",
    why_keep=STAY_VISIBLE,
    dashboard="yoloscope-data",
    fixed_by=("worker_died",),
    en=Text(
        summary="a loader worker exited unexpectedly",
        what="About {{ $value | humanize }} loader workers ended by a signal or an error in the last ten minutes; the "
        "training usually fails with 'DataLoader worker is killed'.",
        fix="Killed for memory (see CgroupOomKill, HostMemoryPressure): fewer workers, cache=False, more memory. Bus "
        "error: more shared memory (docker --shm-size, or --ipc=host). Segmentation fault: a broken image or "
        "library; train once with workers=0 to see the traceback.",
        meaning=(
            "A worker that ends with its epoch, or is started anew by close_mosaic or after an OOM, does not count."
        ),
        verify="`journalctl -k | grep -i -e oom -e segfault` on the node.",
        silence="Not needed: it ends by itself.",
    ),
    zh=Text(
        summary="有数据加载 worker 异常退出",
        what="最近十分钟约有 {{ $value | humanize }} 个 worker 因信号或错误结束；训练通常会以 "
        "'DataLoader worker is killed' 失败。",
        fix="因内存被杀（见 CgroupOomKill、HostMemoryPressure）：减少 workers、cache=False、更多内存。Bus error："
        "增大共享内存（docker --shm-size，或 --ipc=host）。段错误：图像或库损坏；用 workers=0 训练一次看堆栈。",
        meaning="随 epoch 结束的、因 close_mosaic 或显存不足而重建的 worker 不计入。",
        verify="在节点上执行 `journalctl -k | grep -i -e oom -e segfault`。",
        silence="不需要：它会自行结束。",
    ),
)

LOADER_WORKERS_RESTARTING = Alert(
    name="LoaderWorkersRestarting",
    expr=(
        f"{increase(c.TRAIN_WORKER_RESTARTS_TOTAL, '30m')}\n> @restarts_per_worker@ * ({series(c.TRAIN_WORKERS)} > 0)"
    ),
    labels=OF_RANK,
    severity=WARNING,
    hold="5m",
    why_hold=("a rebuild starts all workers within seconds", "一次重建会在几秒内启动全部 worker"),
    dashboard="yoloscope-data",
    en=Text(
        summary="loader workers restart repeatedly",
        what="{{ $value | humanize }} loader workers were started again within half an hour; close_mosaic and the "
        "rebuilds after an OOM account for three rounds at most. Each round empties the queue.",
        fix="Ultralytics keeps its workers over epochs. If a custom trainer builds a new loader per epoch, keep one "
        "(InfiniteDataLoader, persistent_workers=True); if the batch is halved again and again, set batch to what "
        "fits.",
        meaning="Restarts per worker in half an hour, compared with the most that Ultralytics does by itself.",
        verify="The marks 'Loader workers restarted' on the dashboard Data pipeline, beside the epochs.",
        silence="A trainer that does so on purpose.",
    ),
    zh=Text(
        summary="数据加载 worker 被反复重启",
        what=(
            "半小时内重启了 {{ $value | humanize }} 个 worker；close_mosaic 和显存不足后的重建最多三轮。"
            "每一轮都会清空队列。"
        ),
        fix="Ultralytics 会跨 epoch 保留数据加载 worker。如果自定义 trainer 每个 epoch 新建 loader，请只建一个"
        "（InfiniteDataLoader、persistent_workers=True）；如果 batch 被反复减半，把 batch 设为放得下的值。",
        meaning="半小时内每个 worker 的重启次数，与 Ultralytics 自身最多的次数比较。",
        verify="仪表盘“数据管道”的“数据加载 worker 重启”标记，与 epoch 并列。",
        silence="有意如此的 trainer。",
    ),
)

CPU_QUOTA_THROTTLING = Alert(
    name="CpuQuotaThrottling",
    expr=(f"{measured(THROTTLED, '5m')} >= @throttled_share@\nand on ({RUN_ON_NODE}) {DATA_WAIT} > @input_share@"),
    labels=OF_RUN_ON_NODE,
    severity=WARNING,
    hold="10m",
    why_hold=(
        "decoding bursts at the start of an epoch hit the quota without harm",
        "每个 epoch 开始时的解码高峰触及限额并无害处",
    ),
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-data",
    fixed_by=("cpu_throttled",),
    en=Text(
        summary="the CPU quota stops the training in {{ $value | humanizePercentage }} of its periods",
        what="The container's CPU limit stops its processes in {{ $value | humanizePercentage }} of its periods, "
        "and the training waits for data.",
        fix="Raise the limit (docker --cpus, resources.limits.cpu), or take no more workers than it allows: workers = "
        "limit - 1, OMP_NUM_THREADS=1. Ultralytics counts the node's CPUs, not the container's.",
        meaning="Throttled periods of the run's cgroup over all its periods (of an exporter of version 0.1: throttled "
        "seconds per second), only where the training waits for data as well: a quota that is reached but costs "
        "nothing does not alert.",
        verify="`cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.stat` in the container.",
        silence="A run that must make do with its limit.",
    ),
    zh=Text(
        summary="CPU 限额使训练在 {{ $value | humanizePercentage }} 的周期中停顿",
        what="容器的 CPU 限额使其进程在 {{ $value | humanizePercentage }} 的周期（100 ms）中停顿，训练因此等待数据。",
        fix="提高限额（docker --cpus、resources.limits.cpu），或不要超过它：workers = 限额 - 1，OMP_NUM_THREADS=1。"
        "Ultralytics 按节点而不是容器的 CPU 数计算。",
        meaning="该任务 cgroup 被限的周期占全部周期的比例（0.1 版 exporter 为每秒被限的秒数），"
        "且仅当训练也在等待数据时：触及限额但没有代价时不告警。",
        verify="在容器内执行 `cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.stat`。",
        silence="必须在限额内运行的任务。",
    ),
)

ALERTS = (DATA_BOUND, DATA_BOUND_MILD, LOADER_WORKER_DIED, LOADER_WORKERS_RESTARTING, CPU_QUOTA_THROTTLING)
