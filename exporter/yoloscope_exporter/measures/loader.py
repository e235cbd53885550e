"""How fast the loader prepares batches, and what its workers spend that time on."""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import catalog
from yoloscope_exporter.measures.comparison import to_others
from yoloscope_exporter.measures.formula import RANK, WORKER, last, rate
from yoloscope_exporter.measures.measure import Measure

_SECONDS: Final = rate(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL)
_BATCHES: Final = rate(catalog.TRAIN_WORKER_BATCHES_TOTAL)

QUEUE_FILL: Final = Measure(
    name="queue_fill",
    title="Queue filled",
    help="Batches that are ready over those that could be.",
    formula=last(catalog.TRAIN_QUEUE_DEPTH).total("sum") / last(catalog.TRAIN_QUEUE_CAPACITY).total("sum"),
    of=RANK,
    thresholds=("queue_low", "queue_empty"),
)
PREPARATION: Final = Measure(
    name="preparation",
    title="Preparing a batch",
    help="Mean time a loader worker takes for a batch.",
    formula=_SECONDS.total("sum") / _BATCHES.total("sum"),
    of=WORKER,
)
PREPARATION_CPU: Final = Measure(
    name="preparation_cpu",
    title="Preparation on a CPU",
    help="Share of the preparation in which the worker computed; the rest is waiting.",
    formula=(rate(catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL).total("sum") / _SECONDS.total("sum")).clamped(most=1),
    of=WORKER,
    thresholds=("waiting_ratio",),
)
DWELL: Final = Measure(
    name="dwell",
    title="Time a ready batch waits",
    help="Mean time between a batch being ready and the trainer taking it.",
    formula=rate(catalog.TRAIN_BATCH_DWELL_SECONDS_TOTAL).total("sum") / rate(catalog.TRAIN_BATCHES_TOTAL).total("sum"),
    of=RANK,
)
DECODING: Final = Measure(
    name="decoding",
    title="Decoding",
    help="Share of the preparation in which the worker read and decoded images.",
    formula=(rate(catalog.TRAIN_WORKER_DECODE_SECONDS_TOTAL).total("sum") / _SECONDS.total("sum")).clamped(most=1),
    of=WORKER,
)
STORAGE_READ: Final = Measure(
    name="storage_read",
    title="Read from storage",
    help="Bytes per second that the rank's processes had read from storage; what the page cache gave does not count.",
    formula=rate(catalog.TRAIN_PROCESS_READ_BYTES_TOTAL).total("sum"),
    of=RANK,
)
WORKER_TO_OTHERS: Final = Measure(
    name="worker_to_others",
    title="Ratio to other workers",
    help="Time a loader worker takes for a batch over the mean of the rank's other workers.",
    formula=to_others(_SECONDS.total("sum", WORKER) / _BATCHES.total("sum", WORKER), RANK).total("max"),
    of=WORKER,
    thresholds=("slow_worker_ratio",),
)

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
