"""Advice is computed, and bounded by what the machine has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yoloscope_exporter.diagnosis import advice
from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.forecast import Forecast
from yoloscope_exporter.diagnosis.signals import Signals

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


def test_workers_follow_littles_law() -> None:
    """0.9 s of preparation for a batch every 0.2 s keeps 4.5 workers busy: five, and one to spare."""
    assert advice.workers_needed(signals(**LOADER)) == 6
    found = advice.more_workers(signals(**LOADER, rank_cores=32.0))
    assert found is not None
    assert found.arguments == {"workers": 6}
    assert around(found, 10 * 0.45 / 0.2)


def around(found: advice.Advice, images_per_second: float) -> bool:
    """Whether a forecast is narrow, and this is in its middle."""
    assert found.forecast is not None
    middle = (found.forecast.low + found.forecast.high) / 2
    return found.forecast.holds(images_per_second) and middle == pytest.approx(images_per_second, rel=0.01)


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
    """With as many workers as CPUs, and without CUDA where Ultralytics sets 0, the advice is not to raise `workers`."""
    assert advice.more_workers(signals(**LOADER, rank_cores=2.0)) is None
    for device in ("cpu", "mps"):
        assert advice.more_workers(signals({"device": device}, **{**LOADER, "workers": 0.0}, rank_cores=8.0)) is None


def test_gain_is_the_slower_of_loader_and_trainer() -> None:
    """With two more workers than now the loader is still the slower part: 0.9 s / 4 per batch."""
    found = advice.more_workers(signals(**LOADER, rank_cores=4.0))
    assert found is not None
    assert around(found, 10 * 0.45 / 0.225)
    assert advice.gain(found) == "2.0x to 2.1x: 10 -> 19.5 to 20.5 images/s"


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
    room = slow.with_numbers({Signals.cache_disk_bytes: 200 * GIB, Signals.cache_disk_room_bytes: 230 * GIB})
    assert advice.for_slow_preprocessing(room).arguments == {"cache": "disk"}


@pytest.mark.parametrize(("room", "fits"), [(221.0, True), (219.0, False), (0.0, False)])
def test_a_cache_on_disk_must_fit_there(room: float, fits: bool) -> None:  # noqa: FBT001 - a parameter
    """With Ultralytics' margin of a tenth, and where its folder can be written to; unknown is no room."""
    slow = data_set(200_000.0, 10 * GIB).with_numbers({Signals.cache_disk_bytes: 200 * GIB})
    assert advice.cache_on_disk(slow) is None
    assert (advice.cache_on_disk(slow.with_numbers({Signals.cache_disk_room_bytes: room * GIB})) is not None) == fits


def test_no_workers_where_no_cpu_is_free_for_them() -> None:
    """Preparation bound by the CPU is not helped by sharing the CPUs among more workers."""
    assert advice.for_slow_preprocessing(data_set(1000.0, 10 * GIB)).arguments == {"cache": "ram"}
    assert advice.for_slow_preprocessing(data_set(1000.0, 10 * GIB, cache="ram")).arguments == {}


@pytest.mark.parametrize(("decoding", "faster"), [(0.9, 0.45 / 0.2), (0.3, 1 / 0.7)])
def test_a_cache_saves_decoding_only(decoding: float, faster: float) -> None:
    """Its gain is computed by the share of the preparation that decodes."""
    one = data_set(1000.0, 10 * GIB)
    known = replace(one, numbers={**one.numbers, **LOADER, "prep_cpu_ratio": 1.0, "decode_share": decoding})
    found = advice.for_slow_preprocessing(known)
    assert found.arguments == {"cache": "ram"}
    assert around(found, 10 * faster)


def test_where_little_is_decoded_no_cache_is_advised() -> None:
    """Field case 4: augmentation takes the time; a cache was promised 2.5x and gave 1.01x."""
    one = data_set(1000.0, 10 * GIB)
    found = advice.for_slow_preprocessing(replace(one, numbers={**one.numbers, **LOADER, "decode_share": 0.1}))
    assert found.arguments == {}
    assert found.forecast is None


