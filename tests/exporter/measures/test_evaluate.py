"""Formulas evaluated over a window: what PromQL would say of the same samples."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog as m
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.measures.evaluate import Vector, evaluate
from yoloscope_exporter.measures.formula import (
    RANK,
    Formula,
    OverTime,
    Selector,
    WindowSeconds,
    age,
    increase,
    last,
    over_time,
    quantile,
    rate,
)
from yoloscope_exporter.measures.series import Store, Window

ALONE: frozenset[tuple[str, str]] = frozenset()


def window(*samples: list[Sample], name: str = "", every: float = 10.0) -> Window:
    """Samples every ten seconds from 100 on, and a window over all of them."""
    store = Store(name)
    for index, found in enumerate(samples):
        store.add(100.0 + every * index, found)
    return Window(store, 100.0, 100.0 + every * (len(samples) - 1), every)


def phases(wait: float, forward: float, run: str = "a") -> list[Sample]:
    labels = {"data_wait": wait, "forward": forward}
    return [Sample(m.TRAIN_PHASE_SECONDS_TOTAL, (run, "0", phase), value) for phase, value in labels.items()]


def gauge(value: float) -> list[Sample]:
    return [Sample(m.MEMORY_AVAILABLE_BYTES, (), value)]


def one(formula: Formula, *windows: Window) -> float | None:
    """The only value."""
    found = evaluate(formula, windows)
    assert len(found) < 2
    return next(iter(found.values()), None)


WAIT = rate(m.TRAIN_PHASE_SECONDS_TOTAL, phase="data_wait").total("sum")
ALL = rate(m.TRAIN_PHASE_SECONDS_TOTAL).total("sum")
LOW = last(m.MEMORY_AVAILABLE_BYTES)


def test_shares_by_what_is_asked_for() -> None:
    """Totals keep the labels of the question; `within` narrows where a metric has the label."""
    grown = window([*phases(0, 0), *phases(0, 0, "b")], [*phases(1, 3), *phases(2, 2, "b")], name="node:9911")
    both = {frozenset({("run", "a")}): 0.25, frozenset({("run", "b")}): 0.5}
    assert evaluate(WAIT / ALL, [grown], "run") == both
    assert evaluate(WAIT / ALL, [grown], within={"run": "b"}) == {ALONE: 0.5}
    assert evaluate(WAIT, [grown], "instance") == {frozenset({("instance", "node:9911")}): pytest.approx(0.3)}


def test_nodes_of_two_clusters_are_told_apart() -> None:
    """Their addresses are equal; a target's labels are its cluster, its job and its instance."""
    windows = []
    for cluster, wait in (("east", 1), ("west", 3)):
        store = Store("10.0.0.7:9911", cluster, "yoloscope")
        store.add(100.0, phases(0, 0))
        store.add(110.0, phases(wait, 4 - wait))
        windows.append(Window(store, 100.0, 110.0, 10.0))
    east, west = (frozenset({("cluster", name), ("job", "yoloscope"), ("run", "a")}) for name in ("east", "west"))
    assert evaluate(WAIT / ALL, windows, "cluster", "job", "run") == pytest.approx({east: 0.25, west: 0.75})


def test_a_life_is_what_a_counter_says() -> None:
    """The window's start does not matter then."""
    grown = window(phases(6, 4), phases(7, 13))
    assert evaluate(WAIT / ALL, [grown], life=True) == {ALONE: 0.35}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        (LOW, 3.0),
        (over_time("avg", m.MEMORY_AVAILABLE_BYTES), 2.25),
        (over_time("max", m.MEMORY_AVAILABLE_BYTES), 4.0),
        (over_time("min", m.MEMORY_AVAILABLE_BYTES), 1.0),
        (OverTime("max", Selector(m.MEMORY_AVAILABLE_BYTES), 0, 3), 1.0),
        (OverTime("max", Selector(m.MEMORY_AVAILABLE_BYTES), 1, 3), 4.0),
        (LOW * 2 - 1, 5.0),
        (LOW.total("count"), 1.0),
        (LOW.clamped(most=2), 2.0),
        (LOW.clamped(least=4), 4.0),
        (LOW.compared(">=", 3), 3.0),
        (LOW.compared(">", 3), None),
        (LOW.compared(">", 3).or_(LOW * 10), 30.0),
        (LOW.where(LOW.compared(">", 3)), None),
        (LOW.unless(LOW.compared(">", 3)), 3.0),
        (LOW / (LOW - LOW), None),
        (LOW / WindowSeconds(0.5), 0.2),
    ],
)
def test_each_kind_of_formula(formula: Formula, value: float | None) -> None:
    """Of a gauge that was 1, 1, 4, 3 in thirty seconds; None where it is absent."""
    assert one(formula, window(gauge(1), gauge(1), gauge(4), gauge(3))) == value


