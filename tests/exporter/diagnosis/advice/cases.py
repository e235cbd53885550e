"""Ranks that are to be advised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.diagnosis.signals import Signals

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.advice import Advice

GIB = float(1 << 30)
#: Two workers prepare a batch in 0.9 s each, so one comes every 0.45 s; the step takes 0.2 s.
LOADER = {
    "prep_seconds": 0.9,
    "step_seconds": 0.2,
    "wait_seconds": 0.25,
    "data_wait_share": 0.55,
    "workers": 2.0,
    "images_per_second": 10.0,
}


def signals(facts: dict[str, str] | None = None, **numbers: float) -> Signals:
    return Signals("run", "0", "train", facts=facts or {}, numbers=numbers)


def data_set(images: float, memory: float, **facts: str) -> Signals:
    """Images of 640 x 640, so many that wait for storage."""
    numbers = {**LOADER, "prep_cpu_ratio": 0.1, "epoch_images": images, "memory_available_bytes": memory}
    return signals({"imgsz": "640", **facts}, **numbers, rank_cores=32.0, worker_resident_bytes=GIB)


def device(total: float, peak: float, floor: float, **numbers: float) -> dict[str, float]:
    """A GPU of `total` GiB on which the run reserves what its peak was, and nobody else holds anything."""
    return {
        "gpu_memory_total_bytes": total * GIB,
        "cuda_batch_peak_bytes": peak * GIB,
        "cuda_reserved_bytes": peak * GIB,
        "cuda_floor_bytes": floor * GIB,
        "gpu_memory_used_share": peak / total,
        **numbers,
    }


def around(found: Advice, images_per_second: float) -> bool:
    """Whether a forecast is narrow, and this is in its middle."""
    assert found.forecast is not None
    middle = (found.forecast.low + found.forecast.high) / 2
    return found.forecast.holds(images_per_second) and middle == pytest.approx(images_per_second, rel=0.01)
