"""Points: each calculated once, those that are missing null."""

from __future__ import annotations

import tracemalloc

import pytest
from yoloscope_exporter.history.courses import OF_RUN
from yoloscope_exporter.history.curves import Curves, rounded
from yoloscope_exporter.history.store import History

from tests.exporter.history.test_store import START, fed, training


def test_points_are_calculated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking again costs what has come since, and nothing if nothing has."""
    history = fed(600)
    curves = Curves(history, OF_RUN, "a")
    first = len(list(curves.update(history.last)))
    assert first == len(list(history.ticks(history.last)))
    assert list(curves.update(history.last)) == []
    for now in range(602, 621, 2):
        history.feed(START + now, training(now))
    assert len(list(curves.update(history.last))) == 4


def test_lines_are_as_long_as_their_times() -> None:
    """A worker that came later has null before; what is asked for since a time begins after it."""
    history = History()
    for now in range(0, 121, 2):
        history.feed(START + now, training(now, workers=1 if now < 60 else 2))
    curves = Curves(history, OF_RUN, "a")
    list(curves.update(history.last))
    told = curves.since(0)
    assert told["times"][0] <= START + 10  # nothing before the beginning
    assert {len(line["values"]) for line in told["series"]} == {len(told["times"])}
    late = next(line for line in told["series"] if line["labels"] == {"rank": "0", "worker": "1"})
    assert late["name"] == "preparation"
    assert late["values"][0] is None
    assert late["values"][-1] == 0.2
    assert curves.since(told["times"][-2])["times"] == told["times"][-1:]
    assert curves.since(told["times"][-1]) == {"times": [], "series": []}


def test_old_points_go() -> None:
    """After an hour and a half there is an hour."""
    history = fed(5400, every=10)
    curves = Curves(history, OF_RUN, "a")
    list(curves.update(START + 1000))
    list(curves.update(history.last))
    times = curves.since(0)["times"]
    assert START + 1800 <= times[0] <= START + 1860
    assert len(times) == len(set(times)) < 150


def test_an_hour_of_points_takes_little() -> None:
    """Eight bytes for each value, not a dictionary's entry with its number: a page may follow eight runs."""
    history = History()
    for now in range(0, 3601, 10):
        history.feed(START + now, training(now, workers=30))
    tracemalloc.start()
    try:
        curves = Curves(history, OF_RUN, "a")
        list(curves.update(history.last))
        told = curves.since(0)
        assert len(told["series"]) == 32
        with_points = tracemalloc.get_traced_memory()[0]
        del curves
        held = with_points - tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 3 * 8 * len(told["times"]) * len(told["series"])


@pytest.mark.parametrize(
    ("value", "short"), [(0.0, 0), (1234567.0, 1235000), (0.0123456, 0.01235), (-2.71828, -2.718), (7.0, 7.0)]
)
def test_four_figures(value: float, short: float) -> None:
    """As many as one can read off a chart."""
    assert rounded(value) == short