def test_the_cache_is_as_large_as_its_images() -> None:
    """Images smaller than imgsz x imgsz, as the hooks found them in the labels, take less than a square."""
    wide = data_set(1000.0, GIB).with_numbers({Signals.cache_ram_bytes: 0.4 * GIB})
    assert advice.cache_in_memory(data_set(1000.0, GIB)) is None
    found = advice.cache_in_memory(wide)
    assert found is not None
    assert "410 MiB" in found.note


@pytest.mark.parametrize(("version", "cached"), [("8.3.9", False), ("8.4.2", False), ("8.4.190", True)])
def test_classification_caches_in_memory_in_new_versions_only(version: str, cached: bool) -> None:  # noqa: FBT001
    """Older ones refuse it with a warning; newer ones never ask whether it fits, so that its size must be known."""
    facts = {"task": "classify", "ultralytics": version}
    one = data_set(1000.0, 10 * GIB, **facts)
    assert advice.cache_in_memory(one) is None
    known = one.with_numbers({Signals.cache_ram_bytes: GIB})
    assert (advice.cache_in_memory(known) is not None) == cached


def test_no_gain_is_promised_where_decoding_was_not_measured() -> None:
    """Older hooks do not tell decoding from transforms."""
    one = data_set(1000.0, 10 * GIB)
    assert advice.for_slow_preprocessing(replace(one, numbers={**one.numbers, **LOADER})).forecast is None


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


def test_batch_from_peak_memory() -> None:
    """8 GiB of weights and 1 GiB per image: 0.85 x 80 GiB has room for 60, rounded down to 56."""
    assert advice.batch_that_fits(signals(**device(80, 24, 8), batch_size=16.0)) == 56
    assert advice.batch_that_fits(signals(**device(80, 24, 8))) is None


def test_memory_that_others_hold_is_not_given_away() -> None:
    """Of the 80 GiB another process has 16: 68 - 16 - 8 leave 44 images, rounded down to 40."""
    assert advice.batch_that_fits(signals(**device(80, 24, 8, gpu_memory_used_share=0.5), batch_size=16.0)) == 40


def test_what_others_hold_is_what_is_in_use_and_not_reserved_now() -> None:
    """Review r25: the peak was 38 GiB (validation), 14 are reserved now, and another process holds 25.

    Less the peak only 1 GiB would be others', and a batch of 64 would have been advised, which takes 139 GiB.
    """
    shared = device(80, 38, 5, cuda_reserved_bytes=14 * GIB, gpu_memory_used_share=39 / 80)
    one = signals(**shared, batch_size=16.0, epoch_images=1e5)
    assert advice.batch_that_fits(one) == 16
    assert advice.larger_batch(one) is None


def test_a_peak_of_an_older_batch_counts_for_nothing() -> None:
    """Review r12: 32 images ran out of memory at 79 GiB; halved to 16, they take 42, so 2.3 GiB each: 27 fit."""
    halved = device(80, 42, 5, cuda_peak_bytes=79 * GIB, gpu_memory_used_share=43 / 80, batch_reductions=1.0)
    found = advice.smaller_batch(signals(**halved, batch_size=16.0))
    assert advice.batch_that_fits(signals(**halved, batch_size=16.0)) == 24
    assert found.arguments == {"batch": 16}
    without = {
        name: number for name, number in halved.items() if not name.endswith(("batch_peak_bytes", "reserved_bytes"))
    }
    assert advice.batch_that_fits(signals(**without, batch_size=16.0)) == 24, (
        "a peak above all that is in use is no peak"
    )


def test_a_larger_batch_leaves_an_epoch_its_steps() -> None:
    """It stays within memory, within twice the nominal batch, and within a tenth of the data set."""
    numbers = device(80, 4, 1, batch_size=8.0)
    large, small = advice.larger_batch(signals(**numbers)), advice.larger_batch(signals(**numbers, epoch_images=300.0))
    assert large is not None
    assert small is not None
    assert (large.arguments, small.arguments) == ({"batch": 64}, {"batch": 16})
    assert advice.larger_batch(signals(**numbers, epoch_images=100.0)) is None