def test_what_has_gone_has_no_value_now() -> None:
    """Its mean it still has."""
    gone = window(gauge(1), gauge(2), [], [], [], [], [])
    assert one(LOW, gone) is None
    assert one(over_time("avg", m.MEMORY_AVAILABLE_BYTES), gone) == 1.5


def test_a_counter_that_begins_again_has_grown() -> None:
    """By what it counted before and after."""
    again = window(phases(5, 0), phases(7, 0), phases(1, 0))
    assert one(increase(m.TRAIN_PHASE_SECONDS_TOTAL, phase="data_wait"), again) == 3.0
    assert one(increase(m.TRAIN_PHASE_SECONDS_TOTAL, phase="data_wait"), window(phases(5, 0))) is None


def test_many_are_joined_with_one() -> None:
    """A GPU's power for each rank that trains on it; over several nodes each with its own."""

    def node(name: str, watts: float) -> Window:
        device = Sample(m.TRAIN_DEVICE_INFO, ("a", name, "0", "uuid"), 1.0)
        return window([device, Sample(m.GPU_POWER_WATTS, ("0",), watts)], name=name)

    joined = last(m.TRAIN_DEVICE_INFO).joined("*", last(m.GPU_POWER_WATTS), ("instance", "gpu")).total("max", ("rank",))
    expected: Vector = {frozenset({("rank", "x")}): 300.0, frozenset({("rank", "y")}): 200.0}
    assert evaluate(joined, [node("x", 300.0), node("y", 200.0)]) == expected


def test_conditions_by_some_labels() -> None:
    """A rank's phases where the rank has a certain one."""
    only = rate(m.TRAIN_PHASE_SECONDS_TOTAL, phase="data_wait")
    grown = window(phases(0, 0), phases(1, 3))
    assert one(only.unless(rate(m.TRAIN_PHASE_SECONDS_TOTAL, phase="loader_start"), RANK), grown) == 0.1
    assert one(only.where(rate(m.TRAIN_PHASE_SECONDS_TOTAL, phase="forward"), RANK), grown) == 0.1
    assert one(only.where(rate(m.TRAIN_PHASE_SECONDS_TOTAL, phase="forward")), grown) is None


@pytest.mark.parametrize(("phase", "value"), [("=~data_wait|h2d", 0.1), ("!~data_wait|h2d", 0.3), ("!=forward", 0.1)])
def test_labels_are_matched_as_prometheus_does(phase: str, value: float) -> None:
    """Whole values, by regular expression or not."""
    grown = window(phases(0, 0), phases(1, 3))
    assert one(rate(m.TRAIN_PHASE_SECONDS_TOTAL, phase=phase), grown) == pytest.approx(value)


def test_an_age_is_of_the_windows_end() -> None:
    """Seconds since the Unix time that the gauge holds."""
    last_batch = [Sample(m.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, ("a", "0"), 97.0)]
    assert one(age(m.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS), window(last_batch)) == 3.0


def test_histograms() -> None:
    """Sum, count and cumulative buckets grow like counters; quantiles are interpolated within a bucket."""

    def steps(counts: tuple[float, ...], seconds: float) -> list[Sample]:
        value = HistogramValue((*counts, *[0.0] * (len(m.STEP_BUCKETS) + 1 - len(counts))), seconds)
        return [Sample(m.TRAIN_STEP_SECONDS, ("a", "0"), value)]

    grown = window(steps((1, 1), 1.0), steps((5, 3), 3.0))
    assert one(increase(m.TRAIN_STEP_SECONDS, "_sum"), grown) == 2.0
    assert one(increase(m.TRAIN_STEP_SECONDS, "_count"), grown) == 6.0
    assert one(increase(m.TRAIN_STEP_SECONDS, "_bucket", le="0.001"), grown) == 4.0
    assert one(quantile(0.5, m.TRAIN_STEP_SECONDS), grown) == pytest.approx(0.00075)
    assert one(quantile(0.5, m.TRAIN_STEP_SECONDS), window(steps((1, 1), 1.0))) is None
