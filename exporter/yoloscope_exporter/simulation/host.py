"""What a simulated node shows of itself: CPU, memory, disks, network, pressure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.simulation import timeline
from yoloscope_exporter.simulation.moment import UPTIME_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.simulation.moment import Moment


CORES_PER_GPU, MEMORY_PER_GPU = 16, 128 * timeline.GIB


IMAGE_BYTES = 150e3


ROLES = ("main", "worker")  # their validations have no processes of their own


def loader_seconds(moment: Moment) -> float:
    """Time one worker has spent preparing batches."""
    training, progress = moment.training, moment.progress
    workers = max(1, moment.node.workers)
    prepared = progress.healthy.batches * training.healthy.preparation
    return (prepared + progress.degraded.batches * training.degraded.preparation) / workers


def samples(moment: Moment) -> Iterator[Sample]:
    """All of it."""
    yield from _cpu(moment)
    yield from _memory(moment)
    yield from _disk(moment)
    for device, share in (("eth0", 0.1), ("ib0", 1.0)):
        count = share * moment.progress.batches * 5e5 + 2e4 * moment.uptime
        yield Sample(catalog.NETWORK_RECEIVE_BYTES_TOTAL, (device,), count)
        yield Sample(catalog.NETWORK_TRANSMIT_BYTES_TOTAL, (device,), count)
        yield Sample(catalog.NETWORK_RECEIVE_ERRORS_TOTAL, (device,), 0.0)
        yield Sample(catalog.NETWORK_TRANSMIT_ERRORS_TOTAL, (device,), 0.0)
    for (resource, kind), seconds in pressure(moment).items():
        yield Sample(catalog.PRESSURE_SECONDS_TOTAL, (resource, kind), seconds + 0.0004 * UPTIME_SECONDS)


def pressure(moment: Moment) -> dict[tuple[str, str], float]:
    """Seconds that the training's processes waited, by resource and kind."""
    trained = moment.progress.trained
    shares = {"cpu": 0.02, "io": 0.01, "memory": 0.0}
    return {
        (resource, kind): share * trained * (1.0 if kind == "some" else 0.3)
        for resource, share in shares.items()
        for kind in ("some", "full")
        if (resource, kind) != ("cpu", "full") or share
    }


def _cpu(moment: Moment) -> Iterator[Sample]:
    node = moment.node
    cores = float(CORES_PER_GPU * node.gpus)
    workers = node.ranks * max(1, node.workers)
    loaders = loader_seconds(moment) * timeline.PREPARATION_CPU * workers
    mains = node.ranks * 0.9 * moment.progress.trained
    user = 0.92 * (loaders + mains) + 0.004 * cores * moment.uptime
    system = 0.08 * (loaders + mains) + 0.002 * cores * moment.uptime
    iowait = (1 - timeline.PREPARATION_CPU) * loader_seconds(moment) * workers * 0.5
    idle = max(0.0, cores * moment.uptime - user - system - iowait)
    modes = {"user": user, "nice": 0.0, "system": system, "idle": idle, "iowait": iowait}
    for mode, seconds in {**modes, "irq": 0.0, "softirq": 1e-4 * cores * moment.uptime, "steal": 0.0}.items():
        yield Sample(catalog.CPU_SECONDS_TOTAL, (mode,), seconds)
    yield Sample(catalog.CPU_CORES, (), cores)
    for package in ("0", "1"):
        yield Sample(catalog.CPU_ENERGY_JOULES_TOTAL, (package,), 60.0 * moment.uptime + 2.5 * (user + system))
    load = _loader_cores(moment) * workers + node.ranks if moment.alive else 0.3
    for window in ("1m", "5m", "15m"):
        yield Sample(catalog.LOAD_AVERAGE, (window,), load * (1 + 0.05 * moment.noise("load", window)))
    yield Sample(catalog.CONTEXT_SWITCHES_TOTAL, (), float(int(8e3 * moment.uptime + 4e3 * moment.progress.batches)))


def _loader_cores(moment: Moment) -> float:
    """CPUs a worker keeps busy now."""
    busy = moment.regime.preparation / max(1, moment.node.workers) / moment.regime.period
    return min(1.0, busy) * timeline.PREPARATION_CPU if moment.progress.state == "train" else 0.05


def _memory(moment: Moment) -> Iterator[Sample]:
    node = moment.node
    total = MEMORY_PER_GPU * node.gpus
    processes = sum(resident(moment, role) for role in ROLES) * node.ranks if moment.alive else 0.0
    used = 6 * timeline.GIB + processes
    yield Sample(catalog.MEMORY_TOTAL_BYTES, (), total)
    yield Sample(catalog.MEMORY_AVAILABLE_BYTES, (), total - used)
    yield Sample(catalog.MEMORY_USED_BYTES, (), used)
    yield Sample(catalog.MEMORY_CACHED_BYTES, (), 0.4 * (total - used))
    yield Sample(catalog.SWAP_USED_BYTES, (), 0.0)
    yield Sample(catalog.MEMORY_OOM_KILLS_TOTAL, (), 0.0)


def resident(moment: Moment, role: str) -> float:
    """Bytes that a rank's processes of a role hold."""
    return 5.2 * timeline.GIB if role == "main" else 1.4 * timeline.GIB * moment.node.workers


def _disk(moment: Moment) -> Iterator[Sample]:
    node, progress = moment.node, moment.progress
    read = 0.1 * progress.batches * timeline.BATCH_SIZE * IMAGE_BYTES * node.ranks  # the rest is in the page cache
    written = 2e3 * moment.uptime + 40e6 * progress.epochs
    device = ("nvme0n1",)
    yield Sample(catalog.DISK_READ_BYTES_TOTAL, device, read)
    yield Sample(catalog.DISK_WRITTEN_BYTES_TOTAL, device, written)
    yield Sample(catalog.DISK_READS_TOTAL, device, float(int(read / IMAGE_BYTES)))
    yield Sample(catalog.DISK_WRITES_TOTAL, device, float(int(written / 65536)))
    yield Sample(catalog.DISK_READ_SECONDS_TOTAL, device, read / 1.5e9)
    yield Sample(catalog.DISK_WRITE_SECONDS_TOTAL, device, written / 1e9)
    yield Sample(catalog.DISK_IO_SECONDS_TOTAL, device, (read + written) / 3e9)
    places = (("/", "ext4", 0.9e12, 0.6), ("/data", "xfs", 7.5e12, 0.35), ("/dev/shm", "tmpfs", 5e11, 0.98))  # noqa: S108
    for mountpoint, fstype, size, left in places:
        yield Sample(catalog.FILESYSTEM_SIZE_BYTES, (mountpoint, fstype), size)
        available = size * left - (20e6 * progress.epochs if mountpoint == "/data" else 0.0)
        yield Sample(catalog.FILESYSTEM_AVAILABLE_BYTES, (mountpoint, fstype), available)
