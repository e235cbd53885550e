"""Advice is computed, and bounded by what the machine has."""

from __future__ import annotations

import pytest
from yoloscope_exporter.diagnosis import advice
from yoloscope_exporter.diagnosis.signals import Signals

GIB = float(1 << 30)
LOADER = {"prep_seconds": 0.9, "step_seconds": 0.2, "wait_seconds": 0.25, "data_wait_share": 0.55, "workers": 2.0}


def signals(facts: dict[str, str] | None = None, **numbers: float) -> Signals:
    return Signals("run", "0", "train", facts=facts or {}, numbers=numbers)


def test_workers_follow_littles_law() -> None:
    """0.9 s of preparation for a batch every 0.2 s keeps 4.5 workers busy: five, and one to spare."""
    assert advice.workers_needed(signals(**LOADER)) == 6
    found = advice.more_workers(signals(**LOADER, cores=32.0))
    assert found is not None
    assert found.arguments == {"workers": 6}
    assert found.speedup == pytest.approx(0.45 / 0.2)


@pytest.mark.parametrize(
    ("limits", "workers"),
    [
        ({"cores": 4.0}, 4),
        ({"cores": 16.0, "ranks": 4.0}, 4),
        ({"cores": 64.0, "memory_available_bytes": 3 * GIB, "worker_resident_bytes": GIB}, 3),
    ],
)
def test_workers_stay_within_the_machine(limits: dict[str, float], workers: int) -> None:
    """Not beyond CPUs per rank, nor beyond memory for another worker."""
    found = advice.more_workers(signals(**LOADER, **limits))
    assert found is not None
    assert found.arguments == {"workers": workers}


def test_no_workers_where_they_cannot_be_had() -> None:
    """With as many workers as CPUs, and on a CPU where Ultralytics sets 0, the advice is not to raise `workers`."""
    assert advice.more_workers(signals(**LOADER, cores=2.0)) is None
    assert advice.more_workers(signals({"device": "cpu"}, **{**LOADER, "workers": 0.0}, cores=8.0)) is None


def test_gain_is_the_slower_of_loader_and_trainer() -> None:
    """With two more workers than now the loader is still the slower part: 0.9 s / 4 per batch."""
    found = advice.more_workers(signals(**LOADER, cores=4.0, images_per_second=10.0))
    assert found is not None
    assert found.speedup == pytest.approx(0.45 / 0.225)
    assert advice.gain(found, signals(images_per_second=10.0)) == "up to 2.0x: 10 -> 20 images/s"


@pytest.mark.parametrize(("images", "where"), [(1000.0, "ram"), (200_000.0, "disk")])
def test_cache_in_memory_only_if_it_fits(images: float, where: str) -> None:
    """A decoded image takes imgsz x imgsz x 3 bytes; two thirds of the free memory may be filled."""
    found = advice.cache(signals({"imgsz": "640"}, epoch_images=images, memory_available_bytes=10 * GIB))
    assert found is not None
    assert found.arguments == {"cache": where}


def test_every_rank_keeps_its_own_cache() -> None:
    """What fits once may not fit eight times."""
    numbers = {"epoch_images": 2000.0, "memory_available_bytes": 10 * GIB}
    alone, eight = (advice.cache(signals({"imgsz": "640"}, **numbers, world_size=ranks)) for ranks in (1.0, 8.0))
    assert alone is not None
    assert eight is not None
    assert (alone.arguments["cache"], eight.arguments["cache"]) == ("ram", "disk")


def test_what_is_cached_is_not_cached_again() -> None:
    """A second cache is no advice; nor is one of a data set of unknown size."""
    assert advice.cache(signals({"cache": "ram"}, epoch_images=10.0, memory_available_bytes=GIB)) is None
    assert advice.cache(signals(memory_available_bytes=GIB)) is None


def test_batch_from_peak_memory() -> None:
    """8 GiB of weights and 1 GiB per image: 0.85 x 80 GiB has room for 60, rounded down to 56."""
    numbers = {"gpu_memory_total_bytes": 80 * GIB, "cuda_peak_bytes": 24 * GIB, "cuda_floor_bytes": 8 * GIB}
    assert advice.batch_that_fits(signals(**numbers, batch_size=16.0)) == 56
    assert advice.batch_that_fits(signals(**numbers)) is None


def test_a_smaller_batch_keeps_the_nominal_one() -> None:
    """Accumulation stands in for the images that no longer fit; `batch` counts all ranks."""
    numbers = {"gpu_memory_total_bytes": 80 * GIB, "cuda_peak_bytes": 79 * GIB, "cuda_floor_bytes": 8 * GIB}
    found = advice.smaller_batch(signals({"amp": "false"}, **numbers, batch_size=32.0, world_size=2.0))
    assert found.arguments == {"batch": 2 * 24, "nbs": 64, "amp": True}


def test_the_batch_that_ultralytics_halved_to_is_the_one_to_start_with() -> None:
    """Not one image less, if it fits; without a halving it must get smaller."""
    numbers = {"cuda_peak_bytes": 50e9, "cuda_floor_bytes": 2e9, "gpu_memory_total_bytes": 80e9, "batch_size": 16.0}
    assert advice.smaller_batch(signals(**numbers, batch_reductions=2.0)).arguments["batch"] == 16
    assert advice.smaller_batch(signals(**numbers)).arguments["batch"] == 12


def test_advice_reads_as_one_would_type_it() -> None:
    """Environment first, then arguments, then the note."""
    text = str(advice.Advice({"workers": 4}, {"OMP_NUM_THREADS": "1"}, "and look"))
    assert text == "OMP_NUM_THREADS=1 workers=4; and look"
    assert str(advice.Advice()) == ""


def test_gain_below_noise_is_no_gain() -> None:
    """Two per cent are not promised."""
    assert advice.gain(advice.Advice(speedup=1.02), signals(images_per_second=9.0)) is None
    assert advice.gain(advice.Advice(speedup=1.5), signals()) == "up to 1.5x"
