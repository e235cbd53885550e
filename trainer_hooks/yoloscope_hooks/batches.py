"""The batches of one rank: what each took, written as a row at once and added to the counters several at a time."""

from __future__ import annotations

import time
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog
from yoloscope_record.catalog import STEP_BUCKETS
from yoloscope_record.file_format import ROWS_AHEAD

from yoloscope_hooks import other_callbacks
from yoloscope_hooks.counters import BATCHES, HOOK_SECONDS, IMAGES, LAST_BATCH, OPTIMIZER_STEPS, Counters
from yoloscope_hooks.cuda_memory import UNKNOWN
from yoloscope_hooks.step_clock import END, START, Gap, HostClock, waited

if TYPE_CHECKING:
    from yoloscope_record.writer import Writer

    from yoloscope_hooks.cuda_memory import CudaMemory
    from yoloscope_hooks.guard import Guard
    from yoloscope_hooks.progress import Progress
    from yoloscope_hooks.stream_clock import StreamClock
    from yoloscope_hooks.workers import Queue

    Trainer = Any  # duck-typed
    #: Wall time, start, end, the fields of its Gap, marks of the clock, images, optimizer steps.
    Batch = tuple[float, float, float, tuple[float, float, float, bool], Any, int, int]

FOLD_SECONDS = 1.0  # batches are added to the counters several at a time: ROWS_AHEAD of them, or what came in this


class Batches:
    """Times the batches of one rank, the gaps between them, and other people's callbacks.

    Attributes:
        clock: the clock of a step's marks.
        memory: CUDA's, where there is any.
        images: of the batch under way; the instrumentation stores it.
        steps: of the optimizer in the batch under way; likewise.
        previous: moment up to where the wall time is accounted for, in seconds of `perf_counter`.
        counters: the sums.
    """

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
        self._waiting: list[Batch] = []  # not in the counters yet
        self._hook_seconds = self._folded = 0.0
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
        self._first, self._start, self._end, self._progress.batch = True, 0.0, 0.0, 0

    def start(self, now: float) -> None:
        """A batch has arrived."""
        self._start, self._end = now, 0.0
        self.images = self.steps = 0
        self._gap_callbacks = self._others.spent(now) - self._callbacks
        self.clock.begin()

    def _step_begins(self, now: float) -> None:
        """A callback that was called after ours at the start of a batch is over: what it took is not the step's."""
        if self._start:
            self._start = now
            self._gap_callbacks = self._others.spent(now) - self._callbacks
            self.clock.mark(START)

    def _step_ends(self, now: float) -> None:
        """The first callback at the end of a batch is about to be called."""
        if self._start and not self._end:
            self._end = now
            self._callbacks = self._others.spent(now)
            self.clock.mark(END)

    def end(self, trainer: Trainer, now: float) -> float:
        """A step is done: write its row, and return its wall time; 0 if the batch began before the hooks did.

        In a real training nothing that is called here is in the CPU's caches: each call costs microseconds.
        """
        if not self._start:
            return 0.0
        if not self._end:
            self._step_ends(now)
        first, start, end, queue = self._first, self._start, self._end, self._queue
        if first:
            self._guard("queue", queue.look, trainer)
        length, callbacks = start - self.previous, self._gap_callbacks
        wait = waited(length - callbacks, None if first else queue.fetched, self._own)
        memory = self._guard("memory", self.memory.batch) or UNKNOWN if self.memory else UNKNOWN
        worker, depth = self._guard("queue", queue.batch, end) or UNKNOWN
        wall = time.time()
        self._writer.append((wall, wait, end - start, *memory, worker, depth, self._progress.epoch + 1.0))
        gap = length, callbacks, wait, first
        self._waiting.append((wall, start, end, gap, self.clock.marks, self.images, self.steps))
        self._first, self._start, self.previous = False, 0.0, end
        self._progress.batch += 1
        return wall

    def is_due(self, now: float) -> bool:
        """Whether batches wait to be added to the counters."""
        return len(self._waiting) >= ROWS_AHEAD or now - self._folded >= FOLD_SECONDS

    def took(self, seconds: float) -> None:
        """Count what the hooks took at the end of a batch."""
        self._own = seconds
        self._hook_seconds += seconds

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
        writer, numbers, clock = self._writer, self.counters.numbers, self.clock
        for wall, start, end, gap, marks, images, steps in self._waiting:
            writer.observe(self._wait, STEP_BUCKETS, gap[2])
            writer.observe(self._step, STEP_BUCKETS, end - start)
            numbers[BATCHES] += 1.0
            numbers[IMAGES] += images or self._progress.batch_size
            numbers[OPTIMIZER_STEPS] += steps
            numbers[LAST_BATCH] = wall
            clock.end(marks, (start, end), Gap(*gap), numbers)
        self._waiting.clear()

    def _store(self, now: float) -> None:
        self._guard("queue", self._queue.store)
        self.counters.numbers[HOOK_SECONDS] = self._hook_seconds
        self.counters.store()
        self._writer.count()
        self._folded = now
