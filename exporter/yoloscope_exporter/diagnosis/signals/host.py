"""CPUs and storage of the node, of the run's cgroup and of its affinity."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import at_most_one, least, ratio
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.measures import host as measures

if TYPE_CHECKING:
    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View

_SHM = "/dev/shm"  # noqa: S108 - a label's value
#: Types of file systems whose files come over a network.
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|ceph|lustre|beegfs|gpfs|glusterfs|9p|wekafs|fuse\.(sshfs|s3fs|juicefs|glusterfs|rclone|.*ceph)"
)
#: Share of a slow file's time: whoever computes for less of it has waited for most of it.
_COMPUTED = 0.5
#: CPUs from which on a run is named as one that uses them.
WORTH_NAMING = 0.5

#: Metrics of the node that these signals, and a view's machine, are computed from.
METRICS = (
    catalog.CPU_SECONDS_TOTAL,
    catalog.CPU_CORES,
    catalog.DISK_IO_SECONDS_TOTAL,
    catalog.FILESYSTEM_SIZE_BYTES,
    catalog.FILESYSTEM_AVAILABLE_BYTES,
    catalog.PRESSURE_SECONDS_TOTAL,
)


class HostSignals:
    """CPUs and storage."""

    rank_cores = Signal(
        "CPUs for each rank: online over all trainers of the node, quota over those of the run, its share of the CPUs "
        "it may run on"
    )
    allowed_cores = Signal("CPUs that the rank's loader workers may run on (affinity)")
    cores_per_trainer = Signal("CPUs online over all trainers of the node")
    others_cores = Signal("CPUs in use by others than this run")
    node_cores = Signal("CPUs online")
    quota_cores = Signal("CPU quota of the run's cgroup")
    free_cores = Signal("CPUs of the node that idle, or that the quota leaves")
    cpu_busy_share = Signal("share of the node's CPU time in use")
    throttled_share = Signal("share of the CPU quota's periods in which it was used up and the cgroup stopped")
    io_pressure = Signal("share of the time some task waited for I/O (cgroup, else node)")
    disk_busy_share = Signal("share of the time the busiest disk had work (%util)")
    shm_size_bytes = Signal("size of the rank's /dev/shm, of the node's where the rank's is not known")
    shm_least_bytes = Signal("least room left in it in the window")
    network_file_systems = Signal("network file systems that are mounted on the node")
    slow_files_on_network = Signal(
        "the run's slowest files, if all of them lie on network file systems and were mostly waited for"
    )


def cpu(v: View) -> Numbers:
    """CPUs there are, CPUs the rank may use, CPUs that are free."""
    node = v.now.last(catalog.CPU_CORES)
    quota = v.now.last(catalog.CGROUP_CPU_QUOTA_CORES, v.run)
    idle = v.machine.idle
    free = idle * node if idle is not None and node is not None else None
    used = v.now.rate(catalog.CGROUP_CPU_SECONDS_TOTAL, v.run)
    if quota is not None and used is not None:
        free = min(quota - used, free if free is not None else quota)
    affinity = _allowed(v, catalog.TRAIN_PROCESS_AFFINITY_CORES)
    share = _allowed(v, catalog.TRAIN_PROCESS_FAIR_CORES)  # an exporter of version 0.1 does not tell it
    own, everybody = max(v.machine.ranks[v.run], 1), max(v.machine.ranks.total(), 1)
    return {
        HostSignals.rank_cores: least(ratio(node, everybody), ratio(quota, own), share or affinity),
        HostSignals.allowed_cores: affinity,
        HostSignals.cores_per_trainer: ratio(node, everybody),
        HostSignals.others_cores: _others_cores(v),
        HostSignals.node_cores: node,
        HostSignals.quota_cores: quota,
        HostSignals.free_cores: max(free, 0.0) if free is not None else None,
        HostSignals.cpu_busy_share: v.machine.reading.one(measures.CPU_BUSY),
        HostSignals.throttled_share: v.machine.reading.one(measures.THROTTLED, run=v.run),
    }


def _allowed(v: View, metric: Metric) -> float | None:
    """What a metric tells of the CPUs that the rank's workers, or without any the rank itself, may run on."""
    told = (v.now.last(metric, v.run, v.rank, role) for role in ("worker", "main"))
    return next((cores for cores in told if cores), None)


def _others_cores(v: View) -> float | None:
    """CPUs in use on the node less those of this run; unknown where either is."""
    own = v.machine.cpus_of_runs.get(v.run)
    busy, node = v.machine.reading.one(measures.CPU_BUSY), v.now.last(catalog.CPU_CORES)
    return None if own is None or busy is None or node is None else max(busy * node - own, 0.0)


def neighbours(v: View) -> dict[str, str]:
    """Who else uses CPUs, as far as it is a run known here, the one with most of them first."""
    used = {run: cpus for run, cpus in v.machine.cpus_of_runs.items() if run != v.run and cpus >= WORTH_NAMING}
    told = [f"{run} {used[run]:.1f}" for run in sorted(used, key=lambda run: -used[run])]
    return {"neighbours": ", ".join(told)} if told else {}


def _slow_files_on_network(v: View) -> float | None:
    """How many of the slowest files are known; None unless all of them come over a network, as drives do in WSL2.

    Where the data set lies is no evidence: they also have to have waited for most of their time, all together.
    """
    files = v.now.current(catalog.TRAIN_SLOW_FILE_INFO, v.run, v.rank)
    kinds = [dict(zip(catalog.TRAIN_SLOW_FILE_INFO.labels, labels, strict=False))["filesystem"] for labels in files]
    took = v.now.current(catalog.TRAIN_SLOW_FILE_SECONDS, v.run, v.rank)
    computed = v.now.current(catalog.TRAIN_SLOW_FILE_CPU_SECONDS, v.run, v.rank)
    waited = bool(computed) and sum(computed.values()) < _COMPUTED * sum(took.values())
    return float(len(kinds)) if kinds and waited and all(_NETWORK.fullmatch(kind) for kind in kinds) else None


def storage(v: View) -> Numbers:
    """Waiting for I/O, the busiest disk, shared memory."""
    pressure = v.now.rate(catalog.CGROUP_PRESSURE_SECONDS_TOTAL, v.run, "io", "some")
    if pressure is None:
        pressure = v.now.rate(catalog.PRESSURE_SECONDS_TOTAL, "io", "some")
    sizes = v.machine.window.current(catalog.FILESYSTEM_SIZE_BYTES)
    size, room = (v.now.last(catalog.TRAIN_SHM_SIZE_BYTES, v.run, v.rank), None)
    if size is not None:
        room = v.now.minimum(catalog.TRAIN_SHM_AVAILABLE_BYTES, v.run, v.rank)
    for labels in sizes:
        if size is None and labels[0] == _SHM:
            size, room = sizes[labels], v.now.minimum(catalog.FILESYSTEM_AVAILABLE_BYTES, *labels)
    return {
        HostSignals.shm_least_bytes: room,
        HostSignals.network_file_systems: float(sum(bool(_NETWORK.fullmatch(labels[1])) for labels in sizes)),
        HostSignals.slow_files_on_network: _slow_files_on_network(v),
        HostSignals.io_pressure: at_most_one(pressure),
        HostSignals.disk_busy_share: v.machine.reading.one(measures.DISK_BUSY),
        HostSignals.shm_size_bytes: size,
    }
