"""A small physical model of a training, for recordings: batch after batch, worker after worker.

Loader workers prepare batches in turn, at most `prefetch` ahead each; the trainer takes them in order; ranks meet at
the end of each step. What a plan says may depend on the epoch, the batch and the worker, so that every confusing thing
a real training does can be written down in a line. Samples come out as the exporter would publish them.

    store = play(Plan(workers=2, prep=0.4), every=2.0)
"""

# ruff: noqa: B023, C901, D102, D107, PLR0917 - events are closures over what is the same for every rank

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Metric, Sample
from yoloscope_exporter.measures.series import Store

GIB = float(1 << 30)
MIB = float(1 << 20)
START = 1_790_000_000.0
GPU = "NVIDIA A100-SXM4-80GB"
PEAK = (312e12, 156e12)  # of that card, by precision
SPENT = 0.97  # of a compute phase in which a kernel runs


@dataclass(frozen=True)
class At:
    """Where a training stands when a plan is asked."""

    epoch: int
    batch: int  # of the whole training
    rank: int = 0
    worker: int = 0


Number = float | Callable[[At], float]


@dataclass(frozen=True)
class Plan:
    """One training. Times in seconds, memory in bytes."""

    run: str = "train/yolo11m"
    ranks: int = 1
    gpu: bool = True
    workers: int = 8
    prefetch: int = 4
    epochs: int = 4
    before: int = 0  # epochs that were over when it was resumed
    batches: int = 200  # of an epoch
    batch: int = 16
    imgsz: int = 640
    setup: float = 8.0
    callback: Number = 0.0  # of others, with every batch
    epoch_callback: Number = 0.0  # of others, at an epoch's end
    h2d: Number = 0.005
    preprocess: Number = 0.001
    forward: Number = 0.08
    backward: Number = 0.11
    optimizer: Number = 0.012
    other: Number = 0.004
    prep: Number = 0.5
    prep_cpu: float = 0.85  # share of the preparation that computes
    decode: float = 0.6  # share of the preparation that reads and decodes
    runqueue: float = 0.02  # share of the preparation that queues for a CPU
    first_wait: float = 0.6  # starting workers, filling the queue
    reforks: tuple[int, ...] = ()  # epochs that start the workers again (close_mosaic)
    kept: bool = True  # workers stay from epoch to epoch
    affinity: int = 0  # CPUs that the processes may run on; all if 0
    main_cpus: float = 1.0  # CPUs that a rank's own process uses
    validate: Number = 5.0
    checkpoint: Number = 0.5
    first_alone: bool = False  # only rank 0 validates, the others wait in the state train
    ending: float = 0.0  # of callbacks of rank 0 then, before it validates
    on_cpu: frozenset[int] = frozenset()  # batches whose computing is the CPU's
    exchange: float = 0.008  # exposed gradient exchange under DDP
    noise: float = 0.08
    cores: int = 32
    val_workers: int = 0  # workers of the validation's loader, which stay
    quota: float = 0.0
    throttled: float = 0.0  # share of the quota's periods in which it stops the cgroup
    others_cpu: float = 1.0  # CPUs used by somebody else
    io_pressure: float = 0.01
    disk_busy: float = 0.05
    memory: float = 256 * GIB
    available: Number = 200 * GIB
    resident: Number = 6 * GIB
    worker_resident: float = 1.2 * GIB
    device_memory: float = 80 * GIB
    allocated: Number = 22 * GIB
    peak: float = 38 * GIB
    retries: Number = 0.0  # per batch
    ooms: Mapping[int, int] = field(default_factory=dict)  # batch -> out-of-memory errors
    halvings: tuple[int, ...] = ()  # batches at which the batch is halved
    nonfinite: Number = 0.0  # per batch
    recoveries: tuple[int, ...] = ()
    sm_active: float = 0.8
    tensor_active: float = 0.2
    flops: float = 0.0  # of an image; unknown if 0, as the card's peak is then
    clock: float = 1.0
    thermal: float = 0.0  # share of time
    power_cap: float = 0.0
    brake: float = 0.0
    guests: float = 0.0  # memory of GPU 0 that others hold
    pcie: tuple[int, int] = (16, 16)
    pcie_generation: tuple[int, int] = (4, 4)
    loss: Callable[[At], float] = lambda at: 2.0 + 3.0 * math.exp(-at.epoch / 3)
    score: Callable[[At], float] = lambda at: 0.5 * (1 - math.exp(-at.epoch / 4))
    facts: Mapping[str, str] = field(default_factory=dict)
    hang: int = -1  # batch after which nothing comes any more
    hang_seconds: float = 120.0
    dead_workers: int = 0  # workers missing while it hangs
    deaths: Mapping[str, int] = field(default_factory=dict)  # loader workers by how they died, at the end
    stage: str = "scan"  # of the set-up
    shm_used: float = 0.1  # share
    end: str = "finished"  # finished, failed, killed, running
    stop: int = -1  # batch after which it ends
    oom_killed: int = 0
    after: float = 20.0  # seconds recorded after the end
    shm: float = 64 * GIB
    seed: int = 1
    without: tuple[Metric, ...] = ()  # families that are missing


