"""Timestamped series and windows over them."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.measures.series import (
    Store,
    Window,
    _label_sets,
    longest,
    merged,
    period,
    quantile,
)

BATCHES, RANK = catalog.TRAIN_BATCHES_TOTAL, ("run", "0")
DEPTH, WAIT = catalog.TRAIN_QUEUE_DEPTH, catalog.TRAIN_DATA_WAIT_SECONDS


def store(metric: catalog.Metric, points: dict[float, float], labels: tuple[str, ...] = RANK) -> Store:
    filled = Store()
    for time, value in points.items():
        filled.add(time, [Sample(metric, labels, value)])
    return filled


def histogram(**counts: int) -> HistogramValue:
    """Counts by bucket index: `histogram(b3=2)`."""
    parts = [0.0] * (len(WAIT.buckets) + 1)
    for key, count in counts.items():
        parts[int(key[1:])] = float(count)
    return HistogramValue(tuple(parts), 1.0)


def test_increase_and_rate_use_only_points_inside() -> None:
    """The first point before the window does not count."""
    window = Window(store(BATCHES, {0: 0, 10: 100, 20: 130, 30: 190}), 10, 30)
    assert window.increase(BATCHES, *RANK) == 90
    assert window.rate(BATCHES, *RANK) == 4.5


def test_a_selection_sees_series_that_came_and_went() -> None:
    """It is kept until then."""
    filled, other = store(BATCHES, {0: 0, 10: 10}), ("run", "1")
    wanted = (("run", "=~r.."),)

    def ranks() -> list[str]:
        return sorted(dict(labels)["rank"] for labels, _ in filled.selection(BATCHES, wanted))

    assert ranks() == ["0"]
    filled.add(20, [Sample(BATCHES, other, 1)])
    assert ranks() == ["0", "1"]
    filled.trim(15)
    assert ranks() == ["1"]
    assert filled.selection(BATCHES, (("run", "another"),)) == []


def test_labels_of_what_is_gone_are_forgotten() -> None:
    """However many runs come and go in an exporter's life: there are those of the ones that are there."""
    filled = Store()
    gc.collect()
    before = len(_label_sets)
    for number in range(3000):
        filled.add(number, [Sample(BATCHES, (f"run-{number}", "0"), float(number)), Sample(DEPTH, RANK, 1.0)])
        filled.trim(number - 9)
        kept = [labels.reduced(("run",)) for labels, _ in filled.selection(BATCHES, (("rank", "0"),))]
        filled.selection(BATCHES, (("run", f"run-{number}"),))
        assert len(kept) == min(number + 1, 10)
    gc.collect()
    assert len(_label_sets) == before + 10


def test_equal_labels_are_one_and_remember_what_they_were_reduced_to() -> None:
    """Stores of the same node share them."""
    (one, _), (other, _) = (store(BATCHES, {0: 0}).selection(BATCHES, ())[0] for _ in range(2))
    assert one is other
    assert one == {("run", "run"), ("rank", "0")}
    assert one.reduced(("run",)) == {("run", "run")}
    assert one.reduced(("run",)) is other.reduced(("run",))
    assert hash(one.reduced(("rank", "gpu"))) == hash(frozenset({("rank", "0")}))


def test_histograms_take_eight_bytes_a_part() -> None:
    """They are those that were added, the oldest going first."""
    filled, values = Store(), [histogram(b1=number, b3=1) for number in range(1000)]
    tracemalloc.start()
    try:
        for time, value in enumerate(values):
            filled.add(time, [Sample(WAIT, RANK, value)])
        assert tracemalloc.get_traced_memory()[0] < 1.3 * 8 * 1000 * (len(WAIT.buckets) + 3)
    finally:
        tracemalloc.stop()
    series = filled.series[WAIT.name][RANK]
    filled.trim(990)
    assert list(series.histograms) == [(*value.counts, value.sum) for value in values[990:]]
    assert series.histograms[-1] == series.histograms[9]
    with pytest.raises(IndexError):
        series.histograms[10]


def test_histograms_of_other_buckets_are_not_taken() -> None:
    """One of a gauge's neither."""
    filled = Store()
    filled.add(
        0, [Sample(WAIT, RANK, HistogramValue((1.0, 2.0), 3.0)), Sample(DEPTH, RANK, HistogramValue((1.0,), 1.0))]
    )
    assert filled.skipped == {"histogram with other buckets or parts missing": 2}
    assert Window(filled, 0, 1).total(WAIT, *RANK) is None


