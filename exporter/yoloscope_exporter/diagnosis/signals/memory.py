"""Main memory: what is left of it, and what grows."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import ratio, total
from yoloscope_exporter.diagnosis.signals.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.diagnosis.series import Window
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View

#: A slope needs this many bands that each rise. TraceML's memory creep asks for three (traceml policy).
BANDS = 4

#: Metrics of the node that these signals are computed from.
METRICS = (catalog.MEMORY_TOTAL_BYTES, catalog.MEMORY_AVAILABLE_BYTES)


class MemorySignals:
    """Main memory, and the growth of device memory, which is told in the same way."""

    memory_available_bytes = Signal("memory that can still be had: node, or what the cgroup's limit leaves")
    memory_used_share = Signal("memory in use over the cgroup's limit, or over the node's memory")
    oom_kills = Signal("processes of the cgroup killed for lack of memory in the window")
    resident_bytes = Signal("resident memory of the rank's processes")
    resident_growth_bytes = Signal(
        "steady growth of resident memory after the first epoch, in bytes; 0 if it is not steady"
    )
    resident_growth_rate = Signal("the same in bytes per second")
    available_fall_bytes = Signal("steady fall of the node's available memory, in bytes; 0 if it is not steady")
    cuda_growth_bytes = Signal("steady growth of allocated CUDA memory after the first epoch; 0 if it is not steady")
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
        MemorySignals.oom_kills: v.now.events(catalog.CGROUP_OOM_KILLS_TOTAL, v.run),
        MemorySignals.resident_bytes: total(v.now.current(catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank)),
    }


def growth(v: View) -> Numbers:
    """Steady growth over the long window, after the first epoch: until then caches and buffers fill."""
    window = v.long.since(_second_epoch(v))
    resident = _resident(window, v)
    allocated = window.points(catalog.TRAIN_CUDA_MEMORY_BYTES, v.run, v.rank, "allocated")
    available = [(time, -value) for time, value in window.points(catalog.MEMORY_AVAILABLE_BYTES)]
    return {
        MemorySignals.resident_growth_bytes: steady_growth(resident),
        MemorySignals.resident_growth_rate: _per_second(resident),
        MemorySignals.available_fall_bytes: steady_growth(available),
        MemorySignals.cuda_growth_bytes: steady_growth(allocated),
        MemorySignals.growth_seconds: window.seconds if resident or allocated else None,
    }


def _second_epoch(v: View) -> float:
    """When the second epoch began; later than the window where that has not been seen."""
    points = v.long.points(catalog.TRAIN_EPOCH, v.run, v.rank)
    if points and points[0][1] > 1:
        return v.long.start
    return next((time for time, epoch in points if epoch > 1), v.long.end)


def _resident(window: Window, v: View) -> list[tuple[float, float]]:
    """Resident memory of all the rank's processes, at the moments at which it is known of every role."""
    columns = [
        dict(points)
        for role in catalog.ROLES
        if (points := window.points(catalog.TRAIN_PROCESS_RESIDENT_BYTES, v.run, v.rank, role))
    ]
    shared = set.intersection(*(set(column) for column in columns)) if columns else set()
    return [(time, sum(column[time] for column in columns)) for time in sorted(shared)]


def steady_growth(points: Sequence[tuple[float, float]]) -> float | None:
    """How much the floor of a gauge rose, if it rose in every one of BANDS + 1 bands and did not flatten; else 0.

    The floor (the least value of a band) is what is never given back. A buffer that fills slows down: growth counts
    only if the last step is at least half the mean one. None with fewer than four points per band.
    """
    bands = BANDS + 1
    if len(points) < 4 * bands:
        return None
    start, width = points[0][0], (points[-1][0] - points[0][0]) / bands
    floors = []
    for index in range(bands):
        low, high = start + index * width, start + (index + 1) * width
        inside = [value for time, value in points if low <= time <= high]
        if not inside:
            return None
        floors.append(min(inside))
    steps = [later - earlier for earlier, later in pairwise(floors)]
    risen = floors[-1] - floors[0]
    steady = min(steps) > 0 and steps[-1] >= 0.5 * risen / len(steps)
    return risen if steady else 0.0


def _per_second(points: Sequence[tuple[float, float]]) -> float | None:
    if len(points) < 2 or points[-1][0] <= points[0][0]:  # noqa: PLR2004
        return None
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])
