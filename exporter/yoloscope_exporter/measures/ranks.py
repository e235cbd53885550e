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
from yoloscope_exporter.measures.training import OUTSIDE, without_first


def _own() -> Formula:
    split = rate(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase="backward_local").compared(">", 0)
    seconds = without_first(f"!~{OUTSIDE}|loader_start|backward_exposed", RANK).where(split, RANK)
    return seconds / rate(catalog.TRAIN_BATCHES_TOTAL).total("sum", RANK)


def lag(own: Formula) -> Formula:
    """How much longer each rank's own time for a batch is than the mean of the run's other ranks."""
    return to_others(own, RUN) - 1


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

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
