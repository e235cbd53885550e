"""CPUs and disks of the node, and of the run's cgroup."""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import catalog
from yoloscope_exporter.measures.formula import RANK, RUN_ON_NODE, TARGET, Formula, last, rate
from yoloscope_exporter.measures.measure import Measure

MOUNT: Final = (*TARGET, "mountpoint")
DEVICE: Final = (*TARGET, "device")
#: Guests are counted in the other modes already; time that a hypervisor took is nobody's here.
NOT_USED: Final = "idle|iowait|steal|guest|guest_nice"

#: File systems that are full by nature, or are memory.
NOT_DISKS: Final = "tmpfs|ramfs|devtmpfs|squashfs|iso9660|erofs|overlay"
SHM: Final = "/dev/shm"  # noqa: S108 - a mount point to look for


def _free(**labels: str) -> Formula:
    """Of ordinary users."""
    available = last(catalog.FILESYSTEM_AVAILABLE_BYTES, **labels).total("min", MOUNT)
    return available / last(catalog.FILESYSTEM_SIZE_BYTES, **labels).total("max", MOUNT)


def _shm_free() -> Formula:
    """Of the node's, and of each rank's own: in a container that is another one."""
    available = last(catalog.TRAIN_SHM_AVAILABLE_BYTES).total("min", RANK)
    own = available / last(catalog.TRAIN_SHM_SIZE_BYTES).total("max", RANK)
    return own.or_(_free(mountpoint=SHM))


CPU_BUSY: Final = Measure(
    name="cpu_busy",
    title="CPU utilization",
    title_zh="CPU 利用率",
    help="Share of the node's CPU time in use.",
    help_zh="节点 CPU 时间的使用占比。",
    formula=(
        rate(catalog.CPU_SECONDS_TOTAL, mode=f"!~{NOT_USED}").total("sum") / last(catalog.CPU_CORES).total("sum")
    ).clamped(most=1),
    of=TARGET,
    thresholds=("busy",),
)
DISK_BUSY: Final = Measure(
    name="disk_busy",
    title="Disk utilization",
    title_zh="磁盘利用率",
    help="Share of time in which the busiest disk had work.",
    help_zh="最忙磁盘有 I/O 的时间占比。",
    formula=rate(catalog.DISK_IO_SECONDS_TOTAL).total("max").clamped(most=1),
    of=TARGET,
    thresholds=("disk_busy",),
)
DISK_FREE: Final = Measure(
    name="disk_free",
    title="Disk space left",
    title_zh="磁盘剩余空间",
    help="Share of a disk's file system that is free for ordinary users.",
    help_zh="磁盘文件系统中普通用户可用空间的占比。",
    formula=_free(fstype=f"!~{NOT_DISKS}").total("min"),
    of=MOUNT,
    thresholds=("disk_low", "disk_critical", "disk_forecast"),
)
FILE_SYSTEM_USED: Final = Measure(
    name="file_system_used",
    title="File system used",
    title_zh="文件系统使用率",
    help="Share of a file system that ordinary users cannot take any more.",
    help_zh="文件系统中普通用户不可再用空间的占比。",
    formula=_free().total("min") * -1 + 1,
    of=MOUNT,
    thresholds=("disk_used", "disk_used_severe"),
)
SHM_USED: Final = Measure(
    name="shm_used",
    title="Shared memory used",
    title_zh="共享内存使用率",
    help="Share of the shared memory (/dev/shm) in use: the node's, or a training container's if that is fuller.",
    help_zh="共享内存（/dev/shm）的使用占比：节点的，或训练容器的（取较满者）。",
    formula=_shm_free().total("min") * -1 + 1,
    of=TARGET,
    thresholds=("shm_some", "shm"),
)
READ_LATENCY: Final = Measure(
    name="read_latency",
    title="Time of a read",
    title_zh="读操作时间",
    help="Mean time of a read from the disk.",
    help_zh="一次磁盘读操作的平均时间。",
    formula=rate(catalog.DISK_READ_SECONDS_TOTAL).total("sum") / rate(catalog.DISK_READS_TOTAL).total("sum"),
    of=DEVICE,
)
WRITE_LATENCY: Final = Measure(
    name="write_latency",
    title="Time of a write",
    title_zh="写操作时间",
    help="Mean time of a write to the disk.",
    help_zh="一次磁盘写操作的平均时间。",
    formula=rate(catalog.DISK_WRITE_SECONDS_TOTAL).total("sum") / rate(catalog.DISK_WRITES_TOTAL).total("sum"),
    of=DEVICE,
)
MEMORY_STALL: Final = Measure(
    name="memory_stall",
    title="Stopped for memory",
    title_zh="等待内存",
    help="Share of time in which every task of the node waited for memory.",
    help_zh="节点上所有任务都在等待内存的时间占比。",
    formula=rate(catalog.PRESSURE_SECONDS_TOTAL, resource="memory", kind="full").total("max"),
    of=TARGET,
    thresholds=("memory_stall",),
)
IO_PRESSURE: Final = Measure(
    name="io_pressure",
    title="Waiting for storage",
    title_zh="等待存储",
    help="Share of time in which some task of the node waited for storage.",
    help_zh="节点上有任务等待存储的时间占比。",
    formula=rate(catalog.PRESSURE_SECONDS_TOTAL, resource="io", kind="some").total("max"),
    of=TARGET,
    thresholds=("io_pressure", "pressure_severe"),
)
LOAD: Final = Measure(
    name="load",
    title="Load per CPU",
    title_zh="每 CPU 负载",
    help="Five-minute load average over the node's CPUs.",
    help_zh="五分钟平均负载除以节点 CPU 数。",
    formula=last(catalog.LOAD_AVERAGE, window="5m").total("max") / last(catalog.CPU_CORES).total("max"),
    of=TARGET,
    thresholds=("load_per_core",),
)
#: Throttled seconds are summed over CPUs and are no share of the time: they serve where the exporter, of version 0.1,
#: tells no periods.
THROTTLED: Final = Measure(
    name="throttled",
    title="Stopped by the CPU quota",
    title_zh="被 CPU 限额暂停",
    help="Share of the CPU quota's periods in which it was used up and the run's cgroup stopped.",
    help_zh="CPU 限额的周期中，配额用尽、该训练任务 cgroup 被暂停的周期占比。",
    formula=(
        rate(catalog.CGROUP_CPU_THROTTLED_PERIODS_TOTAL).total("max")
        / rate(catalog.CGROUP_CPU_PERIODS_TOTAL).total("max")
    )
    .or_(rate(catalog.CGROUP_CPU_THROTTLED_SECONDS_TOTAL).total("max"))
    .clamped(most=1),
    of=RUN_ON_NODE,
    thresholds=("throttled_share",),
)

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
