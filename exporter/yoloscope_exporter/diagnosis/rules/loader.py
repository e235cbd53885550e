"""Training waits for data: one cause is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import advice, units
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.rules.rule import STEP, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def starved(s: Signals, t: Thresholds) -> bool:
    """Whether training waits for data."""
    return s.data_wait_share >= t.input_share


def input_cause(s: Signals, t: Thresholds) -> str:
    """Which verdict explains the wait for data; empty where the loader's workers say nothing.

    In the order in which one cause would hide the next: a quota stops everybody, one slow worker delays the ordered
    queue, too many threads for the CPUs look like slow storage and like slow code.
    """
    return next((name for name, holds in _CAUSES if holds(s, t)), "loader_cpu")


def waiting(s: Signals) -> float:
    """Share of a batch's preparation that is neither computing nor queueing for a CPU: waiting, mostly for storage."""
    return max(1 - s.prep_cpu_ratio - s.get(Signals.runqueue_share), 0.0)


def has_slow_worker(s: Signals, t: Thresholds) -> bool:
    """Whether one worker takes much longer than the others, who alone would keep the trainer busy."""
    if not s.has(Signals.slowest_ratio, Signals.others_prep_seconds, Signals.step_seconds, Signals.workers):
        return False
    others_suffice = s.others_prep_seconds <= s.step_seconds * max(s.workers - 1, 1)
    return s.slowest_ratio >= t.slow_worker_ratio and others_suffice


def oversubscribed(s: Signals, t: Thresholds) -> bool:
    """Whether workers wait for a CPU, and there are more of them than CPUs, or they start threads."""
    if s.get(Signals.runqueue_share) < t.runqueue_share or not s.has(Signals.rank_cores):
        return False
    too_many = s.get(Signals.workers) > s.rank_cores
    return too_many or s.get(Signals.worker_threads) >= t.worker_threads


def room_for_workers(s: Signals, t: Thresholds) -> bool:
    """Whether more workers would help: they are needed, allowed, and there are CPUs idle for them."""
    if advice.more_workers(s) is None:
        return False
    return not s.has(Signals.free_cores) or s.free_cores >= t.free_cores


def _throttled(s: Signals, t: Thresholds) -> bool:
    return s.get(Signals.throttled_share) >= t.throttled_share


def _without_workers(s: Signals, _: Thresholds) -> bool:
    return s.get(Signals.workers, -1) == 0 and advice.more_workers(s) is not None


def _unrecorded(s: Signals, _: Thresholds) -> bool:
    return not s.has(Signals.prep_seconds, Signals.prep_cpu_ratio)


def _slow_storage(s: Signals, t: Thresholds) -> bool:
    return waiting(s) >= t.waiting_ratio


#: Which verdict explains the wait for data, in the order in which they are asked; "" where that cannot be known.
_CAUSES: tuple[tuple[str, Callable[[Signals, Thresholds], bool]], ...] = (
    ("cpu_throttled", _throttled),
    ("loader_workers", _without_workers),
    ("", _unrecorded),
    ("slow_worker", has_slow_worker),
    ("cpu_oversubscribed", oversubscribed),
    ("loader_io", _slow_storage),
    ("loader_workers", room_for_workers),
)


#: Every verdict about the loader reads those of the others: it holds where none that is asked before it does.
CAUSE_THRESHOLDS = (
    "input_share",
    "throttled_share",
    "slow_worker_ratio",
    "runqueue_share",
    "worker_threads",
    "waiting_ratio",
    "free_cores",
)


def _starved_by(name: str) -> Callable[[Signals, Thresholds], bool]:
    return lambda s, t: starved(s, t) and input_cause(s, t) == name


def waits(s: Signals) -> str:
    """How much of its time training waits for data, in words."""
    text = f"{s.data_wait_share:.0%} of training time waits for data"
    if s.has(Signals.gpu_busy):
        text += f" (GPU busy {s.gpu_busy:.0%})"
    return text


def _preparation(s: Signals) -> str:
    if not s.has(Signals.prep_seconds, Signals.step_seconds):
        return ""
    workers = f" by {units.counted(s.workers, 'worker')}" if s.get(Signals.workers) else ""
    preparing, training = units.milliseconds(s.prep_seconds), units.milliseconds(s.step_seconds)
    return f"; a batch takes {preparing} to prepare{workers} and {training} to train on"


def _workers_evidence(s: Signals, _: Thresholds) -> str:
    if s.get(Signals.workers, -1) == 0:
        return f"{waits(s)}; the training process loads its batches itself (workers=0)"
    free = (
        f"; {s.free_cores:.1f} of {s.node_cores:.0f} CPUs idle" if s.has(Signals.free_cores, Signals.node_cores) else ""
    )
    return waits(s) + _preparation(s) + free


def _cpu_evidence(s: Signals, _: Thresholds) -> str:
    busy = f"; CPUs of the node {s.cpu_busy_share:.0%} busy" if s.has(Signals.cpu_busy_share) else ""
    return f"{waits(s)}{_preparation(s)}, {s.prep_cpu_ratio:.0%} of it computing{busy}"


def _io_evidence(s: Signals, _: Thresholds) -> str:
    share = f", {waiting(s):.0%} of it waiting"
    disk = f"; busiest disk {s.disk_busy_share:.0%} busy" if s.has(Signals.disk_busy_share) else ""
    pressure = f"; I/O pressure {s.io_pressure:.0%}" if s.has(Signals.io_pressure) else ""
    return waits(s) + _preparation(s) + share + disk + pressure


