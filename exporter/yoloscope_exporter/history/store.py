"""Keeps what the courses need of every few snapshots, in three stores: the older, the coarser.

While nobody looks, numbers are appended and old ones dropped, and nothing is calculated. Counters lose nothing between
two snapshots that are kept; of a gauge what was between is not known.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING, Final

from yoloscope_exporter import catalog
from yoloscope_exporter.history.courses import KEPT
from yoloscope_exporter.history.events import Event, changes, facts
from yoloscope_exporter.measures.evaluate import Evaluator, Inside
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.sharing import shares

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from yoloscope_exporter.catalog import Metric, Sample
    from yoloscope_exporter.history.courses import Course
    from yoloscope_exporter.history.events import Facts
    from yoloscope_exporter.measures.evaluate import Vector
    from yoloscope_exporter.measures.series import Labels
    from yoloscope_exporter.sampling.snapshot import Snapshot

#: Seconds that are shown.
SPAN: Final = 3600.0
#: What is shown as the value now: over so many seconds.
NOW: Final = 60.0
#: Most series that are kept; each takes about 6 kB. A node with 8 GPUs and 8 ranks of 8 workers has about 500.
MOST_SERIES: Final = 1500
MOST_EVENTS: Final = 500
#: Where whose a run is stands among the labels of what tells it.
_INFOS: Final = {m.name: m.labels.index("user") for m in (catalog.TRAIN_RUN_INFO, catalog.PREDICT_RUN_INFO)}
#: A clock that is set back by at most so many seconds is waited for.
CATCH_UP: Final = 60.0


@dataclass(frozen=True)
class Tier:
    """How a part of the past is kept and shown; all in seconds.

    Attributes:
        step: between two snapshots that are kept.
        span: how long they are kept.
        tick: between two points that are shown.
        window: over which a point is calculated.
    """

    step: float
    span: float
    tick: float
    window: float


#: Each tick is a multiple of the one before, so that a point that was calculated need not be calculated again.
TIERS: Final = (
    Tier(step=2, span=210, tick=5, window=15),
    Tier(step=10, span=660, tick=20, window=45),
    Tier(step=30, span=SPAN + 120, tick=60, window=120),
)


@dataclass
class _Kept:
    tier: Tier
    store: Store = field(default_factory=Store)
    trimmed: float = 0.0

    def is_due(self, now: float) -> bool:
        return now - self.store.last >= 0.9 * self.tier.step

    def window(self, start: float, end: float) -> Window:
        return Window(self.store, start, end, self.tier.step)

    def take(self, now: float, samples: Sequence[Sample]) -> None:
        self.store.add(now, samples)
        if now - self.trimmed > self.tier.span / 8:  # trimming costs more than adding
            self.store.trim(now - self.tier.span)
            self.trimmed = now


class History:
    """The last hour, fed by the sampler's thread and read by the server's."""

    def __init__(self, tiers: Sequence[Tier] = TIERS, most: int = MOST_SERIES) -> None:
        """Empty."""
        self.tiers = tuple(tiers)
        self.left_out = 0
        """Runs of the last snapshot for which there is no room."""
        self._most = most
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._facts: Facts | None = None
        self._events: list[Event] = []
        self._users: dict[str, str] = {}  # whose the runs are, where that is told
        self._clear()

    def _clear(self) -> None:
        self._kept = tuple(map(_Kept, self.tiers))
        self._runs: frozenset[str] = frozenset()
        self._asked: dict[tuple[str, float], _Answers] = {}

    def __call__(self, snapshot: Snapshot) -> None:
        """Keep what is due of a snapshot."""
        self.feed(snapshot.time, snapshot)

    def feed(self, now: float, samples: Iterable[Sample]) -> None:
        """Keep what is due of the samples of one moment (Unix seconds)."""
        with self._lock:
            if now < self.last - CATCH_UP:  # the clock was set back: the points lie in the future now
                self._clear()
            due = [kept for kept in self._kept if kept.is_due(now)]
            if not due:
                return
            everything = tuple(samples)
            self._users = self._users_now(everything)
            self._note(now, everything)
            wanted = self._admitted([sample for sample in everything if sample.metric.name in KEPT])
            for kept in due:
                kept.take(now, wanted)
            self._make_room(due)
            self._asked.clear()

    @property
    def last(self) -> float:
        """When something was kept last, Unix seconds; minus infinity before the first time."""
        return self._kept[0].store.last

    def _note(self, now: float, samples: Sequence[Sample]) -> None:
        after = facts(samples, self._facts)
        if self._facts is not None:
            self._events += [Event(next(self._numbers), now, *change) for change in changes(self._facts, after)]
            self._forget_events()
        self._facts = after

    def _forget_events(self) -> None:
        """The oldest of whose there are most, while there are too many: nobody's push out another one's."""
        while (excess := len(self._events) - MOST_EVENTS) > 0:
            whose = [self._users.get(event.run, event.run) for event in self._events]
            (user, most), *others = Counter(whose).most_common(2)
            excess = min(excess, max(most - others[0][1], 1) if others else excess)
            gone = set(islice((place for place, one in enumerate(whose) if one == user), excess))
            self._events = [event for place, event in enumerate(self._events) if place not in gone]

    def _users_now(self, samples: Iterable[Sample]) -> dict[str, str]:
        """Whose the runs are, those of which there are events included."""
        past = {event.run: self._users[event.run] for event in self._events if event.run in self._users}
        return past | {
            sample.labels[0]: sample.labels[_INFOS[sample.metric.name]]
            for sample in samples
            if sample.metric.name in _INFOS
        }

    # --- room for so many series -----------------------------------------------------------------------------------

    def _admitted(self, samples: list[Sample]) -> list[Sample]:
        """The samples of as many runs as there is room for, shared out among their users.

        Of each those that are alive come first, then those known already.
        """
        sizes = Counter(_run(sample.metric, sample.labels) for sample in samples)
        alive = {sample.labels[0] for sample in samples if sample.metric.name == catalog.TRAIN_UP.name and sample.value}
        room, admitted, wanted = max(self._most - sizes.pop("", 0), 0), set(), Counter[str]()
        for run, size in sizes.items():
            wanted[self._users.get(run, "")] += size
        left = shares(wanted, room)
        for run in sorted(sizes, key=lambda run: (run not in alive, run not in self._runs)):
            user = self._users.get(run, "")
            if sizes[run] <= left[user]:
                left[user] -= sizes[run]
                admitted.add(run)
        self.left_out = len(sizes) - len(admitted)
        self._runs = frozenset(admitted)
        if not self.left_out:
            return samples
        admitted.add("")
        return [sample for sample in samples if _run(sample.metric, sample.labels) in admitted]

    def _make_room(self, due: Sequence[_Kept]) -> None:
        """Forget runs that are not there any more, once all together are too many."""
        runs = self._runs
        for kept in due:
            if _size(kept.store) > self._most:
                kept.store.keep(lambda metric, labels: (run := _run(metric, labels)) in runs or not run)

    # --- reading ---------------------------------------------------------------------------------------------------

    def events(self, since: int = 0) -> list[Event]:
        """The last events with a number above `since`, the oldest first.

        All of them where no event has that number yet: it is of an exporter that ran before.
        """
        with self._lock:
            if self._events and since > self._events[-1].number:
                since = 0
            return [event for event in self._events if event.number > since]

    def now(self, courses: Sequence[Course], run: str = "", seconds: float = NOW) -> dict[str, Vector]:
        """Values over the last seconds by course; of a run, or of the node. Calculated once until more is fed."""
        with self._lock:
            answers = self._asked.get((run, seconds))
            if answers is None:
                window = self._kept[0].window(self.last - seconds, self.last)
                answers = self._asked[run, seconds] = _Answers(window, run)
            return answers.of(courses)

    def ticks(self, now: float) -> Iterator[tuple[float, int]]:
        """The moments that are shown at `now`, the oldest first, each with the place of its tier."""
        begin = now - SPAN
        for place in reversed(range(len(self.tiers))):
            tier = self.tiers[place]
            end = now - self._reach(place - 1) if place else now
            time = begin - begin % tier.tick + tier.tick
            while time <= end:
                yield time, place
                time += tier.tick
            begin = time - tier.tick

    def _reach(self, place: int) -> float:
        """How far back points of a tier can be calculated."""
        tier = self.tiers[place]
        return (tier.span - tier.window) // self.tiers[-1].tick * self.tiers[-1].tick

    def at(self, time: float, place: int, courses: Sequence[Course], run: str = "") -> dict[str, Vector]:
        """Values at one of `ticks`, by course."""
        with self._lock:
            kept = self._kept[place]
            return _Answers(kept.window(time - kept.tier.window, time), run).of(courses)


def _run(metric: Metric, labels: Labels) -> str:
    """The run a series is of, empty for those of the node."""
    return labels[0] if metric.labels[:1] == ("run",) else ""


def _size(store: Store) -> int:
    return sum(map(len, store.series.values()))


class _Answers:
    """Values over a window, what courses share of them calculated once."""

    def __init__(self, window: Window, run: str) -> None:
        self._inside = Inside([window], within={"run": run} if run else None)
        self._evaluators: dict[tuple[str, ...], Evaluator] = {}

    def of(self, courses: Sequence[Course]) -> dict[str, Vector]:
        found = {}
        for course in courses:
            if course.by not in self._evaluators:
                self._evaluators[course.by] = Evaluator(self._inside, course.by)
            if vector := self._evaluators[course.by].vector(course.formula):
                found[course.name] = vector
        return found
