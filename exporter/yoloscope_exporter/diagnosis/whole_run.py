"""What was found of each run while it went on: a running exporter forgets its windows, and who ends asks for all of it.

A verdict counts by the same rule as over a time range.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.engine import ALIVE, WORKING, Diagnosis, Key, Verdict, worst_first
from yoloscope_exporter.diagnosis.rules import lifecycle
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS
from yoloscope_exporter.diagnosis.time_range import counts, known_enough

if TYPE_CHECKING:
    from collections.abc import Collection

    from yoloscope_exporter.measures.series import Window


_STILL, _SLOW, _UNKNOWN = "stalled", "slow_batch", "insufficient_data"
#: Seconds after a standstill in which it may become known that it was none: two samples of the long store.
_KNOWN_LATER = 20.0


@dataclass
class _Rank:
    """One rank so far.

    Attributes:
        lived: whether it did at the last look.
        trained: seconds.
        held: seconds for which each verdict held while it trained.
        told: how each verdict was told last.
        stood: how a standstill was told before the one that was told last; None if it was not.
        stands: whether a standstill was told at the last look.
        moved: when the last one was over, as long as it may still turn out to have been none.
        slow: whether a slow batch was told at the last look.
        summed: whether it was judged by all of it when it had ended.
        joules: what was drawn for it, by source.
    """

    lived: bool
    trained: float = 0.0
    held: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    told: dict[str, Verdict] = field(default_factory=dict)
    joules: dict[str, float] = field(default_factory=dict)
    stood: Verdict | None = None
    stands: bool = False
    moved: float | None = None
    slow: bool = False
    summed: bool = False

    def tell(self, verdicts: Collection[Verdict], when: float, *, excused: bool) -> None:
        """Remember these verdicts; `excused` where the last silence is known to have been no standstill."""
        now = {verdict.name: verdict for verdict in verdicts}
        if _STILL in now and not self.stands:
            self.stood, self.moved = self.told.get(_STILL), None
        elif self.stands and _STILL not in now:
            self.moved = when
        known = excused or (_SLOW in now and not self.slow)
        self.stands, self.slow = _STILL in now, _SLOW in now
        self.told |= now
        if self.moved is not None and known and when - self.moved <= _KNOWN_LATER:
            self._take_back()

    def _take_back(self) -> None:
        """The last standstill was none: what took so long is known now that it is over."""
        self.told.pop(_STILL, None)
        self.moved = None
        if self.stood:
            self.told[_STILL] = self.stood


@dataclass
class WholeRuns:
    """Every rank that is followed, from the first moment it was seen."""

    _ranks: dict[Key, _Rank] = field(default_factory=dict)

    def note(self, diagnosis: Diagnosis, window: Window) -> None:
        """Take in what holds at the end of a window that begins where the one before ended."""
        key, of_node = (diagnosis.run, diagnosis.rank), not diagnosis.run
        lives = of_node or diagnosis.state in ALIVE
        rank = self._ranks.get(key)
        if rank is None or (lives and not rank.lived):  # the first look, or another run under the same name
            rank = self._ranks[key] = _Rank(lives)
        rank.tell(diagnosis.verdicts, window.end, excused=lifecycle.excused(diagnosis.signals, DEFAULTS))
        if of_node or diagnosis.state in WORKING:
            rank.trained += window.seconds
            for verdict in diagnosis.verdicts:
                rank.held[verdict.name] += window.seconds
        rank.joules |= _drawn(diagnosis, window)
        rank.lived = lives

    def applied(self, diagnosis: Diagnosis) -> Diagnosis:
        """The same with what was found of the whole run."""
        rank = self._ranks.get((diagnosis.run, diagnosis.rank))
        if rank is None:
            return diagnosis
        return replace(diagnosis, whole_run=_verdicts(rank), joules=dict(rank.joules))

    def unjudged(self) -> set[Key]:
        """Ranks that have ended before anything was known of their speed, and have not been judged by all of it yet."""
        return {key for key, rank in self._ranks.items() if not (rank.lived or rank.summed) and not _judged(rank)}

    def sum_up(self, key: Key, verdicts: Collection[Verdict]) -> None:
        """Take in what is found over all of a rank; it holds for the whole of it."""
        rank = self._ranks[key]
        rank.summed = True
        if verdicts:
            rank.told = {name: verdict for name, verdict in rank.told.items() if rules.BY_NAME[name].event}
            rank.trained = max(rank.trained, 1.0)
        for verdict in verdicts:
            rank.told[verdict.name], rank.held[verdict.name] = verdict, rank.trained

    def keep(self, keys: Collection[Key]) -> None:
        """Forget every rank but these."""
        for key in [key for key in self._ranks if key not in keys]:
            del self._ranks[key]


def _drawn(diagnosis: Diagnosis, window: Window) -> dict[str, float]:
    """Joules that were counted for the rank so far, by source."""
    told = {
        source: window.last(catalog.TRAIN_ENERGY_JOULES_TOTAL, diagnosis.run, diagnosis.rank, source)
        for source in catalog.ENERGY_SOURCES
    }
    return {source: joules for source, joules in told.items() if joules is not None}


def _judged(rank: _Rank) -> bool:
    """Whether more than events, or that too little is known, is told of it."""
    return any(not rules.BY_NAME[one.name].event and one.name != _UNKNOWN for one in _verdicts(rank))


def _verdicts(rank: _Rank) -> tuple[Verdict, ...]:
    found = []
    for name, verdict in rank.told.items():
        share = min(rank.held[name] / rank.trained, 1.0) if rank.trained else 0.0
        if counts(name, share):
            found.append(replace(verdict, share=None if rules.BY_NAME[name].event else share))
    return worst_first(known_enough(found))


def energy(diagnoses: Collection[Diagnosis], source: str = "gpu") -> float | None:
    """What was drawn for the ranks of a run, in joules; None where nobody counts it."""
    drawn = [one.joules[source] for one in diagnoses if source in one.joules]
    return sum(drawn) if drawn else None
