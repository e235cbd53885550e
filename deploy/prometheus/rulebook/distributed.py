"""Do the ranks of a run keep the same pace?"""

from __future__ import annotations

from yoloscope_exporter import catalog as c
from yoloscope_exporter.measures.training import EXPOSED

from .model import INFO, NO_FLAPPING, OF_RANK, OF_RUN, RANK, RUN, WARNING, Alert, Text, measured, series
from .records import DATA_WAIT, ENOUGH_TRAINING, LAG, TRAINING, alive

STRAGGLER_RANK = Alert(
    name="StragglerRank",
    expr=(f"{LAG} >= @lag@\nand on ({RUN}) {TRAINING} >= @training_share@"),
    labels=OF_RANK,
    severity=WARNING,
    hold="10m",
    why_hold=("a rank may draw crowded images for some minutes", "某个 rank 可能连续几分钟抽到目标密集的图像"),
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-ranks",
    fixed_by=("straggler",),
    en=Text(
        summary="this rank needs {{ $value | humanizePercentage }} longer per batch than the others",
        what="Without waiting for its peers, the rank takes {{ $value | humanizePercentage }} longer per batch than "
        "the mean of the others; all others wait for it in every step.",
        fix="Its data wait is larger: as many workers there as elsewhere, data on a local disk. Its forward or "
        "backward is larger: throttling (GpuThermalSlowdown), another process on its GPU, a slower kind of GPU. One "
        "bad node: leave it out (device=, the scheduler's exclude list).",
        meaning="Step time per batch without the wait for peers, against the mean of the run's other ranks. Only where "
        "the hooks can split backward into work and waiting (DDP).",
        verify="'Comparison of ranks' on the dashboard DDP ranks: the straggler has the most own time and waits "
        "least for "
        "its peers.",
        silence="Ranks on different kinds of GPU.",
    ),
    zh=Text(
        summary="该 rank 每个 batch 的用时比其他 rank 长 {{ $value | humanizePercentage }}",
        what="不计等待其他 rank 的时间，该 rank 每个 batch 的用时比其他 rank 的均值长 "
        "{{ $value | humanizePercentage }}；"
        "每一步其他 rank 都在等它。",
        fix="数据等待更长：同样多的 workers，数据放本地磁盘。前向或反向更长：降频（GpuThermalSlowdown）、GPU "
        "上有其他进程、GPU 型号较慢。个别节点有问题：排除它（device=、调度器的排除列表）。",
        meaning=(
            "每个 batch 的训练步时间（不含等待其他 rank），与该任务其他 rank 的均值比较。"
            "仅当 hooks 能把反向传播拆成计算与等待时（DDP）。"
        ),
        verify="仪表盘“DDP 各 rank”的“各 rank”：最慢的 rank 自身时间最长，等待时间最短。",
        silence="各 rank 使用不同型号的 GPU。",
    ),
)

