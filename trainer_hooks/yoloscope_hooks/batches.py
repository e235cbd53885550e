"""The batches of one rank: what each took, written as a row at once and added to the counters several at a time."""

from __future__ import annotations

import time
from bisect import bisect_left
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog
from yoloscope_record.catalog import STEP_BUCKETS
from yoloscope_record.file_format import (
    ALLOCATED,
    DATA_WAIT,
    EPOCH,
    QUEUE_DEPTH,
    RESERVED,
    ROWS_AHEAD,
    STEP,
    TIME,
    WORKER,
)

from yoloscope_hooks import other_callbacks
from yoloscope_hooks.counters import BATCHES, HOOK_SECONDS, IMAGES, LAST_BATCH, OPTIMIZER_STEPS, Counters
from yoloscope_hooks.cuda_memory import UNKNOWN
from yoloscope_hooks.step_clock import END, START, HostClock, waited

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_record.writer import Writer

    from yoloscope_hooks.cuda_memory import CudaMemory
    from yoloscope_hooks.guard import Guard
    from yoloscope_hooks.progress import Progress
    from yoloscope_hooks.step_clock import Step
    from yoloscope_hooks.stream_clock import StreamClock
    from yoloscope_hooks.workers import Queue

    Trainer = Any  # duck-typed
    #: Wall time, step, images, optimizer steps, depth of the queue before it.
    Batch = tuple[float, Step, int, int, float]

#: Seconds. Both clocks run alike; only a clock that was set moves them apart, less is a pause between two looks.
CLOCK_STEP = 0.1
_SUM = len(STEP_BUCKETS) + 1  # where a histogram's sum is, from its first bucket
FOLD_SECONDS = 2.0  # batches are added to the counters several at a time: ROWS_AHEAD of them, or what came in this


