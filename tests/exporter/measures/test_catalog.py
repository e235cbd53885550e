"""The definitions: what a run reads, whichever hooks wrote it, and from where on a rank is behind."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog as c
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis import signals
from yoloscope_exporter.measures import gpu, loader, memory, ranks, training
from yoloscope_exporter.measures.evaluate import evaluate
from yoloscope_exporter.measures.reading import Reading
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.measures.thresholds import THRESHOLDS

from tests.recordings.model import Plan, play

#: An epoch of a minute: twenty seconds until the first batch, then a hundred of 0.38 s, each waited for 0.02 s.
OLD = {"data_wait": 22.0, "forward": 38.0}
NEW = {"data_wait": 2.0, "loader_start": 20.0, "forward": 38.0, "callbacks": 0.0, "preprocess": 0.0}


def epoch(phases: dict[str, float], first: float | None, batches: float = 100.0) -> Reading:
    """What one rank counted in a minute."""
    store = Store()
    for share in (0.0, 1.0):
        samples = [
            Sample(c.TRAIN_PHASE_SECONDS_TOTAL, ("run", "0", name), seconds * share) for name, seconds in phases.items()
        ]
        samples.append(Sample(c.TRAIN_BATCHES_TOTAL, ("run", "0"), batches * share))
        if first is not None:
            samples.append(Sample(c.TRAIN_FIRST_BATCH_WAIT_SECONDS_TOTAL, ("run", "0"), first * share))
        store.add(100.0 + 60.0 * share, samples)
    return Reading(Window(store, 100.0, 160.0, 30.0))


@pytest.mark.parametrize(("phases", "first"), [(OLD, 20.0), (NEW, 20.0), (NEW, None)])
def test_the_first_batch_of_an_epoch_is_a_cost_of_its_own(phases: dict[str, float], first: float | None) -> None:
    """Old hooks count it in the wait, new ones apart, with or without the old counter: the same is read."""
    read = epoch(phases, first)
    rank = {"run": "run", "rank": "0"}
    assert read.one(training.DATA_WAIT, **rank) == pytest.approx(2 / 40)
    assert read.one(training.LOADER_START, **rank) == pytest.approx(20 / 60)
    assert read.one(training.STEP, **rank) == pytest.approx(0.38)
    assert read.one(training.COMPUTE_SHARE, **rank) == pytest.approx(38 / 40)
    assert read.one(training.GOODPUT, **rank) == pytest.approx(38 / 60)


def test_what_old_hooks_do_not_have_empties_nothing() -> None:
    """Without a counter of first waits and without new phases, the rest is read; what is not there is absent."""
    read = epoch({"data_wait": 2.0, "forward": 38.0}, None)
    assert read.one(training.DATA_WAIT, run="run", rank="0") == pytest.approx(0.05)
    assert read.one(training.CALLBACKS, run="run", rank="0") is None


def test_a_phase_that_only_newer_hooks_know_is_step_time() -> None:
    """Shares still add up to one."""
    read = epoch({**NEW, "unheard_of": 10.0}, None)
    assert read.one(training.DATA_WAIT, run="run", rank="0") == pytest.approx(2 / 50)


def beside(count: int, slower: float) -> dict[str, float]:
    """How far each of `count` ranks is behind, the last of which takes `slower` times as long as the others."""
    store = Store()
    for share in (0.0, 1.0):
        samples: list[Sample] = []
        for rank in range(count):
            key = ("run", str(rank))
            own = 10.0 * (slower if rank == count - 1 else 1.0)
            waits = {"backward_local": own, "backward_exposed": 10.0 * slower - own}
            samples += [Sample(c.TRAIN_PHASE_SECONDS_TOTAL, (*key, name), s * share) for name, s in waits.items()]
            samples.append(Sample(c.TRAIN_BATCHES_TOTAL, key, 100 * share))
        store.add(100.0 + 60.0 * share, samples)
    read = Reading(Window(store, 100.0, 160.0, 30.0))
    return {dict(labels)["rank"]: value for labels, value in read.vector(ranks.LAG).items()}


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize(("slower", "behind"), [(1.09, False), (1.11, True)])
def test_a_straggler_begins_at_the_same_factor_whatever_the_ranks(count: int, *, slower: float, behind: bool) -> None:
    """And nobody else is one."""
    lag = THRESHOLDS["lag"].value
    late = {rank for rank, value in beside(count, slower).items() if value >= lag}
    assert late == ({str(count - 1)} if behind else set())


def test_one_rank_is_behind_nobody() -> None:
    """There is nobody to compare it with."""
    assert beside(1, 2.0) == {}


def test_signals_say_what_the_measures_say() -> None:
    """The comparison of ranks, which may lie on several nodes, is the same calculation."""
    store = play(Plan(ranks=2, workers=4, forward=lambda at: 0.08 * (1 + at.rank), epochs=2, batches=100))
    window = Window(store, store.last - 90.0, store.last - 30.0, 2.0)
    read = Reading(window)
    lags = {dict(labels)["rank"]: value for labels, value in read.vector(ranks.LAG).items()}
    found = {one.rank: one for one in signals.gather([(window, window)])}
    assert {rank: one.lag for rank, one in found.items()} == pytest.approx(lags)
    assert max(lags.values()) > THRESHOLDS["lag"].value
    assert found["0"].prep_seconds == read.one(loader.PREPARATION, run="train/yolo11m", rank="0")


@pytest.mark.parametrize("epoch", [2.0, 52.0])
def test_a_leak_says_when_the_device_is_full(epoch: float) -> None:
    """What is left over the growth of the floor, after the process's first epoch, whichever of the run that was."""
    read = _allocated_more(epoch, before=100.0)
    rank = {"run": "run", "rank": "0"}
    assert read.one(memory.GPU_GROWTH, **rank) == pytest.approx(0.75 * 2**30)
    assert read.one(memory.GPU_SECONDS_LEFT, **rank) == pytest.approx(3 * 1200)  # 2 free and 1 in reserve
    resumed = _allocated_more(epoch, before=0.0)
    assert resumed.one(memory.GPU_GROWTH, **rank) is None


