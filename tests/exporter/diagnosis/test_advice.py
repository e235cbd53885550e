"""Advice is computed, and bounded by what the machine has."""

from __future__ import annotations

from dataclasses import replace

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
    found = advice.more_workers(signals(**LOADER, rank_cores=32.0))
    assert found is not None
    assert found.arguments == {"workers": 6}
    assert found.speedup == pytest.approx(0.45 / 0.2)


@pytest.mark.parametrize(
    ("limits", "workers"),
    [
        ({"rank_cores": 4.0}, 4),
        ({"rank_cores": 5.5}, 5),
        ({"rank_cores": 64.0, "memory_available_bytes": 4 * GIB, "worker_resident_bytes": GIB}, 4),
        ({"rank_cores": 64.0, "memory_available_bytes": 4 * GIB, "worker_resident_bytes": GIB, "run_ranks": 2.0}, 3),
    ],
)
def test_workers_stay_within_the_machine(limits: dict[str, float], workers: int) -> None:
    """Not beyond CPUs per rank, nor beyond this rank's share of the memory for another worker."""
    found = advice.more_workers(signals(**LOADER, **limits))
    assert found is not None
    assert found.arguments == {"workers": workers}


def test_no_workers_where_they_cannot_be_had() -> None:
    """With as many workers as CPUs, and on a CPU where Ultralytics sets 0, the advice is not to raise `workers`."""
    assert advice.more_workers(signals(**LOADER, rank_cores=2.0)) is None
    assert advice.more_workers(signals({"device": "cpu"}, **{**LOADER, "workers": 0.0}, rank_cores=8.0)) is None


def test_gain_is_the_slower_of_loader_and_trainer() -> None:
    """With two more workers than now the loader is still the slower part: 0.9 s / 4 per batch."""
    found = advice.more_workers(signals(**LOADER, rank_cores=4.0, images_per_second=10.0))
    assert found is not None
    assert found.speedup == pytest.approx(0.45 / 0.225)
    assert advice.gain(found, signals(images_per_second=10.0)) == "up to 2.0x: 10 -> 20 images/s"


def test_no_number_of_workers_without_knowing_todays() -> None:
    """Where the trainer does not say how many it has, nothing is raised."""
    assert advice.more_workers(signals(prep_seconds=0.9, step_seconds=0.2, rank_cores=8.0)) is None


def data_set(images: float, memory: float, **facts: str) -> Signals:
    """Images of 640 x 640, so many that wait for storage."""
    numbers = {**LOADER, "prep_cpu_ratio": 0.1, "epoch_images": images, "memory_available_bytes": memory}
    return signals({"imgsz": "640", **facts}, **numbers, rank_cores=32.0, worker_resident_bytes=GIB)


@pytest.mark.parametrize(("images", "fits"), [(4369.0, True), (4370.0, False)])
def test_cache_in_memory_only_if_it_fits(images: float, fits: bool) -> None:  # noqa: FBT001 - a parameter
    """A decoded image takes imgsz x imgsz x 3 bytes; Ultralytics refuses to fill more than half of the free memory."""
    found = advice.cache_in_memory(data_set(images, 10 * GIB))
    assert (found is not None) == fits
    if found:
        assert found.arguments == {"cache": "ram"}


def test_workers_get_what_memory_the_cache_leaves() -> None:
    """5 of 10 GiB for the cache: two thirds of the rest are three workers of 1 GiB, not four more as without it."""
    assert advice.for_slow_storage(data_set(4369.0, 10 * GIB)).arguments == {"cache": "ram", "workers": 5}
    assert advice.for_slow_storage(data_set(4369.0, 8 * GIB)).arguments == {"workers": 6}


def test_slow_storage_is_not_told_to_read_more() -> None:
    """`cache=disk` writes decoded images, several times as large, beside the others: that is for slow CPUs only."""
    slow = data_set(200_000.0, 10 * GIB)
    assert "cache" not in advice.for_slow_storage(slow).arguments
    assert "local SSD" in advice.for_slow_storage(slow).note
    assert advice.for_slow_preprocessing(slow).arguments == {"cache": "disk"}


