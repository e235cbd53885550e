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
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from yoloscope_record import catalog, clearing, paths
from yoloscope_record.catalog import PHASES, STEP_BUCKETS
from yoloscope_record.file_format import Identity, RecordError
from yoloscope_record.reader import Reader
from yoloscope_record.writer import Writer

from yoloscope_hooks import cuda_memory, ddp, facts, naming, taps, workers
from yoloscope_hooks.cuda_memory import UNKNOWN
from yoloscope_hooks.learning import PERIOD, Learning
from yoloscope_hooks.ledger import BATCHES, FIRST_WAIT, HOOK_SECONDS, IMAGES, LAST_BATCH, OPTIMIZER_STEPS, Ledger
from yoloscope_hooks.setup_stages import SetupStages
from yoloscope_hooks.step_clock import CHECKPOINT, OTHER, SETUP, VALIDATE, HostClock
from yoloscope_hooks.stream_clock import StreamClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Trainer = Any  # duck-typed
    Result = TypeVar("Result")

ERROR_LIMIT = 3  # the same part fails that often: it is left out from then on
VITAL = frozenset({"on_train_batch_start", "on_train_batch_end"})
KEEP_SECONDS = 86400.0
KEEP_RUNS = 50  # a tuner makes hundreds, each half a megabyte of memory
SEEN_SECONDS = 60.0  # the exporter and its Prometheus have seen how it ended
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
        self._start = 0.0  # of the batch under way; 0 between batches
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
        self._part("progress", self._look_ahead, trainer)
        self._part("queue", self._queue.look, trainer)
        self._account(now, "train")
        self._part("clock", self.clock.epoch)
        self._first, self._start, self._epoch_batch = True, 0.0, 0

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
        self._start = now
        self.images = self.steps = 0
        self.clock.begin(now)

    def batch_end(self, trainer: Trainer, now: float) -> None:
        """A step is done. What costs time is read first; only stores stand between `begin` and `end`."""
        if not self._start:
            return  # the batch began before the hooks did
        wall = time.time()
        wait, step = self._start - self._previous, now - self._start
        memory = self._part("memory", self._memory.batch) or UNKNOWN if self._memory else UNKNOWN
        if self._first:
            self._part("queue", self._queue.look, trainer)
        queue = self._part("queue", self._queue.batch, now) or UNKNOWN
        self._learn(trainer, wall)
        writer, numbers = self._writer, self._ledger.numbers
        numbers[BATCHES] += 1.0
        numbers[IMAGES] += self.images or self._batch_size
        numbers[OPTIMIZER_STEPS] += self.steps
        numbers[LAST_BATCH] = wall
        if self._first:
            numbers[FIRST_WAIT] += wait
        self._first, self._start = False, 0.0
        self._epoch_batch += 1
        writer.begin()
        writer.observe(self._wait, STEP_BUCKETS, wait)
        writer.observe(self._step, STEP_BUCKETS, step)
        writer.append((wall, wait, step, *memory, *queue, self._epoch + 1.0))
        done = perf_counter()
        self.clock.end(done, self._previous, numbers)
        numbers[HOOK_SECONDS] += done - now
        self._ledger.store()
        writer.end(wall)
        self._previous = done

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
        self.clock.account(now - self._previous, _PHASE_OF_STATE[self._state], self._ledger.numbers)
        if self._state == "setup":
            self.setup.spend(now - self._previous)
            if state != "setup":
                self.setup.over()
        self._writer.begin()
        self._ledger.store()
        self._writer.set_state(state)
        self._writer.end(time.time())
        self._previous, self._state = now, state

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
