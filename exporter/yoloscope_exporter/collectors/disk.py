"""Work of the block devices as psutil tells it, and space in the file systems."""

from __future__ import annotations

import logging
import os
import re
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import SLOW, Collector
from yoloscope_exporter.collectors.deadlines import IsolatedThread
from yoloscope_exporter.collectors.files import read
from yoloscope_exporter.collectors.procfs import no_data_if_missing, point_psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from yoloscope_exporter.collectors import Context

_log = logging.getLogger(__name__)

#: Metric, field of psutil's counters, and how many of its units make one of ours. Some platforms have fewer fields.
COUNTERS = (
    (catalog.DISK_READ_BYTES_TOTAL, "read_bytes", 1.0),
    (catalog.DISK_WRITTEN_BYTES_TOTAL, "write_bytes", 1.0),
    (catalog.DISK_READS_TOTAL, "read_count", 1.0),
    (catalog.DISK_WRITES_TOTAL, "write_count", 1.0),
    (catalog.DISK_READ_SECONDS_TOTAL, "read_time", 1e3),
    (catalog.DISK_WRITE_SECONDS_TOTAL, "write_time", 1e3),
    (catalog.DISK_IO_SECONDS_TOTAL, "busy_time", 1e3),
)
#: No memory disks, no loop devices, and no partitions, whose work is their disk's.
_LEFT_OUT = re.compile(r"(z?ram|loop|fd|sr)\d+|(h|s|v|xv)d[a-z]+\d+|(nvme\d+n\d+|mmcblk\d+)p\d+|nvme\d+c\d+n\d+")

#: File systems without space of their own.
_PSEUDO = re.compile(
    r"autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|efivarfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|proc"
    r"|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs|fuse\.(gvfsd-fuse|lxcfs|portal|snapfuse)"
)
#: What lies below the container runtimes' directories is theirs; these may be disks, which a kubelet watches.
_HIDDEN = re.compile(r"/(dev(?!/shm$)|proc|sys|snap)(/.*)?|/var/lib/(docker|containers|containerd)/.*")
_HIDDEN_TMPFS = re.compile(r"/(run|var/lib/kubelet)(/.*)?")
MAX_MOUNTS = 64
MOUNT_DEADLINE_SECONDS = 0.5


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group for the devices, one of the slow group for the file systems."""
    point_psutil(context.procfs)
    filesystems = Filesystems(context)
    return [
        Collector("disk", lambda: _devices(context.procfs)),
        Collector("filesystem", filesystems.collect, filesystems.close, group=SLOW),
    ]


def _devices(procfs: Path) -> Iterator[Sample]:
    """Samples of every disk; without the kernel's counters of them psutil would take what /sys/block shows here."""
    with no_data_if_missing():
        if psutil.LINUX:
            (procfs / "diskstats").stat()
        disks = psutil.disk_io_counters(perdisk=True, nowrap=False)  # a fall is a reset, and Prometheus' to see
    for device, counters in disks.items():
        if _LEFT_OUT.fullmatch(device):
            continue
        for metric, field, units in COUNTERS:
            if (value := getattr(counters, field, None)) is not None:
                yield Sample(metric, (device,), value / units)


# --- file systems ---------------------------------------------------------------------------------------------------


class Mount(NamedTuple):
    """One line of /proc/PID/mountinfo."""

    device: str
    """major:minor on Linux, the device's name elsewhere."""
    point: str
    fstype: str


def parse_mountinfo(text: str) -> Iterator[Mount]:
    """The mounts worth looking at, one per device: the one with the shortest path (proc_pid_mountinfo(5))."""
    mounts: dict[str, Mount] = {}
    for line in text.splitlines():
        first, _, second = line.partition(" - ")
        _, _, device, _, point, *_ = first.split()
        mount = Mount(device, _unescaped(point), second.split()[0])
        mounts[mount.point] = mount  # a later mount hides an earlier one at the same point
    best: dict[str, Mount] = {}
    for mount in sorted(filter(_interesting, mounts.values()), key=lambda mount: len(mount.point)):
        best.setdefault(mount.device, mount)
    yield from best.values()


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _interesting(mount: Mount) -> bool:
    if _PSEUDO.fullmatch(mount.fstype) or _HIDDEN.fullmatch(mount.point):
        return False
    if mount.fstype == "overlay":
        return mount.point == "/"
    return mount.fstype != "tmpfs" or not _HIDDEN_TMPFS.fullmatch(mount.point)


class Space(NamedTuple):
    """Bytes of a file system, and those that anybody may still fill."""

    size: int
    available: int


def space(directory: Path) -> Space:
    """The space of the file system that a directory is in."""
    usage = psutil.disk_usage(str(directory))
    return Space(usage.total, usage.free)


class Filesystems:
    """Asks every mount for its space, each with a deadline: one dead NFS server must not hide the other disks.

    The mounts are read from mountinfo: `psutil.disk_partitions` tells neither those of the first process nor their
    devices' numbers. Other platforms are asked through it.
    """

    def __init__(self, context: Context, read_space: Callable[[Path], Space] = space) -> None:
        """Use `read_space`, which tests replace by one that hangs."""
        self._context = context
        self._room = read_space
        self._thread = IsolatedThread("filesystem")
        self._hung: dict[str, Future[Space | None]] = {}

    def collect(self) -> Iterator[Sample]:
        """Size and space of every mount that answers."""
        with no_data_if_missing():
            mounts = list(self._mounts())
        for _ in mounts[MAX_MOUNTS:]:
            self._context.reject("filesystem", "mounts")
        for mount in mounts[:MAX_MOUNTS]:
            found = self._ask(mount)
            if found is None or not found.size:
                continue
            label = (mount.point, mount.fstype)
            yield Sample(catalog.FILESYSTEM_SIZE_BYTES, label, float(found.size))
            yield Sample(catalog.FILESYSTEM_AVAILABLE_BYTES, label, float(found.available))

    def _mounts(self) -> Iterable[Mount]:
        if not psutil.LINUX:
            return [Mount(one.device, one.mountpoint, one.fstype) for one in psutil.disk_partitions()]
        try:
            return parse_mountinfo(read(self._context.procfs / "1" / "mountinfo"))
        except OSError:  # another user's process
            return parse_mountinfo(read(self._context.procfs / "self" / "mountinfo"))

    def _ask(self, mount: Mount) -> Space | None:
        """The mount's space; None if it is not accessible, or does not answer within its deadline now or before."""
        if mount.point in self._hung:
            if not self._hung[mount.point].done():
                self._context.reject("filesystem", "hung")
                return None
            del self._hung[mount.point]
            _log.info("%s answers again", mount.point)
        asked = self._thread.call(partial(self._look, mount), MOUNT_DEADLINE_SECONDS)
        if not asked.done():
            _log.warning("%s (%s) does not answer and is skipped until it does", mount.point, mount.fstype)
            self._context.reject("filesystem", "hung")
            self._hung[mount.point] = asked
            return None
        return None if asked.exception() else asked.result()  # an error: gone in between, or not for us to see

    def _look(self, mount: Mount) -> Space | None:
        root = self._context.config().path_rootfs
        path = root / mount.point.lstrip("/")
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return None  # a file that a container runtime has mounted
        if root != Path("/") and mount.fstype != "btrfs" and _number(status) != mount.device:
            return None  # the node's mount is not to be seen below rootfs; btrfs has numbers of its own
        return self._room(path)

    def close(self) -> None:
        """End the thread; one that is stuck ends when its call returns."""
        self._thread.close()


def _number(status: os.stat_result) -> str:
    return f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