def _allocated_more(epoch: float, before: float) -> Reading:
    """A GiB more within the window, of which 100 batches are an epoch and `before` were done."""
    store = Store()
    for moment in range(0, 1201, 30):
        key, gib = ("run", "0"), 2.0**30
        allocated = 10 * gib + moment * gib / 1200
        samples = [
            Sample(c.TRAIN_UP, key, 1.0),
            Sample(c.TRAIN_EPOCH, key, epoch),
            Sample(c.TRAIN_EPOCH_BATCHES, key, 100.0),
            Sample(c.TRAIN_BATCHES_TOTAL, key, before + moment / 15),
            Sample(c.TRAIN_DEVICE_INFO, (*key, "0", "uuid"), 1.0),
            Sample(c.TRAIN_CUDA_MEMORY_BYTES, (*key, "allocated"), allocated),
            Sample(c.TRAIN_CUDA_MEMORY_BYTES, (*key, "reserved"), 12 * gib),
            Sample(c.GPU_MEMORY_FREE_BYTES, ("0",), 2 * gib),
        ]
        store.add(1000.0 + moment, samples)
    return Reading(Window(store, 1000.0, 2200.0, 30.0))


def test_a_dead_rank_does_not_raise_the_throughput() -> None:
    """A run that was resumed on another node: the counters of its dead rank stand still, and are no rank's pace."""
    windows = []
    for node, pace in (("a", 0.0), ("b", 1.0)):
        store = Store(node)
        for time in (0.0, 30.0, 60.0):
            counted = 500.0 + pace * time
            labels = ("run", "0")
            store.add(
                100.0 + time,
                [
                    Sample(c.TRAIN_IMAGES_TOTAL, labels, 64.0 * counted),
                    Sample(c.TRAIN_PHASE_SECONDS_TOTAL, (*labels, "forward"), counted),
                ],
            )
        windows.append(Window(store, 100.0, 160.0, 30.0))
    found = evaluate(training.IMAGES.formula, windows, "run")
    assert list(found.values()) == pytest.approx([64.0])


@pytest.mark.parametrize(
    ("throttled", "hot", "braked"),
    [
        ({"sw_thermal_slowdown": 30.0}, 0.5, 0.0),
        ({"hw_thermal_slowdown": 30.0, "hw_slowdown": 30.0}, 0.5, 0.0),
        ({"hw_power_brake_slowdown": 30.0, "hw_slowdown": 33.0}, 0.0, 0.5),
        ({"hw_power_brake_slowdown": 30.0, "hw_slowdown": 45.0, "hw_thermal_slowdown": 15.0}, 0.25, 0.5),
        ({"hw_slowdown": 30.0}, 0.5, 0.0),
    ],
)
def test_hardware_slowdown_is_heat_unless_the_power_brake_explains_it(
    throttled: dict[str, float], hot: float, braked: float
) -> None:
    """Drivers set it beside the reason's own flag; its seconds never equal the driver's to the last one."""
    store = Store()
    for share in (0.0, 1.0):
        seconds = dict.fromkeys(c.THROTTLE_REASONS, 0.0) | throttled
        store.add(
            100.0 + 60.0 * share,
            [Sample(c.GPU_THROTTLED_SECONDS_TOTAL, ("0", reason), share * spent) for reason, spent in seconds.items()],
        )
    read = Reading(Window(store, 100.0, 160.0, 30.0))
    assert (read.one(gpu.THERMAL, gpu="0"), read.one(gpu.POWER_BRAKE, gpu="0")) == pytest.approx((hot, braked))
