"""CPUs and storage of the node, of the run's cgroup and of its affinity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import at_most_one, least, ratio
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.measures import host as measures

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View

_SHM = "/dev/shm"  # noqa: S108 - a label's value

#: Metrics of the node that these signals, and a view's machine, are computed from.
METRICS = (
    catalog.CPU_SECONDS_TOTAL,
    catalog.CPU_CORES,
    catalog.DISK_IO_SECONDS_TOTAL,
    catalog.FILESYSTEM_SIZE_BYTES,
    catalog.PRESSURE_SECONDS_TOTAL,
)


class HostSignals:
    """CPUs and storage."""

    rank_cores = Signal(
        "CPUs for each rank: online over all trainers of the node, quota over those of the run, its share of the CPUs "
        "it may run on"
    )
    node_cores = Signal("CPUs online")
    quota_cores = Signal("CPU quota of the run's cgroup")
    free_cores = Signal("CPUs of the node that idle, or that the quota leaves")
    cpu_busy_share = Signal("share of the node's CPU time in use")
    throttled_share = Signal("share of the CPU quota's periods in which it was used up and the cgroup stopped")
    io_pressure = Signal("share of the time some task waited for I/O (cgroup, else node)")
    disk_busy_share = Signal("share of the time the busiest disk had work (%util)")
    shm_size_bytes = Signal("size of /dev/shm")


def cpu(v: View) -> Numbers:
    """CPUs there are, CPUs the rank may use, CPUs that are free."""
    node = v.now.last(catalog.CPU_CORES)
    quota = v.now.last(catalog.CGROUP_CPU_QUOTA_CORES, v.run)
    idle = v.machine.idle
    free = idle * node if idle is not None and node is not None else None
    used = v.now.rate(catalog.CGROUP_CPU_SECONDS_TOTAL, v.run)
    if quota is not None and used is not None:
        free = min(quota - used, free if free is not None else quota)
    own, everybody = max(v.machine.ranks[v.run], 1), max(v.machine.ranks.total(), 1)
    return {
        HostSignals.rank_cores: least(ratio(node, everybody), ratio(quota, own), _allowed(v)),
        HostSignals.node_cores: node,
        HostSignals.quota_cores: quota,
        HostSignals.free_cores: max(free, 0.0) if free is not None else None,
        HostSignals.cpu_busy_share: v.machine.reading.one(measures.CPU_BUSY),
        HostSignals.throttled_share: v.machine.reading.one(measures.THROTTLED, run=v.run),
    }


def _allowed(v: View) -> float | None:
    """CPUs of the rank's affinity, shared with the ranks that may run there too; 0.1 does not tell with how many."""
    told = (
        v.now.last(metric, v.run, v.rank, role)
        for metric in (catalog.TRAIN_PROCESS_FAIR_CORES, catalog.TRAIN_PROCESS_AFFINITY_CORES)
        for role in ("worker", "main")
    )
    return next((cores for cores in told if cores), None)


def storage(v: View) -> Numbers:
    """Waiting for I/O, the busiest disk, shared memory."""
    pressure = v.now.rate(catalog.CGROUP_PRESSURE_SECONDS_TOTAL, v.run, "io", "some")
    if pressure is None:
        pressure = v.now.rate(catalog.PRESSURE_SECONDS_TOTAL, "io", "some")
    sizes = v.machine.window.current(catalog.FILESYSTEM_SIZE_BYTES)
    return {
        HostSignals.io_pressure: at_most_one(pressure),
        HostSignals.disk_busy_share: v.machine.reading.one(measures.DISK_BUSY),
        HostSignals.shm_size_bytes: next((size for labels, size in sizes.items() if labels[0] == _SHM), None),
    }
