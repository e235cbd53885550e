"""Training waits for data, or its step for a CPU: one cause is named."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.cache import cache_in_memory
from yoloscope_exporter.diagnosis.advice.cpus import fewer_threads, within_quota
from yoloscope_exporter.diagnosis.advice.gains import without_share, without_wait
from yoloscope_exporter.diagnosis.advice.preparation import for_slow_preprocessing, for_slow_storage
from yoloscope_exporter.diagnosis.advice.settings import ranks_here, without_cuda
from yoloscope_exporter.diagnosis.advice.workers import more_workers, workers_needed, workers_to_advise
from yoloscope_exporter.diagnosis.rules.rule import STEP, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import joined, text, units
from yoloscope_exporter.measures.thresholds import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_exporter.diagnosis.forecast import Forecast
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def starved(s: Signals, t: Thresholds) -> bool:
    """Whether training waits for data."""
    return s.data_wait_share >= t.input_share


def input_cause(s: Signals, t: Thresholds) -> str:
    """Which verdict explains the wait for data; empty where the loader's workers say nothing.

    In the order in which one cause would hide the next: a quota stops everybody, one slow worker delays the ordered
    queue, too many threads for the CPUs look like slow storage and like slow code. What is left computes, or queues to.
    """
    return next((name for name, holds in _CAUSES if holds(s, t)), "loader_cpu")


def step_cause(s: Signals, t: Thresholds) -> str:
    """Which verdict explains that the training process itself waits for a CPU; empty where it does not, or for its own.

    A GPU that is busy all the same does not wait for it.
    """
    queue = s.get(Signals.trainer_queue_share)
    if queue < t.runqueue_share or s.get(Signals.gpu_busy) >= t.gpu_busy or not s.get(Signals.trainer_cores):
        return ""
    slower = 1 + queue / s.trainer_cores
    if 1 - 1 / slower < t.runqueue_share:
        return ""  # many threads, of which each waits a little
    if s.get(Signals.throttled_share) >= t.throttled_share:
        return "cpu_throttled"
    if _pinned(s, t):
        return "cpu_affinity"
    return "cpu_contended" if _would_fit(s, slower) and _others_compute(s, t) else ""


def _would_fit(s: Signals, slower: float) -> bool:
    """Whether the node has CPUs for what the run would use if its step had never waited for one."""
    if not s.has(Signals.cpu_busy_share, Signals.node_cores, Signals.others_cores):
        return False
    own = s.cpu_busy_share * s.node_cores - s.others_cores
    return own * slower <= s.node_cores


def _others_compute(s: Signals, t: Thresholds) -> bool:
    return s.get(Signals.others_cores) >= t.contended_share * s.get(Signals.node_cores, 1)


def waiting(s: Signals) -> float:
    """Share of a batch's preparation that is neither computing nor queueing for a CPU: waiting, mostly for storage."""
    return max(1 - s.prep_cpu_ratio - s.get(Signals.runqueue_share), 0.0)


def has_slow_worker(s: Signals, t: Thresholds) -> bool:
    """Whether one worker takes much longer than the others, who alone would keep the trainer busy."""
    if not s.has(Signals.slowest_ratio, Signals.others_prep_seconds, Signals.step_seconds, Signals.workers):
        return False
    others_suffice = s.others_prep_seconds <= s.step_seconds * max(s.workers - 1, 1)
    return s.slowest_ratio >= t.slow_worker_ratio and others_suffice


def pinned(s: Signals, t: Thresholds) -> bool:
    """Whether workers wait for a CPU while others idle that they may not run on."""
    return s.get(Signals.runqueue_share) >= t.runqueue_share and _pinned(s, t)


def _pinned(s: Signals, t: Thresholds) -> bool:
    """Whether CPUs idle that the run may not use."""
    if not s.has(Signals.allowed_cores, Signals.free_cores):
        return False
    return s.allowed_cores < s.get(Signals.cores_per_trainer) and s.free_cores >= t.free_cores


