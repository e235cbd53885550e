"""Work of the block devices, from /proc/diskstats, and room in the file systems."""

from __future__ import annotations

import logging
import os
import re
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import SLOW, Collector
from yoloscope_exporter.files import read
from yoloscope_exporter.sampling.deadlines import IsolatedThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from yoloscope_exporter.collectors import Context

_log = logging.getLogger(__name__)

SECTOR_BYTES = 512  # the unit of /proc/diskstats, whatever the device's own sectors are
#: No memory disks, no loop devices, and no partitions, whose work is their disk's.
_LEFT_OUT = re.compile(r"(z?ram|loop|fd|sr)\d+|(h|s|v|xv)d[a-z]+\d+|(nvme\d+n\d+|mmcblk\d+)p\d+|nvme\d+c\d+n\d+")

#: File systems without room of their own.
_PSEUDO = re.compile(
    r"autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|efivarfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|proc"
    r"|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs|fuse\.(gvfsd-fuse|lxcfs|portal|snapfuse)"
)
_HIDDEN = re.compile(r"/(dev(?!/shm$)|proc|sys|snap|var/lib/(docker|containers|containerd))(/.*)?")
_HIDDEN_TMPFS = re.compile(r"/(run|var/lib/kubelet)(/.*)?")
MAX_MOUNTS = 64
MOUNT_DEADLINE_SECONDS = 0.5


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group for the devices, one of the slow group for the file systems."""
    filesystems = Filesystems(context)
    return [
        Collector("disk", lambda: parse_diskstats(read(context.procfs / "diskstats"))),
        Collector("filesystem", filesystems.collect, filesystems.close, group=SLOW),
    ]


def parse_diskstats(text: str) -> Iterator[Sample]:
    """Samples of /proc/diskstats (Documentation/admin-guide/iostats.rst)."""
    for line in text.splitlines():
        _, _, device, *fields = line.split()
        if _LEFT_OUT.fullmatch(device):
            continue
        reads, _, read, read_ms, writes, _, written, write_ms, _, io_ms = map(int, fields[:10])
        label = (device,)
        yield Sample(catalog.DISK_READ_BYTES_TOTAL, label, float(read * SECTOR_BYTES))
        yield Sample(catalog.DISK_WRITTEN_BYTES_TOTAL, label, float(written * SECTOR_BYTES))
        yield Sample(catalog.DISK_READS_TOTAL, label, float(reads))
        yield Sample(catalog.DISK_WRITES_TOTAL, label, float(writes))
        yield Sample(catalog.DISK_READ_SECONDS_TOTAL, label, read_ms / 1e3)
        yield Sample(catalog.DISK_WRITE_SECONDS_TOTAL, label, write_ms / 1e3)
        yield Sample(catalog.DISK_IO_SECONDS_TOTAL, label, io_ms / 1e3)


# --- file systems ---------------------------------------------------------------------------------------------------


class Mount(NamedTuple):
    """One line of /proc/PID/mountinfo."""

    device: str
    """major:minor"""
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


class Filesystems:
    """Asks every mount for its room, each with a deadline: one dead NFS server must not hide the other disks."""

    def __init__(self, context: Context, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs) -> None:
        """Use `statvfs`, which tests replace by one that hangs."""
        self._context = context
        self._statvfs = statvfs
        self._thread = IsolatedThread("filesystem")
        self._hung: dict[str, Future[os.statvfs_result | None]] = {}

    def collect(self) -> Iterator[Sample]:
        """Size and room of every mount that answers."""
        mounts = list(parse_mountinfo(self._mountinfo()))
        for _ in mounts[MAX_MOUNTS:]:
            self._context.reject("filesystem", "mounts")
        for mount in mounts[:MAX_MOUNTS]:
            status = self._ask(mount)
            if status is None or not status.f_blocks:
                continue
            label = (mount.point, mount.fstype)
            yield Sample(catalog.FILESYSTEM_SIZE_BYTES, label, float(status.f_blocks * status.f_frsize))
            yield Sample(catalog.FILESYSTEM_AVAILABLE_BYTES, label, float(status.f_bavail * status.f_frsize))

    def _mountinfo(self) -> str:
        try:
            return read(self._context.procfs / "1" / "mountinfo")
        except OSError:  # another user's process
            return read(self._context.procfs / "self" / "mountinfo")

    def _ask(self, mount: Mount) -> os.statvfs_result | None:
        """What the mount says; None if it is not there for us, does not answer, or has not answered before."""
        if mount.point in self._hung:
            if not self._hung[mount.point].done():
                self._context.reject("filesystem", "hung")
                return None
            del self._hung[mount.point]
            _log.info("%s answers again", mount.point)
        asked = self._thread.call(partial(self._look, mount), MOUNT_DEADLINE_SECONDS)
        if not asked.done():
            _log.warning("%s (%s) does not answer and is left out until it does", mount.point, mount.fstype)
            self._context.reject("filesystem", "hung")
            self._hung[mount.point] = asked
            return None
        return None if asked.exception() else asked.result()  # an error: gone in between, or not for us to see

    def _look(self, mount: Mount) -> os.statvfs_result | None:
        root = self._context.config().path_rootfs
        path = root / mount.point.lstrip("/")
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return None  # a file that a container runtime has mounted
        device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        if root != Path("/") and mount.fstype != "btrfs" and device != mount.device:
            return None  # the node's mount is not to be seen below rootfs; btrfs has numbers of its own
        return self._statvfs(path)

    def close(self) -> None:
        """End the thread; one that is stuck ends when its call returns."""
        self._thread.close()