def test_the_last_value_is_inside_and_not_too_old() -> None:
    """What comes after the window does not count, nor what ended long before its end."""
    filled = store(DEPTH, {0: 1, 10: 2, 20: 3, 60: 4})
    for end, value in ((25, 3.0), (20, 3.0), (19, 2.0), (50, None), (61, 4.0)):
        assert Window(filled, 5, end, 5).last(DEPTH, *RANK) == value
        assert Window(filled, 5, end, 5).current(DEPTH) == ({} if value is None else {RANK: value})
    assert Window(filled, 11, 19, 5).last(DEPTH, *RANK) is None


def test_a_reset_is_bridged() -> None:
    """A counter that starts again adds to what it had before."""
    filled = store(BATCHES, {0: 5, 1: 9, 2: 1, 3: 4})
    assert Window(filled, 0, 3).increase(BATCHES, *RANK) == 8
    assert filled.series[BATCHES.name][RANK].resets == 1


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30))
def test_counters_never_fall(raw: list[int]) -> None:
    """Whatever a counter does, its unwrapped values ascend and the last raw value is kept."""
    filled = store(BATCHES, dict(enumerate(map(float, raw))))
    values = filled.series[BATCHES.name][RANK].values
    assert list(values) == sorted(values)
    assert values[-1] >= raw[-1]


def test_a_counter_read_rarely_is_rated_from_reading_to_reading() -> None:
    """2 per second, read every 10 s, sampled every 5 s: the ends that were not read do not count."""
    window = Window(store(BATCHES, {0: 0, 5: 0, 10: 20, 15: 20, 20: 40, 25: 40}), 0, 25)
    assert window.rate_between([10.0, 20.0], BATCHES, *RANK) == 2
    assert window.rate(BATCHES, *RANK) == 1.6


@pytest.mark.parametrize(("readings", "rate"), [([], None), ([10.0], None), ([10.0, 20.0], 0.0)])
def test_what_has_not_been_read_twice_is_not_known_to_stand_still(readings: list[float], rate: float | None) -> None:
    """One value all the time: nothing was read anew, or nothing has grown."""
    window = Window(store(BATCHES, {0: 7, 5: 7, 10: 7, 15: 7, 20: 7}), 0, 20)
    assert window.rate_between(readings, BATCHES, *RANK) == rate


def test_a_family_is_looked_for_anew_when_series_come_or_go() -> None:
    """What was found by a prefix before must neither hide a new rank nor keep one that is gone."""
    filled = store(BATCHES, {0: 0, 5: 1})
    assert Window(filled, 0, 9).labels(BATCHES, RANK[0]) == [RANK]
    filled.add(9, [Sample(BATCHES, (RANK[0], "9"), 1.0)])
    assert Window(filled, 0, 9).labels(BATCHES, RANK[0]) == [RANK, (RANK[0], "9")]
    filled.trim(6)
    assert Window(filled, 0, 9).labels(BATCHES, RANK[0]) == [(RANK[0], "9")]


def test_growth_begins_with_the_last_point_before_the_window() -> None:
    """Windows that follow each other lose nothing between them, unlike increases."""
    filled = store(BATCHES, {0: 10, 4: 14, 6: 16, 10: 20})
    windows = [Window(filled, -5, 5), Window(filled, 5, 9), Window(filled, 9, 10)]
    assert [window.growth(BATCHES, *RANK) for window in windows] == [4, 2, 4]
    assert Window(filled, 11, 12).growth(BATCHES, *RANK) is None


def test_one_point_makes_no_increase() -> None:
    """Nothing can be said of one point; absent, not zero."""
    window = Window(store(BATCHES, {5: 7}), 0, 10)
    assert window.increase(BATCHES, *RANK) is None
    assert window.rate(BATCHES, *RANK) is None
    assert window.mean(DEPTH, *RANK) is None


def test_a_series_that_has_gone_has_no_last_value() -> None:
    """What stopped being published is unknown at the end of the window."""
    window = Window(store(DEPTH, {0: 1, 1: 2, 20: 3}, RANK), 0, 20)
    assert window.last(DEPTH, *RANK) == 3
    assert Window(window.store, 0, 19).last(DEPTH, *RANK) is None
    assert Window(window.store, 0, 19, period=10).last(DEPTH, *RANK) == 2