def contended(s: Signals, t: Thresholds) -> bool:
    """Whether workers wait for a CPU that others use, and would all have one if they were alone."""
    if s.get(Signals.runqueue_share) < t.runqueue_share or not s.has(Signals.others_cores, Signals.node_cores):
        return False
    fit = s.get(Signals.workers) * ranks_here(s) <= s.node_cores
    own_threads = s.get(Signals.worker_threads) >= t.worker_threads
    return _others_compute(s, t) and fit and not own_threads


def oversubscribed(s: Signals, t: Thresholds) -> bool:
    """Whether workers wait for a CPU, and there are more of them than CPUs, or they start threads."""
    if s.get(Signals.runqueue_share) < t.runqueue_share or not s.has(Signals.rank_cores):
        return False
    too_many = s.get(Signals.workers) > s.rank_cores
    return too_many or s.get(Signals.worker_threads) >= t.worker_threads


def room_for_workers(s: Signals, t: Thresholds) -> bool:
    """Whether more workers would help: they are needed, allowed, and could work."""
    return workers_to_advise(s) is not None and _could_work(s, t)


def _could_work(s: Signals, t: Thresholds) -> bool:
    """Whether one more worker could: a CPU idles for it, or it would wait beside the others and needs none."""
    return not s.has(Signals.free_cores) or s.free_cores >= t.free_cores or _waiting(s, t)


def _throttled(s: Signals, t: Thresholds) -> bool:
    """A quota shows as time in the run queue: of workers that mostly wait for something else it is not the cause."""
    elsewhere = s.has(Signals.runqueue_share) and _waiting(s, t)
    return s.get(Signals.throttled_share) >= t.throttled_share and not elsewhere


def _without_workers(s: Signals, t: Thresholds) -> bool:
    """The trainer prepares its batches itself: with CUDA a worker could do so meanwhile, else where a CPU idles."""
    return s.get(Signals.workers, -1) == 0 and (not without_cuda(s) or _could_work(s, t))


def _unrecorded(s: Signals, _: Thresholds) -> bool:
    return not s.has(Signals.prep_seconds, Signals.prep_cpu_ratio)


def _waiting(s: Signals, t: Thresholds) -> bool:
    return s.has(Signals.prep_cpu_ratio) and waiting(s) >= t.waiting_ratio


def queue_unknown(s: Signals, t: Thresholds) -> bool:
    """Whether workers wait, and it is not known whether for a CPU."""
    return _waiting(s, t) and not s.has(Signals.runqueue_share)


def handed_over(s: Signals) -> bool:
    """Whether batches are waited for longer than all workers together work on them: so it is not their preparation.

    Batches come in order, and while one is waited for a worker is at it: the wait is at most what was prepared.
    """
    if not s.get(Signals.workers) or not s.has(Signals.prep_seconds, Signals.wait_seconds):
        return False
    return s.prep_seconds < s.wait_seconds / 2


def _slow_storage(s: Signals, t: Thresholds) -> bool:
    return _waiting(s, t) and bool(io_evidence(s, t))


def io_evidence(s: Signals, t: Thresholds) -> list[str]:
    """What speaks for storage by itself, in words; nothing where workers wait for something else.

    A disk that is busy, and tasks that wait for one, may be somebody else's: of workers that read nothing they are.
    """
    found: list[str] = []
    reads = s.get(Signals.worker_read_rate, math.inf) > 0 or s.get(Signals.major_faults) > 0
    if reads and s.get(Signals.io_pressure) >= t.io_pressure:
        found.append(s.text("I/O pressure {io_pressure:.0%}"))
    if reads and s.get(Signals.disk_busy_share) >= t.disk_busy:
        found.append(s.text("busiest disk {disk_busy_share:.0%} busy"))
    if s.get(Signals.io_delay_share) >= t.io_delay_share:
        found.append(s.text("workers wait for block I/O {io_delay_share:.0%} of their time"))
    if s.get(Signals.major_faults) >= t.major_faults:
        found.append(s.text("{major_faults:.0f} pages fetched from storage for each batch"))
    if s.get(Signals.network_file_systems) and s.get(Signals.worker_read_rate) >= t.network_read:
        found.append(
            text(
                "workers read {worker_read_rate}/s, and a network file system is mounted",
                worker_read_rate=units.size(s.worker_read_rate),
            )
        )
    reading = s.get(Signals.decode_share, 1.0) * waiting(s)  # transforms wait for no file
    if s.get(Signals.slow_files_on_network) and reading >= t.waiting_ratio:
        found.append(
            s.text(
                "the {slow_files_on_network:.0f} slowest files lie on a network file system and were mostly waited for"
            )
        )
    return found


