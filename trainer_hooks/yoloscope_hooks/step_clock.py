"""Where a step's time goes: a pure calculator over the moments of one batch.

A step has eleven marks, in the order of time. Each mark closes the interval that began at the mark before it, and gives
the interval to a phase, so the phases of a step add up to its length whichever marks are missing:

    START      on_train_batch_start's callbacks are done     closes the gap, see `divide`
    PREPARE    preprocess_batch is called                    other (warm-up of the learning rate)
    COPY       the images are about to go to the device      preprocess
    ARRIVED    they are there (COPY and this on CUDA only)   h2d
    FORWARD    preprocess_batch has returned                 preprocess
    SYNCED     DDP has rank 0's buffers (DDP only)           backward_exposed: a rank waits there for one that is late
    BACKWARD   scaler.scale is called                        forward (with the loss)
    GRADIENT   the first parameter's gradient                backward_local (DDP only)
    OPTIMIZER  optimizer_step is called                      backward, under DDP backward_exposed
    OPTIMIZED  optimizer_step has returned                   optimizer
    END        on_train_batch_end's callbacks begin          other, or what OPTIMIZER would close if there was no step

Time is in seconds of any clock: `perf_counter` on the CPU, events of the stream on CUDA. A mark that was not seen is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, NamedTuple, Protocol, Tuple

from yoloscope_record.catalog import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Seconds(Protocol):
    """One number per phase of catalog.PHASES: a list, or a part of the record."""

    def __getitem__(self, index: int, /) -> float: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


class Marks(Protocol):
    """What takes the moments of a step, in seconds of `perf_counter`, by mark."""

    def __setitem__(self, mark: int, now: float, /) -> None: ...


START, PREPARE, COPY, ARRIVED, FORWARD, SYNCED, BACKWARD, GRADIENT, OPTIMIZER, OPTIMIZED, END = range(11)
MARKS = 11

_PHASE = {name: index for index, name in enumerate(PHASES)}
OTHER, SETUP, VALIDATE, CHECKPOINT = (_PHASE[name] for name in ("other", "setup", "validate", "checkpoint"))
DATA_WAIT, LOADER_START, CALLBACKS = (_PHASE[name] for name in ("data_wait", "loader_start", "callbacks"))


class Gap(NamedTuple):
    """What the host did between two steps, in seconds; what is left is ours, the progress bar's, and the like."""

    length: float
    callbacks: float  # other people's
    wait: float  # for the loader
    first: bool  # of an epoch: workers are started, the prefetch is filled


def waited(rest: float, fetch: float | None, own: float) -> float:
    """How long a step waited for its batch.

    Args:
        rest: seconds from the end of the step before to this one's start, less other people's callbacks.
        fetch: time the loader took to hand out the batch. None where that is not measured, and for an epoch's first
            batch, for which the loader itself is made: then all that is not known to be something else is waiting.
        own: time in our own callbacks meanwhile.
    """
    return max(rest - own, 0.0) if fetch is None else min(fetch, max(rest, 0.0))


#: Seconds; no clock tells what the host did in less, and a quotient could overflow.
SHORTEST_GAP = 1e-9


def divide(gap: Gap, length: float, seconds: Seconds) -> None:
    """Give `length` seconds of any clock to phases, in proportion to what the host did in them by its own clock."""
    share = length / gap.length if gap.length > SHORTEST_GAP else 0.0
    callbacks, wait = gap.callbacks * share, gap.wait * share
    seconds[CALLBACKS] += callbacks
    seconds[LOADER_START if gap.first else DATA_WAIT] += wait
    seconds[OTHER] += max(length - callbacks - wait, 0.0)  # a counter, whatever is rounded


def _closes(backward: str, end: str) -> tuple[int, ...]:
    prepared = ("other", "preprocess", "h2d", "preprocess", "backward_exposed")
    return tuple(_PHASE[name] for name in (*prepared, "forward", "backward_local", backward, "optimizer", end))


#: What each mark after START closes: by whether BACKWARD, GRADIENT and OPTIMIZED were seen.
_CLOSES = {
    (True, False, True): _closes("backward", "other"),
    (True, False, False): _closes("backward", "backward"),
    (True, True, True): _closes("backward_exposed", "other"),
    (True, True, False): _closes("backward_exposed", "backward_exposed"),
}
_UNSEEN = (0.0,) * MARKS
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


#: A step that is over: its marks, when it began and ended by the host's clock, and the fields of the Gap before it.
Step = Tuple[List[Any], float, float, Tuple[float, float, float, bool]]


class HostClock:
    """The step's marks on the host's monotonic clock: the truth on a CPU.

    Attributes:
        on_device: whether batches are copied to a device.
        marks: the moments of the step under way; `marks[MARK] = perf_counter()` notes one. Each call of a function
            costs microseconds in a step, where the CPU's caches are cold: this is none.
    """

    on_device = False

    def __init__(self) -> None:
        """No step has begun."""
        self.marks = [0.0] * MARKS
        self.taken = self.marks.copy
        """The marks of the step that is over: to be given back to `end` some time later."""

    def begin(self) -> None:
        """A step begins; what the step before it left is gone."""
        self.marks[:] = _UNSEEN

    def epoch(self) -> None:
        """Steps follow."""

    def account(self, elapsed: float, callbacks: float, phase: int, seconds: Seconds) -> None:
        """Time was spent outside of steps, `callbacks` of it in other people's callbacks."""
        seconds[CALLBACKS] += callbacks
        seconds[phase] += elapsed - callbacks

    def end(self, steps: Iterable[Step], seconds: Seconds) -> None:
        """Steps are over: give their time to the phases, one number per catalog.PHASES, added to."""
        for marks, start, end, gap in steps:
            marks[START], marks[END] = start, end
            split(marks, start - gap[0], Gap(*gap), seconds)