def test_a_batch_comes_with_the_memory_it_takes() -> None:
    """From as if all of it grew with the batch to as if the weights did not: 4 GiB now, of which 1 are weights."""
    found = advice.larger_batch(signals(**device(80, 4, 1, batch_size=8.0)))
    assert found is not None
    assert advice.gain(found) == "25 to 32 GiB of GPU memory (now 4)"


def test_fewer_exchanges_only_where_the_memory_is_there() -> None:
    """Twice the batch, of all ranks together, if it fits."""
    numbers = {"batch_size": 16.0, "world_size": 2.0}
    assert advice.fewer_exchanges(signals(**device(80, 30, 1), **numbers)).arguments == {"batch": 64}
    assert advice.fewer_exchanges(signals(**device(80, 60, 1), **numbers)).arguments == {}
    assert advice.fewer_exchanges(signals(batch_size=16.0)).arguments == {}


@pytest.mark.parametrize("now", [16, 24, 32, 40, 48, 64, 96, 128, 256])
def test_a_smaller_batch_optimises_alike(now: int) -> None:
    """Review r11: images per optimizer step and weight decay, by Ultralytics' formulas, are those of before.

    `batch=32 nbs=64` for 40 raised the decay by two thirds.
    """
    found = advice.smaller_batch(signals(**device(80, 79, 4), batch_size=float(now)))
    arguments = {"nbs": 64, "weight_decay": 0.0005, **found.arguments}
    batch, nbs, decay = (float(arguments[name]) for name in ("batch", "nbs", "weight_decay"))
    assert batch < now
    assert ultralytics.images_per_step(int(batch), nbs) == ultralytics.images_per_step(now, 64)
    assert ultralytics.decay(decay, int(batch), nbs) == pytest.approx(ultralytics.decay(0.0005, now, 64))
    assert found.effect == ("optimisation",)
    assert f"batch normalisation sees {batch:.0f} images instead of {now}" in found.note


def test_where_no_batch_optimises_alike_it_is_said_what_differs() -> None:
    """17 images step over 68; nothing below them but 4 makes 68, and that is too small."""
    found = advice.smaller_batch(signals(**device(80, 79, 4), batch_size=17.0))
    assert found.arguments == {"batch": 12}
    assert "an optimizer step takes 60 images instead of 68, the weight decay is 0.882 of now's" in found.note


def test_a_smaller_batch_counts_all_ranks() -> None:
    """And AMP is switched on where it was switched off."""
    found = advice.smaller_batch(signals({"amp": "False"}, **device(80, 79, 8), batch_size=32.0, world_size=2.0))
    assert found.arguments == {"batch": 2 * 16, "amp": True}


def test_where_the_batch_cannot_shrink_the_images_do() -> None:
    """By a fifth, in steps of 32, and never beyond today's size; without knowing the batch nothing is computed."""
    numbers = {"gpu_memory_total_bytes": 8 * GIB, "cuda_peak_bytes": 8 * GIB, "batch_size": 1.0}
    assert advice.smaller_batch(signals({"imgsz": "320"}, **numbers)).arguments == {"imgsz": 256}
    assert advice.smaller_batch(signals({"imgsz": "1280"}, **numbers)).arguments == {"imgsz": 1024}
    assert advice.smaller_batch(signals({"imgsz": "1280"})).arguments == {}


