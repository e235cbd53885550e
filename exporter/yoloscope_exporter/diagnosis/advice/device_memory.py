"""Device memory that a run takes with other batches, from what it and others hold of it now."""

from __future__ import annotations

from typing import NamedTuple

from yoloscope_exporter.diagnosis.forecast import Forecast
from yoloscope_exporter.diagnosis.signals import Signals

#: Peak share of device memory to aim at. TraceML warns at 92 %; validation and multi-scale batches need the difference.
CUDA_TARGET = 0.85
#: Less of the device than this beside what PyTorch holds may be no more than the CUDA context (0.3 to 0.6 GiB).
CONTEXT_SHARE = 0.1


class DeviceMemory(NamedTuple):
    """Device memory in bytes, with the batch of now.

    Attributes:
        floor: what does not depend on the batch (weights, optimizer): the least that was allocated.
        image: what an image takes beyond it at the peak.
        others: what PyTorch's allocator does not hold now: other processes, and the CUDA context.
    """

    floor: float
    image: float
    others: float
    total: float

    def peak(self, batch: int) -> float:
        """Of the whole device, with another batch."""
        return self.others + self.floor + self.image * batch

    def expected(self, batch: int, now: int) -> Forecast:
        """Of this process. From as if all of it grew with the batch to as if the floor did not."""
        own = self.floor + self.image * now
        low, high = sorted((self.floor + self.image * batch, own * batch / now))
        return Forecast("GiB", low / 2**30, high / 2**30, own / 2**30)


def device_memory(s: Signals) -> DeviceMemory | None:
    """None where peak, capacity or batch are not known.

    Only a peak with the batch of now says what an image takes: one from before Ultralytics halved it, or one that is
    larger than all that is in use now, is another batch's.
    """
    total, batch = s.get(Signals.gpu_memory_total_bytes), s.get(Signals.batch_size)
    peak = s.get(Signals.cuda_batch_peak_bytes, s.get(Signals.cuda_peak_bytes))
    if not total or not batch or not peak or not s.has(Signals.gpu_memory_used_share):
        return None
    used = s.gpu_memory_used_share * total
    if not s.has(Signals.cuda_batch_peak_bytes):
        peak = min(peak, used)
    floor = min(s.get(Signals.cuda_floor_bytes), peak)
    others = max(used - s.get(Signals.cuda_reserved_bytes, peak), 0.0)
    return DeviceMemory(floor, (peak - floor) / batch, others, total) if peak > floor else None


def share_of_others(s: Signals) -> float:
    """What other processes hold of the device, over its memory; 0 where that is not known or may be the context."""
    memory = device_memory(s)
    share = memory.others / memory.total if memory else 0.0
    return share if share >= CONTEXT_SHARE else 0.0


def batch_that_fits(s: Signals) -> int | None:
    """The batch whose peak would take CUDA_TARGET of the device beside what others hold of it now.

    An upper bound for a peak that grows faster than the batch, and therefore rounded down to a multiple of 8 (4 below
    16). None where too little is known.
    """
    memory = device_memory(s)
    if memory is None:
        return None
    return max(even(int((memory.total * CUDA_TARGET - memory.peak(0)) / memory.image)), 1)


def memory_for_batches(s: Signals) -> float | None:
    """Bytes of the device that the process may take at its peak beside what others hold; None where not known."""
    memory = device_memory(s)
    return None if memory is None else memory.total * CUDA_TARGET - memory.others


def even(batch: int) -> int:
    """The next smaller batch that GPUs like: a multiple of 8, of 4 below 16."""
    step = 8 if batch >= 16 else 4 if batch >= 4 else 1  # noqa: PLR2004 - what batch_that_fits says
    return batch // step * step
