"""Every measure both ways, in a real Prometheus and in Python: of simulated trainings and of a real one."""

from __future__ import annotations

import gzip
import math
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from yoloscope_exporter import catalog as c
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.measures.catalog import MEASURES
from yoloscope_exporter.measures.evaluate import Vector, evaluate
from yoloscope_exporter.measures.promql import Scope, render
from yoloscope_exporter.measures.series import SHORTEST_STALENESS, STALE_PERIODS, Store, Window
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.simulation import SCENARIOS, Scrape, simulate
from yoloscope_exporter.simulation.openmetrics import lines

from tests.live import query
from tests.prometheus import prometheus, promtool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START, STEP, SECONDS = 1_790_000_000, 15, 1200
#: Two ranks of which one is slow, four loader workers, eight epochs, on two CPUs; once a second.
REAL = Path(__file__).parent / "real_training.om.gz"
RECORDINGS = Path(__file__).parents[2] / "recordings"
ALL = Scope(())
MINUTES = (1, 5, 10, 15, 20)


class Data(NamedTuple):
    """The same samples in a Prometheus and in stores."""

    url: str
    stores: Sequence[Store]
    period: float

    def both(self, end: float, seconds: float) -> Iterator[tuple[str, Vector, Vector]]:
        """Each measure's name, what Prometheus says of it and what Python says, for a window."""
        windows = [Window(store, end - seconds, end, self.period) for store in self.stores]
        for one in MEASURES:
            by = [label for label in one.of if label not in {"cluster", "job"}]
            expr = str(render(one.formula, ALL, *by, window=f"{round(1000 * seconds)}ms"))
            answer = {frozenset(labels.items()): value for labels, value in query(self.url, expr, end)}
            yield one.name, answer, evaluate(one.formula, windows, *by)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Data]:
    """Twenty minutes of a node of each scenario."""
    directory = tmp_path_factory.mktemp("simulated")
    times = {"start": START, "end": START + SECONDS, "step": STEP}
    scrapes = list(map(_leaking, simulate(list(SCENARIOS), nodes=len(SCENARIOS), gpus=2, speed=4, **times)))
    stores = {name: Store(name) for name in scrapes[0].samples}
    for scrape in scrapes:
        for name, samples in scrape.samples.items():
            stores[name].add(scrape.time, samples)
    (directory / "samples.txt").write_text("".join(lines(scrapes)), encoding="utf-8")
    promtool("openmetrics", str(directory / "samples.txt"), str(directory / "data"))
    with prometheus(directory, current_for(STEP)) as url:
        yield Data(url, list(stores.values()), STEP)


def _leaking(scrape: Scrape) -> Scrape:
    """The same, but that the node which loses device memory loses main memory as well, which no scenario does."""
    lost = 1e6 * (scrape.time - START)
    changed = {c.MEMORY_AVAILABLE_BYTES: -lost, c.TRAIN_PROCESS_RESIDENT_BYTES: lost}
    name = f"node{list(SCENARIOS).index('leak'):04d}:9911"
    samples = [
        Sample(metric, labels, value if isinstance(value, HistogramValue) else value + changed.get(metric, 0.0))
        for metric, labels, value in scrape.samples[name]
    ]
    return Scrape(scrape.time, {**scrape.samples, name: samples})


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Data]:
    """A recording of a real training, in Prometheus as it stands in the file."""
    directory = tmp_path_factory.mktemp("real")
    (directory / "samples.txt").write_bytes(gzip.decompress(REAL.read_bytes()))
    promtool("openmetrics", str(directory / "samples.txt"), str(directory / "data"))
    with prometheus(directory, current_for(1.0)) as url:
        yield Data(url, reader.read(REAL), 1.0)


@pytest.fixture(scope="module")
def filling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Data]]:
    """Recordings of a model in which memory fills within the first epoch: a device's, and a node's in a container."""
    with ExitStack() as stack:
        found = []
        for name in ("gpu_memory_leak_first_epoch", "host_memory_leak_first_epoch_slow"):
            directory = tmp_path_factory.mktemp(name)
            text = _in_a_container(gzip.decompress((RECORDINGS / f"{name}.om.gz").read_bytes()).decode())
            (directory / "samples.txt").write_text(text, encoding="utf-8")
            promtool("openmetrics", str(directory / "samples.txt"), str(directory / "data"))
            url = stack.enter_context(prometheus(directory, current_for(5.0)))
            found.append(Data(url, reader.parse(text.splitlines()), 5.0))
        yield found


