"""CPU, memory, disk, file systems, network and pressure of a node made of files."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog, collectors
from yoloscope_exporter.collectors import NoData, cpu, disk, memory
from yoloscope_exporter.collectors.disk import Filesystems, Mount, parse_mountinfo
from yoloscope_exporter.config import defaults

from tests.exporter import world

if TYPE_CHECKING:
    from pathlib import Path

    from yoloscope_exporter.catalog import Sample


def only(module: str, node: world.World) -> collectors.Collector:
    """The first collector of a module."""
    return collectors.build(module, node.context)[0]


def test_cpu_counter_does_not_step_back(tmp_path: Path) -> None:
    """Idle and iowait may step back a little; they stay where they were, and that is counted. A reset is a reset."""
    node = world.build(tmp_path)
    collector = only("cpu", node)
    iowait = (catalog.CPU_SECONDS_TOTAL.name, ("iowait",))
    values = []
    for ticks in (1500, 1490, 1501, 100):
        stat = world.PROC["stat"].replace("cpu  10000 200 3000 80000 1500", f"cpu  10000 200 3000 80000 {ticks}")
        world.write(node.procfs, {"stat": stat})
        values.append(world.values(collector)[iowait])
    assert values == [15.0, 15.0, 15.01, 1.0]
    assert node.rejected == [("cpu", "backwards")]


def test_cpu_leaves_guest_time_out(tmp_path: Path) -> None:
    """The kernel counts guests as user time already; a second time would make more than 100 %."""
    node = world.World(tmp_path)
    stat = "cpu  10 0 0 0 0 0 0 0 9 9\ncpu0 10 0 0 0 0 0 0 0 9 9\nctxt 1\n"
    world.write(node.procfs, {"stat": stat, "loadavg": "0 0 0 1/1 1\n"})
    values = world.values(only("cpu", node))
    assert sum(values[catalog.CPU_SECONDS_TOTAL.name, (mode,)] for mode in cpu.MODES) == pytest.approx(0.1)


def test_cores_are_counted_again(tmp_path: Path) -> None:
    """A CPU that goes offline is missed within ten seconds."""
    node = world.build(tmp_path)
    collector, cores = only("cpu", node), (catalog.CPU_CORES.name, ())
    assert world.values(collector)[cores] == 2
    world.write(node.procfs, {"stat": re.sub("cpu1 .*\n", "", world.PROC["stat"])})
    node.now += 10
    assert world.values(collector)[cores] == 1


def test_page_cache_is_left_out_where_it_is_not_told(tmp_path: Path) -> None:
    """And it is the page cache alone: what psutil calls cached has reclaimable slab in it."""
    node = world.build(tmp_path)
    cached = (catalog.MEMORY_CACHED_BYTES.name, ())
    assert world.values(only("memory", node))[cached] == 7_000_000 * 1024
    assert memory.parse_cached("MemTotal: 100 kB\nSwapCached: 7 kB\n") is None


def test_oom_kills_of_the_node_are_left_out_where_they_are_not_counted(tmp_path: Path) -> None:
    """By kernels before 4.13."""
    node = world.build(tmp_path)
    assert world.values(only("memory", node))[catalog.MEMORY_OOM_KILLS_TOTAL.name, ()] == 3
    assert memory.parse_oom_kills("nr_free_pages 1\nallocstall_normal 0\n") is None


@pytest.mark.parametrize(
    ("device", "kept"),
    [
        ("sda", True),
        ("sda1", False),
        ("nvme0n1", True),
        ("nvme0n1p2", False),
        ("nvme0c0n1", False),
        ("mmcblk0", True),
        ("mmcblk0p1", False),
        ("md0", True),
        ("dm-3", True),
        ("vda", True),
        ("loop7", False),
        ("zram0", False),
        ("ram1", False),
    ],
)
def test_disks_without_partitions(tmp_path: Path, device: str, kept: bool) -> None:  # noqa: FBT001 - a parameter
    """Whole disks, RAIDs and mapped devices; no partitions, loops and memory disks."""
    node = world.World(tmp_path)
    world.write(node.procfs, {"diskstats": f"   8       0 {device} 1 0 2 3 4 0 5 6 0 7 8\n"})
    assert bool(world.values(only("disk", node))) is kept


def test_no_disks_from_elsewhere(tmp_path: Path) -> None:
    """Without the node's counters psutil would show the disks that /sys of this machine has."""
    node = world.World(tmp_path)
    with pytest.raises(NoData, match="diskstats is not there"):
        world.values(only("disk", node))


def test_network_falls_back_to_our_own_table(tmp_path: Path) -> None:
    """Where the first process may not be looked at, our own table is read; gone interfaces take their series along."""
    node = world.build(tmp_path)
    collector = only("network", node)
    assert {labels for _, labels in world.values(collector)} == {("eth0",)}
    (node.procfs / "1" / "net" / "dev").unlink()
    world.write(node.procfs, {"net/dev": world.PROC["1/net/dev"].replace("eth0", "ib0")})
    assert {labels for _, labels in world.values(collector)} == {("ib0",)}


@pytest.mark.parametrize("device", ["lo", "lo0", "veth1", "docker0", "br-12ab", "cali123", "cni0"])
def test_network_leaves_containers_cables_out(tmp_path: Path, device: str) -> None:
    """Ends of cables and bridges come and go, and their traffic passes a real interface."""
    node = world.World(tmp_path)
    world.write(node.procfs, {"1/net/dev": f"a\nb\n{device}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"})
    assert world.values(only("network", node)) == {}


