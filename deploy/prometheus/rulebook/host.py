"""Does the node leave room for training?"""

from __future__ import annotations

from dataclasses import replace

from yoloscope_exporter import catalog as c
from yoloscope_exporter.measures.host import DISK_FREE, LOAD, NOT_DISKS

from .model import CRITICAL, NO_FLAPPING, NODE, OF_NODE, SLOW, WARNING, Alert, measured, series

_LEFT = measured(DISK_FREE, "1m")
_FREE = series(c.FILESYSTEM_AVAILABLE_BYTES, fstype=f"!~{NOT_DISKS}")

DISK_ALMOST_FULL = Alert(
    name="DiskAlmostFull",
    expr=f"{_LEFT} < @disk_low@",
    labels=OF_NODE,
    severity=WARNING,
    hold="30m",
    why_hold="temporary files come and go",
    dashboard="yoloscope-node",
    summary="{{ $labels.mountpoint }} has {{ $value | humanizePercentage }} left",
    what="{{ $value | humanizePercentage }} of {{ $labels.mountpoint }} is free; a checkpoint that cannot be written "
    "ends the training.",
    fix="Remove old runs, and the *.npy files of cache=disk in the data set; save_period=-1 keeps last.pt and best.pt "
    "only; project= on another disk.",
    meaning="Space left for ordinary users. Below @disk_critical%@ it is critical.",
    verify="`df -h`; `du -xsh runs/* | sort -h | tail`.",
    silence="The disk holds a data set only, which is complete.",
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
    why_hold="a data set that is unpacked fills a disk, and stops",
    dashboard="yoloscope-node",
    every=SLOW,
    summary="{{ $labels.mountpoint }} will be full within a day, {{ $value | humanizePercentage }} left",
    what="{{ $value | humanizePercentage }} of {{ $labels.mountpoint }} is free, and at the rate of the last three "
    "hours it will be full within 24 hours, most likely with checkpoints.",
    fix="save_period=-1 keeps last.pt and best.pt only; remove old runs; cache=ram instead of cache=disk.",
    meaning="Three hours continued for twenty-four, on disks that are more than 60 % full.",
    verify="`du -xsh runs/* | sort -h | tail` twice, some minutes apart.",
    silence="A copy that is known to fit.",
)

HOST_CPU_SATURATED = Alert(
    name="HostCpuSaturated",
    expr=(f"{measured(LOAD, '1m')} > @load_per_core@\nand on ({NODE}) {series(c.TRAIN_STATE, state='train')} == 1"),
    labels=OF_NODE,
    severity=WARNING,
    hold="15m",
    why_hold="start-up of many workers passes",
    keep="10m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-node",
    fixed_by=("cpu_oversubscribed", "cpu_contended"),
    summary="{{ $value | humanize }} tasks per CPU want to run",
    what="{{ $value | humanize }} tasks per CPU run or wait for a CPU or a disk during a training run: its loader "
    "workers take turns.",
    fix="OMP_NUM_THREADS=1 and cv2.setNumThreads(0) first; then fewer workers (all runs of the node together no more "
    "than its CPUs); end what else runs there.",
    meaning="Five-minute load average over CPUs. Load counts tasks that wait for storage as well.",
    verify="`vmstat 5`: the first column against the number of CPUs; `top`.",
    silence="A shared machine that is always so.",
)

ALERTS = (DISK_ALMOST_FULL, DISK_ALMOST_FULL_CRITICAL, DISK_FILLING, HOST_CPU_SATURATED)
