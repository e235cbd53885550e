"""Main memory: what is left of it, and what grows."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import ratio, total
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.measures import memory as measures
from yoloscope_exporter.measures.series import Window
from yoloscope_exporter.measures.thresholds import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View
    from yoloscope_exporter.measures.measure import Measure

#: Metrics of the node that these signals are computed from.
METRICS = (
    catalog.MEMORY_TOTAL_BYTES,
    catalog.MEMORY_AVAILABLE_BYTES,
    catalog.MEMORY_OOM_KILLS_TOTAL,
    catalog.GPU_MEMORY_FREE_BYTES,
)


#: Fewer sample periods than this say nothing of a slope: four to each quarter of the window.
FEWEST_PERIODS = 4 * measures.QUARTERS
#: Whole epochs, so that what one takes and gives back is no growth.
EPOCHS_TO_GROW = 2


class MemorySignals:
    """Main memory, and the growth of device memory, which is told in the same way."""

    memory_available_bytes = Signal("memory that can still be had: node, or what the cgroup's limit leaves")
    memory_used_share = Signal("memory in use over the cgroup's limit, or over the node's memory")
    oom_kills = Signal(
        "processes of the cgroup killed for lack of memory: in the window; where the run failed in half an hour, where "
        "it was killed since its last batch"
    )
    node_oom_kills = Signal("the same of the whole node, where the run's cgroup does not count them")
    resident_bytes = Signal("resident memory of the rank's processes")
    resident_growth_bytes = Signal(
        "steady growth of resident memory since the second epoch began, in the first one since warm-up, in bytes; 0 if "
        "it is not steady"
    )
    resident_growth_rate = Signal("the same in bytes per second")
    resident_growth_batch = Signal("the same in bytes per batch")
    first_epoch_left = Signal("batches that are left of the first epoch of the process; unknown after it")
    available_fall_bytes = Signal("steady fall of the node's available memory, in bytes; 0 if it is not steady")
    cgroup_grown_bytes = Signal(
        "growth of what the run's cgroup uses in the same time; unknown without a cgroup of its own"
    )
    cuda_growth_bytes = Signal(
        "steady growth of allocated CUDA memory after the first epoch, in the first one where device memory does not "
        "last for it; 0 if it is not steady"
    )
    cuda_seconds_left = Signal("seconds until device memory is full if its steady growth goes on")
    growth_seconds = Signal("how long the growth of memory was watched, in seconds")


def memory(v: View) -> Numbers:
    """What is left, and what the rank holds."""
    installed, available = v.now.last(catalog.MEMORY_TOTAL_BYTES), v.now.last(catalog.MEMORY_AVAILABLE_BYTES)
    limit = v.now.last(catalog.CGROUP_MEMORY_LIMIT_BYTES, v.run)
    used = v.now.last(catalog.CGROUP_MEMORY_USED_BYTES, v.run)
    when = _killed_in(v)
    kills = when.events(catalog.CGROUP_OOM_KILLS_TOTAL, v.run)
    in_use = installed - available if installed is not None and available is not None else None
    if limit is not None and used is not None and (installed is None or limit < installed):
        available = min(max(limit - used, 0.0), available if available is not None else limit)
        installed, in_use = limit, used
    return {
        MemorySignals.memory_available_bytes: available,
        MemorySignals.memory_used_share: ratio(in_use, installed),
        MemorySignals.oom_kills: kills,
        MemorySignals.node_oom_kills: when.increase(catalog.MEMORY_OOM_KILLS_TOTAL) if kills is None else None,
        MemorySignals.resident_bytes: total(v.now.current(catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank)),
    }


def _killed_in(v: View) -> Window:
    """The window in which a kill may be what ended the rank: an earlier one is somebody else's, or was survived."""
    if v.state != "killed":
        return v.long if v.state == "failed" else v.now
    batch = v.now.last(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, v.run, v.rank)
    seen = [time for time, _ in v.long.points(catalog.TRAIN_UP, v.run, v.rank) if batch is not None and time <= batch]
    return v.long.since(seen[-1]) if seen else v.long


def growth(v: View) -> Numbers:
    """Steady growth over the long window: since the second epoch began, in the first one since buffers are full.

    Until the second epoch a data set may fill a cache of its own: then the growth of the processes is told, and that of
    device memory where it does not last for the epoch.
    """
    window = _grown_in(v)
    if window.seconds < FEWEST_PERIODS * window.period:
        return {}
    found = _growth(v, window)
    for later in _later_parts(v, window):
        if _much(found):
            break
        of_part = _growth(v, later)
        found = of_part if _much(of_part) else found
    return found


def _much(grown: Numbers) -> bool:
    return any((grown.get(signal) or 0.0) >= DEFAULTS.growth_bytes for signal in _GROWTHS)


#: What is 0 where nothing grows steadily.
_GROWTHS = (
    MemorySignals.resident_growth_bytes,
    MemorySignals.cuda_growth_bytes,
    MemorySignals.available_fall_bytes,
)


def _later_parts(v: View, window: Window) -> Iterator[Window]:
    """The last half, quarter and eighth of a window in which something may have begun to grow.

    Only where each holds two whole epochs: what an epoch takes and gives back at its end grows within it.
    """
    begun = [time for time, _ in _epochs_begun(v)]
    for share in (1 / 2, 1 / 4, 1 / 8):
        later = window.since(window.end - share * window.seconds)
        whole = sum(time >= later.start for time in begun) > EPOCHS_TO_GROW
        if whole and later.seconds >= FEWEST_PERIODS * window.period:
            yield later