def _slow_worker_evidence(s: Signals, _: Thresholds) -> str:
    return (
        f"{waits(s)}; worker {s.names['slowest_worker']} takes {units.milliseconds(s.slowest_prep_seconds)} per batch, "
        f"the others {units.milliseconds(s.others_prep_seconds)}: batches are delivered in order, so all wait for it"
    )


def _oversubscribed_evidence(s: Signals, _: Thresholds) -> str:
    count = (
        f"; {units.counted(s.workers, 'worker')} on {s.rank_cores:.3g} CPUs for each rank"
        if s.has(Signals.workers)
        else ""
    )
    threads = f", {s.worker_threads:.1f} CPUs used per worker" if s.get(Signals.worker_threads) > 1.2 else ""  # noqa: PLR2004
    return f"{waits(s)}; loader workers spend {s.runqueue_share:.0%} of their time waiting for a CPU{count}{threads}"


def _quota_evidence(s: Signals, _: Thresholds) -> str:
    quota = f" of {s.quota_cores:g} CPUs" if s.has(Signals.quota_cores) else ""
    return f"{waits(s)}; throttled by the cgroup's quota{quota}: {s.throttled_share:.0%}"


def _slow_worker_advice(s: Signals) -> Advice:
    return Advice(
        note=f"check the files, the mount and the CPU of worker {s.names.get('slowest_worker', '')}",
        speedup=advice.speedup_without_wait(s),
    )


RULES = (
    Rule(
        name="loader_workers",
        title="Too few loader workers",
        severity=WARNING,
        needs=STEP,
        when=_starved_by("loader_workers"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_workers_evidence,
        cause="the loader's workers are too few to prepare batches as fast as the trainer takes them, "
        "and CPUs are idle",
        verify="htop: loader workers busy, CPUs idle; yoloscope top: queue depth 0",
        fix=advice.more_workers,
        waste=("data_wait",),
        remedy=(
            "`workers` up: preparation time over step time, and one to spare; "
            "not beyond the rank's share of CPUs, of the quota, and of memory for each worker"
        ),
    ),
    Rule(
        name="loader_cpu",
        title="Decoding and augmentation take too long",
        severity=WARNING,
        needs=(*STEP, Signals.prep_seconds, Signals.prep_cpu_ratio),
        when=_starved_by("loader_cpu"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_cpu_evidence,
        cause="decoding and augmenting images takes more CPU than there is",
        verify="py-spy record --pid <a loader worker> --duration 30 --output loader.svg",
        fix=advice.for_slow_preprocessing,
        waste=("data_wait",),
        remedy=(
            "`cache=ram` if the decoded data set fits into half of what memory is left, else `cache=disk`; "
            "lighter augmentation (`mosaic`), smaller images on disk"
        ),
    ),
    Rule(
        name="loader_io",
        title="Storage is too slow",
        severity=WARNING,
        needs=(*STEP, Signals.prep_seconds, Signals.prep_cpu_ratio),
        when=_starved_by("loader_io"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_io_evidence,
        cause="loader workers wait for storage instead of computing",
        verify="iostat -x 1: %util near 100; for NFS: nfsiostat 1",
        fix=advice.for_slow_storage,
        waste=("data_wait",),
        remedy=(
            "`cache=ram` if the decoded data set fits into half of what memory is left (Ultralytics asks for as "
            "much), else a local disk; more `workers`, so that more reads wait at once"
        ),
    ),
    Rule(
        name="slow_worker",
        title="One loader worker holds the others up",
        severity=WARNING,
        needs=(*STEP, Signals.slowest_ratio, Signals.others_prep_seconds),
        when=_starved_by("slow_worker"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_slow_worker_evidence,
        cause="one loader worker is persistently late, and batches are delivered in order",
        verify="yoloscope top: the loader workers' times side by side; then py-spy dump --pid <that worker>",
        fix=_slow_worker_advice,
        waste=("data_wait",),
        remedy="check that worker's files, mount and CPU",
    ),
    Rule(
        name="cpu_oversubscribed",
        title="Too many threads for the CPUs",
        severity=WARNING,
        needs=(*STEP, Signals.runqueue_share, Signals.rank_cores),
        when=_starved_by("cpu_oversubscribed"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_oversubscribed_evidence,
        cause="more threads want to run than there are CPUs, so they take turns instead of working",
        verify="pidstat -w -t 1: involuntary switches (nvcswch/s); column 2 of /proc/<pid>/schedstat grows",
        fix=advice.fewer_threads,
        waste=("data_wait",),
        remedy="`OMP_NUM_THREADS=1`, no more `workers` than CPUs",
    ),
    Rule(
        name="cpu_throttled",
        title="The cgroup's CPU quota stops the training",
        severity=WARNING,
        needs=(*STEP, Signals.throttled_share),
        when=_starved_by("cpu_throttled"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_quota_evidence,
        cause="the container's or job's CPU quota is used up in every period, and then all its threads stop",
        verify="cat /sys/fs/cgroup/<run's cgroup>/cpu.stat: nr_throttled grows with nr_periods",
        fix=advice.within_quota,
        waste=("data_wait",),
        remedy="raise the CPU limit to what preparation needs, or `workers` down to the quota",
    ),
)