def _filled(s: Signals, _: Thresholds) -> bool:
    """Batches are ready while the trainer is said to wait for them: older hooks count callbacks as that wait.

    Workers that are slower than the trainer leave it waiting all the same: they get ready together, and batches come in
    bursts, of one for each worker.
    """
    return not s.has(Signals.callbacks_share) and s.get(Signals.queue_ready) >= 1 and not _in_bursts(s)


def _in_bursts(s: Signals) -> bool:
    """Whether all workers together are slower than the trainer, and no more is ready than what they finish at once."""
    if not s.has(Signals.prep_seconds, Signals.step_seconds, Signals.workers):
        return False
    return s.prep_seconds > s.step_seconds * max(s.workers, 1) and s.get(Signals.queue_ready) < s.workers


def capped(s: Signals, t: Thresholds) -> bool:
    """Whether more workers would help and were asked for, but Ultralytics started fewer."""
    asked = s.get(Signals.workers_asked)
    now, needed = s.get(Signals.workers, asked), workers_needed(s)
    return asked > now and needed is not None and needed > now and _could_work(s, t)


#: Which verdict explains the wait for data, in the order in which they are asked; "" where that cannot be known.
_CAUSES: tuple[tuple[str, Callable[[Signals, Thresholds], bool]], ...] = (
    ("cpu_throttled", _throttled),
    ("loader_workers", _without_workers),
    ("", _filled),
    ("", _unrecorded),
    ("", lambda s, _: handed_over(s)),
    ("slow_worker", has_slow_worker),
    ("cpu_affinity", pinned),
    ("cpu_contended", contended),
    ("cpu_oversubscribed", oversubscribed),
    ("loader_io", _slow_storage),
    ("", queue_unknown),
    ("workers_capped", capped),
    ("loader_wait", _waiting),
    ("loader_workers", room_for_workers),
)


#: Those of them that a step may suffer from as well.
_OF_CPUS = ("cpu_throttled", "cpu_affinity", "cpu_contended")

#: What `step_cause` reads.
STEP_THRESHOLDS = ("runqueue_share", "gpu_busy", "throttled_share", "free_cores", "contended_share")

#: Every verdict about the loader reads those of the others: it holds where none that is asked before it does.
CAUSE_THRESHOLDS = (
    "input_share",
    "throttled_share",
    "slow_worker_ratio",
    "runqueue_share",
    "contended_share",
    "worker_threads",
    "waiting_ratio",
    "io_pressure",
    "io_delay_share",
    "disk_busy",
    "major_faults",
    "network_read",
    "free_cores",
)


def _starved_by(name: str) -> Callable[[Signals, Thresholds], bool]:
    """Whether training waits for data and this explains it; its own conditions, where it has any, come first."""
    own = [holds for cause, holds in _CAUSES if cause == name]

    def when(s: Signals, t: Thresholds) -> bool:
        may = starved(s, t) and (not own or any(holds(s, t) for holds in own))
        return may and input_cause(s, t) == name

    return when


def _short_of(name: str) -> Callable[[Signals, Thresholds], bool]:
    """The same, or the step itself lacks the CPU."""
    return lambda s, t: _starved_by(name)(s, t) or step_cause(s, t) == name


