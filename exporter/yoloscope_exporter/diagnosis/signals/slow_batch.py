"""One batch that took many times the usual, and what the counters say of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import whole
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.measures.series import Window
from yoloscope_exporter.measures.training import OUTSIDE, STEP_PHASES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View

#: Batches before it: the first ones choose kernels and compile, and what is usual must be known.
FEWEST_BEFORE = 20
#: Silences that are looked at; a validation is one as well.
MOST = 3
#: A rank that waits for another has no slow batch of its own, and callbacks have a verdict of theirs.
_OWN = tuple(phase for phase in STEP_PHASES if phase not in {"callbacks", "backward_exposed"})


#: Phases in which a rank that trains does something else than its own step: in callbacks, while workers start, while it
#: waits for another rank.
_ELSEWHERE = ("callbacks", "loader_start", "backward_exposed")


class SlowBatchSignals:
    """The batch that ended in the window and took longest."""

    slow_batch_seconds = Signal("time that one batch in the window took beyond the usual, in seconds")
    usual_batch_seconds = Signal("mean time of the other batches of the last half hour, in seconds")
    slow_phase_seconds = Signal("the part of that time in the step phase that took most of it")
    slow_batch_ooms = Signal("out-of-memory errors of the CUDA allocator during that batch")
    slow_file_seconds = Signal("time the slowest image file of the run took to read and decode")
    longest_silence = Signal("longest time so far between two batches that was no validation, in seconds, at least")
    excused_seconds = Signal(
        "of the longest such time that ended in the window the part in callbacks, in starting workers or waiting for "
        "other ranks, in seconds"
    )
    excused_age = Signal("seconds since it ended")
    callback_pauses = Signal("of the three longest such times of the last half hour those that went into callbacks")


@dataclass(frozen=True)
class SlowBatch:
    """A batch, as far as two samples tell: from the first with one count of batches to the first with a higher one.

    Attributes:
        excess: seconds beyond the usual by step phase.
        usual: mean seconds of the other batches.
        ooms: out-of-memory errors meanwhile.
    """

    excess: Mapping[str, float]
    usual: float
    ooms: float | None

    @property
    def seconds(self) -> float:
        """Beyond the usual."""
        return sum(self.excess.values())

    @property
    def phase(self) -> str:
        """The step phase that took most of them."""
        return max(self.excess, key=lambda name: self.excess[name])


def slow_batch(v: View) -> Numbers:
    """Unknown where no batch ended in the window, or too few before it."""
    found = v.slow_batch
    if found is None:
        return {}
    files = v.now.current(catalog.TRAIN_SLOW_FILE_SECONDS, v.run, v.rank)
    return {
        SlowBatchSignals.slow_batch_seconds: found.seconds,
        SlowBatchSignals.usual_batch_seconds: found.usual,
        SlowBatchSignals.slow_phase_seconds: found.excess[found.phase],
        SlowBatchSignals.slow_batch_ooms: found.ooms,
        SlowBatchSignals.slow_file_seconds: max(files.values(), default=None),
    }


def names(v: View) -> dict[str, str]:
    """The step phase that took most of it, and the run's slowest file."""
    files = v.now.current(catalog.TRAIN_SLOW_FILE_SECONDS, v.run, v.rank)
    phase = {"slow_phase": v.slow_batch.phase} if v.slow_batch else {}
    return phase | ({"slow_file": max(files, key=lambda labels: files[labels])[2]} if files else {})


def find(v: View) -> SlowBatch | None:
    """Of the longest silences between batches, the one in which most time went into a step."""
    longest = sorted(_silences(v), reverse=True)[:MOST]
    known = [(start, end) for _, start, end, before in longest if before >= FEWEST_BEFORE]
    if not known:
        return None
    everywhere = _Stretch.of(v.long, v)
    found = [one for start, end in known if (one := _between(v, start, end, everywhere))]
    return max(found, key=lambda one: one.seconds, default=None)


class _Stretch(NamedTuple):
    """Batches of a stretch of time, None where that is not known, and seconds by step phase."""

    batches: float | None
    spent: Mapping[str, float]

    @staticmethod
    def of(window: Window, v: View) -> _Stretch:
        return _Stretch(window.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank), _spent(window, v))


def _silences(v: View, since: float | None = None) -> Iterator[tuple[float, float, float, float]]:
    """Length, start, end, and batches before, of each time without a batch that ended in the window, or `since`."""
    points = v.long.points(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    began, first = points[0][0] if points else 0.0, v.now.start if since is None else since
    for (_, before), (time, count) in pairwise(points):
        if count > before:
            if time > first:
                yield time - began, began, time, before
            began = time


def silences(v: View) -> Numbers:
    """How long it may take until the next batch, whatever the trainer does meanwhile, by what was seen so far.

    Batches are counted when they end, so that a silence is known for a sample period less than its samples span.
    """
    lengths: list[float] = []
    numbers: Numbers = {}
    callbacks = 0.0
    for length, start, end, before in sorted(_silences(v, v.long.start), reverse=True)[:MOST]:
        seconds, spent = length - v.long.period, _trained(Window(v.long.store, start, end, v.long.period), v)
        if before and seconds > 0 and sum(spent.values()) >= seconds / 2:
            lengths.append(seconds)
            callbacks += spent.get("callbacks", 0.0) >= seconds / 2
            if end > v.now.start and SlowBatchSignals.excused_age not in numbers:
                numbers[SlowBatchSignals.excused_seconds] = sum(spent.get(phase, 0.0) for phase in _ELSEWHERE)
                numbers[SlowBatchSignals.excused_age] = v.now.end - end
    return numbers | {
        SlowBatchSignals.longest_silence: max(lengths, default=None),
        SlowBatchSignals.callback_pauses: callbacks,
    }


def _between(v: View, start: float, end: float, everywhere: _Stretch) -> SlowBatch | None:
    window = Window(v.long.store, start, end, v.long.period)
    inside, spent = _Stretch.of(window, v)
    if not inside or everywhere.batches is None or everywhere.batches - inside < FEWEST_BEFORE:
        return None
    usual = {
        name: (everywhere.spent[name] - seconds) / (everywhere.batches - inside)
        for name, seconds in spent.items()
        if name in everywhere.spent
    }
    excess = {name: spent[name] - inside * usual[name] for name in usual}
    ooms = window.increase(catalog.TRAIN_CUDA_OOMS_TOTAL, v.run, v.rank)
    return SlowBatch(excess, sum(usual.values()), ooms) if excess else None


def _trained(window: Window, v: View) -> dict[str, float]:
    """Seconds by phase of training.

    Among several ranks `other` is left out: a rank that waits for one that validates spends it there.
    """
    found = window.increases(catalog.TRAIN_PHASE_SECONDS_TOTAL, v.run, v.rank)
    alone = (whole(v.facts.get("world_size", "")) or 1) <= 1
    left_out = (*OUTSIDE.split("|"), *(() if alone else ("other",)))
    return {labels[2]: seconds for labels, seconds in found.items() if labels[2] not in left_out}


def _spent(window: Window, v: View) -> dict[str, float]:
    """Seconds by step phase, without the wait for first batches that older hooks count in `data_wait`."""
    phases = _trained(window, v)
    first = window.increase(catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, v.run, v.rank)
    if first and "loader_start" not in phases and "data_wait" in phases:
        phases["data_wait"] -= first
    return {name: seconds for name, seconds in phases.items() if name in _OWN}