def test_the_batch_that_ultralytics_halved_to_is_the_one_to_start_with() -> None:
    """Not one image less, if it fits; without a halving it must get smaller. It is no no-op: another was asked for."""
    numbers = device(80, 50, 2, batch_size=16.0)
    halved = signals(**numbers, batch_reductions=2.0)
    assert advice.smaller_batch(halved).arguments == {"batch": 16}
    assert advice.settled(advice.smaller_batch(halved), halved).arguments == {"batch": 16}
    assert advice.smaller_batch(signals(**numbers)).arguments == {"batch": 8}


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


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ({"save_period": -1}, {}),
        ({"save_period": -1}, {"save_period": "-1"}),
        ({"val": False}, {"val": "False"}),
        ({"cache": "ram"}, {"cache": "ram"}),
        ({"cache": "ram"}, {"cache": "True"}),
        ({"cache": False}, {"cache": "False"}),
        ({"amp": True}, {"amp": "False", "amp_asked": "True"}),
        ({"amp": True}, {"amp": "False", "amp_asked": "False", "device": "cpu"}),
        ({"mosaic": 1.0}, {"mosaic": "0.5", "rect": "True"}),
        ({"workers": 4}, {}),
        ({"workers": 8}, {}),
        ({"batch": 32}, {}),
        ({"patience": 100}, {}),
        ({"compile": True}, {"ultralytics": "8.3.9"}),
    ],
)
def test_what_changes_nothing_is_not_advised(arguments: dict[str, advice.Value], facts: dict[str, str]) -> None:
    """What is in use already, by default too, and what Ultralytics sets back: AMP after its check failed, on a CPU."""
    one = signals(facts, workers=4.0, workers_asked=8.0, batch_size=16.0, world_size=2.0)
    found = advice.settled(advice.Advice(arguments, note="look", forecast=Forecast("x", 1, 2, 1)), one)
    assert (found.arguments, found.forecast) == ({}, None)
    assert str(found) == "look"


@pytest.mark.parametrize("arguments", [{"batch": -1}, {"batch": 0.7}, {"rect": True}])
def test_several_gpus_have_neither_autobatch_nor_rect(arguments: dict[str, advice.Value]) -> None:
    """Ultralytics raises for the one and sets the other back."""
    assert advice.settled(advice.Advice(arguments), signals(batch_size=16.0, world_size=2.0)).arguments == {}
    alone = {**arguments}
    assert advice.settled(advice.Advice(arguments), signals(batch_size=16.0, world_size=1.0)).arguments == alone


def test_workers_beyond_the_cap_are_not_advised() -> None:
    """16 CPUs over 2 visible GPUs: 8 start, whatever is asked for; an epoch of 6 batches has 6 at most."""
    one = signals(workers=4.0, node_cores=16.0, visible_gpus=2.0, epoch_batches=100.0)
    found = advice.settled(advice.Advice({"workers": 12}), one)
    assert found.arguments == {"workers": 8}
    assert found.note == "Ultralytics starts at most 8: 16 CPUs over 2 visible GPUs"
    assert "workers cap" in found.checks
    short = one.with_numbers({Signals.epoch_batches: 6.0})
    assert advice.settled(advice.Advice({"workers": 12}), short).arguments == {"workers": 6}
    assert "6 batches" in advice.settled(advice.Advice({"workers": 12}), short).note
    full = one.with_numbers({Signals.workers: 8.0})
    assert advice.settled(advice.Advice({"workers": 12}), full).arguments == {}


def test_every_argument_that_is_advised_has_a_known_effect() -> None:
    """Validation away ends early stopping and best.pt; workers change nothing of the result."""
    assert advice.Advice({"workers": 4, "cache": "ram"}).effect == ()
    assert advice.Advice({"workers": 4, "val": False}).effect == ("best.pt", "early stopping")
    assert advice.Advice({"something_new": 1}).effect == ("accuracy",)
    assert advice.effect_in_words(advice.Advice({"val": False})) == "best.pt, early stopping"
    assert advice.effect_in_words(advice.Advice({"workers": 4})) == "none"


def test_gain_below_noise_is_no_gain() -> None:
    """Two per cent are not promised."""
    one = signals(images_per_second=9.0)
    assert advice.gain(advice.Advice(forecast=advice.without_share(one, 0.001))) is None
    gain = advice.gain(advice.Advice(forecast=advice.without_share(one, 0.2)))
    assert gain == "up to 1.3x: 9 -> at most 11.5 images/s"
    assert advice.gain(advice.Advice()) is None


def test_gain_of_a_whole_run_promises_no_faster_steps() -> None:
    """Without its validation a run is shorter; images per second of training stay what they are."""
    assert advice.gain(advice.Advice(forecast=advice.shorter_run(1 / 3))) == "up to 1.5x for the run as a whole"
