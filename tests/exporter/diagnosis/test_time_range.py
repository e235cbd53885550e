"""The diagnosis of a time range: verdicts with evidence and a remedy, abstention, thresholds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.thresholds import Thresholds
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.series import Store

from tests.recordings.model import Plan, moments, play

STARVED = Plan(workers=1, epochs=1, batches=200)


def names(store: Store) -> list[str]:
    """Verdicts of the first rank."""
    return [verdict.name for verdict in diagnose_range([store]).diagnoses[0].verdicts]


def test_a_healthy_training_yields_nothing_but_healthy() -> None:
    """The control."""
    assert names(play(Plan(epochs=2))) == ["compute_bound"]


def test_a_verdict_is_told_with_numbers_and_a_remedy() -> None:
    """Evidence, cause, verification, fix and gain of one starved training."""
    verdict = diagnose_range([play(STARVED)]).diagnoses[0].verdicts[0]
    assert verdict.name == "loader_workers"
    assert "waits for data" in verdict.evidence
    assert verdict.fix == "workers=4"
    assert verdict.gain is not None
    assert verdict.gain.startswith("up to 2.")
    assert verdict.share == pytest.approx(1.0, abs=0.2)


def test_missing_families_make_their_rules_abstain() -> None:
    """Without the workers' records, the wait for data is seen and its cause left open."""
    without = tuple(metric for metric in catalog.METRICS if metric.name.startswith("yoloscope_train_worker_"))
    diagnosis = diagnose_range([play(replace(STARVED, workers=2, prep=0.9, without=without))]).diagnoses[0]
    assert [verdict.name for verdict in diagnosis.verdicts] == ["insufficient_data"]
    assert "cause stays open" in diagnosis.verdicts[0].evidence
    assert diagnosis.abstained["loader_io"] == ("prep_seconds", "prep_cpu_ratio")


def test_thresholds_can_be_changed() -> None:
    """With a threshold above what is measured, nothing is found."""
    limits = Thresholds(input_share=0.9, compute_share=0.1)
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