RANKS_MISSING = Alert(
    name="RanksMissing",
    expr=(
        f"max by ({RUN}, world_size) ({series(c.TRAIN_RUN_INFO, world_size='!~0?|1')} {alive()})\n"
        f"* on ({RUN}) group_left () count by ({RUN}) ({series(c.TRAIN_UP)} == 1)\n"
        f"unless on ({RUN}, world_size)\n"
        f'  count_values by ({RUN}) ("world_size", count by ({RUN}) ({series(c.TRAIN_UP)} == 1))\n'
        f"and on ({RUN}) {TRAINING} == 1"
    ),
    labels=OF_RUN,
    severity=WARNING,
    hold="5m",
    why_hold=("ranks start and end some seconds apart", "各 rank 启动和结束相差数秒"),
    dashboard="yoloscope-ranks",
    en=Text(
        summary="only {{ $value }} of {{ $labels.world_size }} ranks report",
        what="{{ $value }} of {{ $labels.world_size }} ranks are seen; data wait and failures of the others "
        "go unnoticed.",
        fix="Start with `yoloscope run -- yolo detect train device=0,1 ...`, which reaches every rank; "
        "yoloscope_hooks.attach reaches them from Ultralytics 8.4.140 on. A node without exporter, or with "
        "another YOLOSCOPE_DIR, hides its ranks as well.",
        meaning="Living ranks against the world size that they themselves state, while all that report are training. "
        "What dead ranks stated does not count: a run may be resumed with fewer.",
        verify="`ls /dev/shm/yoloscope/*` on each node: one record per rank.",
        silence="Ranks on nodes that are not monitored.",
    ),
    zh=Text(
        summary="{{ $labels.world_size }} 个 rank 中只有 {{ $value }} 个上报",
        what="{{ $labels.world_size }} 个 rank 中只看到 {{ $value }} 个；其余 rank 等待数据或异常退出都不会被发现。",
        fix="用 `yoloscope run -- yolo detect train device=0,1 ...` 启动，可覆盖所有 rank；yoloscope_hooks.attach 从 "
        "Ultralytics 8.4.140 起可覆盖。没有 exporter、或 YOLOSCOPE_DIR 不同的节点也会隐藏其 rank。",
        meaning="存活的 rank 数与它们自己声明的 world size 比较，仅当上报的都在训练时。已结束的 rank 所声明的不算："
        "任务可以用更少的 rank 恢复。",
        verify="在每个节点上执行 `ls /dev/shm/yoloscope/*`：每个 rank 一个记录文件。",
        silence="有 rank 在未监控的节点上。",
    ),
)

COMMUNICATION_BOUND = Alert(
    name="CommunicationBound",
    expr=(
        f"{measured(EXPOSED, '5m')}\n"
        f"and on ({RUN}) min by ({RUN}) ({measured(EXPOSED, '5m')}) >= @exposed_share@\n"
        f"unless on ({RUN}) {DATA_WAIT} >= @input_share@\n"
        f"and on ({RANK}) {ENOUGH_TRAINING}"
    ),
    labels=OF_RANK,
    severity=INFO,
    hold="30m",
    why_hold=("a small loss matters only if it lasts", "小的损失只有持续存在才重要"),
    dashboard="yoloscope-ranks",
    fixed_by=("communication_bound",),
    en=Text(
        summary="{{ $value | humanizePercentage }} of the training time goes into waiting for other ranks",
        what="The rank waits for its peers' gradients {{ $value | humanizePercentage }} of the training time.",
        fix="Larger batches per rank (batch), accumulation (nbs), fewer GPUs, or a faster link: NVLink or InfiniBand "
        "instead of TCP (NCCL_DEBUG=INFO names it).",
        meaning="The part of backward after the rank's own last gradient, over all time in training phases; also on "
        "the rank that waits least, for nobody. Not while a rank waits for data: then the others wait for it.",
        verify="'Waiting for peers, by rank' on the dashboard DDP ranks: equal on all ranks means communication, "
        "one rank without it is the straggler.",
        silence="Not needed: nobody is notified, it is on the dashboards only.",
    ),
    zh=Text(
        summary="{{ $value | humanizePercentage }} 的训练时间在等待其他 rank",
        what="该 rank 有 {{ $value | humanizePercentage }} 的训练时间在等待同伴的梯度。",
        fix="增大每个 rank 的 batch，用 nbs 累积梯度，减少 GPU，或用更快的互连：以 NVLink 或 InfiniBand 代替 TCP"
        "（NCCL_DEBUG=INFO 会显示）。",
        meaning="自身最后一个梯度之后的反向时间，占全部训练阶段时间的比例；等待最少的 rank（它不等任何同伴）也须如此。"
        "有 rank 在等待数据时不告警：那时其他 rank 是在等它。",
        verify="仪表盘“DDP 各 rank”的“等待其他 rank（按 rank）”：各 rank 相同说明是通信；唯一没有等待的 rank 就是最"
        "慢的那个。",
        silence="不会通知任何人，只显示在仪表盘上。",
    ),
)

ALERTS = (STRAGGLER_RANK, RANKS_MISSING, COMMUNICATION_BOUND)
