"""The simulated nodes: complete, consistent, repeatable, and sick in the way they should be."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Metric, Sample
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.simulation import SCENARIOS, Fleet, fleet, openmetrics, simulate
from yoloscope_exporter.simulation.histograms import spread

START = 1_700_000_000.0
LATE = 3000.0
Series = dict[tuple[str, tuple[str, ...]], float | HistogramValue]


def _series(samples: list[Sample]) -> Series:
    return {(sample.metric.name, sample.labels): sample.value for sample in samples}


def _node(made: Fleet, seconds: float) -> Series:
    return _series(made.node(next(iter(made.trainings)), START + seconds))


def _total(series: Series, metric: Metric, *labels: str) -> float:
    value = series[metric.name, labels]
    assert isinstance(value, float)
    return value


def _run(name: str = "0000") -> str:
    return f"train/yolo11m-{name}"


def _rate(made: Fleet, metric: Metric, *labels: str, at: float = LATE, over: float = 600.0) -> float:
    before, after = _node(made, at - over), _node(made, at)
    return (_total(after, metric, *labels) - _total(before, metric, *labels)) / over


@pytest.fixture(params=sorted(SCENARIOS))
def scenario(request: pytest.FixtureRequest) -> str:
    """Each scenario."""
    name: str = request.param
    return name


def test_every_metric_of_the_catalogue_appears() -> None:
    """Over its scenarios the simulation shows all there is; a metric added to the catalogue must be added here."""
    seen = {
        sample.metric.name
        for name in SCENARIOS
        for seconds, step in ((30, 2), (3000, 100))  # the set-up, and all of it
        for scrape in simulate(name, 1, 2, start=START, end=START + seconds, step=step)
        for samples in scrape.samples.values()
        for sample in samples
    }
    missing = sorted(set(catalog.BY_NAME) - seen - {catalog.TRAIN_HANG_INFO.name})  # no scenario stands still
    assert missing == [], "show them in yoloscope_exporter/simulation, in the file of their area"


def test_series_are_unique_and_well_labelled(scenario: str) -> None:
    """No series twice; every sample has the labels of its metric; fixed sets of values are kept to."""
    for scrape in simulate(scenario, 1, 2, start=START, end=START + 3000, step=500):
        (samples,) = scrape.samples.values()
        counted = Counter((sample.metric.name, sample.labels) for sample in samples)
        assert counted.most_common(1)[0][1] == 1
        for sample in samples:
            labels = sample.metric.labelled(sample.labels)
            predicts = sample.metric.area == "predict"
            assert labels.get("state", "failed") in (catalog.PREDICT_STATES if predicts else catalog.STATES)
            assert labels.get("phase", "setup") in (catalog.PREDICT_PHASES if predicts else catalog.PHASES)
            assert labels.get("role", "main") in catalog.ROLES


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(SCENARIOS)),
    first=st.floats(0, 8000),
    later=st.floats(0, 2000),
    ranks=st.integers(1, 3),
    speed=st.sampled_from([1.0, 10.0]),
)
def test_counters_never_go_backwards(name: str, first: float, later: float, ranks: int, speed: float) -> None:
    """Every counter and every bucket grows with time, whatever happens to the training."""
    made = fleet(name, 1, 3, start=START, ranks=ranks, workers=2, speed=speed)
    before, after = _node(made, first), _node(made, first + later)
    for key, value in before.items():
        other = after.get(key)
        kind = catalog.BY_NAME[key[0]].kind
        if kind == catalog.COUNTER and isinstance(value, float) and isinstance(other, float):
            assert other >= value * (1 - 1e-12), key
        if isinstance(value, HistogramValue) and isinstance(other, HistogramValue):
            cumulative = [
                sum(after_) >= sum(before_) for before_, after_ in zip(_heads(value), _heads(other), strict=True)
            ]
            assert all(cumulative), key
            assert other.sum >= value.sum - 1e-6, key


def _heads(value: HistogramValue) -> list[tuple[float, ...]]:
    return [value.counts[:end] for end in range(1, len(value.counts) + 1)]


@pytest.mark.parametrize("ranks", [1, 4])
def test_phases_add_up_to_wall_time(scenario: str, ranks: int) -> None:
    """Each second of each rank's life is in exactly one phase."""
    made = fleet(scenario, 1, 4, start=START, ranks=ranks)
    (training,) = made.trainings.values()
    for seconds in (10.0, 333.3, 1200.0, training.end + 10):
        series = _node(made, seconds)
        for rank in map(str, range(ranks)):
            lived = sum(
                value
                for (name, labels), value in series.items()
                if name == catalog.TRAIN_PHASE_SECONDS_TOTAL.name and labels[1] == rank and isinstance(value, float)
            )
            assert lived == pytest.approx(min(seconds, training.end), rel=1e-9)