class Batches:
    """Times the batches of one rank, the gaps between them, and other people's callbacks.

    Attributes:
        clock: the clock of a step's marks.
        memory: CUDA's, where there is any.
        images: of the batch under way; the instrumentation stores it.
        steps: of the optimizer in the batch under way; likewise.
        previous: moment up to where the wall time is accounted for, in seconds of `perf_counter`.
        counters: the sums.
        waiting: batches that are not in the counters yet.
        add_up: called at the end of a batch when they have to be; ends in `store`.
    """

    add_up: Callable[[Trainer, float], None]

    def __init__(  # noqa: PLR0913 - what a row consists of
        self, writer: Writer, who: tuple[str, str], guard: Guard, queue: Queue, progress: Progress, *, age: float
    ) -> None:
        """`who` are run and rank; `age` is how long the training has been going on, in seconds."""
        self.clock: HostClock | StreamClock = HostClock()
        self.memory: CudaMemory | None = None
        self.images = self.steps = 0
        self.previous = perf_counter() - age
        self.counters = Counters(writer, who)
        self._writer, self._guard, self._queue, self._progress = writer, guard, queue, progress
        self._start = self._end = 0.0  # of the batch under way; 0 between batches, and until it has come
        self._own = 0.0  # seconds we took since the last batch ended
        self._callbacks = self._gap_callbacks = 0.0  # seconds others took up to `previous`, and in the gap from there
        self._first = True
        queue.failed = self._queue_failed
        self._row, self._append = writer.row, writer.append
        self._row[ALLOCATED], self._row[RESERVED] = UNKNOWN
        self._wall = time.time() - perf_counter()  # to be added to a moment for Unix time
        self.waiting: list[Batch] = []
        self._hook_seconds = self._due = 0.0
        self._step = writer.histogram(catalog.TRAIN_STEP_SECONDS, *who)
        self._wait = writer.histogram(catalog.TRAIN_DATA_WAIT_SECONDS, *who)
        self._others = other_callbacks.OtherCallbacks(writer, who)

    def time_callbacks(self, trainer: Trainer) -> None:
        """Time what others have put into the lists of callbacks by now."""
        before = {"on_train_batch_end": partial(self._guard, "callbacks", self._step_ends)}
        after = {"on_train_batch_start": partial(self._guard, "callbacks", self._step_begins)}
        for lists in other_callbacks.lists_of(trainer):
            self._others.install(lists, before, after)

    def epoch_start(self) -> None:
        """Batches follow."""
        self._guard("clock", self.clock.epoch)
        self._first, self._start, self._end = True, 0.0, 0.0
        self._progress.batch, self._row[EPOCH] = 0, self._progress.epoch + 1.0

    def start(self, now: float) -> None:
        """A batch has arrived."""
        self._start, self._end = now, 0.0
        self.images = self.steps = 0
        others = self._others
        self._gap_callbacks = (others.spent(now) if others.running else others.seconds) - self._callbacks
        self.clock.begin()

    def _step_begins(self, now: float) -> None:
        """A callback that was called after ours at the start of a batch is over: what it took is not the step's."""
        if self._start:
            self._start = now
            self._gap_callbacks = self._others.spent(now) - self._callbacks
            self.clock.marks[START] = now

    def _step_ends(self, now: float) -> None:
        """The first callback at the end of a batch is about to be called."""
        if self._start and not self._end:
            self._end = now
            self._callbacks = self._others.spent(now)
            self.clock.marks[END] = now

    def end(self, trainer: Trainer, now: float) -> None:
        """A step is done: write its row, and add up those since the last time if they are many, or long ago.

        In a real training nothing that is called here is in the CPU's caches: each call costs microseconds.
        """
        start, end, others, queue = self._start, self._end, self._others, self._queue
        if not start:  # the batch began before the hooks did
            return
        if not end:
            end = now
            self._callbacks = others.spent(now) if others.running else others.seconds
        marks = self.clock.taken()
        callbacks, length, wait = self._gap_callbacks, start - self.previous, queue.fetched
        first, rest = self._first, length - callbacks
        if first or wait is None or wait > rest:
            wait = self._waited(trainer, rest, wait)
        if queue.fetched:
            queue.fetched = 0.0
        waiting, wall, depth = self.waiting, now + self._wall, queue.depth
        due = now >= self._due or len(waiting) >= ROWS_AHEAD - 1
        row = self._row
        if due:
            row[ALLOCATED], row[RESERVED] = self._memory_now()
        row[TIME], row[DATA_WAIT], row[STEP] = wall, wait, end - start
        row[WORKER], row[QUEUE_DEPTH] = queue.worker, depth
        self._append()
        step = marks, start, end, (length, callbacks, wait, first)
        waiting.append((wall, step, self.images, self.steps, depth))
        self._first, self._start, self.previous = False, 0.0, end
        if due:
            row[ALLOCATED], row[RESERVED] = UNKNOWN
            self.add_up(trainer, now)
        self._own = own = perf_counter() - now
        self._hook_seconds += own

    def _waited(self, trainer: Trainer, rest: float, fetched: float | None) -> float:
        """How long the step has waited, where it is not simply what the loader took."""
        if self._first:
            self._guard("queue", self._queue.look, trainer)
            fetched = None
        return waited(rest, fetched, self._own)

    def _memory_now(self) -> tuple[float, float]:
        """What PyTorch holds on the GPU."""
        return (self.memory and self._guard("memory", self.memory.batch)) or UNKNOWN

    def _queue_failed(self, error: Exception) -> None:
        """The queue could not be looked at; if it keeps failing it is left alone."""
        self._guard.count("queue", error)
        self._queue.looks = "queue" not in self._guard.off

    def store_callbacks(self) -> None:
        """Store what other callbacks took."""
        self._guard("callbacks", self._others.store)

    def store(self, now: float) -> None:
        """Add up the batches since the last time, and store the sums. Between the writer's `begin` and `end`."""
        self._fold()
        self._store(now)

    def account(self, now: float, phase: int) -> None:
        """Give the time since the last event to `phase`, and store. Between the writer's `begin` and `end`."""
        elapsed, spent = now - self.previous, self._others.spent(now)
        callbacks = min(spent - self._callbacks, elapsed)
        self.previous, self._callbacks, self._own = now, spent, 0.0
        self._fold()
        self.clock.account(elapsed, callbacks, phase, self.counters.numbers)
        self._store(now)

    def _fold(self) -> None:
        values, numbers, usual = self._writer.values, self.counters.numbers, self._progress.batch_size
        wait_slot, step_slot = self._wait, self._step
        for _, (_, start, end, (_, _, wait, _)), images, steps, _ in self.waiting:
            values[wait_slot + bisect_left(STEP_BUCKETS, wait)] += 1.0
            values[step_slot + bisect_left(STEP_BUCKETS, end - start)] += 1.0
            values[wait_slot + _SUM] += wait
            values[step_slot + _SUM] += end - start
            numbers[IMAGES] += images or usual
            numbers[OPTIMIZER_STEPS] += steps
        self.clock.end([step for _, step, *_ in self.waiting], numbers)
        self._guard("queue", self._queue.store, [(step[1], depth) for _, step, _, _, depth in self.waiting])
        if self.waiting:
            numbers[BATCHES] += len(self.waiting)
            numbers[LAST_BATCH] = self.waiting[-1][0]
            self._progress.batch += len(self.waiting)
            self.waiting.clear()

    def _store(self, now: float) -> None:
        self.counters.numbers[HOOK_SECONDS] = self._hook_seconds + self._queue.seconds
        self.counters.store()
        self._writer.count()
        self._due = now + FOLD_SECONDS
        wall = time.time() - perf_counter()
        if abs(wall - self._wall) > CLOCK_STEP:
            self._wall = wall
