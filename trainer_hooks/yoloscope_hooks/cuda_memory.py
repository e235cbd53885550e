"""PyTorch's own account of CUDA memory, from a call every few batches that neither synchronises nor resets."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_record.writer import Writer

    Stats = dict[str, Any]

UNKNOWN = (math.nan, math.nan)


def watch(device: Any, writer: Writer, who: tuple[str, str]) -> CudaMemory | None:
    """Watch the memory of `device` if it is a CUDA device."""
    torch = sys.modules.get("torch")
    if torch is None or getattr(device, "type", "") != "cuda":
        return None
    return CudaMemory(lambda: torch.cuda.memory_stats_as_nested_dict(device), writer, who)


class CudaMemory:
    """Stores what the allocator holds, its peaks in this run and in this epoch, and its retries and OOMs in this run.

    The allocator counts since the process began, and is never reset by us: what an earlier training in the process, or
    AutoBatch in this one, has left there is the baseline, taken when this is made.

    Of a peak is known what the allocator holds at the end of a batch when it is looked at, and the allocator's own peak
    once it has risen, or somebody has reset it. So the run's peak is exact once it is above all that was before the
    run. Until then, and for an epoch that stays below an earlier one, what was held only in the middle of a step is not
    known, and the peak is the least it can have been.
    """

    def __init__(self, stats: Callable[[], Stats], writer: Writer, who: tuple[str, str]) -> None:
        """`stats` is torch.cuda.memory_stats_as_nested_dict; `who` are run and rank."""
        self._current = [
            writer.slot(catalog.TRAIN_CUDA_MEMORY_BYTES, *who, kind)
            for kind in ("allocated", "reserved", "active", "inactive_split")
        ]
        self._allocated = Peak(writer, who, "allocated")
        self._reserved = Peak(writer, who, "reserved")
        self._counts = (
            Count(writer.values, writer.slot(catalog.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, *who)),
            Count(writer.values, writer.slot(catalog.TRAIN_CUDA_OOMS_TOTAL, *who)),
        )
        self._growth = writer.slot(catalog.TRAIN_CUDA_MEMORY_GROWTH_BYTES, *who)
        self._stats = stats
        self._values = writer.values
        self._last_epoch = math.nan
        self._baseline()

    def _baseline(self) -> None:
        stats = self._stats()
        self._allocated.known = stats["allocated_bytes"]["all"]["peak"]
        self._reserved.known = stats["reserved_bytes"]["all"]["peak"]
        for count, name in zip(self._counts, _COUNTERS):
            count.known = stats[name]

    def batch(self) -> tuple[float, float]:
        """Store what the allocator says now; return allocated and reserved bytes."""
        stats, values = self._stats(), self._values
        allocated, reserved = stats["allocated_bytes"]["all"], stats["reserved_bytes"]["all"]
        active, split = stats["active_bytes"]["all"]["current"], stats["inactive_split_bytes"]["all"]["current"]
        now = (allocated["current"], reserved["current"], active, split)
        for slot, number in zip(self._current, now):
            values[slot] = number
        self._allocated.see(allocated["current"], allocated["peak"])
        self._reserved.see(reserved["current"], reserved["peak"])
        for count, name in zip(self._counts, _COUNTERS):
            count.see(stats[name])
        return allocated["current"], reserved["current"]

    def epoch(self) -> None:
        """An epoch's batches are done: store how much more is allocated than at the end of the one before."""
        allocated, _ = self.batch()
        self._values[self._growth] = allocated - self._last_epoch  # NaN, not set, after the first
        self._last_epoch = allocated
        self._allocated.epoch = self._reserved.epoch = 0.0


_COUNTERS = ("num_alloc_retries", "num_ooms")


class Peak:
    """The most of one kind that was held, in the run and since the epoch began."""

    def __init__(self, writer: Writer, who: tuple[str, str], kind: str) -> None:
        """`kind` is allocated or reserved."""
        self.known = 0.0  # what the allocator's own peak was when it was last looked at
        self.run = self.epoch = 0.0
        self._values = writer.values
        self._run, self._epoch = (
            writer.slot(catalog.TRAIN_CUDA_MEMORY_BYTES, *who, f"{span}{kind}") for span in ("peak_", "epoch_peak_")
        )

    def see(self, current: float, peak: float) -> None:
        """Store the peaks. The allocator's tells something of the time since the last look only if it has changed."""
        most = current if peak == self.known else peak
        self.known = peak
        self._values[self._run] = self.run = max(self.run, most)
        self._values[self._epoch] = self.epoch = max(self.epoch, most)


class Count:
    """One of the allocator's counters, from the baseline on; it may be set back to 0 by the user."""

    def __init__(self, values: memoryview[float], slot: int) -> None:
        """`slot` is the counter's in `values`."""
        self.known = 0
        self._values, self._slot = values, slot

    def see(self, number: int) -> None:
        """Add what was counted since the last look."""
        if number != self.known:
            self._values[self._slot] += number - self.known if number > self.known else number
            self.known = number
