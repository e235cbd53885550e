"""What calls say: speeds with their intervals, latencies, ratios that are none of chance."""

from __future__ import annotations

import random

import pytest
from yoloscope_exporter.bench.figures import FEWEST_FOR_P99, quantile, ratios, speed


def rounds(
    mean: float, *, noise: float = 0.0, drift: float = 0.0, count: int = 10, seed: int = 0
) -> dict[int, list[float]]:
    """Three calls in each round; a machine that becomes slower by `drift` meets all formats alike."""
    dice = random.Random(seed)
    return {n: [mean * (1 + drift * n) * (1 + dice.gauss(0, noise)) for _ in range(3)] for n in range(count)}


def test_speed_of_equal_calls() -> None:
    """Images per second and seconds per image of calls with eight images."""
    told = speed(rounds(0.4), batch=8)
    assert told is not None
    assert told.images_per_second == pytest.approx(20.0)
    assert told.margin == pytest.approx(0.0, abs=1e-9)
    assert told.p50 == told.longest == pytest.approx(0.05)
    assert (told.calls, told.p99) == (30, None)


def test_a_long_call_counts_by_its_time() -> None:
    """Two calls of 1 s and 3 s are half an image per second, not two thirds."""
    told = speed({0: [1.0, 3.0]}, batch=1)
    assert told is not None
    assert told.images_per_second == pytest.approx(0.5)
    assert told.margin is None


def test_p99_needs_a_hundred_calls() -> None:
    """With fewer there is the longest."""
    calls = [0.001 * n for n in range(1, FEWEST_FOR_P99 + 1)]
    told = speed({0: calls[:50], 1: calls[50:]}, batch=2)
    assert told is not None
    assert told.p99 == pytest.approx(0.09901 / 2)
    assert speed({0: calls[:-1]}, batch=2).p99 is None  # type: ignore[union-attr]


def test_no_calls_no_speed() -> None:
    """Neither zero nor an error."""
    assert speed({}, 8) is None


def test_quantiles_lie_between_the_nearest_two() -> None:
    """Of one value it is that value."""
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == pytest.approx(2.5)
    assert quantile([7.0], 0.99) == 7.0


def test_the_interval_holds_the_truth() -> None:
    """About 95 times in a hundred: here at least 90, over 200 seeds."""
    inside = 0
    for seed in range(200):
        told = speed(rounds(0.1, noise=0.1, seed=seed), batch=1)
        assert told is not None
        assert told.margin is not None
        inside += abs(told.images_per_second - 10.0) <= told.margin * told.images_per_second
    assert inside >= 180


def test_ratios_are_paired() -> None:
    """A machine that becomes four times slower meets both: their ratio is known all the same."""
    told = ratios(rounds(0.1, drift=0.3, noise=0.01), {"onnx": rounds(0.05, drift=0.3, noise=0.01, seed=1)})["onnx"]
    assert told.sure
    assert told.low < 2 < told.high
    assert told.high / told.low < 1.15
    assert str(told) == f"{told.low:.2f}x to {told.high:.2f}x"


def test_equal_formats_are_not_told_apart() -> None:
    """Of a hundred tables with three equal formats each hardly one says otherwise."""
    wrong = 0
    for seed in range(100):
        others = {name: rounds(0.1, noise=0.05, seed=1000 * place + seed) for place, name in enumerate("abc", start=1)}
        wrong += any(one.sure for one in ratios(rounds(0.1, noise=0.05, seed=seed), others).values())
    assert wrong <= 8


def test_two_percent_are_no_difference() -> None:
    """However often it is measured: two processes of the same format differ by that."""
    told = ratios(rounds(0.1, count=500), {"onnx": rounds(0.098, count=500)})["onnx"]
    assert not told.sure
    assert told.low < 1 < told.high


def test_ratios_of_the_rounds_that_both_have() -> None:
    """One that died after two rounds is compared by these; with one there is no ratio."""
    cut = {n: one for n, one in rounds(0.05).items() if n < 2}
    told = ratios(rounds(0.1, drift=1.0), {"died": cut, "at once": {0: [0.05]}, "never": {}})
    assert set(told) == {"died"}
    assert told["died"].low < told["died"].high
