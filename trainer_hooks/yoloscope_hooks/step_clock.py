"""Where a step's time goes: a pure calculator over the moments of one batch.

A step has ten marks, in the order of time. Each mark closes the interval that began at the mark before it, and gives
the interval to a phase, so the phases of a step add up to its length whichever marks are missing:

    START      on_train_batch_start's callbacks are done     closes the gap, see `divide`
    PREPARE    preprocess_batch is called                    other (warm-up of the learning rate)
    COPY       the images are about to go to the device      preprocess
    ARRIVED    they are there (COPY and this on CUDA only)   h2d
    FORWARD    preprocess_batch has returned                 preprocess
    BACKWARD   scaler.scale is called                        forward (with the loss)
    GRADIENT   the first parameter's gradient                backward_local (DDP only)
    OPTIMIZER  optimizer_step is called                      backward, under DDP backward_exposed
    OPTIMIZED  optimizer_step has returned                   optimizer
    END        on_train_batch_end's callbacks begin          other, or what OPTIMIZER would close if there was no step

Time is in seconds of any clock: `perf_counter` on the CPU, events of the stream on CUDA. A mark that was not seen is 0.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from yoloscope_record.catalog import PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence


class Seconds(Protocol):
    """One number per phase of catalog.PHASES: a list, or a part of the record."""

    def __getitem__(self, index: int, /) -> float: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


START, PREPARE, COPY, ARRIVED, FORWARD, BACKWARD, GRADIENT, OPTIMIZER, OPTIMIZED, END = range(10)
MARKS = 10

_PHASE = {name: index for index, name in enumerate(PHASES)}
OTHER, SETUP, VALIDATE, CHECKPOINT = (_PHASE[name] for name in ("other", "setup", "validate", "checkpoint"))
DATA_WAIT, LOADER_START, CALLBACKS = (_PHASE[name] for name in ("data_wait", "loader_start", "callbacks"))


class Gap(NamedTuple):
    """What the host did between two steps, in seconds. The parts are no more than the whole; what is left is ours."""

    length: float
    callbacks: float  # other people's
    wait: float  # for the loader
    first: bool  # of an epoch: workers are started, the prefetch is filled

    @property
    def phase(self) -> int:
        """Phase of the wait."""
        return LOADER_START if self.first else DATA_WAIT


def gap(length: float, callbacks: float, fetch: float | None, own: float, *, first: bool) -> Gap:
    """Divide a gap of `length` seconds.

    Args:
        length: seconds from the end of a step to the start of the next.
        callbacks: time in other people's callbacks meanwhile.
        fetch: time the loader took to hand out the batch; None where that is not measured, and for an epoch's first
            batch, where the loader itself is made: then what is not known to be something else is waiting for it.
        own: time in our own callbacks meanwhile.
        first: whether the batch is the first of an epoch.
    """
    callbacks = min(callbacks, length)
    rest = length - callbacks
    return Gap(length, callbacks, min(fetch, rest) if fetch is not None else max(rest - own, 0.0), first)


def divide(gap: Gap, length: float, seconds: Seconds) -> None:
    """Give `length` seconds of any clock to phases, in proportion to what the host did in them by its own clock."""
    share = length / gap.length if gap.length > 0.0 else 0.0
    callbacks, wait = gap.callbacks * share, gap.wait * share
    seconds[CALLBACKS] += callbacks
    seconds[gap.phase] += wait
    seconds[OTHER] += length - callbacks - wait


def _closes(backward: str, end: str) -> tuple[int, ...]:
    prepared = ("other", "preprocess", "h2d", "preprocess")
    return tuple(_PHASE[name] for name in (*prepared, "forward", "backward_local", backward, "optimizer", end))


#: What each mark after START closes: by whether BACKWARD, GRADIENT and OPTIMIZED were seen.
_CLOSES = {
    (True, False, True): _closes("backward", "other"),
    (True, False, False): _closes("backward", "backward"),
    (True, True, True): _closes("backward_exposed", "other"),
    (True, True, False): _closes("backward_exposed", "backward_exposed"),
}
_UNKNOWN = _closes("other", "other")  # a trainer without a scaler: nothing is called backward that may be forward


def split(marks: Sequence[float], previous: float, gap: Gap, seconds: Seconds) -> None:
    """Add each interval of a step, and of the gap before it, to its phase.

    Args:
        marks: the step's moments.
        previous: the moment the step before it ended.
        gap: what the host did from there to START.
        seconds: one number per catalog.PHASES, added to.
    """
    if marks[START]:
        divide(gap, marks[START] - previous, seconds)
        previous = marks[START]
    seen = (marks[BACKWARD] != 0.0, marks[GRADIENT] != 0.0, marks[OPTIMIZED] != 0.0)
    for mark, phase in zip(marks[PREPARE:], _CLOSES.get(seen, _UNKNOWN)):
        if mark:
            seconds[phase] += mark - previous
            previous = mark


class HostClock:
    """The step's marks on the host's monotonic clock: the truth on a CPU."""

    on_device = False  # whether batches are copied to a device

    def __init__(self) -> None:
        """No step has begun."""
        self._marks = [0.0] * MARKS
        self._steps: list[tuple[list[float], float, Gap]] = []

    def mark(self, index: int) -> None:
        """Note the moment."""
        self._marks[index] = perf_counter()

    def epoch(self) -> None:
        """Steps follow."""

    def account(self, elapsed: float, callbacks: float, phase: int, seconds: Seconds) -> None:
        """Time was spent outside of steps, `callbacks` of it in other people's callbacks."""
        seconds[CALLBACKS] += callbacks
        seconds[phase] += elapsed - callbacks

    def begin(self) -> None:
        """A step begins; what the step before it left is gone."""
        self._marks = [0.0] * MARKS

    def end(self, start: float, end: float, gap: Gap) -> None:
        """The step lasted from `start` to `end`, `gap` was before it: its time is given to the phases by `settle`."""
        marks = self._marks
        marks[START], marks[END] = start, end
        self._steps.append((marks, start - gap.length, gap))

    def settle(self, seconds: Seconds) -> None:
        """Give the time of the steps that are over to the phases."""
        for marks, previous, gap in self._steps:
            split(marks, previous, gap, seconds)
        self._steps.clear()
