"""What the history can show over time: measures, and metrics as they are. Nothing is calculated here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from yoloscope_exporter import catalog
from yoloscope_exporter.language import text
from yoloscope_exporter.measures import gpu, loader, prediction, ranks, training
from yoloscope_exporter.measures.formula import Formula, Quantile, Selector, last

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.measures.measure import Measure

_RUN: Final = ("run",)
_RANK: Final = ("run", "rank")


@dataclass(frozen=True)
class Course:
    """One quantity over time.

    Attributes:
        name: in lower case; of a measure its own.
        formula: how it is calculated.
        by: labels of one line; `run` is that of the run which is looked at.
        title, help: what a chart of it is called and says; a measure's own.
    """

    name: str
    formula: Formula
    by: tuple[str, ...]
    title: str = ""
    help: str = ""

    @property
    def unit(self) -> str:
        """Of its values."""
        return self.formula.unit


def _measured(measure: Measure, *by: str) -> Course:
    return Course(measure.name, measure.formula, by, measure.title, measure.help)


#: All ranks of a run together.
IMAGES: Final = _measured(training.IMAGES, *_RUN)
PREDICT_IMAGES: Final = _measured(prediction.PREDICT_IMAGES, *_RUN)
#: Of one run. What a run has none of stays away.
OF_RUN: Final = (
    IMAGES,
    PREDICT_IMAGES,
    _measured(prediction.PREDICT_BATCH_SECONDS, *_RUN),
    _measured(training.DATA_WAIT, *_RANK),
    _measured(loader.PREPARATION, *_RANK, "worker"),
    _measured(ranks.OWN, *_RANK),
    Course("epoch", last(catalog.TRAIN_EPOCH).total("max"), _RUN, text("Epoch")),
    Course("loss", last(catalog.TRAIN_LOSS).total("avg"), (*_RUN, "component"), text("Loss")),
    Course("metric", last(catalog.TRAIN_METRIC).total("max"), (*_RUN, "name"), text("Validation metrics")),
    Course(
        "cuda_allocated",
        last(catalog.TRAIN_CUDA_MEMORY_BYTES, kind="allocated").total("max"),
        _RANK,
        text("GPU memory allocated by PyTorch"),
    ),
    Course("cuda_growth", last(catalog.TRAIN_CUDA_MEMORY_GROWTH_BYTES).total("max"), _RANK, text("GPU memory")),
    Course(
        "resident",
        last(catalog.TRAIN_PROCESS_RESIDENT_BYTES).total("sum"),
        _RANK,
        text("Memory of the processes"),
    ),
)
#: Of each GPU of the node.
OF_GPUS: Final = tuple(
    _measured(measure, "gpu")
    for measure in (gpu.BUSY, gpu.MEMORY_USED, gpu.POWER, gpu.HEAT_CELSIUS, gpu.SLOWED, gpu.POWER_CAP)
)
#: Of each rank over the last minute, beside what the courses say.
OF_RANKS: Final = tuple(
    _measured(measure, *_RANK)
    for measure in (
        ranks.OWN,
        ranks.LAG,
        training.DATA_WAIT,
        training.EXPOSED,
        training.STEP,
        gpu.BUSY_OF_RANK,
        training.IMAGES,
        training.SINCE_BATCH,
    )
)
#: Seconds of a batch by phase: where a step's time goes.
ANATOMY: Final = tuple(Course(phase, training.phase(phase) / training.BATCHES, _RANK) for phase in training.STEP_PHASES)


def metrics(formulas: Iterable[Formula]) -> frozenset[Metric]:
    """The metrics that formulas read."""
    return frozenset(metric for formula in formulas for metric in _read(formula))


def _read(part: object) -> Iterable[Metric]:
    if isinstance(part, Selector | Quantile):
        yield part.metric
    elif isinstance(part, Formula):
        for one in fields(part):  # type: ignore[arg-type] # every formula is a dataclass
            yield from _read(getattr(part, one.name))


#: What the history keeps. `train_up` tells living runs from ended ones.
KEPT: Final = frozenset(
    metric.name
    for metric in (
        *metrics(course.formula for course in (*OF_RUN, *OF_GPUS, *OF_RANKS, *ANATOMY)),
        catalog.TRAIN_UP,
    )
)
