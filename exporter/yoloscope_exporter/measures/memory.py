"""What training holds in memory, on the device and on the host, what grows, and when memory will be full.

Growth is that of the floor, the least value of each quarter of the window: what is never given back. It counts only if
every quarter's floor lies above the one before and growth does not flatten, as it does where a cache or buffer fills;
absent otherwise. In the first epoch of a process caches and buffers fill: what grows then is told only where memory
does not last for it, by the measures that say so. On the host more may be known (`diagnosis.signals.memory`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from yoloscope_exporter import catalog
from yoloscope_exporter.measures.formula import (
    RANK,
    RUN_ON_NODE,
    TARGET,
    Formula,
    OverHow,
    OverTime,
    Selector,
    WindowSeconds,
    increase,
    last,
    over_time,
    rate,
)
from yoloscope_exporter.measures.gpu import on_ranks
from yoloscope_exporter.measures.measure import Measure

if TYPE_CHECKING:
    from yoloscope_exporter.catalog import Metric

#: Rising from each to the next: TraceML's policy asks for three rising bands.
QUARTERS: Final = 4
#: Share of the window from the first quarter to the last: it grew in that time.
GROWN_IN: Final = (QUARTERS - 1) / QUARTERS
_BETWEEN: Final = WindowSeconds(GROWN_IN)
#: Batches that Ultralytics' data set keeps decoded in each process that loads (`max_buffer_length`), for mosaics.
BUFFERED_BATCHES: Final = 8
#: Batches after which libraries are loaded and allocators have what they need. Ours.
FIRST_BATCHES: Final = 20
#: Share of a node's fall that the growth of runs past their first epoch explains, if it is theirs. Ours.
EXPLAINS: Final = 0.5


def _edges(how: OverHow, metric: Metric, by: tuple[str, ...], **labels: str) -> list[Formula]:
    """The lowest or highest values of each quarter of the window, summed over the labels that are not in `by`."""
    selector = Selector(metric, "", tuple(labels.items()))
    return [OverTime(how, selector, index, QUARTERS).total("sum", by) for index in range(QUARTERS)]


def _steady(edges: list[Formula]) -> Formula:
    """By how much the last lies above the first, if each lies above the one before and the last step is not small."""
    grown: Formula = edges[-1] - edges[0]
    steps = [later - earlier for earlier, later in pairwise(edges)]
    for step in steps:
        grown = grown.where(step.compared(">", 0))
    half_the_mean = (edges[-1] - edges[0]) * (0.5 / len(steps))
    return grown.where((steps[-1] - half_the_mean).compared(">=", 0))


#: Batches that were left of the first epoch of a process when the window began; not above zero where it was over.
_LEFT: Final = (
    last(catalog.TRAIN_EPOCH_BATCHES) - last(catalog.TRAIN_BATCHES_TOTAL) + increase(catalog.TRAIN_BATCHES_TOTAL)
)
_LEFT_OF_FIRST_EPOCH: Final = _LEFT.compared(">", 0).where(last(catalog.TRAIN_UP).compared("==", 1)).total("max", RANK)
_PAST_FIRST_EPOCH: Final = _LEFT.compared("<=", 0).total("max", RANK)
_FIRST_EPOCH_ENDS_IN: Final = (last(catalog.TRAIN_EPOCH_BATCHES) - last(catalog.TRAIN_BATCHES_TOTAL)).compared(
    ">", 0
).total("max", RANK) / rate(catalog.TRAIN_BATCHES_TOTAL).total("max", RANK)
#: Loader workers, each with buffers of its own; without any, and where they are not told, the main process has them.
_BUFFERING: Final = (
    last(catalog.TRAIN_WORKERS).clamped(least=1).or_(last(catalog.TRAIN_BATCHES_TOTAL).clamped(least=1, most=1))
)
#: Whether the buffers of whoever loads were full when the window began.
_WARM: Final = (
    last(catalog.TRAIN_BATCHES_TOTAL) - increase(catalog.TRAIN_BATCHES_TOTAL) - _BUFFERING * BUFFERED_BATCHES
).compared(">=", FIRST_BATCHES)


def _within(left: Formula, epoch: Formula) -> Formula:
    """The seconds that are left, where the first epoch takes longer."""
    return left.where((epoch - left).compared(">", 0))


def _cuda(kind: str) -> Formula:
    return last(catalog.TRAIN_CUDA_MEMORY_BYTES, kind=kind)


_REDUCED: Final = last(catalog.TRAIN_OOM_BATCH_REDUCTIONS_TOTAL).total("sum", RANK).compared(">", 0)
#: The peak of the run where PyTorch gives one, else the most that was seen in the window: so after Ultralytics has
#: halved the batch, because the peak of the run is that of the larger batch.
_PEAK: Final = (
    over_time("max", catalog.TRAIN_CUDA_MEMORY_BYTES, kind="peak_reserved")
    .total("max", RANK)
    .unless(_REDUCED, RANK)
    .or_(over_time("max", catalog.TRAIN_CUDA_MEMORY_BYTES, kind="reserved").total("max", RANK))
)
_DEVICE: Final = on_ranks(last(catalog.GPU_MEMORY_TOTAL_BYTES)).total("max", RANK)
_RESERVED: Final = _cuda("reserved").total("max", RANK)
#: What PyTorch's tensors can still take: what is free on the device, and what PyTorch holds in reserve.
_ROOM: Final = (
    on_ranks(last(catalog.GPU_MEMORY_FREE_BYTES)).total("min", RANK) + _RESERVED - _cuda("allocated").total("max", RANK)
).clamped(least=0)
_GPU_STEADY: Final = _steady(_edges("min", catalog.TRAIN_CUDA_MEMORY_BYTES, RANK, kind="allocated"))
_GPU_GROWN: Final = _GPU_STEADY.where(_PAST_FIRST_EPOCH, RANK)


def gpu_left(grown: Formula) -> Formula:
    """Seconds until the device is full, by what was allocated more from the first quarter of the window to the last."""
    return _ROOM / (grown / _BETWEEN)


_GPU_FIRST: Final = _within(gpu_left(_GPU_STEADY), _FIRST_EPOCH_ENDS_IN)
#: Workers of the validation come and stay: no growth of the training.
_HOST_GROWN: Final = _steady(_edges("min", catalog.TRAIN_PROCESS_RESIDENT_BYTES, RANK, role="!=val_worker"))
_AVAILABLE: Final = last(catalog.MEMORY_AVAILABLE_BYTES).total("min", TARGET)


def _fallen() -> Formula:
    """By how much the node's available memory fell, steadily: the same of what is not available, turned round."""
    highest = _edges("max", catalog.MEMORY_AVAILABLE_BYTES, TARGET)
    return _steady([edge * -1 for edge in highest])


