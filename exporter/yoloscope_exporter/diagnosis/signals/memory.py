"""Main memory: what is left of it, and what grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import ratio, total
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.measures import memory as measures

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View
    from yoloscope_exporter.measures.measure import Measure

#: Metrics of the node that these signals are computed from.
METRICS = (catalog.MEMORY_TOTAL_BYTES, catalog.MEMORY_AVAILABLE_BYTES, catalog.GPU_MEMORY_FREE_BYTES)


#: Fewer sample periods than this say nothing of a slope: four to each quarter of the window.
FEWEST_PERIODS = 4 * measures.QUARTERS


#: States in which it matters no more when it happened.
ENDED = ("failed", "killed")


class MemorySignals:
    """Main memory, and the growth of device memory, which is told in the same way."""

    memory_available_bytes = Signal("memory that can still be had: node, or what the cgroup's limit leaves")
    memory_used_share = Signal("memory in use over the cgroup's limit, or over the node's memory")
    oom_kills = Signal(
        "processes of the cgroup killed for lack of memory: in the window, of a run that ended in half an hour"
    )
    resident_bytes = Signal("resident memory of the rank's processes")
    resident_growth_bytes = Signal(
        "steady growth of resident memory after the first epoch, in bytes; 0 if it is not steady"
    )
    resident_growth_rate = Signal("the same in bytes per second")
    available_fall_bytes = Signal("steady fall of the node's available memory, in bytes; 0 if it is not steady")
    cuda_growth_bytes = Signal("steady growth of allocated CUDA memory after the first epoch; 0 if it is not steady")
    cuda_seconds_left = Signal("seconds until device memory is full if its steady growth goes on")
    growth_seconds = Signal("how long the growth of memory was watched, in seconds")


def memory(v: View) -> Numbers:
    """What is left, and what the rank holds."""
    installed, available = v.now.last(catalog.MEMORY_TOTAL_BYTES), v.now.last(catalog.MEMORY_AVAILABLE_BYTES)
    limit = v.now.last(catalog.CGROUP_MEMORY_LIMIT_BYTES, v.run)
    used = v.now.last(catalog.CGROUP_MEMORY_USED_BYTES, v.run)
    in_use = installed - available if installed is not None and available is not None else None
    if limit is not None and used is not None and (installed is None or limit < installed):
        available = min(max(limit - used, 0.0), available if available is not None else limit)
        installed, in_use = limit, used
    return {
        MemorySignals.memory_available_bytes: available,
        MemorySignals.memory_used_share: ratio(in_use, installed),
        MemorySignals.oom_kills: (v.long if v.state in ENDED else v.now).events(catalog.CGROUP_OOM_KILLS_TOTAL, v.run),
        MemorySignals.resident_bytes: total(v.now.current(catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank)),
    }


def growth(v: View) -> Numbers:
    """Steady growth over the long window, after the first epoch: until then caches and buffers fill."""
    window = v.long.since(_second_epoch(v))
    if window.seconds < FEWEST_PERIODS * window.period:
        return {}
    reading = v.machine_of(window).reading

    def grown(measure: Measure, metric: catalog.Metric, *prefix: str, **labels: str) -> float | None:
        """0 where it is known that nothing grows steadily."""
        return reading.one(measure, **labels) or (0.0 if window.current(metric, *prefix) else None)

    rank = {"run": v.run, "rank": v.rank}
    resident = grown(measures.HOST_GROWTH, catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank, **rank)
    return {
        MemorySignals.resident_growth_bytes: resident,
        MemorySignals.resident_growth_rate: ratio(resident, measures.GROWN_IN * window.seconds),
        MemorySignals.available_fall_bytes: grown(measures.AVAILABLE_FALL, catalog.MEMORY_AVAILABLE_BYTES),
        MemorySignals.cuda_growth_bytes: grown(
            measures.GPU_GROWTH, catalog.TRAIN_CUDA_MEMORY_BYTES, v.run, v.rank, "allocated", **rank
        ),
        MemorySignals.cuda_seconds_left: reading.one(measures.GPU_SECONDS_LEFT, **rank),
        MemorySignals.growth_seconds: window.seconds,
    }


def _second_epoch(v: View) -> float:
    """When the second epoch began; later than the window where that has not been seen."""
    points = v.long.points(catalog.TRAIN_EPOCH, v.run, v.rank)
    if points and points[0][1] > 1:
        return v.long.start
    return next((time for time, epoch in points if epoch > 1), v.long.end)