def waits(s: Signals) -> str:
    """How much of its time training waits for data, in words."""
    bound = "" if s.has(Signals.callbacks_share) else text("up to ")
    told = s.text("{bound}{data_wait_share:.0%} of training time waits for data", bound=bound)
    if bound:
        told += text(", other callbacks included (the hooks are older than the exporter)")
    if s.has(Signals.gpu_busy):
        told += s.text(" (GPU busy {gpu_busy:.0%})")
    return told


def _preparation(s: Signals) -> str:
    if not s.has(Signals.prep_seconds, Signals.step_seconds):
        return ""
    workers = text(" by {counted}", counted=units.counted(s.workers, "worker")) if s.get(Signals.workers) else ""
    preparing, training = units.milliseconds(s.prep_seconds), units.milliseconds(s.step_seconds)
    return text(
        "; a batch takes {preparing} to prepare{workers} and {training} to train on",
        preparing=preparing,
        workers=workers,
        training=training,
    )


def _slow_file(s: Signals) -> str:
    """The slowest file, where it alone takes longer than a batch of files."""
    if "slow_file" not in s.names or s.get(Signals.slow_file_seconds) <= max(s.get(Signals.prep_seconds), 1.0):
        return ""
    return s.text(
        "; {slow_file} alone took {slow_file_seconds} to read and decode",
        slow_file_seconds=units.duration(s.slow_file_seconds),
    )


def _workers_evidence(s: Signals, _: Thresholds) -> str:
    if s.get(Signals.workers, -1) == 0:
        return text("{waits}; the training process prepares its batches itself (workers=0)", waits=waits(s))
    free = (
        s.text("; {free_cores:.1f} of {node_cores:.0f} CPUs idle")
        if s.has(Signals.free_cores, Signals.node_cores)
        else ""
    )
    return waits(s) + _preparation(s) + free


def _cpu_evidence(s: Signals, _: Thresholds) -> str:
    busy = s.text("; CPUs of the node {cpu_busy_share:.0%} busy") if s.has(Signals.cpu_busy_share) else ""
    queue = s.text(", {runqueue_share:.0%} waiting for a CPU") if s.get(Signals.runqueue_share) >= 0.05 else ""  # noqa: PLR2004 - less is noise
    decoding = (
        s.text("; {decode_share:.0%} of it decodes, the rest is transforms") if s.has(Signals.decode_share) else ""
    )
    return s.text(
        "{waits}{preparation}, {prep_cpu_ratio:.0%} of it computing{queue}{decoding}{busy}{slow_file}",
        waits=waits(s),
        preparation=_preparation(s),
        queue=queue,
        decoding=decoding,
        busy=busy,
        slow_file=_slow_file(s),
    )


def _io_evidence(s: Signals, t: Thresholds) -> str:
    return joined(
        [
            text(
                "{waits}{preparation}, {waiting:.0%} of it waiting{slow_file}",
                waits=waits(s),
                preparation=_preparation(s),
                waiting=waiting(s),
                slow_file=_slow_file(s),
            ),
            *io_evidence(s, t),
        ]
    )


def _wait_evidence(s: Signals, _: Thresholds) -> str:
    disk = s.text("; busiest disk {disk_busy_share:.0%} busy") if s.has(Signals.disk_busy_share) else ""
    pressure = s.text("; I/O pressure {io_pressure:.0%}") if s.has(Signals.io_pressure) else ""
    known = (
        text("storage is not seen to be busy") if disk or pressure else text("how busy storage is, is not known here")
    )
    share = text(", {waiting:.0%} of it neither computing nor waiting for a CPU", waiting=waiting(s))
    return text(
        "{waits}{preparation}{share}; {known}{disk}{pressure}{slow_file}",
        waits=waits(s),
        preparation=_preparation(s),
        share=share,
        known=known,
        disk=disk,
        pressure=pressure,
        slow_file=_slow_file(s),
    )


def _start_evidence(s: Signals, _: Thresholds) -> str:
    return s.text(
        "{loader_start_seconds} per epoch pass before its first batch is there: "
        "{loader_start_share:.0%} of training time",
        loader_start_seconds=units.milliseconds(s.loader_start_seconds),
    )