_HOST_LEFT: Final = _AVAILABLE / (_fallen() / _BETWEEN)
_ROOM_OF_CGROUP: Final = (
    (last(catalog.CGROUP_MEMORY_LIMIT_BYTES) - last(catalog.CGROUP_MEMORY_USED_BYTES))
    .clamped(least=0)
    .total("min", RUN_ON_NODE)
)
#: Of what was past its first epoch when the window began: whatever else fills caches beside it, this grows.
_GROWN_LATER: Final = _HOST_GROWN.where(_PAST_FIRST_EPOCH, RANK).total("sum", TARGET)
#: Of what is used without the page cache: all that the cgroup's processes keep, and what they put into tmpfs.
_CGROUP_GROWN: Final = _steady(_edges("min", catalog.CGROUP_MEMORY_USED_BYTES, RUN_ON_NODE))
_CGROUP_LEFT: Final = _ROOM_OF_CGROUP / (_CGROUP_GROWN / _BETWEEN)
#: Runs in set-up, which reads the data set.
SETS_UP: Final = last(catalog.TRAIN_STATE, state="setup").compared("==", 1)


def _fills(place: tuple[str, ...]) -> Formula:
    """Where a run was in its first epoch when the window began, or sets up: what grows there may be a cache."""
    return _LEFT_OF_FIRST_EPOCH.total("max", place).or_(SETS_UP.total("max", place))


#: Nodes and runs of whose growth after the first epoch nothing can be said yet.
HOST_FILLS: Final = _fills(TARGET).unless((_GROWN_LATER - _fallen() * EXPLAINS).compared(">=", 0), TARGET)
CGROUP_FILLS: Final = _fills(RUN_ON_NODE)


