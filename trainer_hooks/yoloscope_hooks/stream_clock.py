"""The step's marks on the GPU's clock: events in the stream, read when they are over, never waited for.

On CUDA the host only queues work, so its clock says when something was asked for, not when it was done. An event in the
stream is passed when all that was queued before it is done; the time between two events is what the GPU took, waiting
for the host included. The stream of a step begins at the end of the step before it, so a gap in front of START is the
GPU waiting for the host. What for, the stream does not know: its gap is divided in proportion to what the host did in
the same gap (waiting for the loader, other people's callbacks, the rest). That is an attribution, not a measurement.

The stream's time and the host's agree but for the work in flight. What the host has spent and the stream has not yet
accounted for is kept as `owed`, and given to the phase outside of steps that comes when nothing is in flight any more,
so the phases add up to wall time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from yoloscope_record.file_format import ROWS_AHEAD

from yoloscope_hooks.step_clock import CALLBACKS, END, MARKS, START, Gap, Seconds, Step, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Steps in flight that are remembered, twice as many as are folded at once. More than that, and the time of the oldest
#: is owed.
DEPTH = 2 * ROWS_AHEAD
_BASE = 1.0  # moments are counted from here: 0 means that a mark was not seen
_NO_GAP = Gap(0.0, 0.0, 0.0, first=False)


class Event(Protocol):
    """The part of torch.cuda.Event(enable_timing=True) that is used."""

    def record(self, stream: Any) -> None:
        """Put the event into the stream."""

    def query(self) -> bool:
        """Whether the stream has passed it."""

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to a later one; both must be passed."""


class StreamClock:
    """Same interface as HostClock; its marks are itself, as noting one is putting an event into the stream."""

    on_device = True

    @property
    def marks(self) -> StreamClock:
        """What takes the moments."""
        return self

    def __init__(self, event: Callable[[], Event], stream: Any) -> None:
        """`event` makes an event, to be used again and again; `stream` is a torch.cuda.Stream."""
        self._make = event
        self._stream = stream
        self._free: list[Event] = []
        self._marks: list[Event | None] = [None] * MARKS
        self._flying: deque[tuple[list[Event | None], Gap]] = deque()
        self._previous: Event | None = None  # the end of the step before the oldest in flight
        self._owed = 0.0

    def _record(self) -> Event:
        event = self._free.pop() if self._free else self._make()
        event.record(self._stream)
        return event

    def _release(self, *events: Event | None) -> None:
        self._free.extend(event for event in events if event is not None)

    def epoch(self) -> None:
        """Steps follow whose time begins now; the stream's time up to here belongs to no step."""
        self._flying.append(([None] * END + [self._record()], _NO_GAP))

    def __setitem__(self, index: int, _now: float) -> None:
        """Note the moment in the stream; the later one counts. Never raises: it is called from within a step."""
        try:
            event = self._marks[index]
            if event is None:
                self._marks[index] = event = self._free.pop() if self._free else self._make()
            event.record(self._stream)
        except Exception:  # a broken CUDA context breaks the training by itself
            self._marks[index] = None

    def begin(self) -> None:
        """A step begins."""
        self._marks = [None] * MARKS
        self[START] = 0.0

    def taken(self) -> list[Event | None]:
        """The marks of the step that is over: to be given back to `end` some time later."""
        if self._marks[END] is None:
            self[END] = 0.0
        return self._marks

    def end(self, steps: Iterable[Step], seconds: Seconds) -> None:
        """Steps are queued; give the time of those that are over to the phases."""
        for marks, start, end, host in steps:
            gap = Gap(*host)
            self._owed += gap.length + end - start
            self._flying.append((marks, gap))
        self._land(seconds)
        while len(self._flying) > DEPTH:
            self._forget()

    def account(self, elapsed: float, callbacks: float, phase: int, seconds: Seconds) -> None:
        """The host has spent time outside of steps: it is the phase's, but for what steps in flight have taken."""
        self._owed += elapsed
        self._land(seconds)
        if not self._flying and self._owed > 0.0:
            others = self._owed * callbacks / elapsed if elapsed > 0.0 else 0.0
            seconds[CALLBACKS] += others
            seconds[phase] += self._owed - others
            self._owed = 0.0

    def _land(self, seconds: Seconds) -> None:
        while self._flying:
            last = self._flying[0][0][END]
            if last is not None and not last.query():
                return
            self._give(seconds)

    def _give(self, seconds: Seconds) -> None:
        (marks, gap), start = self._flying[0], self._previous
        if start is not None and marks[START] is not None and marks[END] is not None:
            moments = [_BASE + start.elapsed_time(mark) / 1000.0 if mark is not None else 0.0 for mark in marks]
            split(moments, _BASE, gap, seconds)
            self._owed -= moments[END] - _BASE
        self._forget()

    def _forget(self) -> None:
        """Drop the oldest step; the next one is counted from its end."""
        marks, _ = self._flying.popleft()
        self._release(self._previous, *marks[:END])
        self._previous = marks[END]
