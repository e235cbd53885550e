"""What the history keeps, and that nothing is calculated before somebody asks."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.history import store
from yoloscope_exporter.history.courses import OF_GPUS, OF_RANKS, OF_RUN
from yoloscope_exporter.history.store import SPAN, TIERS, History
from yoloscope_exporter.measures.evaluate import evaluate
from yoloscope_exporter.measures.series import Store, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START = 1_790_000_000.0


def training(seconds: float, run: str = "a", *, alive: bool = True, workers: int = 2) -> list[Sample]:
    """A run that waits for data a quarter of its time, at 100 images a second."""
    rank = (run, "0")
    return [
        Sample(catalog.TRAIN_UP, rank, float(alive)),
        Sample(catalog.TRAIN_BATCHES_TOTAL, rank, 10 * seconds),
        Sample(catalog.TRAIN_IMAGES_TOTAL, rank, 100 * seconds),
        Sample(catalog.TRAIN_PHASE_SECONDS_TOTAL, (*rank, "data_wait"), 0.25 * seconds),
        Sample(catalog.TRAIN_PHASE_SECONDS_TOTAL, (*rank, "forward"), 0.75 * seconds),
        *(Sample(catalog.TRAIN_WORKER_BATCHES_TOTAL, (*rank, str(n)), 5 * seconds) for n in range(workers)),
        *(Sample(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, (*rank, str(n)), seconds) for n in range(workers)),
    ]


def fed(seconds: int, every: int = 2) -> History:
    """A history of one run."""
    history = History()
    for now in range(0, seconds + 1, every):
        history.feed(START + now, training(now))
    return history


def sizes(history: History) -> list[tuple[int, int]]:
    """Of each tier the number of series, and of points in the longest."""
    series = [[one for family in kept.store.series.values() for one in family.values()] for kept in history._kept]
    return [(len(found), max(len(one.times) for one in found)) for found in series]


def test_memory_is_bounded_and_older_is_coarser() -> None:
    """Three hours need no more than one: each tier has as many points as its span has steps, and an eighth."""
    history = fed(3 * 3600)
    for tier, (series, points) in zip(TIERS, sizes(history), strict=True):
        assert series == len(training(0))
        assert tier.span / tier.step <= points + 1 <= 1.2 * tier.span / tier.step
    assert sum(points for _, points in sizes(history)) < 400


@pytest.mark.parametrize("place", range(len(TIERS)))
def test_values_are_those_of_the_measures(place: int) -> None:
    """Of each tier: what a measure says of all samples, it says of those that were kept."""
    history, everything = History(), Store()
    for now in range(0, 1800, 2):
        samples = training(now)
        history.feed(START + now, samples)
        everything.add(START + now, samples)
    at = START + 1740
    found = history.at(at, place, OF_RUN, "a")
    window = Window(everything, at - TIERS[place].window, at, 2)
    assert set(found) == {"images", "data_wait", "preparation"}
    for course in OF_RUN:
        if course.name in found:
            wanted = evaluate(course.formula, [window], *course.by)
            assert found[course.name] == pytest.approx(wanted)
    assert list(found["images"].values()) == [pytest.approx(100)]
    assert list(found["data_wait"].values()) == [pytest.approx(0.25)]
    assert list(found["preparation"].values()) == [pytest.approx(0.2)] * 2


def test_nothing_is_calculated_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Feeding evaluates no formula; looking does, once for all who look until more is fed."""
    asked: list[object] = []
    monkeypatch.setattr(store.Evaluator, "_evaluated", _noted(asked, store.Evaluator._evaluated))
    history = fed(600)
    assert asked == []
    first = history.now(OF_RANKS, "a")
    calculated = len(asked)
    assert calculated > len(first)
    assert history.now(OF_RANKS, "a") == first
    assert len(asked) == calculated
    history.feed(START + 602, training(602))
    history.now(OF_RANKS, "a")
    assert len(asked) == 2 * calculated