PEAK: Final = Measure(
    name="gpu_memory_peak",
    title="Peak GPU memory",
    help="Most device memory that PyTorch reserved so far; once the batch was halved, in the window.",
    formula=_PEAK.total("max"),
    of=RANK,
)
PEAK_SHARE: Final = Measure(
    name="gpu_memory_peak_share",
    title="Peak GPU memory / device",
    help="Most device memory that PyTorch reserved so far (in the window if the batch was halved), over the device's.",
    formula=(_PEAK / _DEVICE).total("max"),
    of=RANK,
    thresholds=("cuda_peak_share", "cuda_peak_share_severe"),
)
PEAK_LEFT: Final = Measure(
    name="gpu_memory_left_at_peak",
    title="Left at the peak",
    help="Device memory less the most that PyTorch reserved so far.",
    formula=(_DEVICE - _PEAK).total("min"),
    of=RANK,
)
CACHED: Final = Measure(
    name="gpu_memory_cached",
    title="PyTorch's cache",
    help="Device memory that PyTorch reserved and no tensor uses now.",
    formula=(_RESERVED - _cuda("allocated").total("max", RANK)).total("max"),
    of=RANK,
)
FRAGMENTED: Final = Measure(
    name="gpu_memory_fragmented",
    title="Reserved, never used at once",
    help="What PyTorch reserved beyond the most that tensors ever used at once, as a share of the device memory.",
    formula=((_RESERVED - _cuda("peak_allocated").total("max", RANK)).clamped(least=0) / _DEVICE).total("max"),
    of=RANK,
    thresholds=("fragmented", "fragmented_severe"),
)
OF_OTHERS: Final = Measure(
    name="gpu_memory_of_others",
    title="CUDA context and others",
    help="Device memory in use that PyTorch did not reserve: CUDA's context, libraries, other processes.",
    formula=(on_ranks(last(catalog.GPU_MEMORY_USED_BYTES)).total("max", RANK) - _RESERVED)
    .clamped(least=0)
    .total("max"),
    of=RANK,
)
DEVICE_FREE: Final = Measure(
    name="gpu_memory_free",
    title="GPU memory free",
    help="Share of the device memory that nobody uses, of GPUs of living ranks.",
    formula=(on_ranks(last(catalog.GPU_MEMORY_FREE_BYTES)).total("min", RANK) / _DEVICE).total("min"),
    of=RANK,
    thresholds=("headroom",),
)
GPU_GROWTH: Final = Measure(
    name="gpu_memory_growth",
    title="GPU memory growth",
    help="Steady growth of the allocated device memory over the window, after the first epoch.",
    formula=_GPU_GROWN.total("max"),
    of=RANK,
    thresholds=("growth_bytes",),
)
GPU_SECONDS_LEFT: Final = Measure(
    name="gpu_memory_seconds_left",
    title="GPU memory full in",
    help="Time until the device memory is full if its steady growth goes on.",
    formula=gpu_left(_GPU_GROWN).total("min"),
    of=RANK,
    thresholds=("memory_ahead",),
)
GPU_FIRST_GROWTH: Final = Measure(
    name="gpu_memory_growth_first_epoch",
    title="GPU memory growth, first epoch",
    help="Steady growth of the allocated device memory in the first epoch; absent where memory lasts for that epoch.",
    formula=_GPU_STEADY.where(_GPU_FIRST).total("max"),
    of=RANK,
    thresholds=("growth_bytes",),
)
GPU_FIRST_SECONDS_LEFT: Final = Measure(
    name="gpu_memory_seconds_left_first_epoch",
    title="GPU memory full before the first epoch ends",
    help="Time until the device memory is full; absent where it lasts for the first epoch.",
    formula=_GPU_FIRST.total("min"),
    of=RANK,
)
HOST_GROWTH: Final = Measure(
    name="host_memory_growth",
    title="Memory growth of the processes",
    help="Steady growth of the resident memory of the rank's processes over the window.",
    formula=_HOST_GROWN.total("max"),
    of=RANK,
    thresholds=("growth_bytes",),
)
AVAILABLE_FALL: Final = Measure(
    name="memory_available_fall",
    title="Fall of available memory",
    help="Steady fall of the node's available memory over the window.",
    formula=_fallen().total("max"),
    of=TARGET,
    thresholds=("available_fall_share", "growth_bytes"),
)
HOST_SECONDS_LEFT: Final = Measure(
    name="host_memory_seconds_left",
    title="Memory full in",
    help="Time until the node's memory is full if the steady fall of what is available goes on.",
    formula=_HOST_LEFT.total("min"),
    of=TARGET,
    thresholds=("memory_ahead",),
)
HOST_FIRST_SECONDS_LEFT: Final = Measure(
    name="host_memory_seconds_left_first_epoch",
    title="Memory full before the first epoch ends",
    help="The same of the first epoch of a run on the node, once buffers are full; absent where memory lasts for it.",
    formula=_within(_HOST_LEFT, _FIRST_EPOCH_ENDS_IN.where(_WARM, RANK).total("max", TARGET)).total("min"),
    of=TARGET,
)
CGROUP_SECONDS_LEFT: Final = Measure(
    name="cgroup_memory_seconds_left",
    title="Memory limit reached in",
    help="Time until a run's cgroup is at its memory limit if the steady growth of what it uses goes on.",
    formula=_CGROUP_LEFT.total("min"),
    of=RUN_ON_NODE,
    thresholds=("memory_ahead",),
)
CGROUP_FIRST_SECONDS_LEFT: Final = Measure(
    name="cgroup_memory_seconds_left_first_epoch",
    title="Memory limit reached before the first epoch ends",
    help="The same of the run's first epoch, once buffers are full; absent where memory lasts for it.",
    formula=_within(_CGROUP_LEFT, _FIRST_EPOCH_ENDS_IN.where(_WARM, RANK).total("max", RUN_ON_NODE)).total("min"),
    of=RUN_ON_NODE,
)
HOST_USED: Final = Measure(
    name="memory_used",
    title="Memory used",
    help="Share of the node's memory in use: total less available.",
    formula=last(catalog.MEMORY_USED_BYTES).total("sum") / last(catalog.MEMORY_TOTAL_BYTES).total("sum"),
    of=TARGET,
    thresholds=("host_memory", "busy_severe"),
)

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
