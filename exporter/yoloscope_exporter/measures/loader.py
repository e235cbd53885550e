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
    title_zh="队列填充率",
    help="Batches that are ready over those that could be.",
    help_zh="已就绪的 batch 数与队列容量之比。",
    formula=last(catalog.TRAIN_QUEUE_DEPTH).total("sum") / last(catalog.TRAIN_QUEUE_CAPACITY).total("sum"),
    of=RANK,
    thresholds=("queue_low", "queue_empty"),
)
PREPARATION: Final = Measure(
    name="preparation",
    title="Preparing a batch",
    title_zh="准备一个 batch",
    help="Mean time a loader worker takes for a batch.",
    help_zh="数据加载 worker 准备一个 batch 的平均时间。",
    formula=_SECONDS.total("sum") / _BATCHES.total("sum"),
    of=WORKER,
)
PREPARATION_CPU: Final = Measure(
    name="preparation_cpu",
    title="Preparation on a CPU",
    title_zh="准备中的 CPU 占比",
    help="Share of the preparation in which the worker computed; the rest is waiting.",
    help_zh="准备时间中 worker 占用 CPU 的占比；其余为等待。",
    formula=(rate(catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL).total("sum") / _SECONDS.total("sum")).clamped(most=1),
    of=WORKER,
    thresholds=("waiting_ratio",),
)
DWELL: Final = Measure(
    name="dwell",
    title="Time a ready batch waits",
    title_zh="就绪 batch 的等待时间",
    help="Mean time between a batch being ready and the trainer taking it.",
    help_zh="batch 就绪到被训练取走之间的平均时间。",
    formula=rate(catalog.TRAIN_BATCH_DWELL_SECONDS_TOTAL).total("sum") / rate(catalog.TRAIN_BATCHES_TOTAL).total("sum"),
    of=RANK,
)
DECODING: Final = Measure(
    name="decoding",
    title="Decoding",
    title_zh="解码",
    help="Share of the preparation in which the worker read and decoded images.",
    help_zh="准备时间中 worker 读取并解码图像的占比。",
    formula=(rate(catalog.TRAIN_WORKER_DECODE_SECONDS_TOTAL).total("sum") / _SECONDS.total("sum")).clamped(most=1),
    of=WORKER,
)
STORAGE_READ: Final = Measure(
    name="storage_read",
    title="Read from storage",
    title_zh="从存储读取",
    help="Bytes per second that the rank's processes had read from storage; what the page cache gave does not count.",
    help_zh="该 rank 各进程每秒从存储读取的字节数；页缓存命中不计入。",
    formula=rate(catalog.TRAIN_PROCESS_READ_BYTES_TOTAL).total("sum"),
    of=RANK,
)
WORKER_TO_OTHERS: Final = Measure(
    name="worker_to_others",
    title="Ratio to other workers",
    title_zh="与其他 worker 之比",
    help="Time a loader worker takes for a batch over the mean of the rank's other workers.",
    help_zh="该数据加载 worker 准备一个 batch 的时间与同一 rank 其他 worker 均值之比。",
    formula=to_others(_SECONDS.total("sum", WORKER) / _BATCHES.total("sum", WORKER), RANK).total("max"),
    of=WORKER,
    thresholds=("slow_worker_ratio",),
)

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
