"""Which setting to try next, and which one is best. Pure calculation.

The first probe is the command as it is. From what it measured every other setting has a forecast
(`diagnosis.forecast`), and the one whose upper end promises most is tried next; each probe sharpens the forecasts of
the settings near it. Nothing more is tried when no upper end is above what was measured. Among settings that differ by
no more than chance the cheapest is best: as it is, then without a cache, then with fewer workers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis import forecast
from yoloscope_exporter.diagnosis.advice.device_memory import even
from yoloscope_exporter.diagnosis.forecast import DEVIATIONS, WORTH_TELLING, Costs, Forecast
from yoloscope_exporter.language import text, units
from yoloscope_exporter.tuning.speed import Speed, pooled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yoloscope_exporter.diagnosis.ultralytics_arguments import Value

#: Numbers of workers that are tried: between two of them the throughput changes by a third at most.
LADDER = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
#: Upper ends of forecasts that count as equal: the cheaper of two is tried first.
ALIKE = 1.02
#: Standard deviations beyond which a difference is none of chance: 1 in 30,000 of a normal distribution.
CERTAIN = 4.0
#: Share of the CPUs' time from which on they are in use all the time; the rest is what sampling misses.
SATURATED = 0.9


@dataclass(frozen=True)
class Setting:
    """What is tried; None, and no cache, are what the command has.

    Attributes:
        workers: loader workers of each rank.
        cache: `ram`, or empty.
        threads: OMP_NUM_THREADS.
        batch: images of all ranks together.
    """

    workers: int | None = None
    cache: str = ""
    threads: int | None = None
    batch: int | None = None

    @property
    def arguments(self) -> dict[str, Value]:
        """Ultralytics' arguments."""
        chosen = {"workers": self.workers, "cache": self.cache or None, "batch": self.batch}
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def environment(self) -> dict[str, str]:
        """Variables."""
        return {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}

    @property
    def price(self) -> tuple[bool, bool, int]:
        """What is cheaper comes first; no change is cheapest."""
        return (self != Setting(), bool(self.cache), self.workers or 0)

    def __str__(self) -> str:
        """As typed; empty for the command as it is."""
        return " ".join(f"{name}={value}" for name, value in (self.environment | self.arguments).items())


@dataclass(frozen=True)
class Trial:
    """A probe of a setting.

    Attributes:
        why: why it was tried.
        speed: None where it could not be measured: then `failure` says why.
        costs: of a batch, with the workers and the cache that were in effect; None where they were not measured.
        cached: whether the images were in memory.
        workers: in effect.
    """

    setting: Setting
    why: str
    speed: Speed | None = None
    costs: Costs | None = None
    cached: bool = False
    workers: int | None = None
    failure: str = ""


@dataclass(frozen=True)
class Space:
    """What may be tried.

    Attributes:
        workers: numbers of loader workers besides the command's own.
        cache: whether `cache=ram` may be.
        threads: whether OMP_NUM_THREADS=1 is another than now.
        notes: what is not tried, and why.
    """

    workers: tuple[int, ...] = ()
    cache: bool = False
    threads: bool = False
    notes: tuple[str, ...] = ()

    def settings(self, first: Trial) -> Iterable[Setting]:
        """All of them, the command as it is left out. One that differs from it in nothing is none."""
        for cache in ("", "ram") if self.cache and not first.cached else ("",):
            for workers in (None, *(number for number in self.workers if number != first.workers)):
                if workers is not None or cache:
                    yield Setting(workers, cache)


@dataclass(frozen=True)
class Plan:
    """A setting to try, and why."""

    setting: Setting
    why: str


def ladder(most: int, needed: int | None = None) -> tuple[int, ...]:
    """Numbers of workers up to `most`, with what is thought to be needed."""
    found = {number for number in LADDER if number <= most} | {most}
    return tuple(sorted(found | ({needed} if needed is not None and 0 <= needed <= most else set())))


def measured(trials: Sequence[Trial]) -> dict[Setting, Speed]:
    """The speed of each setting, its probes taken together."""
    speeds: defaultdict[Setting, list[Speed]] = defaultdict(list)
    for trial in trials:
        if trial.speed is not None:
            speeds[trial.setting].append(trial.speed)
    return {setting: pooled(found) for setting, found in speeds.items()}


def expected(trials: Sequence[Trial], setting: Setting) -> Forecast | None:
    """What a setting would do, from the probe that is most like it; None where nothing was measured."""
    known = [trial for trial in trials if trial.speed is not None and (setting.cache or not trial.cached)]
    if not known:
        return None
    first = trials[0]
    wanted = first.workers if setting.workers is None else setting.workers
    nearest = min(known, key=lambda trial: _distance(trial, setting, wanted))
    speed = nearest.speed
    if speed is None:
        return None
    costs = nearest.costs
    if costs is None or wanted is None:
        return forecast.saved(speed.images_per_second, min(speed.wait_share, 0.99), spread=speed.spread)
    costs = replace(costs, spread=speed.spread)
    then = replace(costs, workers=min(wanted, costs.workers) if _is_saturated(costs) else wanted)
    told = forecast.throughput(
        costs, *(forecast.cached(then, "ram") if setting.cache and not nearest.cached else (then,))
    )
    return _scaled(told, speed.images_per_second)


