"""What a training would do with other settings, as an interval. Pure calculation.

In seconds for a batch of one rank:

    trainer  what a step takes: copy, preprocessing, forward, backward, optimizer, callbacks
    loader   prepare / workers
    cpu      (prepare's computing + the trainer's own computing) / CPUs of the rank
    disk     what the busiest disk works for a batch
    batch    the longest of these; without workers trainer + prepare, because the trainer prepares its batches itself

Images per second are the images of a batch over `batch`. A cache takes away reading and decoding and
nothing else; whatever of the preparation does not compute is taken for a part of that. The model is asked for today's
settings as well: as far as it misses today's time, it may miss the other one, and one end of the interval carries that
ratio while the other does not. Where others use CPUs one end has none of theirs, and only that one takes a disk's %util
for what it can give: modern ones serve several requests at once. Both ends are widened by the run's own spread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from yoloscope_exporter.language import text

Unit = Literal["images/s", "GiB", "x"]

#: Of a normal distribution 80 % lie within so many standard deviations.
DEVIATIONS = 1.28
#: Least relative spread: two runs with equal settings on a machine at rest differ by so much.
LEAST_SPREAD = 0.02
#: Less is noise.
WORTH_TELLING = 1.03


@dataclass(frozen=True)
class Forecast:
    """An interval that holds four outcomes in five.

    Attributes:
        unit: `images/s`, `GiB` of device memory, or `x`: the speed of the whole run, validation included, over today's.
        today: the same quantity as it is now; None where that is not known.
    """

    unit: Unit
    low: float
    high: float
    today: float | None = None

    def holds(self, outcome: float) -> bool:
        """Whether the outcome lies within."""
        return self.low <= outcome <= self.high

    @property
    def worth_telling(self) -> bool:
        """Whether it promises anything: memory always, speed if its upper end is above what is noise."""
        return self.unit == "GiB" or (self.today is not None and self.high >= WORTH_TELLING * self.today)

    def __str__(self) -> str:
        """For people: `1.4x to 1.6x: 120 -> 168 to 192 images/s`, `up to 1.6x: ...`, `31.2 to 35.0 GiB (now 40.1)`."""
        if self.unit == "GiB":
            now = "" if self.today is None else text(" (now {today:.3g})", today=self.today)
            return text("{low:.3g} to {high:.3g} GiB of GPU memory{now}", low=self.low, high=self.high, now=now)
        today = self.today or 1.0
        times = text("{low:.1f}x to {high:.1f}x", low=self.low / today, high=self.high / today)
        if self.low <= today:
            times = text("up to {high:.1f}x", high=self.high / today)
        if self.unit == "x":
            return text("{times} for the run as a whole", times=times)
        low = text("at most") if self.low <= today else text("{low:.3g} to", low=self.low)
        return text(
            "{times}: {today:.3g} -> {low} {high:.3g} images/s", times=times, today=today, low=low, high=self.high
        )


@dataclass(frozen=True)
class Costs:
    """What a batch costs one rank now.

    Attributes:
        images: of a batch.
        batch: seconds from one batch to the next, the wait for data included.
        trainer: seconds of the step itself.
        prepare: seconds in which one worker, or the trainer without workers, prepares a batch.
        computing: the share of `prepare` that computes; the rest waits.
        decoding: the share of `prepare` that reads, decodes and resizes; None if it was not measured.
        workers: loader workers.
        cpus: the most CPUs the rank can have; None if not known.
        cpus_left: those that nobody else uses now; with its share of the others' it has more.
        trainer_cpu: CPU seconds of the trainer itself.
        disk: seconds that the busiest disk works, if images are read from storage; None if not known.
        spread: relative standard deviation of images per second between two runs with equal settings, as far as the
            run's own tells.
    """

    images: float
    batch: float
    trainer: float
    prepare: float
    computing: float
    workers: int
    decoding: float | None = None
    cpus: float | None = None
    cpus_left: float | None = None
    trainer_cpu: float = 0.0
    disk: float | None = None
    spread: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Today's."""
        return self.images / self.batch


def seconds(costs: Costs) -> float:
    """What a batch takes by the model."""
    if costs.workers == 0:
        return costs.trainer + costs.prepare
    parts = [costs.trainer, costs.prepare / costs.workers]
    if costs.cpus:
        parts.append((costs.prepare * costs.computing + costs.trainer_cpu) / costs.cpus)
    if costs.disk:
        parts.append(costs.disk)
    return max(parts)


def without_decoding(costs: Costs, share: float) -> Costs:
    """The same where `share` of the preparation, its waiting first, is spared."""
    waiting = costs.prepare * (1 - costs.computing)
    spared = costs.prepare * share
    computing = costs.prepare * costs.computing - max(spared - waiting, 0.0)
    prepare = max(costs.prepare - spared, computing, 0.0)
    return replace(costs, prepare=prepare, computing=computing / prepare if prepare else 0.0, disk=None)


def _at_best(costs: Costs) -> Costs:
    """Others leave the rank its CPUs, and a busy disk serves more at once."""
    return replace(costs, disk=None)


def _at_worst(costs: Costs) -> Costs:
    """Others keep what they use, and a disk gives no more than when it was always busy."""
    return replace(costs, cpus=costs.cpus if costs.cpus_left is None else costs.cpus_left)


def _times(now: Costs, then: Costs) -> tuple[float, float]:
    """What a batch would take by the model, and as far off as the model is for today's settings."""
    return seconds(then), seconds(then) * now.batch / seconds(now)


def throughput(now: Costs, *then: Costs) -> Forecast:
    """Images per second with other costs; with several, the interval from the worst of them to the best."""
    times = [time for costs in then for world in (_at_best, _at_worst) for time in _times(world(now), world(costs))]
    spread = DEVIATIONS * max(now.spread, LEAST_SPREAD)
    low, high = now.images / max(times) / (1 + spread), now.images / min(times) * (1 + spread)
    return Forecast("images/s", low, high, now.images_per_second)


def cached(costs: Costs, place: str) -> tuple[Costs, ...]:
    """With all images in a cache; on disk they are still read, as large as they were, and resized.

    Where decoding was not measured, it is between nothing and all that waits.
    """
    share = 1 - costs.computing if costs.decoding is None else costs.decoding
    best = without_decoding(costs, share)
    return (best,) if place == "ram" and costs.decoding is not None else (best, costs)


def saved(today: float | None, share: float, least: float = 0.0, spread: float | None = None) -> Forecast | None:
    """If between `least` and `share` of the time goes away; None where today's speed is not known.

    Without a spread it is the speed of the run as a whole, as a multiple of today's.
    """
    if today is None or not 0 <= least <= share < 1:
        return None
    unit: Unit = "x" if spread is None else "images/s"
    wider = 1 + DEVIATIONS * max(spread or 0.0, LEAST_SPREAD)
    return Forecast(unit, today / (1 - least), today / (1 - share) * (1.0 if spread is None else wider), today)