def _noted(asked: list[object], original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, formula: asked.append(formula) or original(self, formula)


def test_ticks_are_kept_points() -> None:
    """From an hour ago until now, ascending; what comes later takes no new point of the past."""
    history = fed(10)
    now = START + 7200
    ticks = list(history.ticks(now))
    times = [time for time, _ in ticks]
    assert all(earlier < later for earlier, later in pairwise(times))
    assert now - SPAN <= times[0] <= now - SPAN + TIERS[-1].tick
    assert now - TIERS[0].tick < times[-1] <= now
    assert len(times) < 150
    for later in (now + 2, now + 61, now + 1000):
        assert min({time for time, _ in history.ticks(later)} - set(times), default=later) > now
    for time, place in ticks:  # all of a point's window has been kept
        assert now - time + TIERS[place].window <= TIERS[place].span


def runs(count: int, seconds: float, living: Sequence[int] = ()) -> list[Sample]:
    """Many runs of which some are alive."""
    return [sample for n in range(count) for sample in training(seconds, f"run {n}", alive=n in living)]


def test_living_runs_come_first_where_there_is_no_room() -> None:
    """The others are left out, and counted; what the history has of them goes."""
    size = len(training(0))
    history = History(most=3 * size)
    for now in (0, 2):
        history.feed(START + now, runs(1000, now, living=(7, 500)))
    assert history.left_out == 997
    assert all(history.now(OF_RUN, f"run {n}") for n in (7, 500))
    for now in range(4, 80, 2):
        history.feed(START + now, runs(1000, now, living=(900, 901, 902)))
    assert all(history.now(OF_RUN, f"run {n}") for n in (900, 901, 902))
    assert not history.now(OF_RUN, "run 7")
    assert all(series <= 3 * size for series, _ in sizes(history))


def test_runs_that_come_and_go_take_no_more_room() -> None:
    """A thousand short runs one after the other."""
    size = len(training(0))
    history = History(most=4 * size)
    for n in range(1000):
        history.feed(START + 2 * n, training(2 * n, f"run {n // 3}"))
    assert all(series <= 4 * size for series, _ in sizes(history))
    assert history.left_out == 0


def test_a_clock_that_is_set_back_begins_anew() -> None:
    """What was seen lies in the future then."""
    history = fed(100)
    history.feed(START - 3600, training(0))
    history.feed(START - 3598, training(2))
    assert history.last == START - 3598
    assert history.now(OF_RUN, "a")["images"]
    assert [points for _, points in sizes(history)] == [2, 1, 1]


@pytest.mark.parametrize(("back", "points"), [(3, 90), (3600, 0)])
def test_no_event_is_lost_when_the_clock_is_set_back(back: int, points: int) -> None:
    """Nor, by a small step, the points: it is waited for."""
    history = History()
    for now in range(0, 200, 2):
        history.feed(START + now, [*training(now), Sample(catalog.TRAIN_EPOCH, ("a", "0"), float(now // 100))])
    (epoch,) = history.events()
    for now in range(200, 212, 2):
        history.feed(START + now - back, [*training(now), Sample(catalog.TRAIN_EPOCH, ("a", "0"), 2.0)])
    assert [event.value for event in history.events()] == [epoch.value, "2"]
    assert sizes(history)[0][1] > points
    assert history.last == START + 210 - back


def test_runs_without_names_of_their_own_are_the_nodes() -> None:
    """GPUs belong to no run and stay whatever runs there are."""
    history = History(most=10)
    for now in range(0, 180, 2):
        gpu = [Sample(catalog.GPU_BUSY_SECONDS_TOTAL, ("0",), 0.5 * now)]
        history.feed(START + now, [*runs(10, now), *gpu])
    (busy,) = history.now(OF_GPUS)["gpu_busy"].values()
    assert busy == pytest.approx(0.5)
