"""Runs the collectors on their periods, keeps failures apart, publishes an immutable snapshot.

A scrape never reaches a source: it gets the bytes of the newest snapshot.

The collectors run one after the other in one thread, which costs half of what a thread for each does: they would fight
for the interpreter. If one does not come back within its patience, the thread is left to it and a new one goes on with
the others; until it returns it is skipped. Past its deadline it is `collector_up 0` and publishes nothing else; until
then its last values stand, for a slow source may take most of its own period.

A snapshot older than three intervals is stale (the machine stood still, or this thread is dead): then only the
exporter's own metrics are served, with every collector down.
"""

from __future__ import annotations

import logging
import math
import platform
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from yoloscope_exporter import __version__, catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.collectors import SLOW, Collector, NoData
from yoloscope_exporter.sampling.deadlines import Lane, Outcome, outcome
from yoloscope_exporter.sampling.exposition import Exposition, Form, Renderer
from yoloscope_exporter.sampling.scrape_pace import Demand
from yoloscope_exporter.sampling.snapshot import Derived, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

SLOW_EVERY = 10  # intervals
PATIENCE = 0.25  # of an interval: how long a cycle waits for a collector
STALE_AFTER = 3  # intervals
DEADLINE = 0.8  # of the period of a slow collector, STALE_AFTER for a fast one: after that it counts as hung
DEAD_AFTER = 30  # intervals: time for somebody to restart the exporter
OWN = "exporter"

_log = logging.getLogger(__name__)


class Rejections:
    """Counts what was refused, by collector and reason; shared by all threads."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def __call__(self, collector: str, reason: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[collector, reason] += 1

    def samples(self) -> list[Sample]:
        """The counts so far."""
        with self._lock:
            return [Sample(catalog.SAMPLES_REJECTED_TOTAL, key, float(n)) for key, n in self._counts.items()]


@dataclass(frozen=True)
class Source:
    """A collector, or a derived stage, with the name of the module that it came from."""

    module: str
    collector: Collector
    derived: Derived | None = None
    first: bool = False
    """Before the others, who want to know what it finds: the ranks that are alive."""

    @property
    def stage(self) -> int:
        """Its place in a cycle."""
        return 2 if self.derived else 0 if self.first else 1


class _Runner:
    """One source and what it last said. `run` is called in a lane, all else by the sampler's thread."""

    def __init__(self, source: Source, reject: Callable[[str, str], None]) -> None:
        self.source = source
        self.name = source.collector.name
        self.every = SLOW_EVERY if source.collector.group == SLOW else 1
        self.samples: tuple[Sample, ...] = ()
        self._reject = reject
        self._started: float | None = None  # of the call under way
        self._outcome: Outcome[tuple[Sample, ...]] | None = None
        self._hung = False
        self._up = False
        self._seconds = 0.0
        self._succeeded: float | None = None
        self._problem = ""

    @property
    def busy(self) -> bool:
        """Whether the last call has not come back."""
        return self._started is not None and self._outcome is None

    def prepare(self, now: float) -> None:
        """Mark the beginning of a call."""
        self._started, self._outcome, self._hung = now, None, False

    def run(self, snapshot: Snapshot) -> None:
        """Collect."""
        derived, collect = self.source.derived, self.source.collector.collect
        self._outcome = outcome(lambda: self._checked(derived(snapshot) if derived else collect()))

    def settle(self, now: float, wall: float, deadline: float) -> None:
        """Take what the call came to, if it has come to an end, and in time."""
        if self._started is None or self._hung:
            return
        if self._outcome is None:
            if now - self._started > deadline:
                self._hung = True
                self._fail("hung", f"has not come back for {now - self._started:.1f} s; the others go on")
            return
        result, self._started = self._outcome, None
        self._seconds = result.seconds
        if result.error is not None:
            self._fail(type(result.error).__name__, str(result.error), result.error)
            return
        if self._problem:
            _log.info("collector %s is back", self.name)
        self.samples, self._up, self._succeeded, self._problem = result.value or (), True, wall, ""

    def _fail(self, kind: str, text: str, error: Exception | None = None) -> None:
        self.samples, self._up = (), False
        if kind == self._problem:
            return
        self._problem = kind
        if isinstance(error, NoData):
            lost = self._succeeded is not None  # it was there before: a driver that went away
            level, state = (logging.WARNING, "any more") if lost else (logging.INFO, "here")
            _log.log(level, "collector %s has nothing to read %s: %s", self.name, state, text)
        else:
            debug = _log.isEnabledFor(logging.DEBUG)
            _log.warning("collector %s failed: %s: %s", self.name, kind, text, exc_info=error if debug else None)

    def _checked(self, samples: Iterable[Sample]) -> tuple[Sample, ...]:
        """Only numbers that can be true, and labels that fit."""
        good = []
        for sample in samples:
            metric, labels, value = sample
            if len(labels) != len(metric.labels):
                raise ValueError(f"{metric.name} wants the labels {metric.labels}, not {labels}")
            number = value.sum if isinstance(value, HistogramValue) else value
            if 0.0 <= number < math.inf or (math.isfinite(number) and metric.kind != catalog.COUNTER):
                good.append(sample)
            else:
                self._reject(self.name, "negative" if math.isfinite(number) else "not_finite")
        return tuple(good)

    def own(self, *, stale: bool) -> Iterator[Sample]:
        """What there is to say about the collector itself."""
        label = (self.name,)
        yield Sample(catalog.COLLECTOR_UP, label, 1.0 if self._up and not stale else 0.0)
        yield Sample(catalog.COLLECTOR_DURATION_SECONDS, label, self._seconds)
        if self._succeeded is not None:
            yield Sample(catalog.COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS, label, self._succeeded)


