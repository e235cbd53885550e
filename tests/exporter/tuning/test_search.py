"""The search on machines that are modelled: not worse than the full grid, and never worse than the command as it is."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace

import pytest
from yoloscope_exporter.diagnosis.forecast import LEAST_SPREAD, Costs
from yoloscope_exporter.tuning import search
from yoloscope_exporter.tuning.search import Setting, Space, Trial, ladder
from yoloscope_exporter.tuning.speed import Speed

from tests.training import ROOT

IMAGES = 16.0


@dataclass(frozen=True)
class World:
    """A machine and a training, in seconds for a batch.

    Attributes:
        step: of the trainer; `own` is what it computes itself.
        reading, decoding, transforms: of the preparation; a cache spares the first two. The first waits.
        cpus: that the rank has; each worker above them costs `switching` of what is computed.
        most: workers that Ultralytics starts.
        workers: the command's own.
        fits: whether the images fit into memory.
    """

    step: float
    reading: float
    decoding: float
    transforms: float
    cpus: float
    most: int
    workers: int
    own: float = 0.01
    fits: bool = True
    switching: float = 0.02
    noise: random.Random = field(default_factory=lambda: random.Random(7))

    def truth(self, workers: int, *, cached: bool) -> float:
        """Images per second."""
        computing = self.transforms + (0.0 if cached else self.decoding)
        prepare = computing + (0.0 if cached else self.reading)
        if workers == 0:
            return IMAGES / (self.step + prepare)
        crowd = 1 + self.switching * max(workers + 1 - self.cpus, 0)
        return IMAGES / max(self.step, prepare / workers, (computing + self.own) * crowd / self.cpus)

    def probe(self, setting: Setting) -> Trial:
        """With 2 % of noise. Processes that disturb each other compute longer: the CPUs are in use all the time."""
        workers = min(self.workers if setting.workers is None else setting.workers, self.most)
        cached = setting.cache == "ram"
        rate = self.truth(workers, cached=cached) * self.noise.gauss(1, 0.02)
        batch = IMAGES / rate
        crowd = 1 + self.switching * max(workers + 1 - self.cpus, 0) if workers else 1.0
        computing = (self.transforms + (0.0 if cached else self.decoding)) * crowd
        prepare = computing + (0.0 if cached else self.reading)
        if workers:  # those that queue for a CPU take longer
            prepare = max(prepare, min(prepare * (computing * workers / batch + 1) / self.cpus, batch * workers))
        costs = Costs(
            images=IMAGES,
            batch=batch,
            trainer=self.step,
            prepare=prepare,
            computing=min(computing / prepare, 1.0),
            workers=workers,
            decoding=None if not workers else (0.0 if cached else (self.reading + self.decoding) / prepare),
            cpus=self.cpus,
            trainer_cpu=self.own * crowd,
        )
        waited = max(1 - self.step / batch, 0.0)
        return Trial(setting, "", Speed(rate, LEAST_SPREAD, waited, 60, 6.0), costs, cached, workers)

    @property
    def space(self) -> Space:
        """What may be tried."""
        return Space(ladder(self.most), self.fits)

    @property
    def best(self) -> float:
        """Of the full grid."""
        caches = (False, True) if self.fits else (False,)
        return max(self.truth(workers, cached=cached) for workers in range(self.most + 1) for cached in caches)


WORLDS = {
    "cpu_bound": World(0.05, 0.0, 0.05, 0.35, cpus=16, most=16, workers=2),
    "cpu_bound_decoding": World(0.05, 0.0, 0.5, 0.1, cpus=8, most=8, workers=8),
    "sleeping_storage": World(0.1, 3.0, 0.05, 0.05, cpus=4, most=16, workers=2),
    "sleeping_storage_too_large": World(0.1, 1.2, 0.05, 0.05, cpus=4, most=16, workers=2, fits=False),
    "quota": World(0.05, 0.0, 0.1, 0.1, cpus=1.5, most=16, workers=8, switching=0.1),
    "few_cores": World(0.1, 0.0, 0.1, 0.15, cpus=1, most=8, workers=8, switching=0.1),
    "small_data": World(0.05, 0.0, 0.02, 0.05, cpus=4, most=2, workers=0),
    "healthy": World(0.4, 0.0, 0.1, 0.2, cpus=8, most=8, workers=4),
    "no_workers": World(0.1, 0.0, 0.2, 0.2, cpus=8, most=8, workers=0),
}


def searched(world: World, probes: int = 7) -> list[Trial]:
    """As the command does it: two probes are kept for the repetition."""
    trials = [world.probe(Setting())]
    while plan := search.following(trials, world.space):
        if len(trials) + 1 + 2 * (not search.is_certain(trials)) > probes:
            break
        trials.append(world.probe(plan.setting))
    if (best := search.chosen(trials)) != Setting() and len(trials) + 2 <= probes:
        trials += [world.probe(best), world.probe(Setting())]
    return trials


def rate(world: World, setting: Setting) -> float:
    """What a setting is worth."""
    workers = min(world.workers if setting.workers is None else setting.workers, world.most)
    return world.truth(workers, cached=bool(setting.cache))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", WORLDS)
def test_it_is_within_five_percent_of_the_full_grid(name: str, seed: int) -> None:
    """Within seven probes, under noise, and never behind the command as it is."""
    world = replace(WORLDS[name], noise=random.Random(seed))
    trials = searched(world)
    chosen = search.chosen(trials)
    assert len(trials) <= 7
    assert rate(world, chosen) >= 0.95 * world.best
    assert rate(world, chosen) >= 0.97 * rate(world, Setting())


@pytest.mark.parametrize("seed", range(10))
def test_a_healthy_training_stays_as_it_is(seed: int) -> None:
    """Where chance made another setting look faster, the repetition says that it is not."""
    trials = searched(replace(WORLDS["healthy"], noise=random.Random(seed)))
    assert search.chosen(trials) == Setting()


def _trial(setting: Setting, rate: float, spread: float = 0.02) -> Trial:
    return Trial(setting, "", Speed(rate, spread, 0.0, 50, 5.0), workers=setting.workers)


def test_the_cheapest_of_those_that_are_alike() -> None:
    """No cache where it brings nothing, fewer workers where more bring nothing, no change where nothing does."""
    as_it_is, few, many, cached = Setting(), Setting(4), Setting(8), Setting(4, "ram")
    assert search.chosen([_trial(as_it_is, 50), _trial(few, 100), _trial(many, 102), _trial(cached, 101)]) == few
    assert search.chosen([_trial(as_it_is, 99), _trial(few, 100), _trial(many, 102)]) == as_it_is
    assert search.chosen([_trial(as_it_is, 50), _trial(few, 70), _trial(cached, 100)]) == cached
    assert search.chosen([_trial(as_it_is, 50, 0.3), _trial(few, 70, 0.3)]) == as_it_is
    assert search.chosen([]) == Setting()


def test_what_needs_a_second_look() -> None:
    """A gain of ten percent does, one of half does not; with a wide spread that does, too."""
    as_it_is = _trial(Setting(), 100)
    assert search.is_certain([as_it_is])
    assert not search.is_certain([as_it_is, _trial(Setting(4), 110)])
    assert search.is_certain([as_it_is, _trial(Setting(4), 150)])
    assert not search.is_certain([as_it_is, _trial(Setting(4), 150, 0.2)])


def test_another_batch_is_never_chosen_by_itself() -> None:
    """It changes the result."""
    assert search.chosen([_trial(Setting(), 50), _trial(Setting(batch=64), 100)]) == Setting()


def test_what_failed_is_not_tried_again_and_not_chosen() -> None:
    """It has no speed."""
    world = WORLDS["no_workers"]
    first = world.probe(Setting())
    plan = search.following([first], world.space)
    assert plan is not None
    failed = Trial(plan.setting, plan.why, failure="killed")
    again = search.following([first, failed], world.space)
    assert again is not None
    assert again.setting != plan.setting
    assert search.chosen([first, failed]) == Setting()


def test_without_costs_the_wait_is_the_most_that_can_be_gained() -> None:
    """A training that never waited has nothing to gain, one that waited for half of the time twice as much."""
    space = Space((0, 4, 8))
    busy = Trial(Setting(), "", Speed(100, 0.02, 0.0, 50, 5), workers=2)
    assert search.following([busy], space) is None
    waiting = replace(busy, speed=Speed(100, 0.02, 0.5, 50, 5))
    told = search.expected([waiting], Setting(4))
    assert told is not None
    assert told.high == pytest.approx(200 * (1 + 1.28 * 0.02))


def test_threads_are_tried_where_they_are_set() -> None:
    """Once, with what is best so far."""
    busy = Trial(Setting(), "", Speed(100, 0.02, 0.0, 50, 5), workers=2)
    plan = search.following([busy], Space(threads=True))
    assert plan is not None
    assert plan.setting == Setting(threads=1)
    assert plan.setting.environment == {"OMP_NUM_THREADS": "1"}
    assert search.following([busy, _trial(plan.setting, 90)], Space(threads=True)) is None


def test_the_promise_is_an_interval_around_what_was_measured() -> None:
    """Against the command as it is; nothing where it was not measured."""
    trials = [_trial(Setting(), 50), _trial(Setting(4), 100, 0.05)]
    told = search.promised(trials, Setting(4))
    assert told is not None
    assert told.today == 50
    assert told.low < 100 < told.high
    assert told.high / told.low == pytest.approx((1 + 1.28 * 0.05 * 2**0.5) ** 2)
    assert search.promised(trials, Setting(8)) is None


def test_as_typed() -> None:
    """What Ultralytics is given, and what is said of the command as it is."""
    setting = Setting(4, "ram", 1, 32)
    assert str(setting) == "OMP_NUM_THREADS=1 workers=4 cache=ram batch=32"
    assert search.words([Trial(Setting(), "", workers=8)], Setting()) == "as it is (8 workers)"


@pytest.mark.parametrize(("most", "needed", "expected"), [(4, None, (0, 1, 2, 3, 4)), (7, 5, (0, 1, 2, 3, 4, 5, 6, 7))])
def test_ladder(most: int, needed: int | None, expected: tuple[int, ...]) -> None:
    """Up to the cap, with what is thought to be needed."""
    assert ladder(most, needed) == expected


def test_the_peak_of_memory_is_a_line_through_two_batches() -> None:
    """2 GiB for the model and 0.25 for an image: 24 images into 9 GiB, in steps of eight."""
    gib = 2**30
    peaks = {8: 4.0 * gib, 16: 6.0 * gib}
    assert search.peak_line(peaks) == pytest.approx((2.0 * gib, 0.25 * gib))
    assert search.batch_for(peaks, 9 * gib, 16) == 24
    assert search.batch_for(peaks, 1 * gib, 16) is None
    assert search.batch_for(peaks, 1000 * gib, 16) == 128
    assert search.batch_for({8: gib}, 9 * gib, 8) is None
    assert search.batch_for({8: 2.0 * gib, 16: 1.0 * gib}, 9 * gib, 8) is None


def test_peaks_of_a_real_gpu() -> None:
    """From a batch and twice as much: a little too much for the next one, and never too little, on an H200."""
    measured = json.loads((ROOT / "tests/gpu/seen/2026-11-27-h200.json").read_text())["memory"]
    peaks = {int(batch): float(one["peak_reserved"]) for batch, one in measured.items()}
    for small in (8, 16):
        line = search.peak_line({small: peaks[small], 2 * small: peaks[2 * small]})
        assert line is not None
        errors = [(line[0] + line[1] * batch) / peaks[batch] - 1 for batch in peaks if batch > 2 * small]
        assert errors
        assert all(0 <= error < 0.27 for error in errors)
