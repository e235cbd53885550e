"""The corpus: every case with what is to be found in it. Half of them are healthy and look as if they were not.

    python -m tests.recordings.cases        # writes tests/recordings/*.om.gz anew

A case is a plan of the model, sometimes with its samples tampered with on the way, and the findings that must come out:
no more, no less. To add a case: one entry in `CASES`. Recordings of real trainings lie in `real`.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Metric, Sample
from yoloscope_exporter.recordings.writer import Writer

from tests.recordings.model import GIB, MIB, At, Plan, moments

FOLDER = Path(__file__).parent
Moments = Iterable[tuple[float, list[Sample]]]


@dataclass(frozen=True)
class Case:
    """One recording.

    Attributes:
        findings: verdicts worse than ok that must be told, of any rank.
        plans: trainings on the node; a second one only adds its `train_*` series.
        every: seconds between samples.
        tamper: changes the moments on the way into the file.
        notes: parts of what must be said about skipped samples.
        why: what makes it worth having.
    """

    why: str
    plan: Plan
    findings: frozenset[str] = frozenset()
    every: float = 5.0
    tamper: Callable[[Moments], Moments] | None = None
    notes: tuple[str, ...] = ()
    second: Plan | None = None


def healthy(why: str, plan: Plan | None = None, **how: object) -> Case:
    return Case(why, plan or BASE, **how)  # type: ignore[arg-type]


def sick(findings: str, why: str, plan: Plan, **how: object) -> Case:
    return Case(why, plan, frozenset(findings.split()), **how)  # type: ignore[arg-type]


BASE = Plan(epochs=5, batches=220)
ON_CPU = replace(BASE, forward=0.5, backward=0.7, batches=40, without=(catalog.TRAIN_DEVICE_INFO,))
FAST = {"h2d": 0.0004, "forward": 0.004, "backward": 0.006, "optimizer": 0.001, "other": 0.0004}
DDP = Plan(ranks=2, epochs=4, batches=200)
ONE_EPOCH = Plan(epochs=1, batches=10_000, stop=1500)
FIRST_EPOCH = Plan(epochs=1, batches=7400, stop=1500)  # COCO

STAMPS = (catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, catalog.TRAIN_END_TIMESTAMP_SECONDS)


# --- tampering ------------------------------------------------------------------------------------------------------


def gap(start: float, end: float) -> Callable[[Moments], Moments]:
    """Leave out everything between two moments after the beginning."""

    def tamper(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
        begin = None
        for time, samples in found:
            begin = begin or time
            if not start <= time - begin < end:
                yield time, samples

    return tamper


def jump(at: float, by: float) -> Callable[[Moments], Moments]:
    """The clock is set by `by` seconds; what the trainer stamps with it from then on, too."""

    def tamper(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
        begin = None
        for time, samples in found:
            begin = begin or time
            moved = [
                s._replace(value=s.value + by) if s.metric in STAMPS and s.value >= begin + at else s  # type: ignore[operator]
                for s in samples
            ]
            yield (time + by if time - begin >= at else time), moved

    return tamper


def restart(at: float, *areas: str) -> Callable[[Moments], Moments]:
    """The counters of some areas of the catalogue begin at 0 again."""

    def tamper(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
        begin, base = None, {}
        for time, samples in found:
            begin = begin or time
            if time - begin < at:
                base = {(s.metric.name, s.labels): s.value for s in samples if s.metric.kind == catalog.COUNTER}
                yield time, samples
            else:
                yield time, [_less(s, base, areas) for s in samples]

    return tamper


def _less(
    sample: Sample, base: dict[tuple[str, tuple[str, ...]], float | HistogramValue], areas: tuple[str, ...]
) -> Sample:
    before = base.get((sample.metric.name, sample.labels))
    if sample.metric.area not in areas or not isinstance(before, float) or not isinstance(sample.value, float):
        return sample
    return sample._replace(value=sample.value - before)


def held(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
    """A notebook holds memory of a second, idle GPU."""
    for time, samples in found:
        owner = ("1", "977", "ipykernel", "", "", "li")
        yield (
            time,
            [
                *samples,
                Sample(catalog.GPU_BUSY_SECONDS_TOTAL, ("1",), 12.0),
                Sample(catalog.GPU_PROCESS_MEMORY_BYTES, owner, 31 * GIB),
            ],
        )


def desktop(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
    """A desktop on the second GPU, and a small client of somebody."""
    clients = {"Xorg": 400 * MIB, "gnome-shell": 300 * MIB, "python": 40 * MIB}
    for time, samples in found:
        held = [
            Sample(catalog.GPU_PROCESS_MEMORY_BYTES, ("1", str(pid), name, "", "", "li"), size)
            for pid, (name, size) in enumerate(clients.items(), 900)
        ]
        yield time, [*samples, Sample(catalog.GPU_BUSY_SECONDS_TOTAL, ("1",), 12.0), *held]


def older_hooks(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
    """Callbacks and the first wait of epochs are in `data_wait`, preprocessing is in `h2d`, AMP and workers unasked."""
    moved = {"callbacks": "data_wait", "loader_start": "data_wait", "preprocess": "h2d"}
    for time, samples in found:
        phases: dict[tuple[str, ...], float] = {}
        rest = []
        for sample in samples:
            if sample.metric is catalog.TRAIN_PHASE_SECONDS_TOTAL:
                key = (*sample.labels[:2], moved.get(sample.labels[2], sample.labels[2]))
                phases[key] = phases.get(key, 0.0) + sample.value  # type: ignore[operator]
            elif sample.metric not in (catalog.TRAIN_CALLBACK_SECONDS_TOTAL, catalog.TRAIN_CALLBACK_CALLS_TOTAL):
                rest.append(sample)
        yield time, [*rest, *(Sample(catalog.TRAIN_PHASE_SECONDS_TOTAL, key, spent) for key, spent in phases.items())]


def with_room(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
    """What is free on each device is known as well."""
    for time, samples in found:
        of = {(s.metric, s.labels): s.value for s in samples}
        free = [
            Sample(catalog.GPU_MEMORY_FREE_BYTES, labels, of[catalog.GPU_MEMORY_TOTAL_BYTES, labels] - used)  # type: ignore[operator]
            for (metric, labels), used in of.items()
            if metric is catalog.GPU_MEMORY_USED_BYTES
        ]
        yield time, [*samples, *free]


def older_hooks_in_bursts(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
    """The same; no more batches are ready than half of the workers, which finish together."""
    for time, samples in older_hooks(found):
        yield (
            time,
            [
                s._replace(value=min(s.value, 4.0)) if s.metric is catalog.TRAIN_QUEUE_DEPTH else s  # type: ignore[type-var]
                for s in samples
            ],
        )


def from_the_middle(found: Moments) -> Iterator[tuple[float, list[Sample]]]:
    """The recorder was started late."""
    everything = list(found)
    yield from everything[len(everything) // 3 :]


# --- courses that plans refer to --------------------------------------------------------------------------------------


def steps(early: float, late: float, until: int) -> Callable[[At], float]:
    return lambda at: early if at.batch < until else late


def at_batch(number: int, then: float, usual: float) -> Callable[[At], float]:
    return lambda at: then if at.batch == number else usual


def every(count: int, then: float, usual: float = 0.0) -> Callable[[At], float]:
    """At each so many-eth batch."""
    return lambda at: then if at.batch % count == count - 1 else usual


def saturating(low: float, high: float, batches: float) -> Callable[[At], float]:
    return lambda at: low + (high - low) * (1 - math.exp(-at.batch / batches))


def rising(low: float, per_batch: float) -> Callable[[At], float]:
    return lambda at: low + per_batch * at.batch


CASES: dict[str, Case] = {
    # --- healthy, and confusing ---
    "healthy_single": healthy("the plain case"),
    "healthy_ddp": healthy("two ranks in step", DDP),
    "healthy_cpu_only": healthy(
        "no GPU at all", replace(BASE, gpu=False, cores=8, forward=0.4, backward=0.6, batches=60)
    ),
    "validation_passes": healthy("the GPU idles a while in every epoch", replace(BASE, validate=16.0)),
    "long_final_evaluation": healthy(
        "two minutes of evaluation at the end", replace(BASE, validate=lambda at: 100.0 if at.epoch == 5 else 4.0)
    ),
    "checkpoints": healthy("some seconds of checkpoint per epoch", replace(BASE, checkpoint=3.5)),
    "short_epochs": healthy("every epoch begins with a wait", replace(BASE, epochs=24, batches=40, validate=2.0)),
    "warm_up": healthy("kernels are chosen in the first batches", replace(BASE, forward=steps(1.2, 0.08, 12))),
    "cache_fill": healthy(
        "a minute of set-up while the cache fills", replace(BASE, setup=75.0, facts={"cache": "ram"})
    ),
    "mosaic_buffer": healthy(
        "memory grows until the buffers are full", replace(BASE, resident=saturating(3 * GIB, 9 * GIB, 150))
    ),
    "mosaic_buffer_long_epoch": healthy(
        "the same within a first epoch that goes on", replace(FIRST_EPOCH, resident=saturating(3 * GIB, 9 * GIB, 150))
    ),
    "memory_of_each_epoch": healthy(
        "each epoch gives back at its end what it took",
        replace(BASE, epochs=4, resident=lambda at: 6 * GIB + 4 * MIB * (at.batch % 220)),
    ),
    "data_set_that_caches": healthy(
        "a data set keeps what it decodes, until its first epoch is over",
        replace(
            BASE,
            epochs=2,
            batches=1000,
            resident=lambda at: 6 * GIB + 16 * 1.17 * MIB * min(at.batch, 1000),
            available=lambda at: 200 * GIB - 16 * 1.17 * MIB * min(at.batch, 1000),
        ),
    ),
    "data_set_on_the_device": healthy(
        "a data set keeps its images on the GPU, and has room for all of them",
        replace(FIRST_EPOCH, stop=2200, allocated=rising(22 * GIB, 5 * MIB), peak=60 * GIB),
        tamper=with_room,
    ),
    "allocator_warm_up": healthy(
        "CUDA memory grows at first", replace(BASE, allocated=saturating(9 * GIB, 24 * GIB, 80))
    ),
    "close_mosaic": healthy(
        "workers are started again, preparation gets cheaper",
        replace(BASE, reforks=(4,), first_wait=6.0, prep=lambda at: 0.9 if at.epoch < 4 else 0.3),
    ),
    "early_stopping": healthy(
        "validation stalls, the loss still falls, training ends long before its last epoch",
        replace(BASE, epochs=300, batches=60, validate=2.0, stop=60 * 14, score=lambda at: 0.31),
    ),
    "small_run": healthy("one minute in all", replace(BASE, epochs=3, batches=60, setup=3.0, validate=2.0)),
    "gradient_accumulation": healthy(
        "the optimizer steps every fourth batch", replace(BASE, optimizer=lambda at: 0.05 if at.batch % 4 == 3 else 0.0)
    ),
    "fast_steps": healthy("12 ms per step", replace(BASE, **FAST, prep=0.06, epochs=3, batches=2600)),
    "slow_steps": healthy(
        "7 s per step: few batches in a window",
        replace(BASE, forward=2.4, backward=4.4, prep=12.0, epochs=2, batches=34, validate=9.0),
    ),
    "memory_nearly_full": healthy("a large batch that fits", replace(BASE, peak=70 * GIB, allocated=52 * GIB)),
    "busy_neighbour": healthy("CPUs are full, data is there all the same", replace(BASE, others_cpu=27.0)),
    "busy_disk": healthy("a full disk queue that nobody waits for", replace(BASE, disk_busy=0.97, io_pressure=0.4)),
    "multi_scale": healthy("step times vary by a third", replace(BASE, noise=0.3)),
    "a_little_wait": healthy("5 % of waiting", replace(BASE, prep=1.72)),
    "throttled_but_fed": healthy("the quota bites, the queue stays full", replace(BASE, quota=6.0, throttled=0.3)),
    "power_cap_without_loss": healthy("capped, at 93 % of the clock", replace(BASE, power_cap=0.9, clock=0.93)),
    "one_hiccup": healthy("9 s of waiting, once", replace(BASE, prep=lambda at: 9.0 if at.batch == 500 else 0.5)),
    "slow_but_hidden_worker": healthy(
        "one worker takes twice as long and is never waited for",
        replace(BASE, prep=lambda at: 1.2 if at.worker == 2 else 0.5),
    ),
    "resumed": healthy("recorded from the middle of the run", tamper=from_the_middle),
    "scraped_every_15s": healthy("as a Prometheus sees it", replace(BASE, epochs=8), every=15.0),
    "exporter_restarted": healthy(
        "hardware counters begin anew", tamper=restart(120, "gpu", "cpu"), notes=("counter reset",)
    ),
    "recording_with_a_gap": healthy("90 s are missing", tamper=gap(100, 190), notes=("without samples",)),
    "clock_set_forward": healthy("by an hour", tamper=jump(130, 3600), notes=("without samples",)),
    "clock_set_back": healthy("by 40 s", tamper=jump(130, -40), notes=("backwards",)),
    "two_runs": healthy("two trainings on one node", second=replace(BASE, run="train/other", seed=7)),
    "validation_workers": healthy(
        "workers of the validation stay between validations", replace(BASE, val_workers=16, runqueue=0.1)
    ),
    "affinity_of_a_rank": healthy(
        "each rank has CPUs of its own by its affinity", replace(DDP, cores=64, affinity=16, workers=8)
    ),
    "no_host_metrics": healthy(
        "CPU, disk and memory are not collected",
        replace(BASE, without=tuple(m for m in catalog.METRICS if m.area in ("cpu", "disk", "memory", "pressure"))),
    ),
    "setup_of_a_minute": healthy("labels are read for two minutes", replace(BASE, setup=120.0)),
    "quick_callbacks": healthy("12 ms with every batch", replace(BASE, callback=0.012)),
    "epoch_callbacks": healthy("a checkpoint is uploaded, 3 s per epoch", replace(BASE, epoch_callback=3.0)),
    "late_callback": healthy(
        "25 s at one epoch's end: no stall", replace(BASE, epoch_callback=lambda at: 25.0 if at.epoch == 4 else 0.0)
    ),
    "some_preprocessing": healthy("5 % of the step", replace(BASE, preprocess=0.01)),
    "workers_started_once": healthy("20 s before the first epoch only", replace(BASE, first_wait=20.0, epochs=6)),
    "affinity_that_suffices": healthy("16 of 32 CPUs", replace(BASE, affinity=16)),
    "cap_that_suffices": healthy("16 workers asked for, 8 are enough", replace(BASE, facts={"workers": "16"})),
    "brake_for_a_moment": healthy("a power brake of 3 %", replace(BASE, brake=0.03)),
    "noisy_loss": healthy(
        "3 % up and down",
        replace(BASE, epochs=16, batches=60, validate=2.0, loss=lambda at: 2 - at.epoch / 40 + 0.06 * (at.epoch % 2)),
    ),
    "a_worse_epoch": healthy(
        "one epoch has half as much loss again",
        replace(
            BASE,
            epochs=20,
            batches=60,
            validate=2.0,
            loss=lambda at: (3.0 - at.epoch / 20) * (1.5 if at.epoch == 9 else 1),
        ),
    ),
    "warm_up_swings": healthy(
        "the loss swings in warm-up only",
        replace(
            BASE,
            epochs=16,
            batches=60,
            validate=2.0,
            loss=lambda at: 4.0 - at.epoch / 8 + (at.epoch % 2 if at.epoch < 4 else 0),
        ),
    ),
    "slightly_fuller": healthy("a context more on GPU 0", replace(DDP, guests=4 * GIB)),
    "amp_on_a_cpu": healthy(
        "a CPU trains without AMP",
        replace(BASE, gpu=False, cores=8, forward=0.4, backward=0.6, batches=60, facts={"amp": "false"}),
    ),
    "a_slow_batch_of_many_boxes": healthy("3 s in forward, once", replace(BASE, forward=at_batch(500, 3.0, 0.08))),
    "rank_0_validates_alone": healthy(
        "rank 1 waits for it in the state train", replace(DDP, validate=22.0, first_alone=True)
    ),
    "rank_0_of_4_validates_alone": healthy(
        "for a minute, a whole window; of the ranks that wait none is the slow one",
        replace(DDP, ranks=4, cores=96, epochs=2, batches=280, validate=60.0, first_alone=True),
    ),
    "desktop": healthy("Xorg on the second GPU", tamper=desktop),
    "healthy_older_hooks": healthy("hooks that do not time callbacks", tamper=older_hooks),
    "near_its_peak": healthy(
        "a tenth of the card's peak, though not compiled",
        replace(BASE, flops=400e9, facts={"compile": "False", "channels_last": "False"}),
    ),
    "amp_not_asked_for": healthy(
        "amp=False, on a card that nobody knows to be faster with AMP",
        replace(BASE, facts={"amp": "false", "amp_asked": "false"}),
    ),
    # --- sick ---
    "setup_slow": sick("setup_slow", "labels are read for ever", replace(BASE, epochs=0, setup=420.0, end="running")),
    "setup_slow_cache": sick(
        "setup_slow", "caching takes seven minutes, then it trains", replace(BASE, setup=420.0, stage="cache")
    ),
    "callback_bound": sick("callback_bound", "0.1 s with every batch", replace(BASE, callback=0.1)),
    "callback_bound_epoch": sick("callback_bound", "20 s at each epoch's end", replace(BASE, epoch_callback=20.0)),
    "callback_now_and_then": sick(
        "callback_bound",
        "18 s after every 200th batch of a long epoch",
        replace(ONE_EPOCH, callback=every(200, 18.0)),
    ),
    "callback_every_two_minutes": sick(
        "callback_bound",
        "25 s each, in an epoch of an hour: pauses of which no window of a minute holds two",
        replace(ONE_EPOCH, stop=2000, callback=every(450, 25.0)),
    ),
    "callback_older_hooks": sick(
        "insufficient_data",
        "0.2 s with every batch that older hooks call data wait; the queue is full",
        replace(BASE, callback=0.2),
        tamper=older_hooks,
    ),
    "loader_workers_older_hooks": sick(
        "loader_workers", "an upper bound", replace(BASE, workers=1), tamper=older_hooks
    ),
    "loader_io_older_hooks": sick(
        "loader_io",
        "older hooks, and workers that get ready together: batches come in bursts",
        replace(BASE, prep=2.6, prep_cpu=0.06, io_pressure=0.6, disk_busy=0.99),
        tamper=older_hooks_in_bursts,
    ),
    "preprocess_bound": sick(
        "preprocess_bound", "texts are encoded in preprocess_batch", replace(BASE, preprocess=0.07)
    ),
    "preprocess_bound_cpu": sick(
        "preprocess_bound",
        "the same without a GPU: nothing is copied",
        replace(BASE, gpu=False, cores=8, forward=0.4, backward=0.6, batches=60, preprocess=0.3, h2d=0.0),
    ),
    "loader_startup_some_epochs": sick(
        "loader_startup",
        "8 s to start workers, for every third epoch only",
        replace(BASE, epochs=16, batches=60, first_wait=8.0, validate=1.0, reforks=(3, 6, 9, 12, 15)),
    ),
    "loader_startup": sick(
        "loader_startup", "25 s before every epoch", replace(BASE, first_wait=25.0, kept=False, epochs=6)
    ),
    "starved_short_epochs": sick(
        "loader_workers",
        "twelve batches per epoch: the first one is waited for like the others",
        replace(BASE, workers=1, epochs=14, batches=12, validate=1.0),
    ),
    "loader_wait": sick("loader_wait", "a lock, no storage", replace(BASE, prep=2.6, prep_cpu=0.06)),
    "loader_wait_in_bursts": sick(
        "loader_wait",
        "two workers, of whose batches each 100th waits for 14 s: most of the time nothing is waited for",
        replace(BASE, epochs=2, batches=700, workers=2, prep=every(100, 14.0, 0.3), prep_cpu=0.1),
    ),
    "worker_died": sick(
        "worker_died failed",
        "two workers for lack of memory",
        replace(BASE, stop=500, end="failed", deaths={"SIGKILL": 2}, oom_killed=2),
    ),
    "worker_died_shm": sick(
        "worker_died failed",
        "a bus error: /dev/shm is full",
        replace(BASE, stop=500, end="failed", deaths={"SIGBUS": 1}, shm=8 * GIB, shm_used=0.99),
    ),
    "workers_capped": sick(
        "workers_capped", "16 asked for, 2 started", replace(BASE, workers=2, prep=0.9, facts={"workers": "16"})
    ),
    "cpu_affinity": sick(
        "cpu_affinity",
        "eight workers on 2 of 32 CPUs",
        replace(BASE, prep=2.6, prep_cpu=0.4, runqueue=0.55, affinity=2),
    ),
    "cpu_contended": sick(
        "cpu_contended",
        "others use 28 of 32 CPUs",
        replace(BASE, prep=2.6, prep_cpu=0.42, runqueue=0.5, others_cpu=28.0),
    ),
    "power_brake": sick("power_brake", "a third of the time", replace(BASE, brake=0.35, clock=0.6)),
    "loss_unstable": sick(
        "loss_unstable",
        "up and down by a third",
        replace(BASE, epochs=20, batches=60, validate=2.0, loss=lambda at: 3.0 - at.epoch / 40 + 1.0 * (at.epoch % 2)),
    ),
    "loss_leaps": sick(
        "loss_unstable",
        "three epochs at twenty times the loss, and it falls again",
        replace(
            BASE,
            epochs=20,
            batches=60,
            validate=2.0,
            loss=lambda at: (3.0 - at.epoch / 20) * (20 if 9 <= at.epoch < 12 else 1),
        ),
    ),
    "imbalanced_memory": sick("imbalanced_memory", "GPU 0 holds 24 GiB more", replace(DDP, guests=24 * GIB)),
    "amp_off": sick("amp_off", "the check failed", replace(BASE, facts={"amp": "false"})),
    "far_from_its_peak_in_fp32": sick(
        "amp_off",
        "by the peak of FP32 it is not far; with AMP's it would be",
        replace(BASE, flops=130e9, facts={"amp": "false", "amp_asked": "false", "compile": "False"}),
    ),
    "slow_batch": sick(
        "slow_batch oom_retry",
        "one batch assigns its labels on the CPU",
        replace(
            BASE,
            forward=at_batch(600, 45.0, 0.08),
            on_cpu=frozenset({600}),
            main_cpus=3.0,
            ooms={600: 1},
        ),
    ),
    "slow_batch_ddp": sick(
        "slow_batch oom_retry",
        "the same on rank 1, for which rank 0 waits",
        replace(
            DDP,
            forward=lambda at: 40.0 if at.batch == 400 and at.rank == 1 else 0.08,
            on_cpu=frozenset({400}),
            main_cpus=3.0,
            ooms={400: 1},
        ),
    ),
    "validation_bound_rank_0": sick(
        "validation_bound",
        "rank 0 validates as long as it trains, and rank 1 waits for it",
        replace(DDP, batches=120, epochs=5, validate=30.0, first_alone=True, facts={"ultralytics": "8.3.50"}),
    ),
    "validation_bound_rank_0_late": sick(
        "validation_bound",
        "the callbacks before its validation are rank 0's alone, too; it is slower by 11%, of which rank 1 waits for 4",
        replace(
            DDP,
            batches=60,
            epochs=5,
            ending=1.2,
            forward=lambda at: 0.08 if at.rank else 0.088,
            exchange=0.02,
            validate=40.0,
            first_alone=True,
            facts={"ultralytics": "8.3.50"},
        ),
    ),
    "loader_workers": sick("loader_workers", "one worker, idle CPUs", replace(BASE, workers=1)),
    "loader_workers_none": sick("loader_workers", "workers=0", replace(BASE, workers=0, prep=0.3)),
    "loader_workers_ddp": sick("loader_workers", "all ranks starve alike", replace(DDP, workers=2, prep=0.9)),
    "loader_workers_no_gpu": sick(
        "loader_workers", "on a laptop", replace(BASE, gpu=False, workers=1, prep=0.5, batches=120)
    ),
    "loader_workers_15s": sick(
        "loader_workers", "as a Prometheus sees it", replace(BASE, workers=1, epochs=6, batches=120), every=15.0
    ),
    "loader_cpu": sick(
        "loader_cpu", "heavy augmentation on all CPUs", replace(BASE, prep=2.6, cores=8, others_cpu=0.2)
    ),
    "loader_cpu_some": sick("loader_cpu", "a fifth of the time", replace(BASE, prep=2.25, cores=8, others_cpu=0.2)),
    "loader_io": sick(
        "loader_io", "slow storage", replace(BASE, prep=2.6, prep_cpu=0.06, io_pressure=0.6, disk_busy=0.99)
    ),
    "loader_io_nfs": sick(
        "loader_io",
        "latency that comes and goes, no local disk is busy",
        replace(BASE, prep=lambda at: 3.2 if at.batch // 15 % 2 else 1.4, prep_cpu=0.22, io_pressure=0.5),
    ),
    "slow_worker": sick(
        "slow_worker", "one of eight", replace(BASE, prep=lambda at: 4.0 if at.worker == 3 else 0.6, batches=150)
    ),
    "cpu_oversubscribed": sick(
        "cpu_oversubscribed",
        "16 workers on 8 CPUs",
        replace(BASE, workers=16, cores=8, prep=5.2, prep_cpu=0.45, runqueue=0.5, others_cpu=0.2),
    ),
    "cpu_throttled": sick(
        "cpu_throttled",
        "a quota of 3 CPUs",
        replace(BASE, quota=3.0, throttled=0.6, prep=2.8, prep_cpu=0.4, runqueue=0.5),
    ),
    "h2d_bound": sick("h2d_bound", "copies from pageable memory", replace(BASE, h2d=0.06)),
    "h2d_bound_narrow": sick("h2d_bound pcie_degraded", "over 4 of 16 lanes", replace(BASE, h2d=0.06, pcie=(4, 16))),
    "validation_bound": sick(
        "validation_bound", "as long as training", replace(BASE, epochs=5, batches=120, validate=26.0)
    ),
    "checkpoint_bound": sick(
        "checkpoint_bound", "to slow storage", replace(BASE, epochs=6, batches=120, checkpoint=9.0)
    ),
    "small_batch": sick(
        "small_batch",
        "kernels too small for the GPU",
        replace(BASE, sm_active=0.22, peak=9 * GIB, allocated=4 * GIB, batch=4),
    ),
    "low_mfu": sick(
        "low_mfu",
        "a small model at an odd size, not compiled: 2 % of the card's peak",
        replace(BASE, imgsz=608, flops=65e9, facts={"compile": "False", "channels_last": "False"}),
    ),
    "gpu_memory_pressure": sick("gpu_memory_pressure", "96 %", replace(BASE, peak=77 * GIB, allocated=60 * GIB)),
    "gpu_memory_pressure_of_others": sick(
        "gpu_memory_pressure",
        "46 %, and others hold half",
        replace(BASE, peak=37 * GIB, allocated=30 * GIB, guests=41 * GIB),
    ),
    "gpu_memory_leak": sick(
        "gpu_memory_leak", "20 MiB a batch", replace(BASE, allocated=rising(22 * GIB, 20 * MIB), peak=60 * GIB)
    ),
    "gpu_memory_leak_first_epoch": sick(
        "gpu_memory_leak",
        "the same in a first epoch that needs twice the device's memory, on the second rank only",
        replace(
            FIRST_EPOCH,
            ranks=2,
            stop=2200,
            allocated=lambda at: 22 * GIB + (20 * MIB * at.batch if at.rank else 0.0),
            peak=60 * GIB,
        ),
        tamper=with_room,
    ),
    "host_memory_leak": sick("host_memory_leak", "8 MiB a batch", replace(BASE, resident=rising(6 * GIB, 8 * MIB))),
    "host_memory_leak_first_epoch": sick(
        "host_memory_leak",
        "a callback keeps the batches' floats, and the first epoch takes a day",
        replace(FIRST_EPOCH, stop=700, resident=rising(6 * GIB, 75 * MIB)),
    ),
    "host_memory_leak_first_epoch_slow": sick(
        "host_memory_leak",
        "8 MiB a batch, which might be a cache, but there is no room for an epoch of it",
        replace(
            FIRST_EPOCH,
            stop=2200,
            resident=rising(6 * GIB, 8 * MIB),
            available=lambda at: 40 * GIB - 8 * MIB * at.batch,
        ),
    ),
    "host_memory_leak_steps": sick(
        "host_memory_leak",
        "400 MiB with every epoch",
        replace(BASE, epochs=9, batches=100, resident=lambda at: (6 + 0.4 * at.epoch) * GIB),
    ),
    "host_memory_leak_later": sick(
        "host_memory_leak",
        "1 MiB with each batch, after four epochs of none",
        replace(BASE, epochs=8, resident=lambda at: 6 * GIB + MIB * max(at.batch - 900, 0)),
    ),
    "host_memory_leak_outside": sick(
        "host_memory_leak",
        "shared memory fills while the processes stay level",
        replace(BASE, available=lambda at: 200 * GIB - 40 * MIB * at.batch),
    ),
    "oom_retry": sick(
        "oom_retry", "the batch is halved twice", replace(BASE, ooms={8: 1, 15: 1}, halvings=(8, 15), batch=64)
    ),
    "alloc_retries": sick(
        "oom_retry gpu_memory_pressure",
        "PyTorch flushes its cache again and again",
        replace(BASE, retries=lambda at: float(at.batch % 40 == 39), peak=78 * GIB, allocated=60 * GIB),
    ),
    "straggler": sick(
        "straggler", "rank 1 computes more slowly", replace(DDP, backward=lambda at: 0.2 if at.rank else 0.11)
    ),
    "straggler_copies": sick(
        "straggler h2d_bound", "rank 0 copies slowly", replace(DDP, h2d=lambda at: 0.006 if at.rank else 0.08)
    ),
    "straggler_loader": sick(
        "straggler loader_io",
        "rank 1 reads from slow storage",
        replace(DDP, prep=lambda at: 3.0 if at.rank else 0.5, prep_cpu=0.2, io_pressure=0.7),
    ),
    "communication_bound": sick("communication_bound", "a slow link between ranks", replace(DDP, exchange=0.12)),
    "thermal_throttle": sick("thermal_throttle", "too hot a third of the time", replace(BASE, thermal=0.35, clock=0.7)),
    "power_capped": sick("power_capped", "capped to 70 % of the clock", replace(BASE, power_cap=0.95, clock=0.7)),
    "pcie_degraded": sick("pcie_degraded", "4 of 16 lanes", replace(BASE, pcie=(4, 16))),
    "pcie_generation": sick("pcie_degraded", "generation 1 of 4 under load", replace(BASE, pcie_generation=(1, 4))),
    "stalled": sick("stalled", "nothing comes any more", replace(BASE, hang=420, end="running", hang_seconds=90)),
    "stalled_dead_worker": sick(
        "stalled", "a worker died", replace(BASE, hang=420, end="running", hang_seconds=90, dead_workers=1)
    ),
    "killed": sick("killed", "SIGKILL in epoch 3", replace(BASE, stop=500, end="killed")),
    "killed_oom": sick("killed", "by the kernel, for memory", replace(BASE, stop=500, end="killed", oom_killed=1)),
    "failed": sick("failed", "an exception", replace(BASE, stop=500, end="failed")),
    "diverged": sick("diverged", "NaN from batch 300 on", replace(BASE, nonfinite=lambda at: float(at.batch >= 300))),
    "nan_recovery": sick(
        "diverged",
        "one NaN, back to the checkpoint",
        replace(BASE, nonfinite=lambda at: float(at.batch == 300), recoveries=(310,)),
    ),
    "plateau": sick(
        "plateau",
        "neither loss nor mAP moves, the GPU is busy",
        replace(
            BASE,
            epochs=14,
            batches=80,
            validate=2.0,
            loss=lambda at: 3.1 + 0.001 * (at.batch % 7),
            score=lambda at: 0.4,
        ),
    ),
    "environment_torch": sick(
        "environment",
        "PyTorch without CUDA beside a GPU",
        replace(ON_CPU, facts={"cuda": "", "torch": "2.9.1+cpu", "device": "cpu"}),
    ),
    "environment_driver": sick(
        "environment", "CUDA 13 on a driver for 12.8", replace(ON_CPU, facts={"cuda": "13.0", "device": "cpu"})
    ),
    "environment_shm": sick("environment", "64 MiB of /dev/shm", replace(BASE, shm=64 * MIB)),
    "held_idle": sick("held_idle", "a notebook on the second GPU", BASE, tamper=held),
    "no_phases": sick(
        "insufficient_data", "a trainer without phases", replace(BASE, without=(catalog.TRAIN_PHASE_SECONDS_TOTAL,))
    ),
    "starved_with_a_gap": sick(
        "loader_workers",
        "90 s are missing",
        replace(BASE, workers=1, batches=120),
        tamper=gap(100, 190),
        notes=("without samples",),
    ),
}

#: Families the diagnosis does not ask for, and long histograms: left out to keep the files small.
_LEFT_OUT: tuple[Metric, ...] = (catalog.TRAIN_LOADER_BATCH_SECONDS,)


def path(name: str) -> Path:
    """Where a case's recording lies."""
    return FOLDER / f"{name}.om.gz"


