"""What the signals of one rank are computed from: its windows, and what they say of the machine around it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.slow_batch import SlowBatch, find
from yoloscope_exporter.measures import loader
from yoloscope_exporter.measures.reading import About, Reading
from yoloscope_exporter.measures.series import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.measures.series import Labels

#: Fewer batches than this say nothing about a step. TraceML warns from 2 steps on and is sure at 20.
FEWEST_BATCHES = 5


@dataclass(frozen=True)
class Machine:
    """What a window says of the machine, whichever rank asks."""

    window: Window

    @cached_property
    def ranks(self) -> Counter[str]:
        """Living ranks of each run."""
        return Counter(run for (run, _), up in self.window.current(catalog.TRAIN_UP).items() if up)

    @cached_property
    def cpu(self) -> dict[str, float]:
        """Busy CPUs by mode; guests are counted in the other modes already."""
        rates = self.window.rates(catalog.CPU_SECONDS_TOTAL)
        return {mode: rate for (mode,), rate in rates.items() if not mode.startswith("guest")}

    @cached_property
    def idle(self) -> float | None:
        """Share of CPU time in which nothing could run."""
        total = sum(self.cpu.values())
        return (self.cpu["idle"] + self.cpu.get("iowait", 0.0)) / total if total and "idle" in self.cpu else None

    @cached_property
    def cpus_of_runs(self) -> Mapping[str, float]:
        """CPUs in use by each run on the node."""
        used: defaultdict[str, float] = defaultdict(float)
        for (run, *_), rate in self.window.rates(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL).items():
            used[run] += rate
        return used

    @cached_property
    def process_readings(self) -> list[float]:
        """When the ranks' processes were read, which is more rarely than is sampled: then some of them had computed."""
        moments: set[float] = set()
        for _, one, span in self.window.inside(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL):
            moments |= {one.times[at] for at in span[1:] if one.values[at] != one.values[at - 1]}
        return sorted(moments)

    @cached_property
    def reading(self) -> Reading:
        """What it says of measures."""
        return Reading(self.window)

    @cached_property
    def gpus(self) -> dict[Labels, float]:
        """Info of each GPU that answers: a lost one keeps its facts."""
        lost = {labels[0] for labels, up in self.window.current(catalog.GPU_UP).items() if not up}
        return {labels: one for labels, one in self.window.current(catalog.GPU_INFO).items() if labels[0] not in lost}


@dataclass(frozen=True)
class View:
    """One rank's place in a window: `now` for what is, `long` for what grows, `machine` for what surrounds it.

    `short` is the window as it came, of as many samples as there are: `now` may be a longer one of fewer.
    """

    run: str
    rank: str
    state: str
    facts: Mapping[str, str]
    gpu: str
    now: Window
    long: Window
    machine: Machine
    short: Window
    machine_of: Callable[[Window], Machine] = Machine

    @cached_property
    def about(self) -> About:
        """What the window says of measures of this rank."""
        return self.machine.reading.about(run=self.run, rank=self.rank)

    @cached_property
    def seen(self) -> float:
        """When the rank was last sampled: where nodes are sampled in turn, some time before the window's end."""
        return next((time for time, _ in self.now.backwards(catalog.TRAIN_UP, self.run, self.rank)), self.now.end)

    def measure(self, measure: Measure) -> float | None:
        """A measure of this rank over the window."""
        return self.about.one(measure)

    @cached_property
    def slowest_worker(self) -> tuple[str, float, float] | None:
        """The worker that takes longest per batch: its name, its seconds, and those over the mean of the others'.

        Over the mean of the window, or what is usual in its parts if that is less: a slow file meets any worker.
        """
        batches = self.now.increases(catalog.TRAIN_WORKER_BATCHES_TOTAL, self.run, self.rank)
        made = {labels[2] for labels, count in batches.items() if count > 1}  # one batch may have met anything
        ratios = {name: ratio for name in made if (ratio := self._of_worker(loader.WORKER_TO_OTHERS, name))}
        if not ratios:
            return None
        slowest = max(sorted(ratios), key=lambda name: ratios[name])
        seconds = self._of_worker(loader.PREPARATION, slowest)
        worker = self.machine.reading.about(run=self.run, rank=self.rank, worker=slowest)
        usual = worker.usual(loader.WORKER_TO_OTHERS)
        over = ratios[slowest] if usual is None else min(ratios[slowest], usual)
        return None if seconds is None else (slowest, seconds, over)

    def process_rate(self, metric: Metric, role: str) -> float | None:
        """Rate of a counter of the rank's processes; unknown until they have been read twice in the window."""
        return self.now.rate_between(self.machine.process_readings, metric, self.run, self.rank, role)

    @cached_property
    def slow_batch(self) -> SlowBatch | None:
        """The batch of the window that took longest."""
        return find(self)

    def _of_worker(self, measure: Measure, worker: str) -> float | None:
        return self.machine.reading.one(measure, run=self.run, rank=self.rank, worker=worker)


def view_of(short: Window, long: Window, run: str, rank: str, machine: Callable[[Window], Machine]) -> View:
    """The windows of one rank: the shortest one with enough batches, none reaching back before the rank was seen."""
    facts = _facts(short, run, rank)
    now = sampled(_widened(short, long, run, rank), run, rank)
    gpu = next((labels[2] for labels in short.current(catalog.TRAIN_DEVICE_INFO, run, rank)), "")
    return View(
        run, rank, state(short, run, rank), facts, gpu, now, sampled(long, run, rank), machine(now), short, machine
    )


def state(window: Window, run: str, rank: str) -> str:
    """The state the rank is in, empty if it is not published."""
    values = window.current(catalog.TRAIN_STATE, run, rank)
    return next((labels[2] for labels, value in values.items() if value == 1), "")


def sampled(window: Window, run: str, rank: str) -> Window:
    """The window from its first sample of the rank on: before that there was no run, or a gap."""
    points = window.points(catalog.TRAIN_UP, run, rank)
    return window.since(points[0][0]) if points else window


def _widened(short: Window, long: Window, run: str, rank: str) -> Window:
    """A slow step needs a longer window: twice as long until there are enough batches."""
    window = short
    while window.start > long.start and (window.increase(catalog.TRAIN_BATCHES_TOTAL, run, rank) or 0) < FEWEST_BATCHES:
        window = Window(long.store, max(window.end - 2 * window.seconds, long.start), window.end, long.period)
    batches = window.increase(catalog.TRAIN_BATCHES_TOTAL, run, rank) or 0
    return window if batches >= FEWEST_BATCHES else short


def _facts(window: Window, run: str, rank: str) -> dict[str, str]:
    labels = next(iter(window.current(catalog.TRAIN_RUN_INFO, run, rank)), ())
    return {name: value for name, value in zip(catalog.RUN_FACTS, labels[2:], strict=False) if value}
