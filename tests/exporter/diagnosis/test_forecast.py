"""Forecasts: the least of what loader, trainer, CPUs and disk can give, as an interval."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yoloscope_exporter.diagnosis import forecast
from yoloscope_exporter.diagnosis.forecast import Costs, Forecast

#: 16 images for a batch, prepared in 0.9 s by one of two workers; the step takes 0.2 s.
NOW = Costs(images=16, batch=0.45, trainer=0.2, prepare=0.9, computing=1.0, workers=2)


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 0.45),
        ({"workers": 4}, 0.225),
        ({"workers": 8}, 0.2),
        ({"workers": 0}, 1.1),
        ({"workers": 8, "cpus": 2.0}, 0.45),
        ({"workers": 8, "cpus": 2.0, "trainer_cpu": 0.1}, 0.5),
        ({"workers": 8, "cpus": 2.0, "computing": 0.1}, 0.2),
        ({"workers": 8, "disk": 0.5}, 0.5),
    ],
)
def test_the_slowest_part_sets_the_pace(changes: dict[str, float], seconds: float) -> None:
    """Workers, the step, CPUs, the disk; without workers the trainer prepares its batches itself."""
    assert forecast.seconds(replace(NOW, **changes)) == pytest.approx(seconds)  # type: ignore[arg-type]


def test_a_model_that_fits_today_is_narrow() -> None:
    """What is left is the run's own spread, two per cent at least."""
    found = forecast.throughput(NOW, replace(NOW, workers=4))
    assert found.today == pytest.approx(16 / 0.45)
    assert (found.low, found.high) == pytest.approx((16 / 0.225 / (1 + 1.28 * 0.02), 16 / 0.225 * (1 + 1.28 * 0.02)))
    noisy = forecast.throughput(replace(NOW, spread=0.1), replace(NOW, workers=4))
    assert noisy.high / noisy.low == pytest.approx((1 + 1.28 * 0.1) ** 2)
    assert forecast.throughput(replace(NOW, spread=9.0), replace(NOW, workers=4)).low > 0


def test_what_the_model_misses_today_it_may_miss_then() -> None:
    """A batch takes 0.6 s where 0.45 were expected: tomorrow it may be 0.225 or a third more."""
    found = forecast.throughput(replace(NOW, batch=0.6), replace(NOW, workers=4))
    assert found.low == pytest.approx(16 / 0.3 / (1 + 1.28 * 0.02))
    assert found.high == pytest.approx(16 / 0.225 * (1 + 1.28 * 0.02))


def test_cpus_that_others_use_may_come_or_not() -> None:
    """Of two CPUs others use one: a second worker adds nothing, or all of its own."""
    contended = replace(NOW, batch=0.9, workers=1, cpus=2.0, cpus_left=1.0)
    found = forecast.throughput(contended, replace(contended, workers=2))
    assert (found.low, found.high) == pytest.approx((16 / 0.9 / (1 + 1.28 * 0.02), 16 / 0.45 * (1 + 1.28 * 0.02)))


def test_a_busy_disk_may_serve_more() -> None:
    """Always busy today: twice the workers get no more of it, or twice as much."""
    reading = replace(NOW, disk=0.45)
    found = forecast.throughput(reading, replace(reading, workers=4))
    assert (found.low, found.high) == pytest.approx((16 / 0.45 / (1 + 1.28 * 0.02), 16 / 0.225 * (1 + 1.28 * 0.02)))


def test_a_cache_takes_the_waiting_first() -> None:
    """Of 0.9 s half waits; without 0.6 s of reading and decoding 0.3 s of computing are left."""
    waiting = replace(NOW, computing=0.5, disk=0.3)
    spared = forecast.without_decoding(waiting, 2 / 3)
    assert spared.prepare == pytest.approx(0.3)
    assert spared.computing == pytest.approx(1.0)
    assert spared.disk is None
    assert forecast.without_decoding(NOW, 0.5).prepare == pytest.approx(0.45)


def test_a_disk_cache_may_bring_nothing() -> None:
    """Its files are larger, and are still resized: from nothing to all of the decoding."""
    decoding = replace(NOW, decoding=0.5)
    ram, disk = (forecast.throughput(NOW, *forecast.cached(decoding, place)) for place in ("ram", "disk"))
    assert ram.low > 1.8 * NOW.images_per_second
    assert disk.low < NOW.images_per_second
    assert disk.high == pytest.approx(ram.high)


def test_without_a_measured_decoding_a_cache_may_bring_nothing() -> None:
    """Older hooks: what waits may be reading, or a lock."""
    found = forecast.throughput(NOW, *forecast.cached(replace(NOW, computing=0.1), "ram"))
    assert found.low < NOW.images_per_second < found.high


@pytest.mark.parametrize(("share", "least", "interval"), [(0.5, 0.0, (10, 20)), (0.5, 0.2, (12.5, 20))])
def test_what_is_saved(share: float, least: float, interval: tuple[float, float]) -> None:
    """Between nothing and a share of the time."""
    found, noisy = forecast.saved(10.0, share, least), forecast.saved(10.0, share, least, spread=0.1)
    assert found is not None
    assert noisy is not None
    assert (found.low, found.high, found.unit) == (*map(pytest.approx, interval), "x")
    assert (noisy.low, noisy.high, noisy.unit) == (found.low, pytest.approx(found.high * 1.128), "images/s")
    assert forecast.saved(None, share) is None
    assert forecast.saved(10.0, 1.0) is None


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Forecast("images/s", 150, 190, 100), "1.5x to 1.9x: 100 -> 150 to 190 images/s"),
        (Forecast("images/s", 100, 190, 100), "up to 1.9x: 100 -> at most 190 images/s"),
        (Forecast("x", 1.2, 1.5, 1.0), "1.2x to 1.5x for the run as a whole"),
        (Forecast("GiB", 30.0, 35.5, 40.0), "30 to 35.5 GiB of GPU memory (now 40)"),
    ],
)
def test_in_words(found: Forecast, text: str) -> None:
    """An interval, and today's value beside it."""
    assert str(found) == text
