"""Where a run stands still: the processes of a run that hangs are asked for their stacks, once.

What the diagnosis said in the last cycle sets it off: a rank is `stalled`, or its set-up takes long and nothing of it
moves. `--no-collector.stacks` switches it off: then no process is ever sent anything.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.collectors.stacks.finding import Hang, find
from yoloscope_exporter.collectors.stacks.inquiry import AGAIN_SECONDS, ANSWER_SECONDS, Inquiry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_exporter.collectors import Context

NAME = "stacks"
#: How long nothing of a long set-up may have moved: no progress bar, no process that computes.
SETUP_STILL_SECONDS = 30.0
#: CPUs below which a set-up stands still: one that reads labels or decodes images uses more than that.
STILL_CORES = 0.1
MAX_RUNS = 16  # that hang at the same time and are asked
_TOLD = (
    catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS,
    catalog.TRAIN_SETUP_PROGRESS_RATIO,
    catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL,
)

_log = logging.getLogger(__name__)


def collectors(context: Context) -> Sequence[Collector]:
    """One collector of the fast group."""
    stacks = Stacks(context)
    return [Collector(NAME, stacks.collect, stacks.close)]


@dataclass
class _Case:
    """A run that stands still."""

    asked: float | None = None  # when it was asked last, by the monotonic clock
    inquiry: Inquiry | None = None  # under way
    hang: Hang | None = None
    ranks: tuple[str, ...] = ()


@dataclass
class _Still:
    """Since when nothing of a rank's set-up has moved."""

    since: float
    progress: float | None
    cpu: float
    cpu_at: float = field(default=0.0)


class Stacks:
    """Asks each run that hangs once, and publishes what came of it for as long as it hangs."""

    def __init__(self, context: Context) -> None:
        """Nobody is asked yet."""
        self._context = context
        self._cases: dict[str, _Case] = {}
        self._last: dict[str, float] = {}  # when runs were asked
        self._still: dict[tuple[str, str], _Still] = {}

    def close(self) -> None:
        """Let go of files."""
        for case in self._cases.values():
            _end(case)
        self._cases = {}

    def collect(self) -> Iterator[Sample]:
        """Where each run that hangs stands still."""
        now = self._context.clock()
        hanging = self._hanging(now)
        for run in self._cases.keys() - hanging:
            _end(self._cases.pop(run))
        asked = [run for run, case in self._cases.items() if case.inquiry is not None]  # is gone on with first
        for run in list(dict.fromkeys([*asked, *self._context.in_turn(hanging)]))[:MAX_RUNS]:
            case = self._cases.setdefault(run, _Case())
            self._advance(run, case, now, hanging[run])
            yield from _samples(run, case)
        self._last = {run: asked for run, asked in self._last.items() if now - asked < AGAIN_SECONDS}

    def _advance(self, run: str, case: _Case, now: float, since: float) -> None:
        """Ask, or look for the answers; one step per cycle, so that nothing is waited for.

        Only one run at a time, because its files are open meanwhile. One that did not answer is asked again, once that
        is allowed.
        """
        if case.inquiry is not None and case.asked is not None:
            if case.inquiry.complete() or now - case.asked >= ANSWER_SECONDS:
                inquiry = case.inquiry
                case.hang = find(inquiry.ranks, inquiry.answers())
                case.ranks = tuple(rank.rank for rank in inquiry.ranks)
                _end(case)
        elif self._may_ask(run, case, now):
            case.asked = self._last[run] = now
            with suppress(OSError):  # the run is gone
                case.inquiry = Inquiry(
                    self._context.place(run),
                    lambda reason: self._context.reject(NAME, reason),
                    self._context.wall,
                    since,
                )
                number = case.inquiry.ask()
                _log.info("asked %d processes of %s, which stands still, for their stacks", number, run)

    def _may_ask(self, run: str, case: _Case, now: float) -> bool:
        known = case.hang is not None and not case.hang.silent
        busy = any(other.inquiry is not None for other in self._cases.values())
        return not known and not busy and now - self._last.get(run, -math.inf) >= AGAIN_SECONDS

    # --- who hangs --------------------------------------------------------------------------------------------------

    def _hanging(self, now: float) -> dict[str, float]:
        """Runs that hang by what was said of them in the last cycle, and the Unix time since which they do."""
        held: dict[str, set[tuple[str, str]]] = {"stalled": set(), "setup_slow": set()}
        for metric, labels, value in self._context.latest():
            if metric is catalog.TRAIN_VERDICT and labels[2] in held and value == 1.0:
                held[labels[2]].add((labels[0], labels[1]))
        if not held["stalled"] and not held["setup_slow"]:
            self._still = {}
            return {}
        batch, progress, cpu = (self._by_rank(metric) for metric in _TOLD)
        slow = held["setup_slow"]
        self._still = {who: self._still.get(who) or _Still(now, None, cpu.get(who, 0.0), now) for who in slow}
        stuck = {who for who in slow if self._stands_still(who, now, progress, cpu)}
        wall = self._context.wall()
        since = {run: wall - SETUP_STILL_SECONDS for run, _ in sorted(stuck)}
        for who in sorted(held["stalled"]):
            since[who[0]] = max(since.get(who[0], 0.0), batch.get(who, wall - SETUP_STILL_SECONDS))
        return since

    def _by_rank(self, wanted: catalog.Metric) -> dict[tuple[str, str], float]:
        """What the last cycle said of each rank, added up."""
        found: dict[tuple[str, str], float] = {}
        for metric, labels, value in self._context.latest():
            if metric is wanted and isinstance(value, float):
                found[labels[0], labels[1]] = found.get((labels[0], labels[1]), 0.0) + value
        return found

    def _stands_still(
        self,
        who: tuple[str, str],
        now: float,
        progress: Mapping[tuple[str, str], float],
        cpu: Mapping[tuple[str, str], float],
    ) -> bool:
        still, used = self._still[who], cpu.get(who, 0.0)
        moved = progress.get(who) != still.progress
        if moved or used - still.cpu > STILL_CORES * max(now - still.cpu_at, SETUP_STILL_SECONDS):
            still.since, still.progress, still.cpu, still.cpu_at = now, progress.get(who), used, now
        return now - still.since >= SETUP_STILL_SECONDS


def _end(case: _Case) -> None:
    if case.inquiry is not None:
        case.inquiry.close()
        case.inquiry = None


def _samples(run: str, case: _Case) -> Iterator[Sample]:
    """What is known, on every rank of the run: the one that waits needs it as much as the one waited for."""
    if case.hang is not None:
        for rank in case.ranks:
            yield Sample(catalog.TRAIN_HANG_INFO, (run, rank, *case.hang.labels), 1.0)
