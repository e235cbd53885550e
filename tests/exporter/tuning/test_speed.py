"""How fast a probe trained: what would bias a short look is taken into account."""

from __future__ import annotations

import math

import pytest
from yoloscope_exporter.diagnosis.forecast import LEAST_SPREAD
from yoloscope_exporter.tuning.speed import WARM_UP, Speed, pooled, speed
from yoloscope_record.file_format import Row

NAN = math.nan


def rows(intervals: list[float], *, queue: list[float] | None = None, epoch_of: int = 10**9, wait: float = 0.0) -> list:
    """Batches that came at these intervals, with as many in the queue."""
    time, found = 1000.0, []
    for index, interval in enumerate(intervals):
        time += interval
        depth = NAN if queue is None else queue[index]
        found.append(Row(time, wait, interval - wait, NAN, NAN, NAN, depth, float(index // epoch_of)))
    return found


def known(found: Speed | None) -> Speed:
    assert found is not None
    return found


def test_the_first_batches_do_not_count() -> None:
    """A slow start is no property of the training."""
    found = known(speed(rows([5.0] * (WARM_UP + 1) + [0.1] * 40, wait=0.02), 16, 100))
    assert found.images_per_second == pytest.approx(160)
    assert found.wait_share == pytest.approx(0.2)
    assert (found.batches, found.spread) == (40, LEAST_SPREAD)


def test_too_few_batches_say_nothing() -> None:
    """Neither does a training that has just begun."""
    assert speed(rows([0.1] * (WARM_UP + 4)), 16, 100) is None
    assert speed([], 16, 100) is None
    assert speed(rows([0.1] * (WARM_UP + 5)), 16, 100)


def test_a_stock_that_is_used_up_is_no_speed() -> None:
    """Twenty of fifty batches lay ready: the loader gave thirty in that time."""
    queue = [20.0] * (WARM_UP + 1) + [max(20.0 - index / 2, 0.0) for index in range(1, 51)]
    found = known(speed(rows([0.1] * len(queue), queue=queue), 10, 1000))
    assert found.images_per_second == pytest.approx(100 * 30 / 50)


def test_nothing_but_stock_is_not_measured() -> None:
    """Of sixteen batches fifteen lay ready: what the loader can give is not seen."""
    queue = [16.0] * (WARM_UP + 1) + [15.0 - index for index in range(15)]
    assert speed(rows([0.1] * len(queue), queue=queue), 10, 1000) is None


def test_a_queue_that_wavers_or_fills_is_none() -> None:
    """The trainer is what is measured."""
    wavering = [8.0, 7.0] * 30
    filling = [min(index / 4, 8.0) for index in range(60)]
    for queue in (wavering, filling):
        assert known(speed(rows([0.1] * 60, queue=queue), 10, 1000)).images_per_second == pytest.approx(100)


def test_gaps_between_epochs_count_as_often_as_they_come() -> None:
    """A probe with a part of the data set has shorter epochs than the training."""
    intervals = [0.1 if index % 10 else 1.1 for index in range(63)]
    found = rows(intervals, epoch_of=10)
    assert known(speed(found, 10, 10)).images_per_second == pytest.approx(10 / 0.2)
    assert known(speed(found, 10, 100)).images_per_second == pytest.approx(10 / 0.11)


def test_the_spread_is_that_of_the_mean() -> None:
    """Independent batches that vary by a third, four hundred of them; none below what equal runs differ by."""
    uneven = known(speed(rows([0.1, 0.05, 0.15, 0.1, 0.3] * 20), 10, 1000))
    even = known(speed(rows([0.1] * 100), 10, 1000))
    assert even.spread == LEAST_SPREAD
    assert uneven.spread > even.spread or uneven.spread == LEAST_SPREAD
    drift = known(speed(rows([0.1] * 50 + [0.2] * 50), 10, 1000))
    assert drift.spread > 0.1


def test_repeats_are_taken_together() -> None:
    """How far they lie apart counts where it is more than what each says of itself."""
    near = pooled([Speed(100, 0.02, 0.1, 50, 5), Speed(101, 0.02, 0.3, 50, 5)])
    assert near.images_per_second == pytest.approx(100.5)
    assert near.spread == pytest.approx(0.02 / math.sqrt(2))
    assert (near.wait_share, near.batches, near.seconds) == (pytest.approx(0.2), 100, 10)
    far = pooled([Speed(80, 0.02, 0.1, 50, 5), Speed(120, 0.02, 0.1, 50, 5)])
    assert far.spread == pytest.approx(0.2)