def test_backward_is_split_only_with_peers() -> None:
    """A single process has `backward`, ranks have `backward_local` and `backward_exposed`."""
    alone, peers = (_node(fleet("healthy", 1, 2, start=START, ranks=n), 500) for n in (1, 2))
    phases = catalog.TRAIN_PHASE_SECONDS_TOTAL.name
    assert (phases, (_run(), "0", "backward")) in alone
    assert (phases, (_run(), "0", "backward_local")) not in alone
    assert (phases, (_run(), "0", "backward")) not in peers
    assert (phases, (_run(), "0", "backward_exposed")) in peers


def test_same_seed_same_nodes(scenario: str) -> None:
    """The same arguments give the same samples; another seed gives others; nodes differ from one another."""
    first, again, other = (fleet(scenario, 2, 2, start=START, seed=seed).at(START + 700) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    one, two = first.samples.values()
    assert _series(one) != _series(two)


def test_several_scenarios_are_dealt_out() -> None:
    """Node i takes scenario i modulo their number."""
    made = fleet(["healthy", "starved"], 3, 1, start=START)
    assert [training.node.scenario.name for training in made.trainings.values()] == ["healthy", "starved", "healthy"]


def test_healthy_is_busy_and_waits_for_nothing() -> None:
    """The GPUs are above 85 % and the data wait is below 5 %."""
    made = fleet("healthy", start=START)
    assert _rate(made, catalog.GPU_BUSY_SECONDS_TOTAL, "0") > 0.85
    assert _rate(made, catalog.TRAIN_PHASE_SECONDS_TOTAL, _run(), "0", "data_wait") < 0.05


def test_starved_waits_for_data() -> None:
    """After the onset more than half the time is data wait, the queue is empty, and CPUs are free."""
    made = fleet("starved", start=START)
    assert _rate(made, catalog.TRAIN_PHASE_SECONDS_TOTAL, _run(), "0", "data_wait") > 0.4
    assert _rate(made, catalog.GPU_BUSY_SECONDS_TOTAL, "0") < 0.5
    assert _total(_node(made, LATE), catalog.TRAIN_QUEUE_DEPTH, _run(), "0") == 0
    cores = _total(_node(made, LATE), catalog.CPU_CORES)
    assert 0.2 < _rate(made, catalog.CPU_SECONDS_TOTAL, "idle") / cores < 0.8


def test_leak_ends_in_lack_of_memory() -> None:
    """Memory grows until allocations are tried again, then the training fails."""
    made = fleet("leak", start=START)
    (training,) = made.trainings.values()
    early, late = (_node(made, training.onset + seconds) for seconds in (60, 500))
    memory = (catalog.TRAIN_CUDA_MEMORY_BYTES, _run(), "0", "allocated")
    assert _total(late, *memory) > _total(early, *memory) + 5e9
    before, after = _node(made, training.end - 5), _node(made, training.end + 5)
    assert _total(before, catalog.TRAIN_CUDA_ALLOC_RETRIES_TOTAL, _run(), "0") > 0
    assert _total(before, catalog.GPU_MEMORY_FREE_BYTES, "0") < 2e9
    assert _total(after, catalog.TRAIN_STATE, _run(), "0", "failed") == 1
    assert _total(after, catalog.TRAIN_CUDA_OOMS_TOTAL, _run(), "0") == 1
    assert _total(after, catalog.TRAIN_END_TIMESTAMP_SECONDS, _run(), "0") == START + training.end


def test_straggler_is_the_one_nobody_waits_for() -> None:
    """The last rank computes longest and waits least for its peers."""
    made = fleet("straggler", start=START)
    local, exposed = (
        [_rate(made, catalog.TRAIN_PHASE_SECONDS_TOTAL, _run(), str(rank), phase) for rank in range(8)]
        for phase in ("backward_local", "backward_exposed")
    )
    assert local[7] > 1.3 * max(local[:7])
    assert exposed[7] < 0.5 * min(exposed[:7])


def test_throttle_is_hot_and_slow() -> None:
    """Clocks fall, the thermal reason holds, the temperature is near its limit, throughput falls."""
    made = fleet("throttle", start=START)
    series = _node(made, LATE)
    clock = _total(series, catalog.GPU_CLOCK_HERTZ, "0", "sm") / _total(series, catalog.GPU_CLOCK_MAX_HERTZ, "0", "sm")
    assert clock < 0.7
    assert _rate(made, catalog.GPU_THROTTLED_SECONDS_TOTAL, "0", "sw_thermal_slowdown") > 0.5
    assert _total(series, catalog.GPU_TEMPERATURE_CELSIUS, "0", "core") > 82
    healthy = fleet("healthy", start=START)
    images = (catalog.TRAIN_IMAGES_TOTAL, _run(), "0")
    assert _rate(made, *images) < 0.75 * _rate(healthy, *images)


def test_dying_takes_the_gpu_and_the_training_along() -> None:
    """ECC errors, then the GPU's series vanish, the training is killed, stays readable for an hour and goes."""
    made = fleet("dying", 1, 2, start=START)
    (training,) = made.trainings.values()
    before, after = _node(made, training.end - 1), _node(made, training.end + 1)
    assert _total(before, catalog.GPU_ECC_ERRORS_TOTAL, "1", "uncorrected") > 0
    assert _total(before, catalog.GPU_XID_ERRORS_TOTAL, "1", "48") > 0
    assert (catalog.GPU_UTILIZATION_RATIO.name, ("1",)) not in after
    assert (catalog.GPU_UTILIZATION_RATIO.name, ("0",)) in after
    assert _total(after, catalog.TRAIN_STATE, _run(), "1", "killed") == 1
    assert _total(after, catalog.TRAIN_UP, _run(), "0") == 0
    assert _total(after, catalog.TRAIN_EPOCH, _run(), "0") >= 1
    assert (catalog.TRAIN_END_TIMESTAMP_SECONDS.name, (_run(), "0")) not in after
    gone = _node(made, training.end + 3601)
    assert not any(name.startswith("yoloscope_train_") for name, _ in gone)


def test_speed_shortens_the_course_but_no_second() -> None:
    """Ten times as fast the onset comes ten times earlier, and a busy GPU is still busy one second per second."""
    slow, fast = (fleet("starved", start=START, speed=speed) for speed in (1.0, 10.0))
    (before,), (after,) = slow.trainings.values(), fast.trainings.values()
    assert after.onset == pytest.approx(before.onset / 10, rel=0.1)
    assert after.degraded.period == before.degraded.period
    rates = [_rate(made, catalog.GPU_BUSY_SECONDS_TOTAL, "0") for made in (slow, fast)]
    assert rates[0] == pytest.approx(rates[1], rel=0.05)


def test_last_batch_is_in_the_past_and_recent(scenario: str) -> None:
    """The last batch ended before now, and while training less than a period or a pause ago."""
    made = fleet(scenario, 1, 1, start=START)
    (training,) = made.trainings.values()
    for seconds in range(40, int(min(training.end, LATE)), 37):
        age = START + seconds - _total(_node(made, seconds), catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, _run(), "0")
        assert 0 <= age < 12


@given(total=st.floats(0, 1e6), mean=st.floats(1e-3, 60))
def test_spread_keeps_every_observation(total: float, mean: float) -> None:
    """The buckets hold as many observations as there are, and the sum is their number times the mean."""
    value = spread(total, mean, catalog.STEP_BUCKETS)
    assert sum(value.counts) == int(total)
    assert min(value.counts) >= 0
    assert value.sum == pytest.approx(int(total) * mean)


def test_simulate_takes_every_step() -> None:
    """Both ends are included, at even steps."""
    times = [scrape.time for scrape in simulate("healthy", 1, 1, start=START, end=START + 60, step=15)]
    assert times == [START, START + 15, START + 30, START + 45, START + 60]


def test_the_diagnosis_finds_what_is_simulated(scenario: str) -> None:
    """The diagnosis, which knows nothing of scenarios, comes to the scenario's verdict from the metrics alone."""
    scrapes = simulate(scenario, 1, 2, start=START, end=START + 500, step=6, onset=200, speed=3)
    diagnoses = diagnose_range(reader.parse(openmetrics.lines(scrapes))).diagnoses
    diagnoses = [one for one in diagnoses if not one.signals.predicts]
    assert len(diagnoses) == 2
    last = {verdict.name for verdict in diagnoses[-1].verdicts}
    assert SCENARIOS[scenario].verdict in last
    others = {name for other in SCENARIOS.values() if other.name != scenario for name in [other.verdict]}
    assert last & others <= {"compute_bound"}


def test_shown_verdicts_are_those_of_the_diagnosis() -> None:
    """`train_verdict` names every rule of the diagnosis, and at most one holds."""
    series = _node(fleet("starved", start=START), LATE)
    verdicts = {key[1][2]: value for key, value in series.items() if key[0] == catalog.TRAIN_VERDICT.name}
    assert set(verdicts) == {rule.name for rule in rules.RULES}
    assert sum(verdicts.values()) == 1  # type: ignore[arg-type]
    assert verdicts["loader_workers"] == 1