def test_no_workers_where_no_cpu_is_free_for_them() -> None:
    """Preparation bound by the CPU is not helped by sharing the CPUs among more workers."""
    assert advice.for_slow_preprocessing(data_set(1000.0, 10 * GIB)).arguments == {"cache": "ram"}
    assert advice.for_slow_preprocessing(data_set(1000.0, 10 * GIB, cache="ram")).arguments == {}


@pytest.mark.parametrize(("decoding", "arguments", "speedup"), [(0.9, {"cache": "ram"}, 0.45 / 0.2), (0.1, {}, None)])
def test_a_cache_saves_decoding_only(decoding: float, arguments: dict[str, str], speedup: float | None) -> None:
    """It is advised, and its gain computed, by the share of the preparation that decodes."""
    one = data_set(1000.0, 10 * GIB)
    known = replace(one, numbers={**one.numbers, **LOADER, "decode_share": decoding})
    found = advice.for_slow_preprocessing(known)
    assert found.arguments == arguments
    assert found.speedup == (speedup and pytest.approx(speedup))


def test_no_gain_is_promised_where_decoding_was_not_measured() -> None:
    """Older hooks do not tell decoding from transforms."""
    one = data_set(1000.0, 10 * GIB)
    assert advice.for_slow_preprocessing(replace(one, numbers={**one.numbers, **LOADER})).speedup is None


def test_every_rank_of_the_node_keeps_its_own_cache() -> None:
    """What fits once may not fit eight times; ranks on other nodes take none of this node's memory."""
    for ranks, fits in ((1.0, True), (8.0, False)):
        one = data_set(2000.0, 10 * GIB)
        beside = replace(one, numbers={**one.numbers, "run_ranks": ranks, "world_size": 8.0})
        assert (advice.cache_in_memory(beside) is not None) == fits


def test_what_is_cached_is_not_cached_again() -> None:
    """A second cache is no advice; nor is one of a data set of unknown size."""
    assert advice.cache_in_memory(data_set(10.0, GIB, cache="ram")) is None
    assert advice.cache_on_disk(data_set(10.0, GIB, cache="disk")) is None
    assert advice.cache_in_memory(signals(memory_available_bytes=GIB)) is None
    assert "mosaic" in advice.for_slow_preprocessing(signals(memory_available_bytes=GIB)).note


def test_batch_from_peak_memory() -> None:
    """8 GiB of weights and 1 GiB per image: 0.85 x 80 GiB has room for 60, rounded down to 56."""
    numbers = {"gpu_memory_total_bytes": 80 * GIB, "cuda_peak_bytes": 24 * GIB, "cuda_floor_bytes": 8 * GIB}
    assert advice.batch_that_fits(signals(**numbers, batch_size=16.0)) == 56
    assert advice.batch_that_fits(signals(**numbers)) is None


def test_memory_that_others_hold_is_not_given_away() -> None:
    """Of the 80 GiB another process has 16: 68 - 16 - 8 leave 44 images, rounded down to 40."""
    numbers = {"gpu_memory_total_bytes": 80 * GIB, "cuda_peak_bytes": 24 * GIB, "cuda_floor_bytes": 8 * GIB}
    assert advice.batch_that_fits(signals(**numbers, batch_size=16.0, gpu_memory_used_share=0.5)) == 40


def test_a_larger_batch_leaves_an_epoch_its_steps() -> None:
    """It stays within memory, within twice the nominal batch, and within a tenth of the data set."""
    numbers = {"gpu_memory_total_bytes": 80 * GIB, "cuda_peak_bytes": 4 * GIB, "cuda_floor_bytes": GIB}
    large = advice.larger_batch(signals(**numbers, batch_size=8.0))
    small = advice.larger_batch(signals(**numbers, batch_size=8.0, epoch_images=300.0))
    assert large is not None
    assert small is not None
    assert (large.arguments["batch"], small.arguments["batch"]) == (128, 24)
    assert advice.larger_batch(signals(**numbers, batch_size=8.0, epoch_images=100.0)) is None