def played(case: Case) -> Moments:
    """What is seen of a case from moment to moment."""
    found: Moments = moments(case.plan, case.every)
    if case.second is not None:
        found = _combined(found, moments(case.second, case.every))
    return found if case.tamper is None else case.tamper(found)


def recorded(case: Case) -> bytes:
    """The recording of a case, compressed; the same bytes every time."""
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "a.om"
        writer = Writer(plain)
        for time, samples in played(case):
            writer.samples(time, [_short(sample) for sample in samples if sample.metric not in _LEFT_OUT])
        writer.close()
        return gzip.compress(plain.read_bytes(), mtime=0)


def _combined(first: Moments, second: Moments) -> Iterator[tuple[float, list[Sample]]]:
    for (time, one), (_, other) in zip(first, second, strict=False):
        yield (
            time,
            [
                *one,
                *(sample for sample in other if sample.metric.area == "train" and "gpu" not in sample.metric.labels),
            ],
        )


def _short(sample: Sample) -> Sample:
    if isinstance(sample.value, HistogramValue):
        return sample._replace(value=HistogramValue(sample.value.counts, round(sample.value.sum, 3)))
    return sample._replace(value=round(sample.value, 3))


if __name__ == "__main__":
    for name, case in CASES.items():
        path(name).write_bytes(recorded(case))
