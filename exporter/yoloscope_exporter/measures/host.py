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
    help="Share of the node's CPU time in use.",
    formula=(
        rate(catalog.CPU_SECONDS_TOTAL, mode=f"!~{NOT_USED}").total("sum") / last(catalog.CPU_CORES).total("sum")
    ).clamped(most=1),
    of=TARGET,
    thresholds=("busy",),
)
DISK_BUSY: Final = Measure(
    name="disk_busy",
    title="Disk utilization",
    help="Share of time in which the busiest disk had work.",
    formula=rate(catalog.DISK_IO_SECONDS_TOTAL).total("max").clamped(most=1),
    of=TARGET,
    thresholds=("disk_busy",),
)
DISK_FREE: Final = Measure(
    name="disk_free",
    title="Disk space left",
    help="Share of a disk's file system that is free for ordinary users.",
    formula=_free(fstype=f"!~{NOT_DISKS}").total("min"),
    of=MOUNT,
    thresholds=("disk_low", "disk_critical", "disk_forecast"),
)
FILE_SYSTEM_USED: Final = Measure(
    name="file_system_used",
    title="File system used",
    help="Share of a file system that ordinary users cannot take any more.",
    formula=_free().total("min") * -1 + 1,
    of=MOUNT,
    thresholds=("disk_used", "disk_used_severe"),
)
SHM_USED: Final = Measure(
    name="shm_used",
    title="Shared memory used",
    help="Share of the shared memory (/dev/shm) in use: the node's, or a training container's if that is fuller.",
    formula=_shm_free().total("min") * -1 + 1,
    of=TARGET,
    thresholds=("shm_some", "shm"),
)
READ_LATENCY: Final = Measure(
    name="read_latency",
    title="Time of a read",
    help="Mean time of a read from the disk.",
    formula=rate(catalog.DISK_READ_SECONDS_TOTAL).total("sum") / rate(catalog.DISK_READS_TOTAL).total("sum"),
    of=DEVICE,
)
WRITE_LATENCY: Final = Measure(
    name="write_latency",
    title="Time of a write",
    help="Mean time of a write to the disk.",
    formula=rate(catalog.DISK_WRITE_SECONDS_TOTAL).total("sum") / rate(catalog.DISK_WRITES_TOTAL).total("sum"),
    of=DEVICE,
)
MEMORY_STALL: Final = Measure(
    name="memory_stall",
    title="Stopped for memory",
    help="Share of time in which every task of the node waited for memory.",
    formula=rate(catalog.PRESSURE_SECONDS_TOTAL, resource="memory", kind="full").total("max"),
    of=TARGET,
    thresholds=("memory_stall",),
)
IO_PRESSURE: Final = Measure(
    name="io_pressure",
    title="Waiting for storage",
    help="Share of time in which some task of the node waited for storage.",
    formula=rate(catalog.PRESSURE_SECONDS_TOTAL, resource="io", kind="some").total("max"),
    of=TARGET,
    thresholds=("io_pressure", "pressure_severe"),
)
LOAD: Final = Measure(
    name="load",
    title="Load per CPU",
    help="Five-minute load average over the node's CPUs.",
    formula=last(catalog.LOAD_AVERAGE, window="5m").total("max") / last(catalog.CPU_CORES).total("max"),
    of=TARGET,
    thresholds=("load_per_core",),
)
#: Throttled seconds are summed over CPUs and are no share of the time: they serve where the exporter, of version 0.1,
#: tells no periods.
THROTTLED: Final = Measure(
    name="throttled",
    title="Stopped by the CPU quota",
    help="Share of the CPU quota's periods in which it was used up and the run's cgroup stopped.",
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
