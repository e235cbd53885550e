"""Where a step's time goes: a pure calculator over the moments of one batch.

A step has eight marks, in the order of time. Each mark closes the interval that began at the mark before it, and gives
the interval to a phase, so the phases of a step add up to its length whichever marks are missing:

    START      on_train_batch_start         closes data_wait
    PREPARE    preprocess_batch is called            other (warm-up of the learning rate)
    FORWARD    preprocess_batch has returned         h2d
    BACKWARD   scaler.scale is called                forward (with the loss)
    GRADIENT   the first parameter's gradient        backward_local (DDP only)
    OPTIMIZER  optimizer_step is called              backward, under DDP backward_exposed
    OPTIMIZED  optimizer_step has returned           optimizer
    END        on_train_batch_end                    other, or what OPTIMIZER would close if there was no step

Time is in seconds of any clock: `perf_counter` on the CPU, events of the stream on CUDA. A mark that was not seen is 0.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from yoloscope_record.catalog import PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence


class Seconds(Protocol):
    """One number per phase of catalog.PHASES: a list, or a part of the record."""

    def __getitem__(self, index: int, /) -> float: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


START, PREPARE, FORWARD, BACKWARD, GRADIENT, OPTIMIZER, OPTIMIZED, END = range(8)
MARKS = 8

_PHASE = {name: index for index, name in enumerate(PHASES)}
OTHER, DATA_WAIT, SETUP = _PHASE["other"], _PHASE["data_wait"], _PHASE["setup"]
H2D, FORWARD_PHASE = _PHASE["h2d"], _PHASE["forward"]
BACKWARD_PHASE, OPTIMIZER_PHASE = _PHASE["backward"], _PHASE["optimizer"]
VALIDATE, CHECKPOINT = _PHASE["validate"], _PHASE["checkpoint"]


def _closes(backward: str, end: str) -> tuple[int, ...]:
    names = ("data_wait", "other", "h2d", "forward", "backward_local", backward, "optimizer", end)
    return tuple(_PHASE[name] for name in names)


#: What each mark closes: by whether BACKWARD, GRADIENT and OPTIMIZED were seen.
_CLOSES = {
    (True, False, True): _closes("backward", "other"),
    (True, False, False): _closes("backward", "backward"),
    (True, True, True): _closes("backward_exposed", "other"),
    (True, True, False): _closes("backward_exposed", "backward_exposed"),
}
_UNKNOWN = _closes("other", "other")  # a trainer without a scaler: nothing is called backward that may be forward


def split(marks: Sequence[float], previous: float, seconds: Seconds) -> None:
    """Add each interval of a step to its phase.

    Args:
        marks: the step's eight moments.
        previous: the moment the step before it ended.
        seconds: one number per catalog.PHASES, added to.
    """
    if all(marks[:GRADIENT]) and all(marks[OPTIMIZER:]) and not marks[GRADIENT]:
        _split_usual(marks, previous, seconds)
        return
    seen = (marks[BACKWARD] != 0.0, marks[GRADIENT] != 0.0, marks[OPTIMIZED] != 0.0)
    for mark, phase in zip(marks, _CLOSES.get(seen, _UNKNOWN)):
        if mark:
            seconds[phase] += mark - previous
            previous = mark


def _split_usual(marks: Sequence[float], previous: float, seconds: Seconds) -> None:
    """The same for the step that nearly all steps are, in half the time: this runs with every batch."""
    start, prepare, forward, backward, _, optimizer, optimized, end = marks
    seconds[DATA_WAIT] += start - previous
    seconds[OTHER] += prepare - start + end - optimized
    seconds[H2D] += forward - prepare
    seconds[FORWARD_PHASE] += backward - forward
    seconds[BACKWARD_PHASE] += optimizer - backward
    seconds[OPTIMIZER_PHASE] += optimized - optimizer


class HostClock:
    """The step's marks on the host's monotonic clock: the truth on a CPU."""

    def __init__(self) -> None:
        """No step has begun."""
        self.marks = [0.0] * MARKS

    def mark(self, index: int) -> None:
        """Note the moment."""
        self.marks[index] = perf_counter()

    def epoch(self) -> None:
        """Steps follow."""

    def account(self, elapsed: float, phase: int, seconds: Seconds) -> None:
        """Time was spent outside of steps."""
        seconds[phase] += elapsed

    def begin(self, now: float) -> None:
        """A step begins; what the step before it left is gone."""
        self.marks[:] = _NO_MARKS
        self.marks[START] = now

    def end(self, now: float, previous: float, seconds: Seconds) -> None:
        """The step is over: give its time to the phases. `previous` is the end of the step before it."""
        self.marks[END] = now
        split(self.marks, previous, seconds)


_NO_MARKS = (0.0,) * MARKS