Key = tuple[Metric, tuple[str, ...]]


class World:
    """Counters, gauges and histograms that events change."""

    def __init__(self) -> None:
        self.values: dict[Key, float] = {}
        self.histograms: dict[Key, list[float]] = {}

    def add(self, metric: Metric, labels: tuple[str, ...], amount: float) -> None:
        self.values[metric, labels] = self.values.get((metric, labels), 0.0) + amount

    def set(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        self.values[metric, labels] = value

    def drop(self, metric: Metric, labels: tuple[str, ...]) -> None:
        self.values.pop((metric, labels), None)

    def observe(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        parts = self.histograms.setdefault((metric, labels), [0.0] * (len(metric.buckets) + 2))
        parts[bisect_left(metric.buckets, value)] += 1
        parts[-1] += value

    def samples(self) -> Iterator[Sample]:
        for (metric, labels), value in self.values.items():
            yield Sample(metric, labels, value)
        for (metric, labels), parts in self.histograms.items():
            yield Sample(metric, labels, HistogramValue(tuple(parts[:-1]), parts[-1]))


Event = tuple[float, Callable[[World], None]]


class Training:
    """Plays a plan and keeps what happened as events in time."""

    def __init__(self, plan: Plan, start: float) -> None:
        self.plan = plan
        self.start = start
        self.random = random.Random(plan.seed)
        self.events: list[Event] = []
        self.now = start
        self.busy: list[tuple[float, float, float]] = []  # GPU: from, to, share
        self.loader: list[tuple[float, float]] = []  # seconds of preparation, moment
        self.batch_size = plan.batch
        self.free = [[start] * max(plan.workers, 1) for _ in range(plan.ranks)]
        self.taken: dict[int, float] = {}
        self.ended = math.inf
        self.phases: list[tuple[float, str]] = []

    def value(self, number: Number, at: At, *, noisy: bool = True) -> float:
        base = number(at) if callable(number) else number
        return base * math.exp(self.random.gauss(0, self.plan.noise)) if noisy and base else base

    def event(self, time: float, change: Callable[[World], None]) -> None:
        self.events.append((time, change))

    def rank(self, rank: int) -> tuple[str, str]:
        return (self.plan.run, str(rank))

    def spend(self, rank: int, phase: str, seconds: float, moment: float) -> None:
        key = (*self.rank(rank), phase)
        self.event(moment, lambda world: world.add(catalog.TRAIN_PHASE_SECONDS_TOTAL, key, seconds))

    def enter(self, state: str, ranks: int | None = None) -> None:
        """All ranks, or the first few, go over into a state."""
        moment = self.now
        self.phases.append((moment, state))
        for rank in range(self.plan.ranks if ranks is None else ranks):
            for name in catalog.STATES:
                key = (*self.rank(rank), name)
                self.event(moment, lambda w, k=key, n=name: w.set(catalog.TRAIN_STATE, k, float(n == state)))

    def play(self) -> None:
        """From set-up to the end."""
        plan = self.plan
        self._begin()
        self._set_up()
        for rank in range(plan.ranks):
            self.spend(rank, "setup", plan.setup, self.now)
            self.free[rank] = [self.now] * max(plan.workers, 1)
        for epoch in range(1, plan.epochs + 1):
            if not self._epoch(epoch):
                break
        self._finish()

    def _set_up(self) -> None:
        """One stage, with its progress every five seconds."""
        begin, seconds = self.now, self.plan.setup
        for rank in range(self.plan.ranks):
            labels, stage = self.rank(rank), (*self.rank(rank), self.plan.stage)
            self.event(begin, lambda w, k=stage: w.set(catalog.TRAIN_SETUP_STAGE, k, 1.0))
            for moment in range(0, int(seconds), 5):
                done = moment / seconds
                self.event(begin + moment, lambda w, k=labels, d=done: w.set(catalog.TRAIN_SETUP_PROGRESS_RATIO, k, d))
            if self.plan.epochs:
                self.event(begin + seconds, lambda w, k=labels, s=stage: w.drop(catalog.TRAIN_SETUP_PROGRESS_RATIO, k))
                self.event(begin + seconds, lambda w, s=stage: w.drop(catalog.TRAIN_SETUP_STAGE, s))
        self.now += seconds

    def _begin(self) -> None:
        plan = self.plan
        facts = {
            "task": "detect", "model": "yolo11m.pt", "data": "coco.yaml", "imgsz": str(plan.imgsz), "optimizer": "SGD",
            "amp": "true", "cache": "false", "world_size": str(plan.ranks), "device": "0" if plan.gpu else "cpu",
            "close_mosaic": "10", "ultralytics": "8.4.190", "torch": "2.9.1", "cuda": "12.8", "user": "li",
            "pid": "4242", "workers": str(plan.workers), "amp_asked": "true",
        } | dict(plan.facts)  # fmt: skip
        for rank in range(plan.ranks):
            labels = self.rank(rank)
            info = (*labels, *(facts.get(name, "") for name in catalog.RUN_FACTS))
            fixed = {
                catalog.TRAIN_UP: 1.0,
                catalog.TRAIN_START_TIMESTAMP_SECONDS: self.start,
                catalog.TRAIN_EPOCHS: float(plan.before + plan.epochs),
                catalog.TRAIN_EPOCH_BATCHES: float(plan.batches),
                catalog.TRAIN_BATCH_SIZE: float(plan.batch),
                catalog.TRAIN_WORKERS: float(plan.workers),
                catalog.TRAIN_QUEUE_CAPACITY: float(plan.workers * plan.prefetch),
            }
            counters = (
                catalog.TRAIN_BATCHES_TOTAL, catalog.TRAIN_IMAGES_TOTAL, catalog.TRAIN_OPTIMIZER_STEPS_TOTAL,
                catalog.TRAIN_NONFINITE_LOSS_TOTAL, catalog.TRAIN_NAN_RECOVERIES_TOTAL,
                catalog.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, catalog.TRAIN_WORKER_RESTARTS_TOTAL,
                catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, catalog.TRAIN_WORKER_DEATHS_TOTAL,
                *((catalog.TRAIN_CUDA_OOMS_TOTAL, catalog.TRAIN_CUDA_ALLOC_RETRIES_TOTAL) if plan.gpu else ()),
            )  # fmt: skip

            def begin(world: World, labels: tuple[str, str] = labels, info: tuple[str, ...] = info) -> None:
                world.set(catalog.TRAIN_RUN_INFO, info, 1.0)
                for metric, value in fixed.items():
                    world.set(metric, labels, value)
                for metric in counters:
                    world.set(metric, labels, 0.0)
                for phase in catalog.PHASES:
                    world.set(catalog.TRAIN_PHASE_SECONDS_TOTAL, (*labels, phase), 0.0)
                if plan.val_workers:
                    world.set(catalog.TRAIN_VAL_WORKERS, labels, float(plan.val_workers))
                for worker in range(plan.workers):
                    for metric in WORKER_METRICS:
                        world.set(metric, (*labels, str(worker)), 0.0)
                if plan.gpu:
                    gpu = labels[1]
                    world.set(catalog.TRAIN_DEVICE_INFO, (*labels, gpu, f"GPU-{gpu}"), 1.0)

            self.event(self.start, begin)
        self.enter("setup")

    def _epoch(self, epoch: int) -> bool:
        plan = self.plan
        self.enter("train")
        for rank in range(plan.ranks):
            key = self.rank(rank)
            self.event(self.now, lambda w, k=key: w.set(catalog.TRAIN_EPOCH, k, float(plan.before + epoch)))
        again = epoch in plan.reforks or (epoch > 1 and not plan.kept)
        first_wait = plan.first_wait if epoch == 1 or again else 0.02
        if again:
            for rank in range(plan.ranks):
                key = self.rank(rank)
                self.free[rank] = [self.now + plan.first_wait] * max(plan.workers, 1)
                self.event(self.now, lambda w, k=key: w.add(catalog.TRAIN_WORKER_RESTARTS_TOTAL, k, plan.workers))
        for index in range(plan.batches):
            number = (epoch - 1) * plan.batches + index
            if number == plan.stop:
                return False
            self._step(epoch, number, first_wait if index == 0 else None)
            if number == plan.hang:
                self._hang()
                return False
        self._pause(epoch)
        return True

    def _hang(self) -> None:
        plan = self.plan
        for rank in range(plan.ranks if plan.dead_workers else 0):
            key = (*self.rank(rank), "worker")
            left = float(plan.workers - plan.dead_workers)
            self.event(self.now, lambda w, k=key: w.set(catalog.TRAIN_PROCESSES, k, left))
        self.now += plan.hang_seconds

    def _step(self, epoch: int, number: int, first: float | None) -> None:
        plan, begin = self.plan, self.now
        own: list[dict[str, float]] = []
        for rank in range(plan.ranks):
            at = At(epoch, number, rank)
            wait = self._wait(at, begin, first)
            phases = {"data_wait": wait, "callbacks": self.value(plan.callback, at)} | {
                name: self.value(getattr(plan, name), at) for name in COMPUTE
            }
            own.append(phases)
        slowest = max(sum(phases.values()) for phases in own)
        end = begin + slowest + (plan.exchange if plan.ranks > 1 else 0.0)
        for rank, phases in enumerate(own):
            if plan.ranks > 1:
                phases["backward_local"] = phases.pop("backward")
                phases["backward_exposed"] = end - begin - sum(phases.values())
            self._account(rank, At(epoch, number, rank), phases, begin, end, first)
        self.taken[number] = begin + max(phases["data_wait"] for phases in own)
        self.now = end

    def _wait(self, at: At, begin: float, first: float | None) -> float:
        """How long the trainer waits for batch `at.batch`, which its worker prepares as early as it may."""
        plan = self.plan
        if plan.workers == 0:
            return self.value(plan.prep, at)
        worker = at.batch % plan.workers
        seconds = self.value(plan.prep, replace(at, worker=worker))
        allowed = self.taken.get(at.batch - plan.workers * plan.prefetch, self.start + plan.setup)
        ready = max(self.free[at.rank][worker], allowed) + seconds
        self.free[at.rank][worker] = ready
        key = (*self.rank(at.rank), str(worker))

        def prepared(world: World) -> None:
            world.add(catalog.TRAIN_WORKER_BATCHES_TOTAL, key, 1)
            world.add(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, key, seconds)
            world.add(catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, key, seconds * plan.prep_cpu)
            world.add(catalog.TRAIN_WORKER_DECODE_SECONDS_TOTAL, key, seconds * plan.decode)
            world.observe(catalog.TRAIN_LOADER_BATCH_SECONDS, key[:2], seconds)

        self.event(ready, prepared)
        self.loader.append((ready, seconds))
        return max(ready - begin, 0.0) + 0.0005 + (first or 0.0)

    def _account(
        self, rank: int, at: At, phases: dict[str, float], begin: float, end: float, first: float | None
    ) -> None:
        plan, labels, size = self.plan, self.rank(rank), self.batch_size
        for phase, seconds in phases.items():
            self.spend(rank, "loader_start" if phase == "data_wait" and first is not None else phase, seconds, end)
        if phases["callbacks"]:
            self._called_back(rank, phases["callbacks"], end)
        wait = phases["data_wait"]
        ahead = [ready for ready in self.free[rank] if ready < end]
        depth = min(len(ahead) * plan.prefetch, plan.workers * plan.prefetch) if wait < 0.01 else 0
        retries = self.value(plan.retries, at, noisy=False)
        nonfinite = self.value(plan.nonfinite, at, noisy=False)

        def done(world: World) -> None:
            world.add(catalog.TRAIN_BATCHES_TOTAL, labels, 1)
            world.add(catalog.TRAIN_IMAGES_TOTAL, labels, size)
            if plan.flops:
                world.add(catalog.TRAIN_FLOPS_TOTAL, labels, size * plan.flops)
            world.set(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, labels, end)
            world.observe(catalog.TRAIN_DATA_WAIT_SECONDS, labels, wait)
            world.observe(catalog.TRAIN_STEP_SECONDS, labels, end - begin - wait)
            world.set(catalog.TRAIN_QUEUE_DEPTH, labels, float(depth))
            world.set(catalog.TRAIN_LOSS, (*labels, "box_loss"), plan.loss(at))
            world.set(catalog.TRAIN_BATCH_SIZE, labels, float(size))
            if first is not None:
                world.add(catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, labels, wait)
            if nonfinite:
                world.add(catalog.TRAIN_NONFINITE_LOSS_TOTAL, labels, nonfinite)
            if plan.gpu and retries:
                world.add(catalog.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, labels, retries)
            if plan.gpu:
                memory = self.value(plan.allocated, at, noisy=False)
                kinds = {
                    "allocated": memory,
                    "reserved": plan.peak,
                    "peak_allocated": 0.93 * plan.peak,
                    "peak_reserved": plan.peak,
                }
                for kind, value in kinds.items():
                    world.set(catalog.TRAIN_CUDA_MEMORY_BYTES, (*labels, kind), value)
            world.set(
                catalog.TRAIN_PROCESS_RESIDENT_BYTES, (*labels, "main"), self.value(plan.resident, at, noisy=False)
            )
            world.set(catalog.MEMORY_AVAILABLE_BYTES, (), self.value(plan.available, at, noisy=False))

        self.event(end, done)
        for count, metric in self._incidents(at.batch):
            self.event(end, lambda w, c=count, m=metric: w.add(m, labels, c))
        if at.batch in plan.halvings and rank == plan.ranks - 1:
            self.batch_size = max(self.batch_size // 2, 1)
        if plan.gpu and at.batch not in plan.on_cpu:
            work = sum(seconds for phase, seconds in phases.items() if phase not in NOT_ON_GPU)
            self.busy.append((end - work, end, float(rank)))

    def _called_back(self, rank: int, seconds: float, moment: float) -> None:
        key = (*self.rank(rank), "mylogger.upload")
        self.event(moment, lambda w: w.add(catalog.TRAIN_CALLBACK_SECONDS_TOTAL, key, seconds))
        self.event(moment, lambda w: w.add(catalog.TRAIN_CALLBACK_CALLS_TOTAL, key, 1))

    def _incidents(self, batch: int) -> Iterator[tuple[float, Metric]]:
        plan = self.plan
        if batch in plan.ooms:
            yield float(plan.ooms[batch]), catalog.TRAIN_CUDA_OOMS_TOTAL
        if batch in plan.halvings:
            yield 1.0, catalog.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL
        if batch in plan.recoveries:
            yield 1.0, catalog.TRAIN_NAN_RECOVERIES_TOTAL

    def _pause(self, epoch: int) -> None:
        """Validation, checkpoint and callbacks."""
        plan, at = self.plan, At(epoch, epoch * self.plan.batches)
        over = self.now
        if plan.ending:
            self.now += plan.ending
            self.spend(0, "callbacks", plan.ending, self.now)
            self._called_back(0, plan.ending, self.now)
        for state, number in (("validate", plan.validate), ("checkpoint", plan.checkpoint)):
            seconds = self.value(number, at)
            if not seconds:
                continue
            self.enter(state, ranks=1 if plan.first_alone else plan.ranks)
            begin = self.now
            self.now += seconds
            for rank in range(1 if plan.first_alone else plan.ranks):
                self.spend(rank, state, seconds, self.now)
                if plan.gpu and state == "validate":
                    self.busy.append((begin + 0.2 * seconds, self.now, float(rank)))
        calling = self.value(plan.epoch_callback, at)
        if calling:
            self.enter("train")
            self.now += calling
        for rank in range(plan.ranks if calling else 0):
            self.spend(rank, "callbacks", calling, self.now)
            self._called_back(rank, calling, self.now)
        for rank in range(1, plan.ranks if plan.first_alone else 1):  # its hooks account when the next epoch begins
            self.spend(rank, "other", self.now - over - calling, self.now)
        score = plan.score(at)
        for rank in range(plan.ranks):
            key = (*self.rank(rank), "metrics/mAP50-95(B)")
            self.event(self.now, lambda w, k=key: w.set(catalog.TRAIN_METRIC, k, score))

    def _finish(self) -> None:
        plan = self.plan
        if plan.end == "running":
            return
        self.ended = self.now
        self.enter(plan.end)
        for rank in range(plan.ranks):
            labels = self.rank(rank)

            def over(world: World, labels: tuple[str, str] = labels) -> None:
                world.set(catalog.TRAIN_UP, labels, 0.0)
                if plan.end != "killed":
                    world.set(catalog.TRAIN_END_TIMESTAMP_SECONDS, labels, self.ended)
                for key in [key for key in world.values if key[0] in PROCESS_METRICS and key[1][:2] == labels]:
                    del world.values[key]

            self.event(self.now, over)
        for signal, count in plan.deaths.items():
            key = self.rank(0)
            self.event(self.now, lambda w, c=count: w.add(catalog.TRAIN_WORKER_DEATHS_TOTAL, key, c))
            self.event(
                self.now, lambda w, s=signal, c=count: w.add(catalog.TRAIN_WORKER_DEATH_SIGNAL_TOTAL, (*key, s), c)
            )
        if plan.oom_killed:
            self.event(self.now, lambda w: w.add(catalog.CGROUP_OOM_KILLS_TOTAL, (plan.run,), plan.oom_killed))


COMPUTE = ("h2d", "preprocess", "forward", "backward", "optimizer", "other")
NOT_ON_GPU = ("data_wait", "callbacks", "preprocess", "other")
WORKER_METRICS = (
    catalog.TRAIN_WORKER_BATCHES_TOTAL,
    catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL,
    catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL,
    catalog.TRAIN_WORKER_DECODE_SECONDS_TOTAL,
)
PROCESS_METRICS = (
    catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL,
    catalog.TRAIN_PROCESS_RESIDENT_BYTES,
    catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL,
    catalog.TRAIN_PROCESSES,
    catalog.TRAIN_PROCESS_AFFINITY_CORES,
)


class Spans:
    """Stretches of time by when they are: asked for a moment's, it looks at no other ones."""

    WIDTH = 10.0

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        self.at: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
        for index, (begin, end) in enumerate(spans):
            for tick in range(int(begin // self.WIDTH), int(end // self.WIDTH) + 1):
                self.at[tick].append((index, begin, end))

    def within(self, before: float, now: float) -> float:
        """Seconds of all of them that fall between the two, added in the order in which they were told."""
        ticks = range(int(before // self.WIDTH), int(now // self.WIDTH) + 1)
        total = 0.0
        for _, begin, end in sorted({span for tick in ticks for span in self.at.get(tick, ())}):
            total += max(min(now, end) - max(before, begin), 0.0)
        return total


class Machine:
    """The node under the training: CPU, storage, memory and GPUs, advanced from sample to sample."""

    def __init__(self, training: Training) -> None:
        self.training, self.plan = training, training.plan
        self.world = World()
        busy = sorted(training.busy)
        self.busy = [Spans((a, b) for a, b, rank in busy if rank == gpu) for gpu in range(self.plan.ranks)]
        self.loader = Spans((ready - seconds, ready) for ready, seconds in training.loader)

    def advance(self, before: float, now: float, state: str) -> None:
        """The node's own metrics from `before` to `now`."""
        plan, world, dt = self.plan, self.world, now - before
        alive = state not in ("finished", "failed", "killed", "")
        preparing = self.loader.within(before, now) if alive else 0.0
        used = plan.others_cpu * dt + preparing * plan.prep_cpu + (plan.ranks * plan.main_cpus * dt if alive else 0.0)
        used = min(used, plan.cores * dt)
        world.add(catalog.CPU_SECONDS_TOTAL, ("user",), used)
        world.add(catalog.CPU_SECONDS_TOTAL, ("idle",), plan.cores * dt - used)
        world.add(catalog.CPU_SECONDS_TOTAL, ("iowait",), 0.0)
        world.set(catalog.CPU_CORES, (), float(plan.cores))
        world.set(catalog.MEMORY_TOTAL_BYTES, (), plan.memory)
        world.values.setdefault((catalog.MEMORY_AVAILABLE_BYTES, ()), plan.memory * 0.8)
        world.add(catalog.DISK_IO_SECONDS_TOTAL, ("nvme0n1",), plan.disk_busy * dt)
        world.add(catalog.PRESSURE_SECONDS_TOTAL, ("io", "some"), plan.io_pressure * dt)
        world.set(catalog.FILESYSTEM_SIZE_BYTES, ("/dev/shm", "tmpfs"), plan.shm)
        world.set(catalog.FILESYSTEM_AVAILABLE_BYTES, ("/dev/shm", "tmpfs"), (1 - plan.shm_used) * plan.shm)
        if alive:
            self._processes(dt, preparing)
        for gpu in range(plan.ranks if plan.gpu else 0):
            self._gpu(gpu, before, now, alive=alive)

    def _processes(self, dt: float, preparing: float) -> None:
        plan, world = self.plan, self.world
        run = (plan.run,)
        if plan.quota:
            world.set(catalog.CGROUP_CPU_QUOTA_CORES, run, plan.quota)
            world.add(catalog.CGROUP_CPU_PERIODS_TOTAL, run, 10 * dt)
            world.add(catalog.CGROUP_CPU_THROTTLED_PERIODS_TOTAL, run, 10 * plan.throttled * dt)
            # of all of its CPUs together, each stopped for half of such a period
            world.add(catalog.CGROUP_CPU_THROTTLED_SECONDS_TOTAL, run, plan.cores * 0.5 * plan.throttled * dt)
            world.add(catalog.CGROUP_CPU_SECONDS_TOTAL, run, plan.quota * (0.98 if plan.throttled else 0.5) * dt)
        world.add(catalog.CGROUP_OOM_KILLS_TOTAL, run, 0.0)
        for rank in range(plan.ranks):
            labels = self.training.rank(rank)
            share = preparing / plan.ranks
            roles = {
                "main": (1, plan.main_cpus * dt, 0.01 * dt),
                "worker": (plan.workers, share * plan.prep_cpu, share * plan.runqueue),
                "val_worker": (plan.val_workers, 0.0, 0.0),
            }
            for role, (count, cpu, queue) in roles.items():
                if not count:
                    continue
                key = (*labels, role)
                world.values.setdefault((catalog.TRAIN_PROCESSES, key), float(count))
                world.add(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, key, cpu)
                world.add(catalog.TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL, key, queue)
                world.set(catalog.TRAIN_PROCESS_AFFINITY_CORES, key, float(plan.affinity or plan.cores))
            if plan.workers:
                world.set(
                    catalog.TRAIN_PROCESS_RESIDENT_BYTES, (*labels, "worker"), plan.workers * plan.worker_resident
                )

    def _gpu(self, gpu: int, before: float, now: float, *, alive: bool) -> None:
        plan, world, key, dt = self.plan, self.world, (str(gpu),), now - before
        busy = SPENT * self.busy[gpu].within(before, now)
        share = min(busy / dt, 1.0) if dt else 0.0
        info = (*key, f"GPU-{gpu}", GPU, "570.86", plan.facts.get("driver_cuda", "12.8"), f"0000:0{gpu}:00.0")
        world.set(catalog.GPU_INFO, info, 1.0)
        world.add(catalog.GPU_BUSY_SECONDS_TOTAL, key, min(busy, dt))
        world.set(catalog.GPU_UTILIZATION_RATIO, key, share)
        world.set(catalog.GPU_MEMORY_TOTAL_BYTES, key, plan.device_memory)
        held = 0.5 * GIB + (plan.guests if gpu == 0 else 0.0)
        world.set(catalog.GPU_MEMORY_USED_BYTES, key, plan.peak + held if alive else held)
        world.set(catalog.GPU_SM_ACTIVE_RATIO, key, plan.sm_active * share)
        if plan.flops:
            for precision, most in zip(catalog.PRECISIONS, PEAK, strict=True):
                world.set(catalog.GPU_PEAK_FLOPS_PER_SECOND, (*key, precision), most)
            world.set(catalog.GPU_TENSOR_ACTIVE_RATIO, key, plan.tensor_active * share)
        world.set(catalog.GPU_POWER_WATTS, key, 80 + 300 * share)
        world.set(catalog.GPU_POWER_LIMIT_WATTS, key, 400.0)
        world.set(catalog.GPU_TEMPERATURE_CELSIUS, (*key, "core"), 45 + 25 * share + 15 * (plan.thermal > 0))
        world.set(catalog.GPU_CLOCK_HERTZ, (*key, "sm"), 1.41e9 * plan.clock)
        world.set(catalog.GPU_CLOCK_MAX_HERTZ, (*key, "sm"), 1.41e9)
        for reason in catalog.THROTTLE_REASONS:
            part = {
                "sw_thermal_slowdown": plan.thermal,
                "sw_power_cap": plan.power_cap,
                "hw_power_brake_slowdown": plan.brake,
                "hw_slowdown": plan.brake,  # drivers count the one as the other too
            }.get(reason, 0.0)
            world.add(catalog.GPU_THROTTLED_SECONDS_TOTAL, (*key, reason), part * dt)
        world.set(catalog.GPU_PCIE_LINK_WIDTH, key, float(plan.pcie[0]))
        world.set(catalog.GPU_PCIE_LINK_WIDTH_MAX, key, float(plan.pcie[1]))
        world.set(catalog.GPU_PCIE_LINK_GENERATION, key, float(plan.pcie_generation[0] if share > 0.05 else 1))
        world.set(catalog.GPU_PCIE_LINK_GENERATION_MAX, key, float(plan.pcie_generation[1]))


def moments(
    plan: Plan, every: float = 2.0, start: float = START, offset: float = 0.0
) -> Iterator[tuple[float, list[Sample]]]:
    """(Unix time, samples) of the plan every `every` seconds, a little before its start and after its end included.

    `offset` shifts the samples, not the training: a Prometheus scrapes each of its targets at a moment of its own.
    """
    return _seen(_played(plan, start), every, offset)


def _played(plan: Plan, start: float) -> Training:
    training = Training(plan, start)
    training.play()
    training.events.sort(key=lambda event: event[0])
    return training


def _seen(training: Training, every: float, offset: float) -> Iterator[tuple[float, list[Sample]]]:
    plan, machine, events = training.plan, Machine(training), training.events
    last = training.now + (plan.after if plan.end != "running" else 0.0)
    before, index = training.start - 2 * every + offset, 0
    state, states = "", list(training.phases)
    dropped = {metric.name for metric in plan.without}
    while before < last:
        now = before + every
        while states and states[0][0] <= now:
            state = states.pop(0)[1]
        machine.advance(before, now, state)
        while index < len(events) and events[index][0] <= now:
            events[index][1](machine.world)
            index += 1
        if state in ("finished", "failed", "killed"):
            _clear(machine.world)
        yield now, [sample for sample in machine.world.samples() if sample.metric.name not in dropped]
        before = now


def _clear(world: World) -> None:
    for key in [key for key in world.values if key[0] in PROCESS_METRICS]:
        del world.values[key]


def play(plan: Plan, every: float = 2.0, start: float = START) -> Store:
    """The plan as a store of series."""
    store = Store()
    for time, samples in moments(plan, every, start):
        store.add(time, samples)
    return store


def play_nodes(plan: Plan, every: float = 15.0, start: float = START) -> list[Store]:
    """The plan with each rank on a node of its own, which are scraped one after the other within each period."""
    stores, training = [], _played(plan, start)
    for rank in range(plan.ranks):
        store = Store(name=f"node{rank}:9911")
        for time, samples in _seen(training, every, offset=every * rank / plan.ranks):
            store.add(time, [sample for sample in samples if _of(sample, str(rank))])
        stores.append(store)
    return stores


def _of(sample: Sample, rank: str) -> bool:
    """Whether a sample is of this rank, of its GPU, which has the same number, or of the node."""
    labels = dict(zip(sample.metric.labels, sample.labels, strict=False))
    return labels.get("rank", labels.get("gpu", rank)) == rank


def totals(store: Store, metric: Metric) -> dict[tuple[str, ...], Any]:
    """Last value of each series of a metric, for tests."""
    found: dict[tuple[str, ...], Any] = defaultdict(float)
    for labels, series in store.series.get(metric.name, {}).items():
        found[labels] = series.values[-1]
    return dict(found)