def test_points_that_go_back_are_skipped_and_counted() -> None:
    """Timestamps of a series ascend; a clock set back is said, not believed."""
    filled = store(DEPTH, {10: 1})
    filled.add(9, [Sample(DEPTH, RANK, 2.0)])
    filled.add(11, [Sample(DEPTH, RANK, float("nan"))])
    assert filled.skipped == {"backwards": 1, "not a number": 1}
    assert list(filled.series[DEPTH.name][RANK].values) == [1.0]


def test_events_count_from_the_birth_of_a_series() -> None:
    """A counter that appears with 2 has seen 2 events; one that was there from the start, none."""
    ooms = catalog.TRAIN_CUDA_OOMS_TOTAL
    born = store(BATCHES, {0: 1, 1: 2})
    born.add(2, [Sample(ooms, RANK, 2.0)])
    assert Window(born, 0, 2).events(ooms, *RANK) == 2
    assert Window(store(ooms, {0: 2, 1: 2}), 0, 1).events(ooms, *RANK) == 0


def test_trimming_forgets_the_birth() -> None:
    """After old points are gone, the first one left is no beginning."""
    ooms = catalog.TRAIN_CUDA_OOMS_TOTAL
    filled = store(BATCHES, {0: 1})
    filled.add(1, [Sample(ooms, RANK, 2.0)])
    filled.add(2, [Sample(ooms, RANK, 2.0)])
    filled.trim(2)
    assert Window(filled, 0, 3).events(ooms, *RANK) == 0
    assert BATCHES.name not in filled.series


def test_shares_take_the_value_before_an_edge() -> None:
    """Parts may be as short as the sample period."""
    window = Window(store(BATCHES, {0: 0, 10: 10, 20: 30, 30: 30}), 0, 30, period=10)
    assert window.shares(BATCHES, *RANK, count=3) == [10, 20, 0]
    assert Window(window.store, -60, 30, period=10).shares(BATCHES, *RANK, count=3) is None


def test_quantiles_interpolate_as_prometheus_does() -> None:
    """The median of ten observations between 0.2 and 0.5 lies in the middle; beyond the last bound it is that bound."""
    index = WAIT.buckets.index(0.5)
    assert quantile(WAIT, histogram(**{f"b{index}": 10}), 0.5) == pytest.approx(0.35)
    assert quantile(WAIT, histogram(**{f"b{len(WAIT.buckets)}": 1}), 0.5) == WAIT.buckets[-1]
    assert quantile(WAIT, histogram(), 0.5) is None


def test_histograms_are_merged_part_by_part() -> None:
    """What two have seen together."""
    assert merged([HistogramValue((1, 2, 0), 3.5), HistogramValue((0, 1, 4), 9.0)]) == HistogramValue((1, 3, 4), 12.5)


def test_longest_is_the_bound_of_the_highest_bucket() -> None:
    """What is above the last bound counts twice that."""
    assert longest(WAIT, histogram(b0=9, b3=1)) == WAIT.buckets[3]
    assert longest(WAIT, histogram(**{f"b{len(WAIT.buckets)}": 1})) == 2 * WAIT.buckets[-1]
    assert longest(WAIT, histogram()) is None


def test_histograms_are_subtracted_part_by_part() -> None:
    """The window's histogram holds what was observed inside it."""
    filled = Store()
    filled.add(0, [Sample(WAIT, RANK, histogram(b1=3))])
    filled.add(1, [Sample(WAIT, RANK, histogram(b1=4, b2=2))])
    inside = Window(filled, 0, 1).histogram(WAIT, *RANK)
    assert inside is not None
    assert inside.counts[1:3] == (1, 2)


def test_period_is_the_usual_distance() -> None:
    """One gap does not change it."""
    assert period([0, 1, 2, 3, 90, 91]) == 1
    assert period([7]) == 1


def test_what_is_not_kept_is_gone() -> None:
    """By metric and labels; a metric without a series left is none any more, and what was looked up before neither."""
    filled = store(BATCHES, {0: 1, 1: 2})
    filled.add(1, [Sample(BATCHES, ("other", "0"), 5.0), Sample(DEPTH, ("other", "0"), 5.0)])
    assert len(Window(filled, 0, 1).labels(BATCHES)) == 2
    filled.keep(lambda metric, labels: labels[0] == "run" and metric is BATCHES)
    assert Window(filled, 0, 1).labels(BATCHES) == [RANK]
    assert set(filled.series) == {BATCHES.name}
