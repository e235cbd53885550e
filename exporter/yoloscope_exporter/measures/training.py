"""Where the time of the training loop goes.

Three times, each part of the one before:

- wall time, which the phases of a rank add up to;
- training time: all phases but `setup`, `validate` and `checkpoint`;
- step time: training time without the wait for the first batch of each epoch (workers start, the prefetch fills),
  which is a cost of its own (`loader_start`) and no sign of a slow loader.

Phases are told by a regular expression, so that a phase that hooks older than the exporter do not have, or newer ones
add, empties nothing. Hooks without the phase `loader_start` count that wait in `data_wait` and beside it in
`train_first_batch_wait_seconds_total`; there it is subtracted.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from yoloscope_exporter import catalog
from yoloscope_exporter.measures.formula import RANK, Formula, age, last, rate
from yoloscope_exporter.measures.measure import Measure

if TYPE_CHECKING:
    from yoloscope_exporter.catalog import Metric

OUTSIDE: Final = "setup|validate|checkpoint"
#: Phases of a training that are no part of its steps, in which ranks may wait for one that is in them.
PAUSES: Final = ("validate", "checkpoint")
COMPUTE: Final = "forward|backward|backward_local|optimizer"
#: The phases of a training step, by name.
STEP_PHASES: Final = tuple(p for p in catalog.PHASES if p not in {*OUTSIDE.split("|"), "loader_start"})


@cache
def phase(phases: str) -> Formula:
    """Seconds in some phases, a regular expression of them, per second."""
    return rate(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase=phases).total("sum")


_START: Final = rate(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase="loader_start")
#: Where the hooks are older and have no such phase.
_FIRST: Final = rate(catalog.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL).unless(_START, RANK)


def without_first(phases: str, by: tuple[str, ...] | None = None) -> Formula:
    """Seconds in some phases per second, without the wait for first batches that older hooks count in `data_wait`."""
    return rate(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase=phases).or_(_FIRST * -1).total("sum", by)


def of_all_ranks(counter: Metric) -> Formula:
    """What all ranks together count per second of training time, which they spend side by side."""
    training = rate(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase=f"!~{OUTSIDE}").total("sum", RANK)
    return rate(counter).total("sum") / training.compared(">", 0).total("avg")


TRAINING_TIME: Final = phase(f"!~{OUTSIDE}")
STEP_TIME: Final = without_first(f"!~{OUTSIDE}|loader_start")
#: Of a trainer whose steps could not be split, all that is known is `other`.
COMPUTE_TIME: Final = phase(f"=~{COMPUTE}").compared(">", 0).or_(phase("other"))
WAIT_TIME: Final = without_first("data_wait").clamped(least=0)
START_TIME: Final = _START.or_(_FIRST).total("sum")
BATCHES: Final = rate(catalog.TRAIN_BATCHES_TOTAL).total("sum")


def _share(phases: str) -> Formula:
    return phase(phases) / STEP_TIME


DATA_WAIT: Final = Measure(
    name="data_wait",
    title="Waiting for data",
    help="Share of step time in which the trainer waited for the next batch; first batches of epochs are left out.",
    formula=WAIT_TIME / STEP_TIME,
    of=RANK,
    thresholds=("input_share", "input_share_severe"),
)
LOADER_START: Final = Measure(
    name="loader_start",
    title="Starting the loader",
    help="Share of training time spent waiting for the first batch of an epoch: workers start, the prefetch fills.",
    formula=START_TIME / TRAINING_TIME,
    of=RANK,
    thresholds=("loader_start_share",),
)
CALLBACKS: Final = Measure(
    name="callbacks",
    title="Callbacks",
    help="Share of step time spent in callbacks that are not yoloscope's.",
    formula=_share("callbacks"),
    of=RANK,
    thresholds=("callbacks_share",),
)
COPY: Final = Measure(
    name="copy",
    title="Copying to the device",
    help="Share of step time spent copying batches to the device.",
    formula=_share("h2d"),
    of=RANK,
    thresholds=("h2d_share",),
)
CALLBACKS_OF_WALL: Final = Measure(
    name="callbacks_of_wall",
    title="Callbacks / wall time",
    help="Share of wall time spent in callbacks that are not yoloscope's, those between epochs included.",
    formula=phase("callbacks") / phase("=~.+"),
    of=RANK,
    thresholds=("callbacks_share",),
)
CALLBACK_SECONDS: Final = Measure(
    name="callback_seconds",
    title="Callbacks for a batch",
    help="Mean time of a batch in callbacks that are not yoloscope's.",
    formula=phase("callbacks") / BATCHES,
    of=RANK,
)
PREPROCESS: Final = Measure(
    name="preprocess",
    title="Preprocessing",
    help="Share of step time spent in preprocess_batch besides copies to the device.",
    formula=_share("preprocess"),
    of=RANK,
    thresholds=("preprocess_share",),
)
COMPUTE_SHARE: Final = Measure(
    name="compute",
    title="Computing",
    help="Share of step time spent in forward, backward and optimizer.",
    formula=COMPUTE_TIME / STEP_TIME,
    of=RANK,
    thresholds=("compute_share",),
)
EXPOSED_SECONDS: Final = Measure(
    name="exposed_seconds",
    title="Wait for other ranks",
    help="Mean time for which a rank waits for gradients of other ranks, and for buffers of rank 0, in a batch.",
    formula=phase("backward_exposed") / BATCHES,
    of=RANK,
)
BACKWARD_SECONDS: Final = Measure(
    name="backward_seconds",
    title="Backward, its own part",
    help="Mean time of a batch's backward pass, the wait for other ranks left out.",
    formula=phase("=~backward|backward_local") / BATCHES,
    of=RANK,
)
EXPOSED: Final = Measure(
    name="exposed",
    title="Waiting for other ranks",
    help="Share of step time spent waiting for other ranks: for their gradients after the rank's own backward has "
    "ended, and for the buffers of rank 0 before its forward pass.",
    formula=_share("backward_exposed"),
    of=RANK,
    thresholds=("exposed_share",),
)
GOODPUT: Final = Measure(
    name="goodput",
    title="Goodput",
    help="Share of wall time spent in forward, backward and optimizer.",
    formula=COMPUTE_TIME / phase("=~.+"),
    of=RANK,
    thresholds=("goodput", "goodput_low"),
)
TRAINING: Final = Measure(
    name="training",
    title="Training",
    help="Share of wall time spent in training: not in set-up, validation or checkpoints.",
    formula=(TRAINING_TIME / phase("=~.+")),
    of=RANK,
    thresholds=("train_share",),
)
VALIDATION: Final = Measure(
    name="validation",
    title="Validating",
    help="Share of wall time spent validating.",
    formula=phase("validate") / phase("=~.+"),
    of=RANK,
    thresholds=("validate_share",),
)
CHECKPOINT: Final = Measure(
    name="checkpoint",
    title="Writing checkpoints",
    help="Share of wall time spent writing checkpoints.",
    formula=phase("checkpoint") / phase("=~.+"),
    of=RANK,
    thresholds=("checkpoint_share",),
)
IMAGES: Final = Measure(
    name="images",
    title="Images per second",
    help="Training images per second of training time, all ranks together: validation and checkpoints do not count.",
    formula=of_all_ranks(catalog.TRAIN_IMAGES_TOTAL),
    of=RANK,
)
FLOPS: Final = Measure(
    name="flops",
    title="Operations per second",
    help="Floating-point operations of the model's layers per second of training time, all ranks together.",
    formula=of_all_ranks(catalog.TRAIN_FLOPS_TOTAL),
    of=RANK,
)
IMAGES_WITHOUT_WAIT: Final = Measure(
    name="images_without_wait",
    title="Images per second without waiting",
    help="Training images per second if no batch were waited for.",
    formula=IMAGES.formula / (DATA_WAIT.formula * -1 + 1),
    of=RANK,
)
PROGRESS: Final = Measure(
    name="progress",
    title="Progress",
    help="Epoch under way over epochs asked for.",
    formula=last(catalog.TRAIN_EPOCH).total("max") / last(catalog.TRAIN_EPOCHS).total("max"),
    of=RANK,
)
STEP: Final = Measure(
    name="step",
    title="Step time",
    help="Mean time of a batch, the wait for data left out.",
    formula=(STEP_TIME - WAIT_TIME) / BATCHES,
    of=RANK,
)
WAIT: Final = Measure(
    name="wait",
    title="Wait for a batch",
    help="Mean time for which a batch was waited for; the first batch of each epoch is left out.",
    formula=WAIT_TIME / BATCHES,
    of=RANK,
)
SINCE_BATCH: Final = Measure(
    name="since_batch",
    title="Since the last batch",
    help="Seconds since the last training batch ended.",
    formula=age(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS).total("min"),
    of=RANK,
    thresholds=("late_batch", "stall_most_seconds"),
)

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