class _Queue:
    """Runners that wait for their turn, and the one whose turn it is. Shared by a lane and the sampler's thread."""

    def __init__(self, runners: Iterable[_Runner], snapshot: Snapshot) -> None:
        self._waiting = deque(runners)
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._current: _Runner | None = None
        self._since = 0.0

    def __call__(self) -> None:
        """Run them all, in a lane; ends early if the rest was taken away."""
        while (runner := self._next()) is not None:
            runner.run(self._snapshot)

    def _next(self) -> _Runner | None:
        with self._lock:
            self._current = self._waiting.popleft() if self._waiting else None
            self._since = time.monotonic()
            return self._current

    def patience(self, seconds: float) -> float:
        """How much longer the current one may take."""
        with self._lock:
            return self._since + seconds - time.monotonic() if self._current else seconds

    def take_rest(self) -> Sequence[_Runner]:
        """Take away those that wait; the lane is left to the current one."""
        with self._lock:
            rest, self._waiting = self._waiting, deque()
            return tuple(rest)


class Sampler:
    """Cycles over the sources and holds the newest snapshot."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        interval: float = 1.0,
        reject: Rejections | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Take the sources; nothing runs yet. `interval` is in seconds."""
        self.interval = interval
        self._reject = reject or Rejections()
        self._clock, self._wall = clock, wall
        self._runners = {source.collector.name: _Runner(source, self._reject) for source in sources}
        self._renderer = Renderer(lambda: self._reject(OWN, "duplicate"))
        self._ticks = 0
        self._at = -math.inf
        self._snapshot = self._gathered = Snapshot(0.0, MappingProxyType({}))
        self._exposition: Exposition | None = None
        self._demand = Demand()
        self._lane: Lane[None] = Lane("collectors")
        self._retired: list[_Runner] = []  # to be closed as soon as they are not busy
        self._left: list[Lane[None]] = []  # to runners that did not come back
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def reconfigure(self, sources: Sequence[Source], interval: float) -> None:
        """From the next cycle on read these sources, in this interval; those known already go on as they were."""
        known = self._runners
        kept = (known.get(source.collector.name) for source in sources)
        self._runners = {
            source.collector.name: runner if runner and runner.source is source else _Runner(source, self._reject)
            for source, runner in zip(sources, kept, strict=True)
        }
        self.interval = interval
        self._retired += [runner for name, runner in known.items() if self._runners.get(name) is not runner]

    # --- cycles -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Cycle in the background."""
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the cycles and close the collectors; harmless when called twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2 * self.interval + 1)
        self._retired += self._runners.values()
        self._close_retired()
        for lane in (self._lane, *self._left):
            lane.close()

    def _close_retired(self) -> None:
        """Close collectors that are not read any more; one that hangs is left as it is."""
        for runner in [runner for runner in self._retired if not runner.busy]:
            self._retired.remove(runner)
            lane: Lane[None] = Lane(f"close-{runner.name}")
            lane.start(runner.source.collector.close)
            lane.wait(1.0)
            lane.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.cycle()
            except Exception:  # noqa: BLE001 - the isolation boundary: the next cycle may do better, and a stale snapshot shows
                _log.exception("a cycle failed")
            self._stop.wait(pause(self._clock(), self.interval))

    def cycle(self) -> None:
        """Read what is due, and publish."""
        now, wall = self._clock(), self._wall()
        runners = self._runners
        self._close_retired()
        for stage in range(3):
            self._step([runner for runner in runners.values() if runner.source.stage == stage], now, wall)
            self._gathered = _gather(runners, wall)
        self._snapshot = self._gathered
        self._ticks += 1
        exposition = self._renderer.render([*self._own(stale=False), *self._snapshot])
        try:
            for form in self._demand.expected(now, self.interval):
                exposition.get(form)
        finally:  # what cannot be rendered must not leave the last one standing
            self._exposition, self._at = exposition, now

    def _step(self, runners: Sequence[_Runner], now: float, wall: float) -> None:
        self._settle(runners, wall)  # what came back since the last cycle
        due = [runner for runner in runners if self._ticks % runner.every == 0 and not runner.busy]
        due.sort(key=lambda runner: runner.every)  # the slow ones last
        for runner in due:
            runner.prepare(now)
        while due:
            queue = _Queue(due, self._gathered)
            self._lane.start(queue)
            due = list(self._watch(queue))
        self._settle(runners, wall)

    def _settle(self, runners: Sequence[_Runner], wall: float) -> None:
        for runner in runners:
            runner.settle(self._clock(), wall, max(STALE_AFTER, DEADLINE * runner.every) * self.interval)

    def _watch(self, queue: _Queue) -> Sequence[_Runner]:
        """Wait for the queue's end; if one loses patience with its current runner, the others come back."""
        while not self._lane.wait(queue.patience(PATIENCE * self.interval)):
            if queue.patience(PATIENCE * self.interval) <= 0:
                self._left = [lane for lane in self._left if not _closed_if_idle(lane)]
                self._left.append(self._lane)
                self._lane = Lane("collectors")
                return queue.take_rest()
        return ()

    # --- what is served ---------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot; before the first one it is empty and its time is 0."""
        return self._snapshot

    @property
    def fresh(self) -> bool:
        """Whether the newest snapshot is at most three intervals old."""
        return self._clock() - self._at <= STALE_AFTER * self.interval

    @property
    def alive(self) -> bool:
        """Whether cycles go on, as far as one can tell: the thread lives and has not been silent for long."""
        begun = self._thread is not None and self._thread.is_alive()
        return begun and (not self._ticks or self._clock() - self._at <= DEAD_AFTER * self.interval)

    def names(self) -> set[str]:
        """What a scrape may ask for: collectors and their modules."""
        return {*self._runners, *(runner.source.module for runner in self._runners.values())}

    def exposition(self, form: Form, wanted: Callable[[str], bool] | None = None) -> bytes:
        """The bytes for a scraper; `wanted` says of a collector's or module's name whether it is asked for."""
        if wanted is None and self._exposition is not None and self.fresh:
            self._demand.note(form, self._clock(), self.interval)
            return self._exposition.get(form)
        return Renderer().render(list(self._filtered(wanted or (lambda _: True)))).get(form)

    def _filtered(self, wanted: Callable[[str], bool]) -> Iterator[Sample]:
        fresh, snapshot = self.fresh, self._snapshot
        yield from self._own(stale=not fresh)
        for name, samples in snapshot.samples.items() if fresh else ():
            if wanted(name) or wanted(snapshot.modules[name]):
                yield from samples

    def _own(self, *, stale: bool) -> Iterator[Sample]:
        yield Sample(catalog.BUILD_INFO, (__version__, platform.python_version()), 1.0)
        for runner in self._runners.values():
            yield from runner.own(stale=stale)
        yield from self._reject.samples()
        if self._snapshot.time:
            yield Sample(catalog.SNAPSHOT_TIMESTAMP_SECONDS, (), self._snapshot.time)


def _closed_if_idle(lane: Lane[None]) -> bool:
    if lane.idle:
        lane.close()
    return lane.idle


def pause(now: float, interval: float) -> float:
    """Seconds to the next multiple of the interval: a late cycle does not shift those after it."""
    return interval - now % interval


def _gather(runners: Mapping[str, _Runner], wall: float) -> Snapshot:
    samples = {name: runner.samples for name, runner in runners.items()}
    modules = {name: runner.source.module for name, runner in runners.items()}
    return Snapshot(wall, MappingProxyType(samples), MappingProxyType(modules))