def _in_a_container(text: str) -> str:
    """The same, with a container of 64 GiB that takes what the node loses."""
    (run,) = set(re.findall(r'^yoloscope_train_up\{.*?run="(.*?)"', text, re.MULTILINE))
    size, added = 64 * 2**30, []
    for value, time in re.findall(rf"^{c.MEMORY_AVAILABLE_BYTES.name} (\S+) (\S+)$", text, re.MULTILINE):
        for metric, number in (c.CGROUP_MEMORY_USED_BYTES, size - float(value)), (c.CGROUP_MEMORY_LIMIT_BYTES, size):
            added.append(f'{metric.name}{{run="{run}"}} {number!r} {time}\n')
    return "".join([text.removesuffix("# EOF\n"), *added, "# EOF\n"])


def current_for(period: float) -> str:
    """A flag: Prometheus has not been told of series that have gone, and takes them for current for that long."""
    return f"--query.lookback-delta={round(1000 * max(SHORTEST_STALENESS, STALE_PERIODS * period))}ms"


def difference(answer: Vector, value: Vector) -> float:
    """The largest difference of two answers relative to the larger one; infinite if one has a series more."""
    if set(answer) != set(value):
        return math.inf
    pairs = [(answer[labels], value[labels]) for labels in answer]
    return max((abs(a - b) / max(abs(a), abs(b), 1e-9) for a, b in pairs), default=0.0)


#: What rounding leaves: the lag of a rank that keeps up is a difference of nearly equal numbers, and has few digits.
EXACT = 1e-6


def unequal(data: Data, end: float, seconds: float) -> dict[str, float]:
    """By how much each measure differs, if more than by rounding."""
    found = {name: difference(answer, value) for name, answer, value in data.both(end, seconds)}
    return {name: by for name, by in found.items() if by > EXACT}


@pytest.mark.parametrize("minute", MINUTES)
@pytest.mark.parametrize("seconds", [120, 240, 600])
def test_simulated(simulated: Data, seconds: int, minute: int) -> None:
    """In set-up, in training, after a fault, of dead runs and of GPUs that have gone."""
    assert unequal(simulated, START + 60.0 * minute, seconds) == {}


def test_of_windows_between_samples(simulated: Data) -> None:
    """What Prometheus extrapolates to the edges is extrapolated here."""
    assert unequal(simulated, START + 607.0, 251.0) == {}


@pytest.mark.parametrize("seconds", [10.0, 30.0, 61.7])
@pytest.mark.parametrize("back", [3, 15, 30])
def test_of_a_real_training(real: Data, seconds: float, back: int) -> None:
    """A window that ends with a sample, and one that ends between two."""
    end = real.stores[0].times()[-back]
    assert unequal(real, end, seconds) == {}
    assert unequal(real, end + 0.4, seconds) == {}


def ends(data: Data) -> list[float]:
    """Moments in the second half of a recording."""
    times = data.stores[0].times()
    return [times[int(share * (len(times) - 1))] for share in (0.5, 0.7, 0.9)]


def test_of_memory_that_fills_within_the_first_epoch(filling: list[Data]) -> None:
    """With the time that is left of the epoch, whichever memory it is."""
    for data in filling:
        assert [unequal(data, end, 240) for end in ends(data)] == [{}, {}, {}]


def test_every_measure_is_seen(simulated: Data, real: Data, filling: list[Data]) -> None:
    """None is equal only because it is absent on both sides."""
    seen = {name for data in filling for end in ends(data) for name, answer, _ in data.both(end, 240) if answer}
    seen |= {name for minute in MINUTES for name, answer, _ in simulated.both(START + 60.0 * minute, 240) if answer}
    seen |= {name for name, answer, _ in real.both(real.stores[0].times()[-15], 30) if answer}
    assert {one.name for one in MEASURES} - seen == set()