def _capped_evidence(s: Signals, _: Thresholds) -> str:
    cpus = s.text("; {node_cores:.0f} CPUs") if s.has(Signals.node_cores) else ""
    gpus = text(" for {counted}", counted=units.counted(s.gpus, "GPU")) if cpus and s.has(Signals.gpus) else ""
    asked = s.text("; workers={workers_asked:.0f} was asked for, {workers:.0f} were started")
    idle = text(", {waiting:.0%} of it waiting", waiting=waiting(s)) if s.has(Signals.prep_cpu_ratio) else ""
    bound = cpus + gpus
    if _few_batches(s):
        bound = text("; an epoch has {counted}", counted=units.counted(s.epoch_batches, "batch"))
    return waits(s) + _preparation(s) + idle + asked + bound


def _few_batches(s: Signals) -> bool:
    """Whether there is a worker for each batch of an epoch."""
    return s.has(Signals.epoch_batches) and s.epoch_batches <= s.workers


def _capped_cause(s: Signals, _: Thresholds) -> str:
    """Ultralytics caps workers at os.cpu_count() // GPUs for each rank, and at the batches of an epoch."""
    if _few_batches(s):
        return text("Ultralytics starts no more workers than an epoch has batches")
    return text("Ultralytics caps workers at os.cpu_count() // GPUs for each rank")


def _queueing(s: Signals, t: Thresholds) -> str:
    """Who waits for a CPU: the workers, the training process itself, or both."""
    told = []
    if starved(s, t) and (s.get(Signals.runqueue_share) >= t.runqueue_share or not step_cause(s, t)):
        queue = s.text("; loader workers spend {runqueue_share:.0%} of their time waiting for a CPU")
        told.append(waits(s) + queue)
    if step_cause(s, t) and (s.get(Signals.workers) or not told):
        told.append(
            s.text("the training process itself spends {trainer_queue_share:.0%} of its time waiting for a CPU")
        )
    return joined(told)


def _affinity_evidence(s: Signals, t: Thresholds) -> str:
    return s.text(
        "{queueing}; they may run on {allowed_cores:.0f} of {node_cores:.0f} CPUs, and "
        "{free_cores:.1f} CPUs of the node idle",
        queueing=_queueing(s, t),
    )


def _contended_evidence(s: Signals, t: Thresholds) -> str:
    who = s.text(" (of them runs known here: {neighbours})") if "neighbours" in s.names else ""
    return s.text(
        "{queueing}; others use {others_cores:.1f} of {node_cores:.0f} CPUs{who}", queueing=_queueing(s, t), who=who
    )


def _affinity_advice(s: Signals) -> Advice:
    return Advice(
        note=text(
            "start it without taskset or numactl; in Slurm --cpus-per-task with the CPUs that the "
            "workers need; unset KMP_AFFINITY, GOMP_CPU_AFFINITY and OMP_PROC_BIND, which pin the "
            "process that workers are forked from"
        ),
        forecast=_with_cpus(s),
    )


def _with_cpus(s: Signals) -> Forecast | None:
    """At most what training would do if neither its workers nor its step waited for a CPU."""
    starving = starved(s, DEFAULTS) and input_cause(s, DEFAULTS) in _OF_CPUS
    if not step_cause(s, DEFAULTS):
        return without_wait(s)
    waited, queue = s.data_wait_share if starving else 0.0, s.trainer_queue_share
    own = queue / max(queue + s.trainer_cores, 1.0)  # of a thread that is never idle
    return without_share(s, 1 - (1 - waited) * (1 - own))


def _start_advice(s: Signals) -> Advice:
    """Fewer workers start sooner; only where fewer are enough."""
    needed = workers_needed(s)
    fewer = needed is not None and 0 < needed < s.get(Signals.workers)
    note = text(
        "keep the workers from epoch to epoch (persistent_workers=True in your own loader; "
        "Ultralytics' does), keep the data set small to pickle (arrays instead of lists), fork "
        "instead of spawn"
    )
    return Advice({"workers": needed} if fewer and needed else {}, note=note)


