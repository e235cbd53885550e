"""Batches keep the optimisation, or it is said what differs."""

from __future__ import annotations

import pytest
from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics
from yoloscope_exporter.diagnosis.advice import gain
from yoloscope_exporter.diagnosis.advice.batch import fewer_exchanges, larger_batch, smaller_batch
from yoloscope_exporter.diagnosis.advice.checks import settled

from tests.exporter.diagnosis.advice.cases import GIB, device, signals


def test_a_larger_batch_leaves_an_epoch_its_steps() -> None:
    """It stays within memory, within twice the nominal batch, and within a tenth of the data set."""
    numbers = device(80, 4, 1, batch_size=8.0)
    large, small = larger_batch(signals(**numbers)), larger_batch(signals(**numbers, epoch_images=300.0))
    assert large is not None
    assert small is not None
    assert (large.arguments, small.arguments) == ({"batch": 64}, {"batch": 16})
    assert larger_batch(signals(**numbers, epoch_images=100.0)) is None


def test_a_batch_comes_with_the_memory_it_takes() -> None:
    """From as if all of it grew with the batch to as if the weights did not: 4 GiB now, of which 1 are weights."""
    found = larger_batch(signals(**device(80, 4, 1, batch_size=8.0)))
    assert found is not None
    assert gain(found) == "25 to 32 GiB of GPU memory (now 4)"


def test_fewer_exchanges_only_where_the_memory_is_there() -> None:
    """Twice the batch, of all ranks together, if it fits."""
    numbers = {"batch_size": 16.0, "world_size": 2.0}
    assert fewer_exchanges(signals(**device(80, 30, 1), **numbers)).arguments == {"batch": 64}
    assert fewer_exchanges(signals(**device(80, 60, 1), **numbers)).arguments == {}
    assert fewer_exchanges(signals(batch_size=16.0)).arguments == {}


@pytest.mark.parametrize("now", [16, 24, 32, 40, 48, 64, 96, 128, 256])
def test_a_smaller_batch_optimises_alike(now: int) -> None:
    """Review r11: images per optimizer step and weight decay, by Ultralytics' formulas, are those of before.

    `batch=32 nbs=64` for 40 raised the decay by two thirds.
    """
    found = smaller_batch(signals(**device(80, 79, 4), batch_size=float(now)))
    arguments = {"nbs": 64, "weight_decay": 0.0005, **found.arguments}
    batch, nbs, decay = (float(arguments[name]) for name in ("batch", "nbs", "weight_decay"))
    assert batch < now
    assert ultralytics.images_per_step(int(batch), nbs) == ultralytics.images_per_step(now, 64)
    assert ultralytics.decay(decay, int(batch), nbs) == pytest.approx(ultralytics.decay(0.0005, now, 64))
    assert found.effect == ("optimisation",)
    assert f"batch normalisation sees {batch:.0f} images instead of {now}" in found.note


def test_where_no_batch_optimises_alike_it_is_said_what_differs() -> None:
    """17 images step over 68; nothing below them but 4 makes 68, and that is too small."""
    found = smaller_batch(signals(**device(80, 79, 4), batch_size=17.0))
    assert found.arguments == {"batch": 12}
    assert "an optimizer step takes 60 images instead of 68, the weight decay is 0.882 of now's" in found.note


@pytest.mark.parametrize("size", [1e15, 1e18, 2.0**53 - 1])
def test_a_batch_that_nobody_has_is_advised_on_at_once(size: float) -> None:
    """A record may say so, and the diagnosis of all runs would stand still."""
    assert smaller_batch(signals(batch_size=size)).arguments["batch"]


def test_a_smaller_batch_counts_all_ranks() -> None:
    """And AMP is switched on where it was switched off."""
    found = smaller_batch(signals({"amp": "False"}, **device(80, 79, 8), batch_size=32.0, world_size=2.0))
    assert found.arguments == {"batch": 2 * 16, "amp": True}


def test_where_the_batch_cannot_shrink_the_images_do() -> None:
    """By a fifth, in steps of 32, and never beyond today's size; without knowing the batch nothing is computed."""
    numbers = {"gpu_memory_total_bytes": 8 * GIB, "cuda_peak_bytes": 8 * GIB, "batch_size": 1.0}
    assert smaller_batch(signals({"imgsz": "320"}, **numbers)).arguments == {"imgsz": 256}
    assert smaller_batch(signals({"imgsz": "1280"}, **numbers)).arguments == {"imgsz": 1024}
    assert smaller_batch(signals({"imgsz": "1280"})).arguments == {}


def test_the_batch_that_ultralytics_halved_to_is_the_one_to_start_with() -> None:
    """Not one image less, if it fits; without a halving it must get smaller. It is no no-op: another was asked for."""
    numbers = device(80, 50, 2, batch_size=16.0)
    halved = signals(**numbers, batch_reductions=2.0)
    assert smaller_batch(halved).arguments == {"batch": 16}
    assert settled(smaller_batch(halved), halved).arguments == {"batch": 16}
    assert smaller_batch(signals(**numbers)).arguments == {"batch": 8}