def test_fewer_exchanges_only_where_the_memory_is_there() -> None:
    """Twice the batch, of all ranks together, if it fits."""
    numbers = {"gpu_memory_total_bytes": 80 * GIB, "cuda_floor_bytes": GIB, "batch_size": 16.0, "world_size": 2.0}
    assert advice.fewer_exchanges(signals(**numbers, cuda_peak_bytes=30 * GIB)).arguments == {"batch": 64}
    assert advice.fewer_exchanges(signals(**numbers, cuda_peak_bytes=60 * GIB)).arguments == {}
    assert advice.fewer_exchanges(signals(batch_size=16.0)).arguments == {}


def test_a_smaller_batch_keeps_the_nominal_one() -> None:
    """Accumulation stands in for the images that no longer fit; `batch` counts all ranks."""
    numbers = {"gpu_memory_total_bytes": 80 * GIB, "cuda_peak_bytes": 79 * GIB, "cuda_floor_bytes": 8 * GIB}
    found = advice.smaller_batch(signals({"amp": "false"}, **numbers, batch_size=32.0, world_size=2.0))
    assert found.arguments == {"batch": 2 * 24, "nbs": 64, "amp": True}


def test_a_batch_beyond_the_nominal_one_is_kept_by_accumulation() -> None:
    """256 images per step stay 256: `nbs` of 64 would step four times as often."""
    numbers = {"gpu_memory_total_bytes": 80 * GIB, "cuda_peak_bytes": 79 * GIB, "cuda_floor_bytes": 8 * GIB}
    assert advice.smaller_batch(signals(**numbers, batch_size=256.0)).arguments == {"batch": 216, "nbs": 256}


def test_where_the_batch_cannot_shrink_the_images_do() -> None:
    """By a fifth, in steps of 32, and never beyond today's size; without knowing the batch nothing is computed."""
    numbers = {"gpu_memory_total_bytes": 8 * GIB, "cuda_peak_bytes": 8 * GIB, "batch_size": 1.0}
    assert advice.smaller_batch(signals({"imgsz": "320"}, **numbers)).arguments == {"imgsz": 256}
    assert advice.smaller_batch(signals({"imgsz": "1280"}, **numbers)).arguments == {"imgsz": 1024}
    assert advice.smaller_batch(signals({"imgsz": "1280"})).arguments == {}


def test_the_batch_that_ultralytics_halved_to_is_the_one_to_start_with() -> None:
    """Not one image less, if it fits; without a halving it must get smaller."""
    numbers = {"cuda_peak_bytes": 50e9, "cuda_floor_bytes": 2e9, "gpu_memory_total_bytes": 80e9, "batch_size": 16.0}
    assert advice.smaller_batch(signals(**numbers, batch_reductions=2.0)).arguments["batch"] == 16
    assert advice.smaller_batch(signals(**numbers)).arguments["batch"] == 12


def test_a_quota_asks_for_fewer_workers_or_more_cpus() -> None:
    """Not for both at once: with the CPUs it wants, it wants its workers too."""
    numbers = {**LOADER, "workers": 8.0, "prep_cpu_ratio": 0.9, "quota_cores": 3.0}
    text = str(advice.within_quota(signals(**numbers)))
    assert text.endswith("workers=3; or keep the workers and raise the CPU limit from 3 to about 6 CPUs")
    assert str(advice.within_quota(signals(**numbers | {"workers": 2.0}))).endswith(
        "; raise the CPU limit from 3 to about 6 CPUs"
    )


def test_advice_reads_as_one_would_type_it() -> None:
    """Environment first, then arguments, then the note."""
    text = str(advice.Advice({"workers": 4}, {"OMP_NUM_THREADS": "1"}, "and look"))
    assert text == "OMP_NUM_THREADS=1 workers=4; and look"
    assert str(advice.Advice()) == ""


def test_gain_below_noise_is_no_gain() -> None:
    """Two per cent are not promised."""
    assert advice.gain(advice.Advice(speedup=1.02), signals(images_per_second=9.0)) is None
    assert advice.gain(advice.Advice(speedup=1.5), signals()) == "up to 1.5x"


def test_gain_of_a_whole_run_promises_no_faster_steps() -> None:
    """Without its validation a run is shorter; images per second of training stay what they are."""
    found = advice.gain(advice.Advice(speedup=1.5, whole=True), signals(images_per_second=9.0))
    assert found == "up to 1.5x for the run as a whole"