def _workers_advice(s: Signals) -> Advice:
    more = more_workers(s)
    if more is not None:
        return more
    less = for_slow_preprocessing(s)
    if not without_cuda(s):
        return less
    return replace(
        less, note=joined((text("Ultralytics sets workers=0 on a CPU and on MPS, whatever is asked for"), less.note))
    )


def _wait_advice(s: Signals) -> Advice:
    workers = more_workers(s)
    note = text(
        "look at what they wait for: py-spy dump --pid <a worker>, three times (a lock, a pipe, "
        "a download, sleep, a remote file system)"
    )
    if workers is None:
        return Advice(note=note)
    return Advice(
        workers.arguments, note=text("{note}; more workers help if they do not wait for the same thing", note=note)
    )


def _capped_advice(s: Signals) -> Advice:
    kept = cache_in_memory(s) if s.get(Signals.decode_share) else None
    note = text(
        "a higher workers= has no effect: Ultralytics starts at most os.cpu_count() // GPUs for "
        "a rank; more CPUs for each GPU, fewer visible GPUs (CUDA_VISIBLE_DEVICES), or less to "
        "prepare"
    )
    if _few_batches(s):
        note = text("a higher workers= has no effect: there is one for each batch of an epoch; less to prepare")
    return Advice(kept.arguments if kept else {}, note=joined((note, kept.note if kept else "")))


def _slow_worker_evidence(s: Signals, _: Thresholds) -> str:
    return s.text(
        "{waits}; worker {slowest_worker} takes {slowest_prep_seconds} per batch, the others "
        "{others_prep_seconds}: batches are delivered in order, so all wait for it",
        waits=waits(s),
        slowest_prep_seconds=units.milliseconds(s.slowest_prep_seconds),
        others_prep_seconds=units.milliseconds(s.others_prep_seconds),
    )


def _oversubscribed_evidence(s: Signals, _: Thresholds) -> str:
    count = (
        s.text("; {counted} on {rank_cores:.3g} CPUs for each rank", counted=units.counted(s.workers, "worker"))
        if s.has(Signals.workers)
        else ""
    )
    threads = s.text(", {worker_threads:.1f} CPUs used per worker") if s.get(Signals.worker_threads) > 1.2 else ""  # noqa: PLR2004
    return s.text(
        "{waits}; loader workers spend {runqueue_share:.0%} of their time waiting for a CPU{count}{threads}",
        waits=waits(s),
        count=count,
        threads=threads,
    )


def _quota_evidence(s: Signals, t: Thresholds) -> str:
    quota = s.text(" of {quota_cores:g} CPUs") if s.has(Signals.quota_cores) else ""
    who = waits(s) if starved(s, t) else _queueing(s, t)
    return s.text("{who}; throttled by the cgroup's quota{quota}: {throttled_share:.0%}", who=who, quota=quota)


def _slow_worker_advice(s: Signals) -> Advice:
    return Advice(
        note=text("check the files, the mount and the CPU of worker {value}", value=s.names.get("slowest_worker", "")),
        forecast=without_wait(s),
    )


