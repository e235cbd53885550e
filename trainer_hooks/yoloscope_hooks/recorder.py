"""The recorder of one rank: takes the events of a training and keeps its record up to date."""

from __future__ import annotations

import logging
import math
import os
import stat
import sys
import time
import weakref
from collections import Counter
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from yoloscope_record import catalog, clearing, paths
from yoloscope_record.catalog import PHASES, STEP_BUCKETS
from yoloscope_record.file_format import ROWS_AHEAD, Identity, RecordError
from yoloscope_record.reader import Reader
from yoloscope_record.writer import Writer

from yoloscope_hooks import cuda_memory, ddp, facts, naming, other_callbacks, taps, workers
from yoloscope_hooks.cuda_memory import UNKNOWN
from yoloscope_hooks.learning import PERIOD, Learning
from yoloscope_hooks.ledger import BATCHES, HOOK_SECONDS, IMAGES, LAST_BATCH, OPTIMIZER_STEPS, Ledger
from yoloscope_hooks.setup_stages import SetupStages
from yoloscope_hooks.step_clock import CHECKPOINT, END, OTHER, SETUP, START, VALIDATE, Gap, HostClock, waited
from yoloscope_hooks.stream_clock import StreamClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Trainer = Any  # duck-typed
    #: Wall time, start, end, the fields of its Gap, marks of the clock, images, optimizer steps.
    Batch = tuple[float, float, float, tuple[float, float, float, bool], Any, int, int]
    Result = TypeVar("Result")

ERROR_LIMIT = 3  # the same part fails that often: it is left out from then on
VITAL = frozenset({"on_train_batch_start", "on_train_batch_end"})
KEEP_SECONDS = 86400.0
KEEP_RUNS = 50  # a tuner makes hundreds, each half a megabyte of memory
SEEN_SECONDS = 60.0  # the exporter and its Prometheus have seen how it ended
FOLD_SECONDS = 1.0  # batches are added to the counters several at a time: ROWS_AHEAD of them, or what came in this
_PHASE_OF_STATE = {"setup": SETUP, "train": OTHER, "validate": VALIDATE, "checkpoint": CHECKPOINT}
_log = logging.getLogger("yoloscope")


def open_for(trainer: Trainer) -> Recorder:
    """Open the record of the training this process is about to do.

    Raises:
        RecordError: there is no directory for it, or no room.
    """
    now = time.time()
    rank = naming.rank(os.environ)
    run = naming.run(trainer, os.environ, now)
    base = paths.make_directory(paths.directory())
    path, identity = _free(base, run, rank)
    with suppress(OSError):
        clearing.remove_workers(path)  # of an earlier training under the same name
    writer = Writer(path, identity, facts.gather(trainer, os.environ))
    try:
        recorder = Recorder(writer, (identity.run, rank), _begun(now))
    except Exception:
        writer.discard()
        raise
    recorder.finalizer = weakref.finalize(trainer, recorder.abandoned)  # older versions say nothing when they crash
    _clear_old(base, path.parent, now)
    return recorder


def _free(base: Path, run: str, rank: str) -> tuple[Path, Identity]:
    """The run's name, or with a number if a living process writes under it (a name told to two trainings)."""
    for count in range(1, 100):
        identity = Identity(run if count == 1 else f"{run}-{count}", rank)
        path = paths.run_directory(base, identity.run) / identity.filename
        with suppress(RecordError):
            if Reader(path).read().alive:
                continue
        return path, identity
    raise RecordError("exists", f"a hundred living trainings are called {run}; set YOLOSCOPE_RUN")


def _begun(now: float) -> float:
    """Seconds this training has been going on. A rank's process exists for it alone, and has loaded much by now."""
    if "LOCAL_RANK" not in os.environ:
        return 0.0
    return max(now - (naming.process_start(os.getpid()) or now), 0.0)


def _clear_old(base: Path, ours: Path, now: float) -> None:
    """Remove this user's own runs that ended long ago, and of more than `KEEP_RUNS` the oldest."""
    runs = sorted(_own_runs(base, ours), reverse=True)
    for number, (began, directory) in enumerate(runs):
        age = KEEP_SECONDS if number < KEEP_RUNS else SEEN_SECONDS
        if began < now - age:
            with suppress(OSError):
                clearing.remove_dead(directory, older_than=age, now=now, uid=os.geteuid())


def _own_runs(base: Path, ours: Path) -> Iterator[tuple[float, Path]]:
    """When the files of this user's other runs were made, and their directories."""
    for directory in base.iterdir():
        with suppress(OSError):
            status = directory.lstat()
            if status.st_uid == os.geteuid() and directory != ours and stat.S_ISDIR(status.st_mode):
                yield status.st_mtime, directory


