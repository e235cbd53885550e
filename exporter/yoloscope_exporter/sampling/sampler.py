"""Runs the collectors on their periods, isolates their failures, publishes an immutable snapshot.

A scrape never reaches a source: it gets the bytes of the newest snapshot.

The collectors run one after the other in one thread, which costs half of what a thread for each does: they would fight
for the interpreter. Handing them over one by one, as futures, takes 50 us each: 0.06 % of a core for twelve of them
every second. If one does not come back within its patience, the thread is left to it and a new one goes on with the
others; until it returns it is skipped. Past its deadline it is `collector_up 0` and publishes nothing else; until then
its last values stand, for a slow source may take most of its own period.

A snapshot older than three intervals is stale (the machine stood still, or this thread is dead): then only the
exporter's own metrics are served, with every collector down.
"""

from __future__ import annotations

import logging
import math
import platform
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from yoloscope_exporter import __version__, catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.collectors import EXPORTER, SLOW, NoData
from yoloscope_exporter.collectors.deadlines import IsolatedThread
from yoloscope_exporter.sampling.exposition import Exposition, Form, Renderer, compress, encode
from yoloscope_exporter.sampling.families import families
from yoloscope_exporter.sampling.scrape_pace import ScrapePace
from yoloscope_exporter.sampling.snapshot import Snapshot
from yoloscope_exporter.sampling.sources import Stage
from yoloscope_exporter.sampling.third_party import InvalidFamiliesError, names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from prometheus_client import Metric as Family

    from yoloscope_exporter.sampling.sources import Source

SLOW_EVERY = 10  # intervals
PATIENCE = 0.25  # of an interval: how long a cycle waits for a collector
STALE_AFTER = 3  # intervals
DEADLINE = 0.8  # of the period of a slow collector, STALE_AFTER for a fast one: after that it counts as hung
DEAD_AFTER = 30  # intervals: time for somebody to restart the exporter
CLOSE_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Rejections:
    """Counts rejected samples and records by collector and reason; thread-safe."""

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
class Reading:
    """Result of one call of a source: samples, or a third party's families."""

    samples: tuple[Sample, ...] = ()
    families: tuple[Family, ...] = ()


