"""What may be believed of a driver's answers, and how gauges become counters. Pure: no NVML, no clock."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: A polled value speaks for the time since the last one only if that is not longer ago than this many seconds.
MAX_GAP = 60.0
#: A clock set back by more seconds than this is started anew from.
CLOCK_STEP = 5.0
#: Greatest believable value of a 64-bit counter; above it lie -1 and the blanks of DCGM's int64.
MOST_COUNT = float(2**62)
#: NVML_VALUE_NOT_AVAILABLE as 32 and 64 bits, and the blanks of DCGM's int32.
BLANKS = frozenset({0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, *range(0x7FFFFFF0, 0x7FFFFFF4)})

BLANK, RANGE, BACKWARDS = "blank", "range", "backwards"


def fault(value: float, least: float, most: float) -> str | None:
    """Why `value` cannot be true, or None."""
    if value in BLANKS:
        return BLANK
    if least <= value <= most:
        return None
    return BLANK if value >= MOST_COUNT or math.isnan(value) else RANGE


@dataclass
class Monotonic:
    """Lets a driver's counter pass as long as it does not fall.

    A single step back is a glitch and is refused; a second reading on the lower level means that the counter was
    reset (GPU reset, cleared by an administrator) and is believed.
    """

    last: float = -math.inf
    doubted: float | None = None

    def accepts(self, value: float) -> bool:
        """Whether to publish `value`."""
        if value < self.last and (self.doubted is None or value < self.doubted):
            self.doubted = value
            return False
        self.last, self.doubted = value, None
        return True


#: Drivers count the time of a state in microseconds or more; less than one is a level, a percentage, a flag.
LEAST_COUNT = 1e-6
#: After this many seconds of a state its count has to have grown by this share of them.
ENOUGH, LEAST_SHARE = 5.0, 0.1
#: Seconds by which a count may run ahead: the driver adds some at a time.
AHEAD = 2.0


@dataclass
class StateCheck:
    """Whether a driver's counter counts the time of a state that we see as well, by what both have grown.

    A state that comes and goes between two looks is counted without being seen, so only two things tell that a counter
    is of something else: that it stands still while the state lasts, and that it is faster than time.
    """

    first: tuple[float, float, float] | None = None

    def bears_out(self, now: float, held: float, counted: float) -> bool:
        """Whether `counted` may be the seconds of the state, of which `held` have been seen up to `now`."""
        if 0 < counted < LEAST_COUNT:
            return False
        if self.first is None or counted < self.first[2]:  # it was set back: with the GPU, or by an administrator
            self.first = (now, held, counted)
        elapsed, seen, grown = (a - b for a, b in zip((now, held, counted), self.first, strict=True))
        stands_still = seen >= ENOUGH and grown < LEAST_SHARE * seen
        return not stands_still and grown <= elapsed + AHEAD


@dataclass
class Integral:
    """Time integral of a polled gauge, by the trapezoid rule; a gap longer than `MAX_GAP` adds nothing."""

    total: float = 0.0
    last: tuple[float, float] | None = None

    def add(self, now: float, value: float) -> float:
        """Add a reading taken at `now` (seconds); returns the total."""
        if self.last is not None and 0 < now - self.last[0] <= MAX_GAP:
            self.total += (now - self.last[0]) * (value + self.last[1]) / 2
        self.last = (now, value)
        return self.total

    def pause(self) -> None:
        """What comes next does not speak for the time since the last reading."""
        self.last = None


@dataclass
class BusyTime:
    """Seconds in which a unit was busy, from samples that each speak for the time since the one before.

    Attributes:
        seconds: the integral of the ratio.
        covered: Unix time up to which samples have been looked at.
        known: Unix time of the newest sample that could be believed.
        counts: samples per bucket of `buckets`, the last for all above.
        sum: sum of the sampled ratios.
    """

    buckets: tuple[float, ...] = catalog.UTILIZATION_BUCKETS
    seconds: float = 0.0
    covered: float | None = None
    known: float = -math.inf
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def begin(self, wall: float) -> float:
        """Start at `wall`, or start anew where the clock was set back; returns the time covered so far."""
        if self.covered is None or self.covered > wall + CLOCK_STEP:
            self.covered = wall
            self.counts = self.counts or [0] * (len(self.buckets) + 1)
        return self.covered

    def add(self, samples: Iterable[tuple[float, float | None]]) -> None:
        """Add samples (Unix time of their end, ratio) in the order of time; what is covered already is left out.

        The time of a sample without a ratio is left out too: nobody knows what happened in it.
        """
        for at, ratio in samples:
            gap = at - (self.begin(at) if self.covered is None else self.covered)
            if gap <= 0:
                continue
            self.covered = at
            if ratio is not None:
                self._take(ratio, gap)

    def _take(self, ratio: float, gap: float) -> None:
        if gap <= MAX_GAP:
            self.seconds += ratio * gap
        self.known = self.covered or self.known
        self.counts[bisect_left(self.buckets, ratio)] += 1
        self.sum += ratio

    def histogram(self) -> HistogramValue:
        """All samples so far."""
        return HistogramValue(tuple(map(float, self.counts)), self.sum)

    def pause(self) -> None:
        """Leave the time from now to the next sample out."""
        self.covered = None


@dataclass
class Totals:
    """What is counted for one device as long as the exporter runs, driver reloads and losses included.

    Attributes:
        busy: time in which a kernel ran.
        memory_busy: time in which device memory was read or written.
        integrals: gauges integrated, by name.
        counters: guards of the driver's counters, by name.
        checks: of counters whose meaning is not certain, by name; None of those that turned out to be something else.
        processes_seen: the driver's time (µs) of the newest sample of a process.
    """

    busy: BusyTime = field(default_factory=BusyTime)
    memory_busy: BusyTime = field(default_factory=BusyTime)
    integrals: defaultdict[str, Integral] = field(default_factory=lambda: defaultdict(Integral))
    counters: defaultdict[str, Monotonic] = field(default_factory=lambda: defaultdict(Monotonic))
    checks: dict[str, StateCheck | None] = field(default_factory=dict)
    processes_seen: int = 0

    def pause(self) -> None:
        """The device is gone for now; when it comes back its driver's counters may start anew."""
        self.busy.pause()
        self.memory_busy.pause()
        for integral in self.integrals.values():
            integral.pause()
        self.counters.clear()
        self.checks.clear()


@dataclass(frozen=True)
class Validator:
    """Where values are let through or refused and counted."""

    reject: Callable[[str], None]

    def gauge(self, value: float | None, least: float, most: float) -> float | None:
        """The value if it is there and can be true."""
        if value is None:
            return None
        reason = fault(value, least, most)
        if reason is None:
            return value
        self.reject(reason)
        return None

    def counter(self, value: float | None, guard: Monotonic, most: float = MOST_COUNT) -> float | None:
        """The value if it is there, can be true and has not fallen."""
        value = self.gauge(value, 0, most)
        if value is None or guard.accepts(value):
            return value
        self.reject(BACKWARDS)
        return None