class Recorder:
    """One training of one rank. Holds no reference to the trainer, so that it goes when its training goes."""

    finalizer: weakref.finalize[..., Any] | None = None

    def __init__(self, writer: Writer, who: tuple[str, str], age: float) -> None:
        """`who` are run and rank; `age` is how long the training has been going on, in seconds."""
        self.clock: HostClock | StreamClock = HostClock()
        self.images = 0  # of the batch under way; the taps store these two
        self.steps = 0
        self._writer, self._values, self._who = writer, writer.values, who
        self._errors: Counter[str] = Counter()
        self.off: set[str] = set()
        self._gradient: Any = None
        self._memory: cuda_memory.CudaMemory | None = None
        self._exception = sys.exc_info()[1]  # the user may train inside an `except`
        self._process = os.getpid()
        self._start = self._end = 0.0  # of the batch under way; 0 between batches, and until it has come
        self._own = 0.0  # seconds we took since the last batch ended
        self._callbacks = self._gap_callbacks = 0.0  # seconds others took up to `_previous`, and in the gap from there
        self._batches: list[Batch] = []  # not in the counters yet
        self._hook_seconds = 0.0
        self._folded = 0.0
        self._previous = perf_counter() - age  # up to where the wall time is accounted for
        self._first, self._epoch_batch, self._batch_size = True, 0, 0
        self._train_begin, self._epoch, self._epoch_batches, self._start_epoch, self._epochs = 0.0, -1, 0, 0, 0
        self._retries = self._recoveries = 0
        self._sampled = 0.0
        self._ledger = Ledger(writer, who)
        self._declare()
        self._values[self._started] = time.time() - age
        self.setup = SetupStages(writer, who, lambda: self.enter("setup"))
        self.learning = Learning(writer, who)
        self._queue = workers.Queue(writer, who)
        self._others = other_callbacks.OtherCallbacks(writer, who)

    def _declare(self) -> None:
        slot, histogram, who = self._writer.slot, self._writer.histogram, self._who
        self._hook_errors = slot(catalog.TRAIN_HOOK_ERRORS_TOTAL, *who)
        self._reductions = slot(catalog.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL, *who)
        self._nan_recoveries = slot(catalog.TRAIN_NAN_RECOVERIES_TOTAL, *who)
        self._checkpoints = slot(catalog.TRAIN_CHECKPOINTS_TOTAL, *who)
        self._started = slot(catalog.TRAIN_START_TIMESTAMP_SECONDS, *who)
        self._ended = slot(catalog.TRAIN_END_TIMESTAMP_SECONDS, *who)
        self._remaining = slot(catalog.TRAIN_REMAINING_SECONDS, *who)
        gauges = (
            catalog.TRAIN_EPOCH,
            catalog.TRAIN_EPOCHS,
            catalog.TRAIN_EPOCH_BATCHES,
            catalog.TRAIN_BATCH_SIZE,
            catalog.TRAIN_WORKERS,
        )
        self._progress = tuple(slot(metric, *who) for metric in gauges)
        self._step = histogram(catalog.TRAIN_STEP_SECONDS, *who)
        self._wait = histogram(catalog.TRAIN_DATA_WAIT_SECONDS, *who)

    # --- events, in the order in which they come --------------------------------------------------------------------

    def train_start(self, trainer: Trainer, now: float) -> None:
        """Model, data and optimizer are there: what was asked for has become what is."""
        self._train_begin = now
        self._start_epoch = getattr(trainer, "start_epoch", 0)
        self._part("facts", self._describe, trainer)
        device = getattr(trainer, "device", None)
        self._memory = self._part("memory", cuda_memory.watch, device, self._writer, self._who)
        self.clock = self._part("clock", _clock, device) or self.clock
        self._gradient = self._part("ddp", ddp.hook, trainer, self.clock.mark)
        for phase in ("backward_local", "backward_exposed") if self._gradient is None else ("backward",):
            self._ledger.numbers[PHASES.index(phase)] = math.nan  # does not exist here

    def _describe(self, trainer: Trainer) -> None:
        self._writer.set_facts(facts.gather(trainer, os.environ))

    def epoch_start(self, trainer: Trainer, now: float) -> None:
        """An epoch begins, or begins again after Ultralytics halved the batch or went back to a checkpoint."""
        self._part("taps", taps.install, trainer, self)
        self._part("callbacks", self._time_callbacks, trainer)
        self._part("progress", self._look_ahead, trainer)
        self._part("queue", self._queue.look, trainer)
        self._account(now, "train")
        self._part("clock", self.clock.epoch)
        self._first, self._start, self._end, self._epoch_batch = True, 0.0, 0.0, 0

    def _time_callbacks(self, trainer: Trainer) -> None:
        before = {"on_train_batch_end": partial(self._part, "callbacks", self._step_ends)}
        after = {"on_train_batch_start": partial(self._part, "callbacks", self._step_begins)}
        for lists in other_callbacks.lists_of(trainer):
            self._others.install(lists, before, after)

    def _look_ahead(self, trainer: Trainer) -> None:
        loader, values = trainer.train_loader, self._values
        self._epoch, self._epochs, self._epoch_batches = trainer.epoch, trainer.epochs, len(loader)
        self._batch_size = loader.batch_size or 0
        numbers = (self._epoch + 1, self._epochs, self._epoch_batches, self._batch_size, loader.num_workers)
        for slot, number in zip(self._progress, numbers):
            values[slot] = number
        self._retries = self._risen(self._reductions, self._retries, getattr(trainer, "_oom_retries", 0))
        attempts = getattr(trainer, "nan_recovery_attempts", 0)
        self._recoveries = self._risen(self._nan_recoveries, self._recoveries, attempts)

    def _risen(self, slot: int, before: int, now: int) -> int:
        """Count what was added to one of Ultralytics' own counters; it sets them back to 0 when all is well again."""
        self._values[slot] += max(now - before, 0)
        return now

    def batch_start(self, now: float) -> None:
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

    def batch_end(self, trainer: Trainer, now: float) -> None:
        """A step is done: write its row. What can wait is done for several batches at a time, in loops that are warm.

        In a real training nothing that is called here is in the CPU's caches: each call costs microseconds.
        """
        if not self._start:
            return  # the batch began before the hooks did
        if not self._end:
            self._step_ends(now)
        first, start, end, queue = self._first, self._start, self._end, self._queue
        if first:
            self._part("queue", queue.look, trainer)
        length, callbacks = start - self._previous, self._gap_callbacks
        wait = waited(length - callbacks, None if first else queue.fetched, self._own)
        memory = self._part("memory", self._memory.batch) or UNKNOWN if self._memory else UNKNOWN
        worker, depth = self._part("queue", queue.batch, end) or UNKNOWN
        wall = time.time()
        self._writer.append((wall, wait, end - start, *memory, worker, depth, self._epoch + 1.0))
        gap = length, callbacks, wait, first
        self._batches.append((wall, start, end, gap, self.clock.marks, self.images, self.steps))
        self._first, self._start, self._previous = False, 0.0, end
        self._epoch_batch += 1
        if len(self._batches) >= ROWS_AHEAD or now - self._folded >= FOLD_SECONDS:
            self._learn(trainer, wall)
            self._part("callbacks", self._others.store)
            self._writer.begin()
            self._fold()
            self._store(now)
            self._writer.end(wall)
        self._own = perf_counter() - now
        self._hook_seconds += self._own

    def _fold(self) -> None:
        """Add up the batches since the last time. Between the writer's `begin` and `end`."""
        writer, numbers, clock = self._writer, self._ledger.numbers, self.clock
        for wall, start, end, gap, marks, images, steps in self._batches:
            writer.observe(self._wait, STEP_BUCKETS, gap[2])
            writer.observe(self._step, STEP_BUCKETS, end - start)
            numbers[BATCHES] += 1.0
            numbers[IMAGES] += images or self._batch_size
            numbers[OPTIMIZER_STEPS] += steps
            numbers[LAST_BATCH] = wall
            clock.end(marks, (start, end), Gap(*gap), numbers)
        self._batches.clear()

    def _store(self, now: float) -> None:
        """Put the sums into the record. Between the writer's `begin` and `end`."""
        self._part("queue", self._queue.store)
        self._ledger.numbers[HOOK_SECONDS] = self._hook_seconds
        self._ledger.store()
        self._writer.count()
        self._folded = now

    def _learn(self, trainer: Trainer, wall: float) -> None:
        self._part("loss", self.learning.check, trainer)
        if wall - self._sampled >= PERIOD:
            self._sampled = wall
            self._part("learning", self.learning.sample, trainer)
            self._part("progress", self._estimate)
        if self.learning.copies.event is not None:
            self._part("learning", self.learning.collect)

    def _estimate(self) -> None:
        """Time left, if the rest goes as all of it so far went: start-up aside, validation included."""
        ahead = self._epochs - self._start_epoch
        done = self._epoch - self._start_epoch + self._epoch_batch / max(self._epoch_batches, 1)
        if self._train_begin and done > 0:
            self._values[self._remaining] = (perf_counter() - self._train_begin) / done * max(ahead - done, 0)

    def epoch_end(self, trainer: Trainer, now: float) -> None:
        """The epoch's batches are done."""
        self._part("loss", self.learning.check, trainer)
        self._part("learning", self.learning.sample, trainer)
        if self._memory:
            self._part("memory", self._memory.epoch)
        self._account(now, "train")

    def fit_epoch_end(self, trainer: Trainer) -> None:
        """Validation is done too."""
        self._part("metrics", self.learning.epoch, trainer)
        self._part("queue", self._queue.look, trainer)  # the first validation has started workers that stay
        self._part("progress", self._estimate)
        self._part("learning", self.learning.collect)
        self._writer.end(time.time())  # the next event may be far

    def enter(self, state: str) -> None:
        """A validation or a checkpoint begins. Never raises."""
        self._part("intervals", self._account, perf_counter(), state)

    def leave(self, state: str) -> None:
        """It is over; the state from now on is `state`. Never raises."""
        self._part("intervals", self._leave, state)

    def _leave(self, state: str) -> None:
        if self._state == "checkpoint":
            self._values[self._checkpoints] += 1.0
        self._account(perf_counter(), state)

    _state = "setup"

    def _account(self, now: float, state: str) -> None:
        """Give the time since the last event to the phase of the state it was in, and change over to `state`."""
        elapsed, spent = now - self._previous, self._others.spent(now)
        callbacks = min(spent - self._callbacks, elapsed)
        self._previous, self._callbacks, self._own = now, spent, 0.0
        if self._state == "setup":
            self.setup.spend(elapsed)
            if state != "setup":
                self.setup.over()
        self._part("callbacks", self._others.store)
        self._writer.begin()
        self._fold()
        self.clock.account(elapsed, callbacks, _PHASE_OF_STATE[self._state], self._ledger.numbers)
        self._store(now)
        self._writer.set_state(state)
        self._writer.end(time.time())
        self._state = state

    # --- the end ----------------------------------------------------------------------------------------------------

    def end(self, trainer: Trainer) -> None:
        """The training is over; an exception on its way through says that it failed."""
        self._part("taps", self._restore, trainer)
        self._part("queue", self._queue.end, trainer)
        exception = sys.exc_info()[1]
        ours = exception is not None and exception is not self._exception
        self.close(type(exception).__name__ if ours else "")
        del trainer._yoloscope  # noqa: SLF001 - the next event, of another training, opens another record

    def _restore(self, trainer: Trainer) -> None:
        self._part("setup", self.setup.restore, trainer)
        taps.restore(trainer)
        for lists in other_callbacks.lists_of(trainer):
            other_callbacks.restore(lists)
        self._queue.let_go()
        if self._gradient is not None:
            self._gradient.remove()

    def abandoned(self) -> None:
        """The trainer is gone, or Python ends, without a teardown: Ultralytics before 8.4.130 crashed."""
        if os.getpid() == self._process:
            exception = getattr(sys, "last_type", None)
            self._part("end", self.close, exception.__name__ if exception else "Unknown")

    def close(self, exception: str) -> None:
        """Store the end, `failed` with the type of an exception, else `finished`, and give the file up."""
        if self.finalizer:
            self.finalizer.detach()
        self._part("setup", self.setup.restore)
        self._part("queue", self._queue.count_deaths)
        if exception:
            self._writer.set_facts({"exception": exception})
        self._account(perf_counter(), self._state)
        self._writer.begin()
        self._values[self._ended] = time.time()
        self._writer.set_state("failed" if exception else "finished")
        self._writer.end(time.time())
        self._writer.close()

    # --- errors of our own ------------------------------------------------------------------------------------------

    def _part(self, name: str, function: Callable[..., Result], *arguments: Any) -> Result | None:
        """Call one part; None if it fails. One that keeps failing is left out, the others go on."""
        if name in self.off:
            return None
        try:
            return function(*arguments)
        except Exception as error:  # a hook never raises into a training
            self._count(name, error)
            return None

    def failed(self, event: str, error: Exception, trainer: Trainer) -> None:
        """A whole event failed. If it keeps failing it is left out, a vital one with the record. Never raises."""
        self._count(event, error)
        if event in self.off and event in VITAL:
            with suppress(Exception):
                self._restore(trainer)
            with suppress(Exception):
                trainer._yoloscope = None  # noqa: SLF001
            with suppress(Exception):
                self._give_up()

    def _count(self, name: str, error: Exception) -> None:
        with suppress(Exception):
            if not self._errors:
                _log.warning("yoloscope: %s failed, training goes on: %r", name, error)
            self._errors[name] += 1
            if self._errors[name] >= ERROR_LIMIT:
                self.off.add(name)
            self._values[self._hook_errors] += 1.0
            self._writer.end(time.time())

    def _give_up(self) -> None:
        if self.finalizer:
            self.finalizer.detach()
        self._writer.discard()


def _clock(device: Any) -> StreamClock | None:
    """A clock in the stream of a CUDA device."""
    torch = sys.modules.get("torch")
    if torch is None or getattr(device, "type", "") != "cuda":
        return None
    return StreamClock(lambda: torch.cuda.Event(enable_timing=True), torch.cuda.current_stream(device))