class SourceState:
    """A source with its call under way and what it last gave. Used by the sampler's thread alone."""

    def __init__(self, source: Source, reject: Callable[[str, str], None]) -> None:
        """Read nothing yet."""
        self.source = source
        self.name = source.collector.name
        self.every = SLOW_EVERY if source.collector.group == SLOW else 1
        self.reading = Reading()
        self._reject = reject
        self._call: Future[Reading] | None = None
        self._started = 0.0
        self._hung = False
        self._up = False
        self._seconds = 0.0
        self._succeeded: float | None = None
        self._problem = ""

    @property
    def busy(self) -> bool:
        """Whether the last call has not come back."""
        return self._call is not None and not self._call.done()

    def read(self, thread: IsolatedThread, snapshot: Snapshot, now: float, patience: float) -> None:
        """Read the source in `thread`, and wait for it, at most `patience` seconds."""
        self._started, self._hung = now, False
        self._call = thread.call(lambda: self._read(snapshot), patience)

    def _read(self, snapshot: Snapshot) -> Reading:
        begun = time.perf_counter()
        try:
            source = self.source
            if source.third_party:
                return Reading(families=source.third_party.collect())
            return Reading(self._checked(source.derived(snapshot) if source.derived else source.collector.collect()))
        finally:
            self._seconds = time.perf_counter() - begun

    def settle(self, wall: float, taken: Callable[[SourceState], set[str]]) -> None:
        """Take the result of a call that has finished in time. No family may have one of the names `taken`."""
        if self._call is None or self.busy:
            return
        call, self._call = self._call, None
        if self._hung:
            return  # late, so its values are old
        error = call.exception()
        reading = Reading() if error else call.result()
        if reading.families and (clash := taken(self).intersection(_names(reading))):
            error = InvalidFamiliesError("taken", f"another collector has the metric {min(clash)}")
        if error is not None:
            self._fail(type(error).__name__, str(error), error)
            return
        if self._problem:
            _log.info("collector %s works again", self.name)
        self.reading, self._up, self._succeeded, self._problem = reading, True, wall, ""

    def prune(self) -> None:
        """Drop what does not hold any more of samples that were read in an earlier cycle."""
        samples = self.source.collector.holding(self.reading.samples)
        if samples is not self.reading.samples:
            self.reading = replace(self.reading, samples=samples)

    def expire(self, now: float, deadline: float) -> None:
        """Count a call that has been under way for more than `deadline` seconds as hung."""
        if self.busy and not self._hung and now - self._started > deadline:
            self._hung = True
            self._fail("hung", f"did not finish within {now - self._started:.1f} s; the others go on")

    def _fail(self, kind: str, text: str, error: BaseException | None = None) -> None:
        self.reading, self._up = Reading(), False
        if self.source.third_party:
            reason = error.reason if isinstance(error, InvalidFamiliesError) else "failed" if error else kind
            self._reject(self.name, reason)
        if kind == self._problem:
            return
        self._problem = kind
        if isinstance(error, NoData):
            lost = self._succeeded is not None  # it was there before: a driver that went away
            level, state = (logging.WARNING, "any more") if lost else (logging.INFO, "here")
            _log.log(level, "collector %s has no data %s: %s", self.name, state, text)
        else:
            debug = _log.isEnabledFor(logging.DEBUG)
            _log.warning("collector %s failed: %s: %s", self.name, kind, text, exc_info=error if debug else None)

    def _checked(self, samples: Iterable[Sample]) -> tuple[Sample, ...]:
        """The samples without implausible values; ValueError for a wrong number of labels."""
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

    def status(self, *, stale: bool) -> Iterator[Sample]:
        """The collector's own metrics: up, duration, last success."""
        label = (self.name,)
        yield Sample(catalog.COLLECTOR_UP, label, 1.0 if self._up and not stale else 0.0)
        yield Sample(catalog.COLLECTOR_DURATION_SECONDS, label, self._seconds)
        if self._succeeded is not None:
            yield Sample(catalog.COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS, label, self._succeeded)


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
        self._states = {source.collector.name: SourceState(source, self._reject) for source in sources}
        self._renderer = Renderer(lambda: self._reject(EXPORTER, "duplicate"))
        self._ticks = 0
        self._at = -math.inf
        self._snapshot = self._gathered = Snapshot(0.0, MappingProxyType({}))
        self._exposition: Exposition | None = None
        self._pace = ScrapePace()
        self._collectors = IsolatedThread("collectors")
        self._closing = IsolatedThread("close")
        self._retired: list[SourceState] = []  # to be closed as soon as they are not busy
        self._watchers: list[Callable[[Snapshot], None]] = []
        self._cycling = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def reconfigure(self, sources: Sequence[Source], interval: float) -> None:
        """From the next cycle on read these sources, in this interval; those known already go on as they were."""
        known = self._states
        kept = (known.get(source.collector.name) for source in sources)
        self._states = {
            source.collector.name: state if state and state.source is source else SourceState(source, self._reject)
            for source, state in zip(sources, kept, strict=True)
        }
        self.interval = interval
        self._retired += [state for name, state in known.items() if self._states.get(name) is not state]

    def watch(self, watcher: Callable[[Snapshot], None]) -> None:
        """Give `watcher` each snapshot once it is published; it runs in the sampler's thread and must not wait."""
        self._watchers.append(watcher)

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
        self._retired += self._states.values()
        self._close_retired()
        self._collectors.close()
        self._closing.close()

    def _close_retired(self) -> None:
        """Close collectors that are not read any more; one that hangs is left as it is."""
        for state in [state for state in self._retired if not state.busy]:
            self._retired.remove(state)
            self._closing.call(state.source.collector.close, CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.cycle()
            except Exception:  # noqa: BLE001 - the isolation boundary: the next cycle may do better, and a stale snapshot shows
                _log.exception("a sampling cycle failed")
            self._stop.wait(pause(self._clock(), self.interval))

    def cycle(self) -> None:
        """Read what is due, and publish."""
        with self._cycling:
            self._cycle(lambda state: self._ticks % state.every == 0, PATIENCE * self.interval)

    def sample(self) -> None:
        """Read everything, whatever its period, and publish; wait for each source up to its deadline."""
        with self._cycling:
            self._cycle(lambda _: True, STALE_AFTER * self.interval)

    def _cycle(self, due: Callable[[SourceState], bool], patience: float) -> None:
        now, wall = self._clock(), self._wall()
        states = self._states
        self._close_retired()
        for stage in Stage:
            of_stage = [state for state in states.values() if state.source.stage is stage]
            self._settle(of_stage, wall)  # what came back since the last cycle
            for state in sorted(filter(due, of_stage), key=lambda state: state.every):  # the slow ones last
                if not state.busy:
                    state.read(self._collectors, self._gathered, self._clock(), patience)
            self._settle(of_stage, wall)
            self._gathered = _gather(states, wall)
        self._snapshot = self._gathered
        self._ticks += 1
        own = [*self._exporter_samples(stale=False), *self._snapshot]
        exposition = self._renderer.render(own, _third_party(self._snapshot))
        try:
            for form in self._pace.expected(now, self.interval):
                exposition.get(form)
        finally:  # what cannot be rendered must not leave the last one standing
            self._exposition, self._at = exposition, now
        for watcher in self._watchers:
            watcher(self._snapshot)

    def _settle(self, states: Sequence[SourceState], wall: float) -> None:
        for state in states:
            state.settle(wall, self._names_of_others)
            state.prune()
            state.expire(self._clock(), max(STALE_AFTER, DEADLINE * state.every) * self.interval)

    def _names_of_others(self, one: SourceState) -> set[str]:
        """Names of the families that other third parties publish."""
        return {name for state in self._states.values() if state is not one for name in _names(state.reading)}

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
        """Whether the sampling thread lives and has published within DEAD_AFTER intervals."""
        return self.running and (not self._ticks or self._clock() - self._at <= DEAD_AFTER * self.interval)

    def names(self) -> set[str]:
        """What a scrape may ask for: collectors and their modules."""
        return {*self._states, *(state.source.module for state in self._states.values())}

    @property
    def running(self) -> bool:
        """Whether sampling goes on in the background."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def cycles(self) -> int:
        """How many cycles there have been."""
        return self._ticks

    def exposition(self, form: Form, wanted: Callable[[str], bool] | None = None, names: Collection[str] = ()) -> bytes:
        """The bytes for a scraper.

        Args:
            form: the format that was negotiated.
            wanted: whether a collector's or module's name is asked for (`collect[]`, `exclude[]`).
            names: only series of these names, if any are given (`name[]`).
        """
        if wanted is None and not names and self._exposition is not None and self.fresh:
            self._pace.note(form, self._clock(), self.interval)
            return self._exposition.get(form)
        samples, foreign = self._filtered(wanted or (lambda _: True))
        if not names:
            return Renderer().render(samples, foreign).get(form)
        body = encode(form, [*families(samples), *foreign], names)
        return compress(body) if form.gzipped else body

    def families(self, module: str) -> Iterable[Family]:
        """The newest families of one module, or of EXPORTER; where the snapshot is stale only the latter has any."""
        if module == EXPORTER:
            return families(self._exporter_samples(stale=not self.fresh))
        if not self.fresh:
            return ()
        snapshot = self._snapshot
        names = [name for name, origin in snapshot.modules.items() if origin == module]
        ours = families(sample for name in names for sample in snapshot.samples.get(name, ()))
        return [*ours, *(family for name in names for family in snapshot.families.get(name, ()))]

    def _filtered(self, wanted: Callable[[str], bool]) -> tuple[list[Sample], list[Family]]:
        """The exporter's own samples, and of those collectors that are wanted."""
        fresh, snapshot = self.fresh, self._snapshot
        names = [name for name, module in snapshot.modules.items() if fresh and (wanted(name) or wanted(module))]
        samples = [sample for name in names for sample in snapshot.samples.get(name, ())]
        return [*self._exporter_samples(stale=not fresh), *samples], [
            family for name in names for family in snapshot.families.get(name, ())
        ]

    def _exporter_samples(self, *, stale: bool) -> Iterator[Sample]:
        yield Sample(catalog.BUILD_INFO, (__version__, platform.python_version()), 1.0)
        for state in self._states.values():
            yield from state.status(stale=stale)
        yield from self._reject.samples()
        if self._snapshot.time:
            yield Sample(catalog.SNAPSHOT_TIMESTAMP_SECONDS, (), self._snapshot.time)


def pause(now: float, interval: float) -> float:
    """Seconds to the next multiple of the interval: a late cycle does not shift those after it."""
    return interval - now % interval


def _gather(states: Mapping[str, SourceState], wall: float) -> Snapshot:
    return Snapshot(
        wall,
        MappingProxyType({name: state.reading.samples for name, state in states.items()}),
        MappingProxyType({name: state.source.module for name, state in states.items()}),
        MappingProxyType({name: state.reading.families for name, state in states.items() if state.reading.families}),
    )


def _third_party(snapshot: Snapshot) -> list[Family]:
    return [family for families_ in snapshot.families.values() for family in families_]


def _names(reading: Reading) -> Iterator[str]:
    for family in reading.families:
        yield from names_of(family)
