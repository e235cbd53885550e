"""How fast the loader prepares batches, and what its workers spend that time on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import at_most_one, least, ratio, total
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.diagnosis.signals.view import FEWEST_BATCHES
from yoloscope_exporter.language import joined, text
from yoloscope_exporter.measures import loader

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View


class LoaderSignals:
    """Preparation of batches, and the processes that do it."""

    prep_seconds = Signal("time a loader worker takes for a batch, in seconds")
    prep_cpu_ratio = Signal("share of that time the worker was computing; the rest is waiting")
    decode_share = Signal("share of that time spent reading, decoding and resizing images; the rest is transforms")
    slowest_prep_seconds = Signal("preparation time of the slowest worker in seconds")
    others_prep_seconds = Signal("mean preparation time of the other workers in seconds")
    slowest_ratio = Signal(
        "the slowest worker's preparation time over the others' mean, in the whole window or usually in its parts, "
        "whichever is less"
    )
    queue_ready = Signal("batches ready and waiting for the trainer, mean over the window")
    worker_deaths = Signal(
        "loader workers that ended by a signal or an error: in the window, of a run that ended in all"
    )
    major_faults = Signal("pages that loader workers had to fetch from storage, for each batch they prepared")
    io_delay_share = Signal("share of a loader worker's time spent waiting for block I/O (delay accounting)")
    worker_read_rate = Signal("bytes per second that loader workers had read from storage")
    workers_alive = Signal("loader worker processes found")
    runqueue_share = Signal(
        "share of a loader worker's time spent ready to run but without a CPU; of the training process's with workers=0"
    )
    worker_threads = Signal("CPUs a loader worker uses over those its preparation accounts for: threads it started")
    trainer_cores = Signal("CPUs that the training process itself uses")
    trainer_queue_share = Signal("share of its time in which the training process itself was ready but had no CPU")
    worker_resident_bytes = Signal("resident memory of one loader worker")


def preparation(v: View) -> Numbers:
    """Time per batch, as the workers themselves measured it; of the training process where there are none."""
    prepared = v.measure(loader.PREPARATION)
    if not prepared:
        return _without_workers(v)
    slowest = v.slowest_worker
    return {
        LoaderSignals.prep_seconds: prepared,
        LoaderSignals.queue_ready: v.now.mean(catalog.TRAIN_QUEUE_DEPTH, v.run, v.rank),
        LoaderSignals.major_faults: _faults(v),
        LoaderSignals.decode_share: v.measure(loader.DECODING),
        LoaderSignals.prep_cpu_ratio: v.measure(loader.PREPARATION_CPU),
        LoaderSignals.slowest_prep_seconds: slowest[1] if slowest else None,
        LoaderSignals.others_prep_seconds: slowest[1] / slowest[2] if slowest else None,
        LoaderSignals.slowest_ratio: slowest[2] if slowest else None,
    }


def workers_stayed(v: View) -> bool:
    """Whether there are none, or they are seen and none was started anew: no wait is then one for their start."""
    if v.now.last(catalog.TRAIN_WORKERS, v.run, v.rank) == 0:
        return True
    seen = v.now.last(catalog.TRAIN_QUEUE_CAPACITY, v.run, v.rank)
    return bool(seen) and v.long.increase(catalog.TRAIN_WORKER_RESTARTS_TOTAL, v.run, v.rank) == 0


def _faults(v: View) -> float | None:
    faults = total(v.now.increases(catalog.TRAIN_WORKER_MAJOR_FAULTS_TOTAL, v.run, v.rank))
    return ratio(faults, total(v.now.increases(catalog.TRAIN_WORKER_BATCHES_TOTAL, v.run, v.rank)))


def deaths(v: View) -> Numbers:
    """Of a run that has ended it matters no more when they died."""
    ended = v.state in catalog.DEAD
    count = v.now.last(catalog.TRAIN_WORKER_DEATHS_TOTAL, v.run, v.rank) if ended else None
    if not count:
        count = v.now.events(catalog.TRAIN_WORKER_DEATHS_TOTAL, v.run, v.rank)
    return {LoaderSignals.worker_deaths: count}


def death_signals(v: View) -> dict[str, str]:
    """By what they ended: `2 by SIGKILL, 1 by SIGBUS`."""
    counts = v.now.current(catalog.TRAIN_WORKER_DEATH_SIGNAL_TOTAL, v.run, v.rank)
    told = [
        text("{count:.0f} by {signal}", count=count, signal=labels[2])
        for labels, count in sorted(counts.items())
        if count
    ]
    return {"death_signals": joined(told, ", ")} if told else {}


def _without_workers(v: View) -> Numbers:
    """With workers=0 the data wait, for first batches too, is the preparation, done by the training process itself.

    How much of it computes is told from the process's CPU time, taking the rest of its time for one busy CPU: at most
    that much. It may compute on more CPUs than one, so a low share is sure and a high one is not.
    """
    workers = v.now.last(catalog.TRAIN_WORKERS, v.run, v.rank)
    spent = v.now.increases(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank)
    waited = sum(seconds for labels, seconds in spent.items() if labels[2] in ("data_wait", "loader_start"))
    batches = v.now.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    rate = v.process_rate(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, "main")
    if workers != 0 or not waited or not batches or batches < FEWEST_BATCHES:
        return {}
    rest = v.now.seconds - waited
    computing = None if rate is None else min(max((rate * v.now.seconds - rest) / waited, 0.0), 1.0)
    return {LoaderSignals.prep_seconds: waited / batches, LoaderSignals.prep_cpu_ratio: computing}


def worker_processes(v: View) -> Numbers:
    """What the kernel says of the workers' processes, with workers=0 of the training process, which does their work."""
    asked = v.now.last(catalog.TRAIN_WORKERS, v.run, v.rank)
    role = "main" if asked == 0 else "worker"
    alive = v.now.mean(catalog.TRAIN_PROCESSES, v.run, v.rank, "worker")
    waiting = v.process_rate(catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, role)
    used = v.process_rate(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, "worker")
    preparing = total(v.now.rates(catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, v.run, v.rank))
    memory = v.now.last(catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank, "worker")
    # Older hooks do not tell the validation's workers apart: those idle, and would hide how long the others queue.
    training = 1.0 if asked == 0 else least(alive, asked)
    return {
        LoaderSignals.workers_alive: v.now.last(catalog.TRAIN_PROCESSES, v.run, v.rank, "worker"),
        LoaderSignals.runqueue_share: at_most_one(ratio(waiting, training)),
        LoaderSignals.io_delay_share: at_most_one(
            ratio(v.process_rate(catalog.TRAIN_PROCESS_IO_DELAY_SECONDS_TOTAL, role), training)
        ),
        LoaderSignals.worker_read_rate: v.process_rate(catalog.TRAIN_PROCESS_READ_BYTES_TOTAL, role),
        LoaderSignals.trainer_cores: v.process_rate(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, "main"),
        LoaderSignals.trainer_queue_share: at_most_one(
            v.process_rate(catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, "main")
        ),
        LoaderSignals.worker_threads: ratio(used, preparing),
        LoaderSignals.worker_resident_bytes: ratio(memory, alive),
    }
