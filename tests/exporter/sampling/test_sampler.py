"""The sampler: periods, isolation, deadlines, freshness."""

from __future__ import annotations

import gc
import math
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.collectors import SLOW, Collector, NoData
from yoloscope_exporter.sampling import exposition
from yoloscope_exporter.sampling.exposition import Form
from yoloscope_exporter.sampling.sampler import Rejections, Sampler, pause
from yoloscope_exporter.sampling.sources import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from yoloscope_exporter.sampling.snapshot import Snapshot


def load(value: float) -> list[Sample]:
    """One sample."""
    return [Sample(catalog.LOAD_AVERAGE, ("1m",), value)]


def source(name: str, collect: Callable[[], Iterable[Sample]], **options: object) -> Source:
    """A source of the module of its name."""
    return Source(name, Collector(name, collect, **options))


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        """Start at an hour."""
        self.now = 3600.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


@contextmanager
def sampler(*sources: Source, clock: Clock | None = None, **options: object) -> Iterator[Sampler]:
    """A sampler that is stopped at the end."""
    time_of = clock or Clock()
    made = Sampler(sources, clock=time_of, wall=time_of, **{"interval": 1.0, **options})
    try:
        yield made
    finally:
        made.stop()


def scrape(made: Sampler, wanted: Callable[[str], bool] | None = None) -> dict[tuple[str, ...], float]:
    """A scrape, by name and label values."""
    families = text_string_to_metric_families(made.exposition(Form(), wanted).decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


UP, LOAD = catalog.COLLECTOR_UP.name, (catalog.LOAD_AVERAGE.name, "1m")


def test_failure_publishes_nothing_but_itself() -> None:
    """A collector that fails half-way gives none of its samples, and takes nothing from the others."""

    def half() -> Iterator[Sample]:
        yield from load(1.0)
        raise OSError("the disk is gone")

    with sampler(source("bad", half), source("good", lambda: [Sample(catalog.CPU_CORES, (), 4.0)])) as made:
        made.cycle()
        seen = scrape(made)
    assert LOAD not in seen
    assert (seen[UP, "bad"], seen[UP, "good"], seen[(catalog.CPU_CORES.name,)]) == (0, 1, 4)
    assert (catalog.COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS.name, "bad") not in seen


def test_recovery_is_said_and_seen(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is logged once however long it lasts, and its end too."""
    broken = [True] * 5 + [False]

    def collect() -> Iterable[Sample]:
        if broken.pop(0):
            raise ValueError("unreadable")
        return load(1.0)

    with caplog.at_level("INFO", "yoloscope_exporter"), sampler(source("cpu", collect)) as made:
        for _ in range(6):
            made.cycle()
        assert scrape(made)[LOAD] == 1
    assert [record.getMessage() for record in caplog.records] == [
        "collector cpu failed: ValueError: unreadable",
        "collector cpu works again",
    ]


def test_no_data_is_no_failure_to_worry_about(caplog: pytest.LogCaptureFixture) -> None:
    """A source that is not there is said once, at level info."""

    def collect() -> Iterable[Sample]:
        raise NoData("no GPU")

    with caplog.at_level("INFO", "yoloscope_exporter"), sampler(source("gpu", collect)) as made:
        made.cycle()
        made.cycle()
        assert scrape(made)[UP, "gpu"] == 0
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "collector gpu has no data here: no GPU")
    ]


def test_source_that_goes_away_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """A driver that was there and is no more is worth a warning, once."""
    answers: list[Iterable[Sample]] = [()]

    def collect() -> Iterable[Sample]:
        if not answers:
            raise NoData("the driver went away")
        return answers.pop()

    with caplog.at_level("INFO", "yoloscope_exporter"), sampler(source("gpu", collect)) as made:
        for _ in range(3):
            made.cycle()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "collector gpu has no data any more: the driver went away")
    ]


def test_hung_collector_delays_nobody() -> None:
    """It is down while it hangs, the others go on, and it is taken back when it returns."""
    release, calls = threading.Event(), []

    def hang() -> Iterable[Sample]:
        calls.append(1)
        release.wait(20)
        return load(1.0)

    clock, beats = Clock(), iter(range(100))
    alive = source("alive", lambda: [Sample(catalog.CPU_CORES, (), float(next(beats)))])
    with sampler(source("hung", hang), alive, clock=clock, interval=0.1) as made:
        for expected in range(5):
            made.cycle()
            clock.now += 0.1
            assert scrape(made)[(catalog.CPU_CORES.name,)] == expected
        assert (scrape(made)[UP, "hung"], len(calls)) == (0, 1)
        release.set()
        deadline = time.monotonic() + 5
        while LOAD not in scrape(made) and time.monotonic() < deadline:
            made.cycle()
            clock.now += 0.1
        assert scrape(made)[UP, "hung"] == 1


def test_late_result_of_a_hung_call_is_not_published() -> None:
    """What comes back after the deadline is old, and is dropped."""
    release, values = threading.Event(), iter((1.0, 2.0))

    def collect() -> Iterable[Sample]:
        value = next(values)
        if value == 1.0:
            release.wait(20)
        return load(value)

    clock = Clock()
    with sampler(source("late", collect), clock=clock, interval=0.1) as made:
        for _ in range(5):
            made.cycle()
            clock.now += 0.1
        release.set()
        while LOAD not in scrape(made):
            made.cycle()
            clock.now += 0.1
        assert scrape(made)[LOAD] == 2


def test_source_slower_than_the_patience_is_published() -> None:
    """What takes longer than a cycle waits, but comes back before the next one, is published by that one."""
    begun, release = threading.Semaphore(0), threading.Semaphore(0)
    values = iter(range(10))

    def collect() -> Iterable[Sample]:
        begun.release()
        assert release.acquire(timeout=20)
        return load(float(next(values)))

    clock = Clock()
    with sampler(source("gpu", collect), clock=clock, interval=0.1) as made:
        for number in range(3):
            made.cycle()
            seen = scrape(made)
            assert (seen[UP, "gpu"], seen.get(LOAD)) == ((1, number - 1) if number else (0, None))
            assert begun.acquire(timeout=20)
            release.release()
            state = made._states["gpu"]
            while state.busy:
                time.sleep(0.001)
            clock.now += 0.1
        release.release()


def test_slow_group_runs_every_tenth_cycle() -> None:
    """Its last values stand in between."""
    counts = {"fast": 0, "slow": 0}

    def count(name: str) -> Callable[[], Iterable[Sample]]:
        def collect() -> Iterable[Sample]:
            counts[name] += 1
            return [Sample(catalog.LOAD_AVERAGE, (name,), float(counts[name]))]

        return collect

    with sampler(source("fast", count("fast")), source("slow", count("slow"), group=SLOW)) as made:
        for _ in range(21):
            made.cycle()
        seen = scrape(made)
    assert counts == {"fast": 21, "slow": 3}
    assert (seen[LOAD[0], "fast"], seen[LOAD[0], "slow"]) == (21, 3)


def test_what_does_not_hold_any_more_goes_before_the_next_reading() -> None:
    """A slow collector's values stand only as long as it says that they hold, and what is gone does not come back."""
    gone: set[str] = set()

    def holding(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return tuple(sample for sample in samples if sample.labels[0] not in gone) if gone else samples

    slow = [Sample(catalog.LOAD_AVERAGE, (window,), 1.0) for window in ("1m", "5m")]
    with sampler(source("slow", lambda: slow, group=SLOW, holding=holding)) as made:
        for now_gone, left in ((set(), {"1m", "5m"}), ({"5m"}, {"1m"}), (set(), {"1m"})):
            gone.clear()
            gone.update(now_gone)
            made.cycle()
            assert {labels[1] for labels in scrape(made) if labels[0] == LOAD[0]} == left
        for _ in range(8):
            made.cycle()
        assert {labels[1] for labels in scrape(made) if labels[0] == LOAD[0]} == {"1m", "5m"}


def test_values_that_cannot_be_true_are_refused() -> None:
    """NaN, infinity and negative counters are left out and counted; wrong labels are a failure."""
    bad = [
        Sample(catalog.LOAD_AVERAGE, ("1m",), float("nan")),
        Sample(catalog.LOAD_AVERAGE, ("5m",), float("inf")),
        Sample(catalog.CONTEXT_SWITCHES_TOTAL, (), -1.0),
        Sample(catalog.CPU_CORES, (), 2.0),
    ]
    with sampler(source("odd", lambda: bad), source("wrong", lambda: [Sample(catalog.CPU_CORES, ("x",), 1.0)])) as made:
        made.cycle()
        seen = scrape(made)
    rejected = catalog.SAMPLES_REJECTED_TOTAL.name
    assert (seen[rejected, "odd", "not_finite"], seen[rejected, "odd", "negative"]) == (2, 1)
    assert (seen[UP, "odd"], seen[UP, "wrong"], seen[(catalog.CPU_CORES.name,)]) == (1, 0, 2)
    assert LOAD not in seen


def test_series_that_comes_twice_is_published_once() -> None:
    """Two sources of one series would make the scrape invalid: the first wins, the second is counted."""
    with sampler(source("one", lambda: load(1.0)), source("two", lambda: load(2.0))) as made:
        made.cycle()
        assert made.exposition(Form()).decode().count(f'{LOAD[0]}{{window="1m"}}') == 1
        made.cycle()
        assert scrape(made)[catalog.SAMPLES_REJECTED_TOTAL.name, "exporter", "duplicate"] >= 1


def test_derived_stage_sees_the_snapshot_and_fails_alone() -> None:
    """It gets what the collectors of the same cycle found, adds samples, and its failure is its own."""

    def double(snapshot: Snapshot) -> Iterator[Sample]:
        for sample in snapshot.of(catalog.LOAD_AVERAGE):
            yield Sample(catalog.LOAD_AVERAGE, ("doubled",), 2 * sample.value)

    def fail(snapshot: Snapshot) -> Iterator[Sample]:
        raise RuntimeError("not today")

    values = iter((1.0, 5.0))
    stages = [Source("d", Collector("d", tuple), double), Source("f", Collector("f", tuple), fail)]
    with sampler(source("cpu", lambda: load(next(values))), *stages) as made:
        made.cycle()
        made.cycle()
        seen = scrape(made)
    assert (seen[LOAD[0], "doubled"], seen[UP, "d"], seen[UP, "f"]) == (10, 1, 0)


def test_stale_snapshot_is_not_served_as_fresh() -> None:
    """After three intervals without a cycle only the exporter's own metrics are left, every collector down."""
    clock = Clock()
    with sampler(source("cpu", lambda: load(1.0)), clock=clock) as made:
        assert not made.fresh
        made.cycle()
        clock.now += 3.0
        assert made.fresh
        assert scrape(made)[UP, "cpu"] == 1
        clock.now += 0.1
        seen = scrape(made)
        assert (made.fresh, seen[UP, "cpu"]) == (False, 0)
        assert LOAD not in seen
        assert seen[(catalog.SNAPSHOT_TIMESTAMP_SECONDS.name,)] == 3600


def test_filter_keeps_what_is_wanted() -> None:
    """By the collector's or the module's name; the exporter's own metrics stay."""
    other = Source("disk", Collector("filesystem", lambda: [Sample(catalog.CPU_CORES, (), 4.0)]))
    with sampler(source("cpu", lambda: load(1.0)), other) as made:
        made.cycle()
        for name in ("disk", "filesystem"):
            seen = scrape(made, {name}.__contains__)
            assert (catalog.CPU_CORES.name,) in seen
            assert LOAD not in seen
            assert (UP, "cpu") in seen
        assert made.names() == {"cpu", "disk", "filesystem"}


def test_reconfigured_sources_go_on() -> None:
    """A source that stays keeps its state, one that goes is closed, one that comes is read."""
    closed: list[str] = []
    values = iter(range(1, 100))
    stays = source("stays", lambda: load(float(next(values))))
    goes = source("goes", list, close=lambda: closed.append("goes"))
    with sampler(stays, goes) as made:
        made.cycle()
        made.reconfigure([stays, source("comes", lambda: [Sample(catalog.CPU_CORES, (), 4.0)])], 2.0)
        made.cycle()
        seen = scrape(made)
    assert closed == ["goes"]
    assert (seen[LOAD], seen[(catalog.CPU_CORES.name,)], made.interval) == (2, 4, 2.0)
    assert (UP, "goes") not in seen


def test_snapshots_do_not_change() -> None:
    """A snapshot taken before a cycle is what it was."""
    values = iter((1.0, 2.0))
    with sampler(source("cpu", lambda: load(next(values)))) as made:
        made.cycle()
        before = made.snapshot
        made.cycle()
        assert [sample.value for sample in before.of(catalog.LOAD_AVERAGE)] == [1.0]
        with pytest.raises(TypeError):
            before.samples["cpu"] = ()


@given(now=st.floats(0, 1e7), interval=st.floats(0.1, 60))
def test_cycles_stand_on_multiples_of_the_interval(now: float, interval: float) -> None:
    """Whenever a cycle ends, the next one begins on the grid, within one interval."""
    wait = pause(now, interval)
    assert 0 < wait <= interval
    assert math.remainder(now + wait, interval) == pytest.approx(0.0, abs=1e-6)


def test_background_cycles_outlive_an_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycles go on by themselves, also after one of them has failed; `alive` says so, and not after the stop."""
    cycles: list[int] = []
    good = threading.Event()
    made = Sampler([source("cpu", lambda: load(1.0))], interval=0.1)

    def cycle(original: Callable[[], None] = made.cycle) -> None:
        cycles.append(1)
        if len(cycles) == 1:
            raise RuntimeError("an accident")
        original()
        good.set()

    monkeypatch.setattr(made, "cycle", cycle)
    made.start()
    assert good.wait(10)
    assert made.alive
    made.stop()
    assert not made.alive


def test_nothing_grows() -> None:
    """Over thousands of cycles with changing series: no threads, descriptors or objects more."""
    number = iter(range(10**9))
    histogram = HistogramValue((1.0,) * (len(catalog.STEP_BUCKETS) + 1), 3.0)

    def collect() -> Iterable[Sample]:
        run = f"run{next(number)}"
        return [*load(1.0), Sample(catalog.TRAIN_STEP_SECONDS, (run, "0"), histogram)]

    reject = Rejections()
    with sampler(source("runs", collect), reject=reject) as made:
        counts = []
        for _ in range(2):
            for _ in range(1500):
                made.cycle()
            gc.collect()
            counts.append((threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), len(gc.get_objects())))
    assert counts[0][:2] == counts[1][:2]
    assert abs(counts[1][2] - counts[0][2]) < 200


def test_renders_for_who_is_about_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scraper that keeps its pace finds its form made; what nobody will ask for is not made."""
    made_at: list[float] = []
    original = exposition.gzip.compress
    clock = Clock()

    def compress(*args: object, **options: object) -> bytes:
        made_at.append(clock.now)
        return original(*args, **options)

    monkeypatch.setattr(exposition.gzip, "compress", compress)
    with sampler(source("load", lambda: load(1.0)), clock=clock) as made:
        for second in range(100):
            clock.now = 3600.0 + second
            made.cycle()
            before = len(made_at)
            if second % 15 == 7:
                clock.now += 0.5
                assert made.exposition(Form(gzipped=True))
                ready = len(made_at) == before
                assert ready is (second > 22)  # two requests make a pace
    assert len(made_at) < 10


def test_what_cannot_be_rendered_leaves_nothing_old_standing() -> None:
    """A scraper in its pace gets the failure, not the last exposition for ever."""
    clock, labels = Clock(), ["1m"]
    collect: Callable[[], list[Sample]] = lambda: [Sample(catalog.LOAD_AVERAGE, (labels[0],), clock.now)]  # noqa: E731
    with sampler(source("load", collect), clock=clock) as made:
        for _ in range(5):
            clock.now += 1
            made.cycle()
            assert made.exposition(Form())
        labels[0] = "\ud800"  # half a character, which has no bytes
        clock.now += 1
        with pytest.raises(UnicodeEncodeError):
            made.cycle()
        with pytest.raises(UnicodeEncodeError):
            made.exposition(Form())


def test_who_watches_gets_each_snapshot_once_it_is_published() -> None:
    """One that fails is an accident of its own: what was published stands."""
    sampler = Sampler([Source("cpu", Collector("cpu", lambda: [Sample(catalog.CPU_CORES, (), 4.0)]))])
    seen = []
    sampler.watch(lambda snapshot: seen.append((snapshot, sampler.snapshot)))
    sampler.cycle()
    sampler.cycle()
    assert len(seen) == 2
    assert all(given is published for given, published in seen)

    def fail(_snapshot: object) -> None:
        raise ValueError("no room")

    sampler.watch(fail)
    with pytest.raises(ValueError, match="no room"):
        sampler.cycle()
    assert b"yoloscope_cpu_cores 4.0" in sampler.exposition(Form())
    assert len(seen) == 3
    sampler.stop()
