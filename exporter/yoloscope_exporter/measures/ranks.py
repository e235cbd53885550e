"""The ranks of a run beside each other.

A rank's own time for a batch is all of its step time but the wait for its peers' gradients, its wait for data included:
whatever it is that makes it late, the others wait for it. It is known only where the hooks can split the backward pass.
"""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import catalog
from yoloscope_exporter.measures.comparison import of_others, to_others
from yoloscope_exporter.measures.formula import RANK, RUN, Formula, rate
from yoloscope_exporter.measures.measure import Measure
from yoloscope_exporter.measures.training import OUTSIDE, PAUSES, without_first


def _own() -> Formula:
    split = rate(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase="backward_local").compared(">", 0)
    seconds = without_first(f"!~{OUTSIDE}|loader_start|backward_exposed", RANK).where(split, RANK)
    return seconds / rate(catalog.TRAIN_BATCHES_TOTAL).total("sum", RANK)


def lag(own: Formula) -> Formula:
    """How much longer each rank's own time for a batch is than the mean of the run's other ranks."""
    return to_others(own, RUN) - 1


def behind(own: Formula) -> Formula:
    """The same in seconds."""
    return own - of_others(own, RUN)


def waited_for(waits: Formula, pauses: Formula) -> Formula:
    """How much longer the run's other ranks wait in a batch than each, less what it pauses longer than they do.

    Up to Ultralytics 8.3.217 rank 0 validates alone, and the others wait for that.
    """
    paused = (pauses - of_others(pauses, RUN)).clamped(least=0)
    return of_others(waits, RUN) - waits - paused


def _for_a_batch(phases: str) -> Formula:
    seconds = rate(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase=phases).total("sum", RANK)
    return seconds / rate(catalog.TRAIN_BATCHES_TOTAL).total("sum", RANK)


_PAUSED: Final = _for_a_batch(f"=~{'|'.join(PAUSES)}")

OWN: Final = Measure(
    name="own",
    title="Own time for a batch",
    help="Mean time of a batch on this rank, the wait for other ranks left out.",
    formula=_own().total("max"),
    of=RANK,
)
OTHERS: Final = Measure(
    name="others",
    title="Own time of the other ranks",
    help="Mean own time of the run's other ranks for a batch.",
    formula=of_others(_own(), RUN).total("max"),
    of=RANK,
)
LAG: Final = Measure(
    name="lag",
    title="Behind the other ranks",
    help="How much longer this rank's own time for a batch is than the mean of the run's other ranks.",
    formula=lag(_own()).total("max"),
    of=RANK,
    thresholds=("lag", "lag_severe"),
)
PAUSED: Final = Measure(
    name="paused_seconds",
    title="Validation and checkpoints for a batch",
    help="Mean time for which a rank validates and saves checkpoints, for each of its batches.",
    formula=_PAUSED.total("max"),
    of=RANK,
)
WAITED_FOR: Final = Measure(
    name="waited_for",
    title="Waited for by the other ranks",
    help="How much longer the run's other ranks wait for peers in a batch than this rank, less the time that its "
    "validation and checkpoints are longer.",
    formula=waited_for(_for_a_batch("backward_exposed"), _PAUSED).total("max"),
    of=RANK,
)

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
