"""The recorder of one rank: takes the events of a training and keeps its record up to date."""

from __future__ import annotations

import math
import os
import sys
import time
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog, keeping, log
from yoloscope_record.catalog import PHASES

from yoloscope_hooks import (
    accounts,
    cuda_memory,
    ddp,
    endings,
    facts,
    flops,
    image_sizes,
    instrumentation,
    other_callbacks,
    stacks,
    validating,
)
from yoloscope_hooks.batches import Batches
from yoloscope_hooks.guard import Guard
from yoloscope_hooks.learning import PERIOD, Learning
from yoloscope_hooks.progress import Progress
from yoloscope_hooks.setup_stages import SetupStages
from yoloscope_hooks.step_clock import CHECKPOINT, OTHER, SETUP, VALIDATE
from yoloscope_hooks.stream_clock import Event, StreamClock
from yoloscope_hooks.workers import Queue

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from yoloscope_record.writer import Writer

    Trainer = Any  # duck-typed

VITAL = frozenset({"on_train_batch_start", "on_train_batch_end"})
_PHASE_OF_STATE = {"setup": SETUP, "train": OTHER, "validate": VALIDATE, "checkpoint": CHECKPOINT}


class Recorder:
    """One training of one rank. Holds no reference to the trainer, so that it goes when its training goes.

    Attributes:
        off: names of the events and parts that are left out, because they kept failing.
        setup: stages of the set-up.
        batches: times of the batches.
        learning: losses and metrics.
    """

    finalizer: weakref.finalize[..., Any] | None = None
    _kept: Path | None = None  # where the end of this training is kept
    _state = "setup"

    def __init__(self, writer: Writer, who: tuple[str, str], age: float) -> None:
        """`who` are run and rank; `age` is how long the training has been going on, in seconds."""
        self._writer, self._values, self._who = writer, writer.values, who
        self._exception = sys.exc_info()[1]  # the user may train inside an `except`
        self._process = os.getpid()
        self._sampled = 0.0
        self._ddp: Any = None
        self._guard = Guard(writer, who)
        self.off = self._guard.off
        self._queue, self._progress = Queue(writer, who), Progress(writer, who)
        self.batches = Batches(writer, who, self._guard, self._queue, self._progress, age=age)
        self.batches.add_up = self._add_up
        self.learning = Learning(writer, who)
        self.setup = SetupStages(writer, who, lambda: self.enter("setup"))
        self._checkpoints = writer.slot(catalog.TRAIN_CHECKPOINTS_TOTAL, *who)
        self._ended = writer.slot(catalog.TRAIN_END_TIMESTAMP_SECONDS, *who)
        self._values[writer.slot(catalog.TRAIN_START_TIMESTAMP_SECONDS, *who)] = time.time() - age

    def __reduce__(self) -> Any:
        """A copy of the trainer has none: whoever keeps one, or sends it elsewhere, gets no file of ours along."""
        return type(None), ()

    def answer(self, directory: Path) -> None:
        """Let this process tell what it does when somebody asks, in a file in the run's directory. Never raises."""
        self._guard("stacks", stacks.arm, directory, *self._who)

    def keep(self, base: Path) -> None:
        """Leave word beside the results of a training that begins, for a reboot to find. Never raises."""
        if self._guard("keep", self._begin_keeping, base):
            self._kept = base

    def _begin_keeping(self, base: Path) -> bool:
        try:
            keeping.begin(base, self._who[0], self._writer.path.name, self._writer.content())
        except OSError as error:
            log.info("yoloscope: the end of this training is not kept in %s: %s", base, error)
            return False
        return True

    # --- events, in the order in which they come --------------------------------------------------------------------

    def train_start(self, trainer: Trainer, now: float) -> None:
        """Model, data and optimizer are there: what was asked for has become what is."""
        batches = self.batches
        self._progress.train_start(trainer, now)
        self._guard("facts", self._describe, trainer)
        device = getattr(trainer, "device", None)
        batches.memory = self._guard("memory", cuda_memory.watch, device, self._writer, self._who)
        batches.clock = self._guard("clock", _clock, device) or batches.clock
        self._guard("validator", validating.is_trainings, trainer, self._validated)
        self._guard("image_sizes", image_sizes.store, trainer, self._writer, self._who)
        operations: float | None = self._guard("flops", flops.per_image, trainer)
        batches.counters.image_flops = math.nan if operations is None else operations
        self._ddp = self._guard("ddp", ddp.hook, trainer, batches.clock.marks)
        for phase in ("backward_local", "backward_exposed") if self._ddp is None else ("backward",):
            batches.counters.numbers[PHASES.index(phase)] = math.nan  # does not exist here

    def _validated(self, seconds: Mapping[str, float]) -> None:
        """Add what a validation took, by part; it is in the file with what comes next."""
        self._guard("validation", self._add_validation, seconds)

    def _add_validation(self, seconds: Mapping[str, float]) -> None:
        for part, length in seconds.items():
            self._values[self._writer.slot(catalog.TRAIN_VALIDATE_SECONDS_TOTAL, *self._who, part)] += length

    def _describe(self, trainer: Trainer) -> None:
        self._writer.set_facts(facts.gather(trainer, os.environ))

    def epoch_start(self, trainer: Trainer, now: float) -> None:
        """An epoch begins, or begins again after Ultralytics halved the batch or went back to a checkpoint."""
        self._guard("instrumentation", instrumentation.install, trainer, self)
        self._guard("callbacks", self.batches.time_callbacks, trainer)
        self._guard("progress", self._progress.epoch_start, trainer)
        self._guard("queue", self._queue.look, trainer)
        self._account(now, "train")
        self.batches.epoch_start()

    def _look_at_loss(self, trainer: Trainer) -> bool:
        """Look at the last batch's loss if that is still to come with other batches; whether it was."""
        if self.batches.waiting:
            self._guard("loss", self.learning.check, trainer)
        return bool(self.batches.waiting)

    def _add_up(self, trainer: Trainer, now: float) -> None:
        """Store what can wait for several batches, in loops that are warm."""
        sampled = now - self._sampled >= PERIOD
        if sampled:
            self._sampled = now
            self._guard("loss", self.learning.check, trainer)
            self._guard("learning", self.learning.sample, trainer)
        if self.learning.copies.event is not None:
            self._guard("learning", self.learning.collect)
        self.batches.store_callbacks()
        self._writer.begin()
        self.batches.store(now)
        if sampled:
            self._guard("progress", self._progress.estimate)
        self._writer.end(time.time())

    def epoch_end(self, trainer: Trainer, now: float) -> None:
        """The epoch's batches are done."""
        self._look_at_loss(trainer)
        self._guard("learning", self.learning.sample, trainer)
        if self.batches.memory:
            self._guard("memory", self.batches.memory.epoch)
        self._account(now, "train")

    def fit_epoch_end(self, trainer: Trainer) -> None:
        """Validation is done too."""
        self._guard("metrics", self.learning.epoch, trainer)
        self._guard("queue", self._queue.look, trainer)  # the first validation has started workers that stay
        self._guard("progress", self._progress.estimate)
        self._guard("learning", self.learning.collect)
        self._writer.end(time.time())  # the next event may be far

    def enter(self, state: str) -> None:
        """A validation or a checkpoint begins. Never raises."""
        self._guard("intervals", self._account, perf_counter(), state)

    def leave(self, state: str) -> None:
        """It is over; the state from now on is `state`. Never raises."""
        self._guard("intervals", self._leave, state)

    def _leave(self, state: str) -> None:
        if self._state == "checkpoint":
            self._values[self._checkpoints] += 1.0
        self._account(perf_counter(), state)

    def _account(self, now: float, state: str) -> None:
        """Give the time since the last event to the phase of the state it was in, and change over to `state`."""
        if self._state == "setup":
            self.setup.spend(now - self.batches.previous)
            if state != "setup":
                self.setup.over()
        accounts.elsewhere()
        self.batches.store_callbacks()
        self._writer.begin()
        self.batches.account(now, _PHASE_OF_STATE[self._state])
        self._writer.set_state(state)
        self._writer.end(time.time())
        self._state = state

    # --- the end ----------------------------------------------------------------------------------------------------

    def end(self, trainer: Trainer) -> None:
        """The training is over; an exception on its way through says that it failed. Not the one of a forked child."""
        if os.getpid() != self._process:
            return
        self._guard("instrumentation", self._restore, trainer)
        self._guard("queue", self._queue.end, trainer)
        if self._look_at_loss(trainer):
            self._guard("loss", self.learning.look_back, trainer)
        exception = sys.exc_info()[1]
        ours = exception is not None and exception is not self._exception
        self.close(endings.facts_of(exception) if ours and exception is not None else {})
        del trainer._yoloscope  # noqa: SLF001 - the next event, of another training, opens another record

    def _restore(self, trainer: Trainer) -> None:
        self._guard("setup", self.setup.restore, trainer)
        instrumentation.restore(trainer)
        for lists in other_callbacks.lists_of(trainer):
            other_callbacks.restore(lists)
        self._queue.let_go()
        if self._ddp is not None:
            self._ddp.close()

    def abandoned(self) -> None:
        """The trainer is gone, or Python ends, without a teardown: Ultralytics before 8.4.130 crashed."""
        if os.getpid() == self._process:
            exception = getattr(sys, "last_value", None)
            facts = {"exception": "Unknown"} if exception is None else endings.facts_of(exception)
            self._guard("close", self.close, facts)

    def close(self, failure: Mapping[str, str]) -> None:
        """Store the end, `failed` with the facts of an exception, else `finished`, and give the file up."""
        if os.getpid() != self._process:
            return
        if self.finalizer:
            self.finalizer.detach()
        self._guard("setup", self.setup.restore)
        self._guard("queue", self._queue.count_deaths, failure.get("exception_message", ""))
        if failure:
            for told in ({"exception": failure["exception"]}, failure):  # there may be no room for all of it
                self._guard("end", self._writer.set_facts, told)
        self._account(perf_counter(), self._state)
        self._writer.begin()
        self._values[self._ended] = time.time()
        self._writer.set_state("failed" if failure else "finished")
        self._writer.end(time.time())
        self._guard("stacks", stacks.release)
        if self._kept is not None:
            self._guard("keep", self._end_keeping, self._kept, bool(failure))
        self._writer.close()

    def _end_keeping(self, base: Path, failed: bool) -> None:  # noqa: FBT001 - called by the guard
        """Write the end beside the results; of one that went well nothing is left there, nor of one without room."""
        run, name = self._who[0], self._writer.path.name
        content = self._writer.content() if failed else b""
        try:
            if content:
                keeping.store(base, run, name, content)
            else:
                keeping.forget(base, run, name)
        except OSError as error:
            log.info("yoloscope: the end of this training is not kept in %s: %s", base, error)
            with suppress(OSError):
                keeping.forget(base, run, name)

    def failed(self, event: str, error: Exception, trainer: Trainer) -> None:
        """A whole event failed. If it keeps failing it is left out, a vital one with the record. Never raises."""
        self._guard.count(event, error)
        if event in self.off and event in VITAL:
            with suppress(Exception):
                self._restore(trainer)
            with suppress(Exception):
                trainer._yoloscope = None  # noqa: SLF001
            with suppress(Exception):
                self._give_up()

    def _give_up(self) -> None:
        if os.getpid() != self._process:
            return
        if self.finalizer:
            self.finalizer.detach()
        self._guard("stacks", stacks.release)
        if self._kept is not None:
            self._guard("keep", self._end_keeping, self._kept, False)
        self._writer.discard()


def _clock(device: Any) -> StreamClock | None:
    """A clock in the stream of a CUDA device."""
    torch = sys.modules.get("torch")
    if torch is None or getattr(device, "type", "") != "cuda":
        return None
    stream = torch.cuda.current_stream(device)
    kind = _kind_of_event(torch, stream)
    return StreamClock(lambda: kind(enable_timing=True), stream)


def _kind_of_event(torch: Any, stream: Any) -> Callable[..., Event]:
    """torch.cuda.Event, or what it is made from if that works: it has the same methods without Python in between."""
    with suppress(Exception):
        base: Callable[..., Event] = torch.cuda.Event.__base__
        first, last = base(enable_timing=True), base(enable_timing=True)
        first.record(stream)
        last.record(stream)
        if last.query() in (True, False) and callable(first.elapsed_time):
            return base
    event: Callable[..., Event] = torch.cuda.Event
    return event
