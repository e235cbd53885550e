"""Does the node leave room for training?"""

from __future__ import annotations

from dataclasses import replace

from yoloscope_exporter import catalog as c
from yoloscope_exporter.measures.host import DISK_FREE, LOAD, NOT_DISKS

from .model import CRITICAL, NO_FLAPPING, NODE, OF_NODE, SLOW, WARNING, Alert, Text, measured, series

_LEFT = measured(DISK_FREE, "1m")
_FREE = series(c.FILESYSTEM_AVAILABLE_BYTES, fstype=f"!~{NOT_DISKS}")

DISK_ALMOST_FULL = Alert(
    name="DiskAlmostFull",
    expr=f"{_LEFT} < @disk_low@",
    labels=OF_NODE,
    severity=WARNING,
    hold="30m",
    why_hold=("temporary files come and go", "临时文件时多时少"),
    dashboard="yoloscope-node",
    en=Text(
        summary="{{ $labels.mountpoint }} has {{ $value | humanizePercentage }} left",
        what="{{ $value | humanizePercentage }} of {{ $labels.mountpoint }} is free; a checkpoint that cannot be "
        "written "
        "ends the training.",
        fix="Remove old runs, and the *.npy files of cache=disk in the data set; save_period=-1 keeps last.pt and "
        "best.pt only; project= on another disk.",
        meaning="Space left for ordinary users. Below @disk_critical%@ it is critical.",
        verify="`df -h`; `du -xsh runs/* | sort -h | tail`.",
        silence="The disk holds a data set only, which is complete.",
    ),
    zh=Text(
        summary="{{ $labels.mountpoint }} 仅剩 {{ $value | humanizePercentage }}",
        what="{{ $labels.mountpoint }} 还有 {{ $value | humanizePercentage }} 空闲；检查点写不下去会使训练结束。",
        fix=(
            "删除旧任务，以及数据集中 cache=disk 的 *.npy 文件；save_period=-1 只保留 last.pt 和 best.pt；project= "
            "指向其他磁盘。"
        ),
        meaning="普通用户可用的空间。低于 @disk_critical%@ 为 critical。",
        verify="`df -h`；`du -xsh runs/* | sort -h | tail`。",
        silence="该磁盘只存放已完整的数据集。",
    ),
)

DISK_ALMOST_FULL_CRITICAL = replace(
    DISK_ALMOST_FULL, severity=CRITICAL, expr=DISK_ALMOST_FULL.expr.replace("@disk_low@", "@disk_critical@")
)

DISK_FILLING = Alert(
    name="DiskFilling",
    expr=f"{_LEFT} < @disk_forecast@\nand on ({NODE}, mountpoint) {_FREE} + 8 * ({_FREE} - {_FREE} offset 3h) < 0",
    labels=OF_NODE,
    severity=WARNING,
    hold="1h",
    why_hold=("a data set that is unpacked fills a disk, and stops", "解压数据集会占用磁盘，但会停止"),
    dashboard="yoloscope-node",
    every=SLOW,
    en=Text(
        summary="{{ $labels.mountpoint }} will be full within a day, {{ $value | humanizePercentage }} left",
        what="{{ $value | humanizePercentage }} of {{ $labels.mountpoint }} is free, and at the rate of the last three "
        "hours it will be full within 24 hours, most likely with checkpoints.",
        fix="save_period=-1 keeps last.pt and best.pt only; remove old runs; cache=ram instead of cache=disk.",
        meaning="Three hours continued for twenty-four, on disks that are more than 60 % full.",
        verify="`du -xsh runs/* | sort -h | tail` twice, some minutes apart.",
        silence="A copy that is known to fit.",
    ),
    zh=Text(
        summary="{{ $labels.mountpoint }} 将在一天内写满，还剩 {{ $value | humanizePercentage }}",
        what=(
            "{{ $labels.mountpoint }} 还有 {{ $value | humanizePercentage }} 空闲，按最近三小时的速度 24 小时内写满，"
            "多半是检查点。"
        ),
        fix="save_period=-1 只保留 last.pt 和 best.pt；删除旧任务；用 cache=ram 代替 cache=disk。",
        meaning="把三小时外推到 24 小时，仅对已用超过 60 % 的磁盘。",
        verify="相隔几分钟执行两次 `du -xsh runs/* | sort -h | tail`。",
        silence="已知放得下的拷贝。",
    ),
)

HOST_CPU_SATURATED = Alert(
    name="HostCpuSaturated",
    expr=(f"{measured(LOAD, '1m')} > @load_per_core@\nand on ({NODE}) {series(c.TRAIN_STATE, state='train')} == 1"),
    labels=OF_NODE,
    severity=WARNING,
    hold="15m",
    why_hold=("start-up of many workers passes", "大量 worker 启动的高峰会过去"),
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-node",
    fixed_by=("cpu_oversubscribed", "cpu_contended"),
    en=Text(
        summary="{{ $value | humanize }} tasks per CPU want to run",
        what="{{ $value | humanize }} tasks per CPU run or wait for a CPU or a disk during a training run: its "
        "loader workers take turns.",
        fix="OMP_NUM_THREADS=1 and cv2.setNumThreads(0) first; then fewer workers (all runs of the node together "
        "no more than its CPUs); end what else runs there.",
        meaning="Five-minute load average over CPUs. Load counts tasks that wait for storage as well.",
        verify="`vmstat 5`: the first column against the number of CPUs; `top`.",
        silence="A shared machine that is always so.",
    ),
    zh=Text(
        summary="每个 CPU 有 {{ $value | humanize }} 个任务要运行",
        what="训练进行中，每个 CPU 有 {{ $value | humanize }} 个任务在运行或等待 CPU、磁盘：数据加载 worker 轮流等待。",
        fix=(
            "先设置 OMP_NUM_THREADS=1 和 cv2.setNumThreads(0)；再减少 workers（节点上所有训练任务合计不超过 CPU "
            "数）；结束其他程序。"
        ),
        meaning="五分钟平均负载除以 CPU 数。负载也包含等待存储的任务。",
        verify="`vmstat 5`：第一列与 CPU 数比较；`top`。",
        silence="一直如此的共享机器。",
    ),
)

ALERTS = (DISK_ALMOST_FULL, DISK_ALMOST_FULL_CRITICAL, DISK_FILLING, HOST_CPU_SATURATED)