RULES = (
    Rule(
        name="loader_startup",
        title="Starting loader workers takes a large part of each epoch",
        severity=WARNING,
        requires="phase `loader_start` or the wait for first batches, after two epochs",
        confused_with={
            "loader_workers": "that wait comes with every batch; first batches are left out of it",
        },
        needs=(Signals.loader_start_share, Signals.loader_start_seconds, Signals.process_epoch),
        when=lambda s, t: s.loader_start_share >= t.loader_start_share and s.process_epoch > t.epochs_for_shares,
        thresholds=("loader_start_share", "epochs_for_shares"),
        evidence=_start_evidence,
        cause="workers are started again and fill their queue before the first batch of every epoch",
        verify="the process list at an epoch's start: loader workers get new pids",
        fix=_start_advice,
        waste=("loader_start",),
        remedy="workers that stay between epochs, fewer `workers` where fewer are enough, a data set small to pickle",
    ),
    Rule(
        name="loader_wait",
        title="Loader workers wait, and not for a CPU or a disk",
        severity=WARNING,
        requires="waiting for data; workers neither compute nor queue half of the time; no evidence for storage",
        confused_with={
            "workers_capped": "where fewer were started than asked for, more would wait side by side",
            "loader_io": "I/O pressure, a busy disk, delayed block I/O, major faults, or a network file system that is "
            "read from",
            "cpu_contended": "time in the run queue is no waiting",
        },
        needs=(*STEP, Signals.prep_seconds, Signals.prep_cpu_ratio, Signals.runqueue_share),
        when=_starved_by("loader_wait"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_wait_evidence,
        cause="not known: workers neither compute nor wait for a CPU, and nothing shows that they wait for storage",
        verify="py-spy dump --pid <a loader worker>, three times: where it stands is what it waits for",
        fix=_wait_advice,
        waste=("data_wait",),
        remedy="what workers wait for has to be seen first (`py-spy dump`); more `workers`, if they wait for different "
        "things",
    ),
    Rule(
        name="workers_capped",
        title="Ultralytics started fewer loader workers than asked for",
        severity=WARNING,
        requires="the asked and the started number of workers, which is too small, and idle CPUs for more or workers "
        "that wait",
        confused_with={
            "loader_workers": "there as many were started as were asked for, so that `workers` can be raised",
        },
        needs=(*STEP, Signals.workers_asked, Signals.workers),
        when=_starved_by("workers_capped"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_capped_evidence,
        cause=_capped_cause,
        verify="the log's line 'Using N dataloader workers'; python -c \"import os; print(os.cpu_count())\"",
        fix=_capped_advice,
        waste=("data_wait",),
        remedy="more CPUs for each GPU, fewer visible GPUs, a cache where decoding takes long; not a higher `workers`",
    ),
    Rule(
        name="cpu_affinity",
        title="The training is pinned to a few CPUs",
        severity=WARNING,
        requires="run-queue time of workers, or of the step, while CPUs idle that they may not use",
        confused_with={
            "cpu_oversubscribed": "no CPU idles there",
            "cpu_contended": "no CPU idles there either",
        },
        needs=(*STEP, Signals.runqueue_share, Signals.allowed_cores, Signals.cores_per_trainer, Signals.free_cores),
        when=_short_of("cpu_affinity"),
        thresholds=(*CAUSE_THRESHOLDS, "gpu_busy"),
        evidence=_affinity_evidence,
        cause="the affinity that the run inherits leaves it fewer CPUs than its share of the node",
        verify="taskset -cp <a loader worker's pid>; scontrol show job -d (CPU_IDs)",
        fix=_affinity_advice,
        waste=("data_wait",),
        remedy="no `taskset`, `--cpus-per-task` with enough CPUs, no `KMP_AFFINITY`",
    ),
    Rule(
        name="cpu_contended",
        title="Others use the CPUs that the training needs",
        severity=WARNING,
        requires="run-queue time of workers, or of the step, and CPUs in use that are not the run's",
        confused_with={
            "cpu_oversubscribed": "the run's own workers or their threads are more than the CPUs",
            "loader_cpu": "workers compute there, they do not queue",
        },
        needs=(*STEP, Signals.runqueue_share, Signals.others_cores, Signals.node_cores),
        when=_short_of("cpu_contended"),
        thresholds=(*CAUSE_THRESHOLDS, "gpu_busy"),
        evidence=_contended_evidence,
        cause="processes that are not this run's use CPUs, and its workers, or its step, wait for their turn",
        verify="top -o %CPU: who uses the CPUs beside this run's processes",
        fix=lambda s: Advice(
            note=text(
                "run it on a node of its own, or give it CPUs of its own (Slurm --cpus-per-task, a cgroup's cpuset)"
            ),
            forecast=_with_cpus(s),
        ),
        waste=("data_wait",),
        remedy="a node, or CPUs, of its own",
    ),
    Rule(
        name="loader_workers",
        title="Too few loader workers",
        severity=WARNING,
        requires="waiting for data, workers that compute or read, idle CPUs; or no workers at all",
        confused_with={
            "callback_bound": "callbacks are timed apart; with older hooks the wait is an upper bound",
            "workers_capped": "more were asked for than were started",
        },
        needs=STEP,
        when=_starved_by("loader_workers"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_workers_evidence,
        cause="the loader's workers are too few to prepare batches as fast as the trainer takes them, "
        "and CPUs are idle",
        verify="htop: loader workers busy, CPUs idle; yoloscope top: queue depth 0",
        fix=_workers_advice,
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
        requires="waiting for data, and workers that compute for half of their time",
        confused_with={
            "cpu_oversubscribed": "queueing for a CPU is no computing",
            "loader_io": "what waits does not compute",
            "loader_workers": "CPUs idle there",
        },
        needs=(*STEP, Signals.prep_seconds, Signals.prep_cpu_ratio),
        when=_starved_by("loader_cpu"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_cpu_evidence,
        cause="decoding and augmenting images takes more CPU than there is",
        verify="py-spy record --pid <a loader worker> --duration 30 --output loader.svg",
        fix=for_slow_preprocessing,
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
        requires="waiting for data, workers that wait, and I/O pressure, a busy disk, delayed block I/O, major faults, "
        "reads from a network file system, or slowest files that all lie on one (as on `/mnt/c` in WSL2) "
        "and mostly waited",
        confused_with={
            "loader_wait": "without evidence of its own storage is not named",
            "cpu_oversubscribed": "time in the run queue is no waiting for storage",
        },
        needs=(*STEP, Signals.prep_seconds, Signals.prep_cpu_ratio),
        when=_starved_by("loader_io"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_io_evidence,
        cause="loader workers wait for storage instead of computing",
        verify="iostat -x 1: %util near 100; for NFS: nfsiostat 1",
        fix=for_slow_storage,
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
        requires="one worker's time per batch beside the others', who alone would be quick enough",
        confused_with={
            "loader_io": "all workers are slow there",
        },
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
        requires="run-queue time of workers, and more workers or threads than CPUs",
        confused_with={
            "cpu_contended": "the run's own workers would fit",
            "cpu_affinity": "CPUs idle that the run may not use",
            "cpu_throttled": "the quota is asked first: it too shows as run-queue time",
        },
        needs=(*STEP, Signals.runqueue_share, Signals.rank_cores),
        when=_starved_by("cpu_oversubscribed"),
        thresholds=CAUSE_THRESHOLDS,
        evidence=_oversubscribed_evidence,
        cause="more threads want to run than there are CPUs, so they take turns instead of working",
        verify="pidstat -w -t 1: involuntary switches (nvcswch/s); column 2 of /proc/<pid>/schedstat grows",
        fix=fewer_threads,
        waste=("data_wait",),
        remedy="`OMP_NUM_THREADS=1`, no more `workers` than CPUs",
    ),
    Rule(
        name="cpu_throttled",
        title="The cgroup's CPU quota stops the training",
        severity=WARNING,
        requires="throttled time of the run's cgroup while training waits for data, or its step for a CPU",
        confused_with={
            "cpu_oversubscribed": "asked after the quota",
            "healthy": "a quota that bites while batches are ready and the step has its CPU costs nothing",
            "loader_wait": "workers that mostly wait for something else than a CPU are not stopped by the quota",
        },
        needs=(*STEP, Signals.throttled_share),
        when=_short_of("cpu_throttled"),
        thresholds=(*CAUSE_THRESHOLDS, "gpu_busy"),
        evidence=_quota_evidence,
        cause="the container's or job's CPU quota is used up in every period, and then all its threads stop",
        verify="cat /sys/fs/cgroup/<run's cgroup>/cpu.stat: nr_throttled grows with nr_periods",
        fix=within_quota,
        waste=("data_wait",),
        remedy="raise the CPU limit to what preparation needs, or `workers` down to the quota",
    ),
)