def test_pressure_may_be_missing(tmp_path: Path) -> None:
    """A kernel without it: no data, with the remedy."""
    node = world.World(tmp_path)
    with pytest.raises(NoData, match="psi=1"):
        world.values(only("pressure", node))


# --- file systems ---------------------------------------------------------------------------------------------------


def test_mounts_worth_looking_at() -> None:
    """One per device, no pseudo file systems, the later of two at one point, /dev/shm and escaped names kept."""
    text = world.PROC["1/mountinfo"] + (
        "40 27 0:60 / /mnt/old rw shared:1 master:2 - nfs a:/b rw\n"
        "41 27 0:61 / /mnt/old rw - nfs a:/c rw\n"
        "42 27 0:62 / /var/lib/docker/overlay2/x rw - overlay overlay rw\n"
        "43 27 0:63 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        "44 27 254:0 /home /home rw - ext4 /dev/vda rw\n"
        "45 27 0:64 / /var/lib/containerd rw - xfs /dev/vdb rw\n"  # a disk that a kubelet watches
        "46 27 0:65 / /var/lib/containerd/x rw - tmpfs tmpfs rw\n"
    )
    assert set(parse_mountinfo(text)) == {
        Mount("254:0", "/", "ext4"),
        Mount("0:23", "/dev/shm", "tmpfs"),
        Mount("0:50", "/data sets", "nfs4"),
        Mount("0:61", "/mnt/old", "nfs"),
        Mount("0:64", "/var/lib/containerd", "xfs"),
    }


MOUNTS = "27 1 0:1 / {0} rw - ext4 a rw\n28 1 0:2 / {1} rw - nfs4 b rw\n29 1 0:3 / {2} rw - xfs c rw\n"


@pytest.fixture
def mounted(tmp_path: Path) -> tuple[world.World, list[str]]:
    """Three directories that say they are mounts: a local one, one of NFS, another local one."""
    node = world.World(tmp_path)
    points = [str(tmp_path / name) for name in ("local", "nfs", "other")]
    for point in points:
        os.mkdir(point)  # noqa: PTH102 - a string is what stands in mountinfo
    world.write(node.procfs, {"1/mountinfo": MOUNTS.format(*points)})
    return node, points


def test_hung_mount_hides_no_other(mounted: tuple[world.World, list[str]], caplog: pytest.LogCaptureFixture) -> None:
    """The mount that does not answer is left out until it does; the others have their sizes all the time."""
    node, (local, nfs, other) = mounted
    release = threading.Event()

    def ask(path: Path) -> disk.Space:
        if str(path) == nfs:
            release.wait(30)
        return disk.space(path)

    filesystems = Filesystems(node.context, ask)
    for _ in range(3):
        assert points(filesystems) == {local, other}
    assert node.rejected == [("filesystem", "hung")] * 3
    assert len(caplog.records) == 1
    release.set()
    filesystems._hung[nfs].result(10)
    assert points(filesystems) == {local, nfs, other}
    filesystems.close()


def points(filesystems: Filesystems) -> set[str]:
    """Mount points of one collection."""
    samples: list[Sample] = list(filesystems.collect())
    return {sample.labels[0] for sample in samples}


def test_mount_that_fails_or_goes_is_absent(mounted: tuple[world.World, list[str]]) -> None:
    """Stale NFS handles, files that are no directories, and directories that are gone are left out."""
    node, (local, nfs, other) = mounted

    def ask(path: Path) -> disk.Space:
        if str(path) == nfs:
            raise OSError(116, "Stale file handle")
        return disk.space(path)

    filesystems = Filesystems(node.context, ask)
    assert points(filesystems) == {local, other}
    os.rmdir(other)  # noqa: PTH106 - as above
    open(other, "w").close()  # noqa: PTH123 - as above
    assert points(filesystems) == {local}
    os.rmdir(local)  # noqa: PTH106 - as above
    assert points(filesystems) == set()
    filesystems.close()


def test_the_nodes_mounts_are_looked_for_below_rootfs(tmp_path: Path) -> None:
    """With the node's root elsewhere, a directory of another device there is not taken for the mount."""
    node = world.World(tmp_path / "node", config=replace(defaults(), path_rootfs=tmp_path / "root"))
    (tmp_path / "root" / "data").mkdir(parents=True)
    (tmp_path / "root" / "other").mkdir()
    number = os.stat(tmp_path).st_dev  # noqa: PTH116 - short
    lines = f"27 1 {os.major(number)}:{os.minor(number)} / /data rw - ext4 a rw\n28 1 0:99999 / /other rw - ext4 b rw\n"
    world.write(node.procfs, {"1/mountinfo": lines})
    assert points(Filesystems(node.context)) == {"/data"}


def test_real_file_systems_of_this_machine(tmp_path: Path) -> None:
    """The real table of this machine has a root, of the size that statvfs says."""
    node = world.World(tmp_path)
    (tmp_path / "proc").symlink_to("/proc")
    size = partial(catalog.FILESYSTEM_SIZE_BYTES.name.__eq__)
    values = {s.labels[0]: s.value for s in Filesystems(node.context).collect() if size(s.metric.name)}
    root = os.statvfs("/")
    assert values["/"] == root.f_blocks * root.f_frsize
