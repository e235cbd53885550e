"""The diagnosis of a time range: verdicts with evidence and a remedy, abstention, thresholds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.thresholds import Thresholds
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.series import Store

from tests.recordings.model import START, Plan, moments, play

if TYPE_CHECKING:
    from yoloscope_exporter.catalog import Sample

STARVED = Plan(workers=1, epochs=1, batches=200)


def names(store: Store) -> list[str]:
    """Verdicts of the first rank."""
    return [verdict.name for verdict in diagnose_range([store]).diagnoses[0].verdicts]


def test_a_healthy_training_yields_nothing_but_healthy() -> None:
    """The control."""
    assert names(play(Plan(epochs=2))) == ["compute_bound"]


@pytest.mark.parametrize("period", [0.5, 1.0])
def test_enough_is_known_of_a_short_training_as_a_whole(period: float) -> None:
    """Most of it is its beginning, where no window holds enough batches."""
    short = Plan(epochs=1, batches=20, setup=1.0, prep=0.01, first_wait=0.01, checkpoint=0.0, validate=0.0, after=1.0)
    assert [found.name for found in diagnose_range([play(short, period)]).diagnoses[0].verdicts] == ["compute_bound"]


def test_a_verdict_is_told_with_numbers_and_a_remedy() -> None:
    """Evidence, cause, verification, fix and gain of one starved training."""
    verdict = diagnose_range([play(STARVED)]).diagnoses[0].verdicts[0]
    assert verdict.name == "loader_workers"
    assert "waits for data" in verdict.evidence
    assert verdict.fix == "workers=4"
    assert verdict.gain is not None
    assert verdict.gain == str(verdict.advice.forecast)
    assert verdict.gain.startswith("2.3x to 2.4x: ")  # 58 % of the time waits
    assert verdict.share == pytest.approx(1.0, abs=0.2)


def test_missing_families_make_their_rules_abstain() -> None:
    """Without the workers' records, the wait for data is seen and its cause left open."""
    without = tuple(metric for metric in catalog.METRICS if metric.name.startswith("yoloscope_train_worker_"))
    diagnosis = diagnose_range([play(replace(STARVED, workers=2, prep=0.9, without=without))]).diagnoses[0]
    assert [verdict.name for verdict in diagnosis.verdicts] == ["insufficient_data"]
    assert "cause stays open" in diagnosis.verdicts[0].evidence
    assert diagnosis.abstained["loader_io"] == ("prep_seconds", "prep_cpu_ratio")


def test_what_did_not_help_is_not_advised_again() -> None:
    """The second run has the four workers that the first was advised, each four times as slow."""
    store = play(replace(STARVED, run="first"))
    second = replace(STARVED, run="second", workers=4, prep=2.0)
    for time, samples in moments(second, 1.0, start=store.times()[-1] + 300):
        store.add(time, samples)
    first, again = diagnose_range([store]).diagnoses
    assert first.verdicts[0].advice.arguments == {"workers": 4}
    assert [follow.helped for follow in again.followed] == [False]
    assert "workers" not in {name for verdict in again.verdicts for name in verdict.advice.arguments}
    assert any("workers is not advised again: workers=4 after first" in verdict.fix for verdict in again.verdicts)


def test_thresholds_can_be_changed() -> None:
    """With a threshold above what is measured, nothing is found."""
    limits = Thresholds(input_share=0.9, compute_share=0.1, gpu_low=0.0)
    assert [v.name for v in diagnose_range([play(STARVED)], limits).diagnoses[0].verdicts] == ["compute_bound"]


def test_sources_that_are_read_seldom() -> None:
    """Processes are looked at every ten seconds: in between, their wait for a CPU is no wait for something else."""
    plan = Plan(
        workers=16, cores=8, prep=5.2, prep_cpu=0.1, runqueue=0.85, others_cpu=0.2, epochs=1, batches=110, after=0.0
    )
    store, held = Store(), {}
    for index, (time, samples) in enumerate(moments(plan, every=1.0)):
        seldom = [s for s in samples if s.metric.name.startswith("yoloscope_train_process")]
        if index % 10 == 0 or not held:
            held = {(s.metric, s.labels): s for s in seldom}
        store.add(time, [held.get((s.metric, s.labels), s) for s in samples])
    assert store.last - store.first < 90
    assert names(store) == ["cpu_oversubscribed"]


