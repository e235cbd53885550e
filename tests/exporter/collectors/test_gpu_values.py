"""The calculations behind the GPU's counters, on any input."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_exporter.collectors.gpu.values import (
    BLANKS,
    ENOUGH,
    MAX_GAP,
    BusyTime,
    Integral,
    Monotonic,
    StateCheck,
    fault,
)

ratios = st.floats(0, 1)
gaps = st.floats(0.01, 5)
samples = st.lists(st.tuples(gaps, st.none() | ratios), min_size=1, max_size=50)


def timeline(parts: list[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Times of the ends of the samples, from 100 on."""
    at, points = 100.0, []
    for gap, ratio in parts:
        at += gap
        points.append((at, ratio))
    return points


@given(samples, st.integers(1, 10), st.integers(0, 5))
def test_busy_time_does_not_depend_on_how_samples_arrive(
    parts: list[tuple[float, float | None]], size: int, again: int
) -> None:
    """In one piece, or in pieces that repeat some samples of the piece before, the total is the same."""
    points = timeline(parts)
    whole, pieces = BusyTime(), BusyTime()
    whole.begin(100.0)
    pieces.begin(100.0)
    whole.add(points)
    for start in range(0, len(points), size):
        pieces.add(points[max(0, start - again) : start + size])
    assert (pieces.seconds, pieces.counts, pieces.sum) == (whole.seconds, whole.counts, whole.sum)


@given(samples)
def test_busy_time_is_the_sum_of_what_is_known(parts: list[tuple[float, float | None]]) -> None:
    """Ratio times duration over the samples that have a ratio; never more than the time that passed."""
    time = BusyTime()
    time.begin(100.0)
    time.add(timeline(parts))
    assert time.seconds == pytest.approx(sum(gap * ratio for gap, ratio in parts if ratio is not None))
    assert time.seconds <= sum(gap for gap, _ in parts) + 1e-6
    assert sum(time.counts) == sum(ratio is not None for _, ratio in parts)


def test_busy_time_leaves_a_long_gap_out() -> None:
    """A sample after a long silence does not speak for it."""
    time = BusyTime()
    time.begin(0.0)
    time.add([(MAX_GAP + 1, 1.0), (MAX_GAP + 2, 1.0)])
    assert time.seconds == 1.0


@given(st.lists(st.tuples(gaps, st.floats(0, 1e6)), min_size=2, max_size=50))
def test_integral_is_the_area_of_the_trapezoids(parts: list[tuple[float, float]]) -> None:
    """The total grows by mean of neighbours times distance, and never falls."""
    integral, now, area, last = Integral(), 0.0, 0.0, None
    for gap, value in parts:
        now += gap
        before = integral.total
        assert integral.add(now, value) >= before
        area += 0 if last is None else gap * (value + last) / 2
        last = value
    assert integral.total == pytest.approx(area)


@given(st.lists(st.integers(0, 100)))
def test_monotonic_lets_a_rising_counter_pass(steps: list[int]) -> None:
    """A counter that does not fall is never refused."""
    guard, total = Monotonic(), 0
    for step in steps:
        total += step
        assert guard.accepts(total)


@given(st.integers(1, 100), st.integers(0, 99), st.integers(0, 99))
def test_monotonic_refuses_once_and_believes_twice(high: int, low: int, more: int) -> None:
    """One reading below is refused; a second one on that level or above is a reset."""
    guard = Monotonic()
    assert guard.accepts(high + low)
    assert not guard.accepts(low)
    assert guard.accepts(low + more)


milliseconds = st.integers(0, 1000).map(lambda number: number / 1000)
shares = st.lists(milliseconds, min_size=1, max_size=80)


@given(shares, st.integers(0, 10**9).map(lambda number: number / 1000))
def test_true_count_of_a_state_is_always_borne_out(parts: list[float], before: float) -> None:
    """Whatever the share of each second, and whatever was counted before anybody looked, where looks see what is."""
    check, counted = StateCheck(), before
    for second, share in enumerate(parts):
        assert check.bears_out(float(second), counted - before, counted)
        counted += share


def test_count_that_was_set_back_is_judged_from_there() -> None:
    """A reset of the GPU takes the count back to nothing; what it counts from then on is borne out."""
    check = StateCheck()
    assert all(check.bears_out(float(second), float(second), 100.0 + second) for second in range(20))
    assert all(check.bears_out(float(second), float(second), second - 20.0) for second in range(20, 40))


@given(shares)
def test_state_between_two_looks_is_no_fault_of_the_count(parts: list[float]) -> None:
    """What was counted and not seen is borne out: a look a second misses most of what is short."""
    check, counted = StateCheck(), 0.0
    for second, share in enumerate(parts):
        counted += share
        assert check.bears_out(float(second + 1), 0.0, counted)


@given(st.integers(0, 999).map(lambda nanoseconds: nanoseconds * 1e-9) | st.floats(1e-6, 1e3))
def test_setting_is_never_borne_out_by_a_lasting_state(setting: float) -> None:
    """A number that stands still is found out as soon as the state has lasted for some seconds, the small at once."""
    check = StateCheck()
    answers = [check.bears_out(float(second), float(second), setting) for second in range(int(ENOUGH) + 1)]
    assert not answers[-1]
    assert answers[0] == (setting == 0 or setting >= 1e-6)


@given(st.one_of(st.sampled_from(sorted(BLANKS)), st.just(math.nan), st.floats(2.0**62, allow_nan=False)))
def test_blanks_are_never_let_through(blank: float) -> None:
    """Whatever the range asked for, a sentinel is named as such."""
    assert fault(blank, 0, 2.0**50) == "blank"


@given(st.floats(allow_nan=False, max_value=2.0**61).filter(lambda value: value not in BLANKS))
def test_fault_is_about_the_range_otherwise(value: float) -> None:
    """Everything else is refused exactly if it lies outside."""
    assert (fault(value, 0, 100) is None) == (0 <= value <= 100)
