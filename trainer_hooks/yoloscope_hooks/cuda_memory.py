"""PyTorch's own account of CUDA memory, from one call per batch that neither synchronises nor resets anything."""

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
    """Stores allocated, reserved, active and split memory, our own maximum of the peaks, retries and OOMs."""

    def __init__(self, stats: Callable[[], Stats], writer: Writer, who: tuple[str, str]) -> None:
        """`stats` is torch.cuda.memory_stats_as_nested_dict; `who` are run and rank."""
        kinds = ("allocated", "reserved", "active", "inactive_split", "peak_allocated", "peak_reserved")
        slots = [writer.slot(catalog.TRAIN_CUDA_MEMORY_BYTES, *who, kind) for kind in kinds]
        self._allocated, self._reserved, self._active, self._split, self._peak_allocated, self._peak_reserved = slots
        self._retries = writer.slot(catalog.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, *who)
        self._ooms = writer.slot(catalog.TRAIN_CUDA_OOMS_TOTAL, *who)
        self._growth = writer.slot(catalog.TRAIN_CUDA_MEMORY_GROWTH_BYTES, *who)
        self._stats = stats
        self._values = writer.values
        self._peaks = [0.0, 0.0]
        self._last_epoch = math.nan

    def batch(self) -> tuple[float, float]:
        """Store what the allocator says now; return allocated and reserved bytes."""
        stats, values, peaks = self._stats(), self._values, self._peaks
        allocated, reserved = stats["allocated_bytes"]["all"], stats["reserved_bytes"]["all"]
        peaks[0] = max(peaks[0], allocated["peak"])  # the user may reset the allocator's peaks, never ours
        peaks[1] = max(peaks[1], reserved["peak"])
        values[self._allocated] = allocated["current"]
        values[self._reserved] = reserved["current"]
        values[self._active] = stats["active_bytes"]["all"]["current"]
        values[self._split] = stats["inactive_split_bytes"]["all"]["current"]
        values[self._peak_allocated], values[self._peak_reserved] = peaks
        values[self._retries] = stats["num_alloc_retries"]
        values[self._ooms] = stats["num_ooms"]
        return allocated["current"], reserved["current"]

    def epoch(self) -> None:
        """An epoch's batches are done: store how much more is allocated than at the end of the one before."""
        allocated, _ = self.batch()
        self._values[self._growth] = allocated - self._last_epoch  # NaN, not set, after the first
        self._last_epoch = allocated