@pytest.mark.parametrize("count", [1, 6, 8])
def test_nodes_that_are_scraped_one_after_the_other_are_judged(count: int) -> None:
    """A Prometheus spreads its targets over the interval: the distance of two samples is that of one node."""
    found = diagnose_range([of_rank(rank, later=15.0 * rank / count) for rank in range(count)])
    assert [(d.rank, [v.name for v in d.verdicts]) for d in found.diagnoses] == [
        (str(rank), ["loader_workers"]) for rank in range(count)
    ]
    assert not found.notes


def of_rank(rank: int, later: float) -> Store:
    """The node on which one rank of a starved training runs, first scraped a little later than others."""
    store = Store(name=f"node{rank}")
    for time, samples in moments(replace(STARVED, batches=600), 15.0, START + later):
        store.add(time, [_renumbered(sample, rank) for sample in samples])
    return store


def test_a_run_of_the_same_name_in_another_cluster_is_another_run() -> None:
    """One is starved, one healthy: neither is judged by the other."""
    stores = [play(replace(plan, run="exp")) for plan in (STARVED, Plan(epochs=1))]
    for store, cluster in zip(stores, ("east", "west"), strict=True):
        store.name, store.cluster = "10.0.0.7:9911", cluster
    told = {d.cluster: [v.name for v in d.verdicts] for d in diagnose_range(stores).diagnoses}
    assert told == {"east": ["loader_workers"], "west": ["compute_bound"]}


def test_a_run_that_was_resumed_on_another_node_is_judged_there() -> None:
    """Its dead rank on the first node is still shown, and does not speak for the living one."""
    dead = play(replace(STARVED, run="exp", batches=30, end="killed", after=400))
    living = play(replace(STARVED, run="exp", batches=400), start=START + 60)
    dead.name, living.name = "a", "b"
    for stores in ([dead, living], [living, dead]):
        (found,) = diagnose_range(stores).diagnoses
        assert found.state == "finished"
        shares = {verdict.name: verdict.share for verdict in found.verdicts}
        assert shares["loader_workers"] == pytest.approx(1, abs=0.2)


def test_what_could_not_be_read_is_said_where_nothing_else_is() -> None:
    """Of a recording of nothing that is known."""
    store = Store()
    store.skipped["unknown metric yoloscope_new"] = 3
    assert diagnose_range([store]).notes == ("3 samples skipped: unknown metric yoloscope_new",)


def _renumbered(sample: Sample, rank: int) -> Sample:
    return sample._replace(labels=(sample.labels[0], str(rank), *sample.labels[2:])) if _ranked(sample) else sample


def _ranked(sample: Sample) -> bool:
    return sample.metric.labels[:2] == ("run", "rank")


THROTTLED = replace(STARVED, workers=8, cores=16, quota=3.0, throttled=0.6, prep=2.8, prep_cpu=0.4, runqueue=0.5)


def test_a_quota_is_judged_by_the_share_of_its_periods() -> None:
    """Throttled seconds are summed over CPUs: a twentieth of the periods on sixteen CPUs is no share of 40 %."""
    assert names(play(THROTTLED)) == ["cpu_throttled"]
    assert "cpu_throttled" not in names(play(replace(THROTTLED, throttled=0.05)))


def test_the_quota_of_an_exporter_that_tells_no_periods_is_judged_by_time() -> None:
    """As version 0.1 does."""
    periods = (catalog.CGROUP_CPU_PERIODS_TOTAL, catalog.CGROUP_CPU_THROTTLED_PERIODS_TOTAL)
    assert names(play(replace(THROTTLED, without=periods))) == ["cpu_throttled"]


def test_a_run_that_followed_advice_says_what_came_of_it() -> None:
    """Two runs in one recording: the second has the workers that were advised to the first."""
    store = play(replace(STARVED, run="first"))
    for time, samples in moments(Plan(run="second", workers=4, epochs=1, batches=200), start=store.last + 60):
        store.add(time, samples)
    first, second = diagnose_range([store]).diagnoses
    assert first.followed == ()
    (found,) = second.followed
    assert (found.run, found.verdict, found.arguments) == ("first", "loader_workers", {"workers": 4})
    assert found.helped
    assert found.delivered == pytest.approx(2.35, abs=0.1)