def _is_saturated(costs: Costs) -> bool:
    """Whether all CPUs were in use: then more workers get no more of them."""
    used = costs.prepare * costs.computing + costs.trainer_cpu
    return costs.cpus is not None and used >= SATURATED * costs.batch * costs.cpus


def _scaled(told: Forecast, today: float) -> Forecast:
    """The same ratios of what the probe's batches say: epochs' gaps are in it, as in all that is compared."""
    factor = today / told.today if told.today else 1.0
    return replace(told, low=told.low * factor, high=told.high * factor, today=today)


def _distance(trial: Trial, setting: Setting, workers: int | None) -> tuple[bool, float]:
    apart = 0.0
    if workers is not None and trial.workers is not None:
        apart = abs(math.log((workers + 0.5) / (trial.workers + 0.5)))
    return (trial.cached != bool(setting.cache), apart)


def following(trials: Sequence[Trial], space: Space) -> Plan | None:
    """The setting to try next; None where none promises more than what was measured."""
    best = max((speed.images_per_second for speed in measured(trials).values()), default=None)
    if best is None:
        return None
    tried = {trial.setting for trial in trials}
    told = {
        setting: one
        for setting in space.settings(trials[0])
        if setting not in tried and (one := expected(trials, setting)) and one.high > best * WORTH_TELLING
    }
    if told:
        highest = max(one.high for one in told.values())
        setting = min((one for one in told if told[one].high * ALIKE >= highest), key=lambda one: one.price)
        return Plan(
            setting, text("forecast: {low:.3g} to {high:.3g} images/s", low=told[setting].low, high=told[setting].high)
        )
    fewer = _uncrowded(trials)
    if fewer is not None and fewer not in tried:
        return Plan(fewer, text("more processes than CPUs disturb each other: one worker for each CPU"))
    threads = replace(chosen(trials), threads=1)
    if space.threads and not any(trial.setting.threads for trial in trials):
        return Plan(threads, text("OMP_NUM_THREADS is not 1 here: threads may be too many"))
    return None


def _uncrowded(trials: Sequence[Trial]) -> Setting | None:
    """The best setting with no more workers than CPUs, where it has more: what that costs no forecast knows."""
    best = chosen(trials)
    found = next((trial for trial in trials if trial.setting == best and trial.costs), None)
    if found is None or found.costs is None or not found.costs.cpus or not found.workers:
        return None
    fitting = max(int(found.costs.cpus), 1)
    return replace(best, workers=fitting) if found.workers > fitting else None


def chosen(trials: Sequence[Trial]) -> Setting:
    """The best setting: the cheapest of those that are not slower than the fastest by more than chance.

    Another batch changes the result of the training: it is none of them.
    """
    speeds = {setting: speed for setting, speed in measured(trials).items() if setting.batch is None}
    if not speeds:
        return Setting()
    fastest = max(speeds, key=lambda setting: speeds[setting].images_per_second)
    alike = [setting for setting in speeds if not faster(speeds[fastest], speeds[setting])]
    return min(alike, key=lambda setting: setting.price)


def faster(one: Speed, other: Speed, deviations: float = DEVIATIONS) -> bool:
    """Whether `one` is faster than `other` by more than chance, and by enough to be worth a change."""
    margin = max(WORTH_TELLING - 1, deviations * math.hypot(one.spread, other.spread))
    return one.images_per_second > other.images_per_second * (1 + margin)


def is_certain(trials: Sequence[Trial]) -> bool:
    """Whether the chosen setting needs no second look: it is the command's, or far beyond chance."""
    speeds, best = measured(trials), chosen(trials)
    return best == Setting() or faster(speeds[best], speeds[Setting()], CERTAIN)


def promised(trials: Sequence[Trial], setting: Setting) -> Forecast | None:
    """What a setting does, as an interval from its probes' own spread; None where it was not measured."""
    speeds = measured(trials)
    best, today = speeds.get(setting), speeds.get(Setting())
    if best is None:
        return None
    wider = 1 + best.margin * math.sqrt(2)  # of two runs with equal settings
    value = best.images_per_second
    return Forecast("images/s", value / wider, value * wider, today.images_per_second if today else None)


def words(trials: Sequence[Trial], setting: Setting) -> str:
    """A setting in words: the command's own workers with it, where they are known."""
    if setting != Setting():
        return str(setting)
    workers = trials[0].workers if trials else None
    return (
        text("as it is") if workers is None else text("as it is ({counted})", counted=units.counted(workers, "worker"))
    )


def batch_for(peaks: Mapping[int, float], room: float, now: int) -> int | None:
    """The largest batch, in steps of 8 (4 below 16), whose predicted peak of device memory fits into `room` bytes.

    `peaks` are two measured ones by batch, `now` is the batch of the command: up to eight times that is looked at. None
    where they do not grow with the batch.
    """
    line = peak_line(peaks)
    if line is None:
        return None
    floor, image = line
    most = min(int((room - floor) / image), 8 * now)
    return even(most) if most >= 1 else None


def peak_line(peaks: Mapping[int, float]) -> tuple[float, float] | None:
    """Bytes that do not depend on the batch, and bytes of an image, through the smallest and the largest batch."""
    if len(peaks) < 2:  # noqa: PLR2004 - a line needs two points
        return None
    small, large = min(peaks), max(peaks)
    image = (peaks[large] - peaks[small]) / (large - small)
    return (peaks[small] - image * small, image) if image > 0 else None