def _growth(v: View, window: Window) -> Numbers:
    """The same over one window."""
    left = _first_epoch_left(v)
    reading = v.machine_of(window).reading

    def grown(measure: Measure, metric: catalog.Metric, *prefix: str, **labels: str) -> float | None:
        """0 where it is known that nothing grows steadily."""
        return reading.one(measure, **labels) or (0.0 if window.current(metric, *prefix) else None)

    rank = {"run": v.run, "rank": v.rank}
    resident = grown(measures.HOST_GROWTH, catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank, **rank)
    if (resident or 0.0) >= DEFAULTS.growth_bytes and not _is_higher_than_ever(v, window):
        resident = 0.0
    batches = window.increase(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    of_processes: Numbers = {
        MemorySignals.resident_growth_bytes: resident,
        MemorySignals.resident_growth_rate: ratio(resident, measures.GROWN_IN * window.seconds),
        MemorySignals.resident_growth_batch: ratio(resident, measures.GROWN_IN * (batches or 0.0)),
        MemorySignals.first_epoch_left: left,
        MemorySignals.growth_seconds: window.seconds,
    }

    def on_device(growth: Measure, seconds_left: Measure) -> Numbers:
        growth_bytes = grown(growth, catalog.TRAIN_CUDA_MEMORY_BYTES, v.run, v.rank, "allocated", **rank)
        seconds = reading.one(seconds_left, **rank)
        return {MemorySignals.cuda_growth_bytes: growth_bytes, MemorySignals.cuda_seconds_left: seconds}

    if left is not None:
        return of_processes | on_device(measures.GPU_FIRST_GROWTH, measures.GPU_FIRST_SECONDS_LEFT)
    fallen = grown(measures.AVAILABLE_FALL, catalog.MEMORY_AVAILABLE_BYTES)
    used = [size for _, size in window.points(catalog.CGROUP_MEMORY_USED_BYTES, v.run)]
    of_node: Numbers = {
        MemorySignals.available_fall_bytes: fallen,
        MemorySignals.cgroup_grown_bytes: used[-1] - used[0] if used else None,
    }
    return of_processes | of_node | on_device(measures.GPU_GROWTH, measures.GPU_SECONDS_LEFT)


def _is_higher_than_ever(v: View, window: Window) -> bool:
    """Whether the processes hold more than at any time before the window: what each epoch gives back does not grow.

    Once two epochs are over since the second one began that would have been seen, and what a start takes and gives back
    counts no more: libraries are read, and the kernel drops their pages later.
    """
    held: defaultdict[float, float] = defaultdict(float)
    whole = sum(time >= window.start for time, _ in _epochs_begun(v)) > EPOCHS_TO_GROW
    since = _grown_in(v).start if whole else v.long.start
    for labels in v.long.current(catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank):
        if labels[2] != "val_worker":
            for time, size in v.long.points(catalog.TRAIN_PROCESS_RESIDENT_BYTES, *labels):
                held[time] += size
    last = [size for time, size in held.items() if time >= window.end - window.seconds / measures.QUARTERS]
    return min(last, default=0.0) > max(
        (size for time, size in held.items() if since <= time < window.start), default=0.0
    )


def _epochs_begun(v: View) -> list[tuple[float, float]]:
    """When each epoch of the long window began, but for the one that was under way."""
    points = v.long.points(catalog.TRAIN_EPOCH, v.run, v.rank)
    return [later for (_, before), later in pairwise(points) if later[1] > before]


def growing(v: View) -> dict[str, str]:
    """Whose memory has grown most where the growth is watched; the validation's workers are none of it."""
    window, grown = _grown_in(v), dict[str, float]()
    for labels in window.current(catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank):
        points = window.points(catalog.TRAIN_PROCESS_RESIDENT_BYTES, *labels)
        if labels[2] != "val_worker" and points[-1][1] > points[0][1]:
            grown[labels[2]] = points[-1][1] - points[0][1]
    return {"growing": max(grown, key=lambda role: grown[role])} if grown else {}


def _grown_in(v: View) -> Window:
    """The long window since the second epoch began, in the first one since buffers are full.

    To the last sample of it: what was counted is carried on to a window's end, and a long window is sampled rarely.
    """
    window = v.long.since(_second_epoch(v) if _first_epoch_left(v) is None else _warmed_up(v))
    last = next((time for time, _ in window.backwards(catalog.TRAIN_UP, v.run, v.rank)), window.end)
    return Window(window.store, window.start, last, window.period)


def _first_epoch_left(v: View) -> float | None:
    """Batches that are left of the first epoch of the process, which is not that of the run where it was resumed."""
    done = v.now.last(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    of_epoch = v.now.last(catalog.TRAIN_EPOCH_BATCHES, v.run, v.rank)
    return of_epoch - done if done is not None and of_epoch is not None and done < of_epoch else None


def _warmed_up(v: View) -> float:
    """When buffers were full and the first batches over; later than the window where that has not been seen."""
    buffered = measures.BUFFERED_BATCHES * (v.now.last(catalog.TRAIN_WORKERS, v.run, v.rank) or 1.0)
    points = v.long.points(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    return next((time for time, done in points if done >= buffered + measures.FIRST_BATCHES), v.long.end)


def _second_epoch(v: View) -> float:
    """When the second epoch of the process began; later than the window where that has not been seen."""
    points = [point for point in v.long.points(catalog.TRAIN_EPOCH, v.run, v.rank) if point[1] >= 1]
    if not points:
        return v.long.end
    begun, first = points[0]
    of_epoch = v.now.last(catalog.TRAIN_EPOCH_BATCHES, v.run, v.rank) or 0.0
    counts = v.long.points(catalog.TRAIN_BATCHES_TOTAL, v.run, v.rank)
    if first > 1 and next((done for time, done in counts if time >= begun), of_epoch) >= of_epoch:
        return v.long.start
    return next((time for time, epoch in points if epoch > first), v.long.end)
