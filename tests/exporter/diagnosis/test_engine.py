"""From windows to verdicts: one table, hysteresis, abstention, the account of wasted time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import engine, rules, signals
from yoloscope_exporter.diagnosis.engine import Hysteresis
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS, SOURCES, Thresholds

from tests.recordings.model import Plan, play

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.series import Store

STARVED = Plan(workers=1, epochs=1, batches=200)


def names(store: Store) -> list[str]:
    """Verdicts of the first rank."""
    return [verdict.name for verdict in engine.diagnose_range([store]).diagnoses[0].verdicts]


def test_a_healthy_training_yields_nothing_but_healthy() -> None:
    """The control."""
    assert names(play(Plan(epochs=2))) == ["compute_bound"]


def test_a_verdict_is_told_with_numbers_and_a_remedy() -> None:
    """Evidence, cause, verification, fix and gain of one starved training."""
    verdict = engine.diagnose_range([play(STARVED)]).diagnoses[0].verdicts[0]
    assert verdict.name == "loader_workers"
    assert "waits for data" in verdict.evidence
    assert verdict.fix == "workers=4"
    assert verdict.gain is not None
    assert verdict.gain.startswith("up to 2.")
    assert verdict.share == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_a_rule_abstains_without_its_signals(rule: rules.Rule) -> None:
    """Where a signal is missing there is no verdict, neither yes nor no."""
    assert rule.states
    bare = signals.Signals("run", "0", rule.states[0])
    if rule.needs:
        assert rule.name not in engine.judge(bare, DEFAULTS)
        assert engine.missing(rule, bare) == tuple(signal.name for signal in rule.needs)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_rules_name_known_signals_and_thresholds(rule: rules.Rule) -> None:
    """The table refers to nothing that is not there."""
    assert {signal.name for signal in rule.needs} <= set(signals.SIGNALS)
    assert set(rule.thresholds) <= set(SOURCES)
    assert rule.severity in rules.SEVERITIES
    assert set(rule.waste) <= set(catalog.PHASES)


def test_every_threshold_is_used() -> None:
    """A number that no rule names is dead."""
    assert {name for rule in rules.RULES for name in rule.thresholds} == set(SOURCES)


def test_every_signal_is_described() -> None:
    """No signal is produced that the table of signals does not explain."""
    store = play(Plan(ranks=2, epochs=3, batches=60))
    window = engine.Window(store, store.last - 40, store.last - 22, 2.0)
    everything = engine.Window(store, store.first, store.last - 22, 2.0)
    found = {name for one in signals.gather([(window, everything)]) for name in one.numbers}
    assert found <= set(signals.SIGNALS)
    assert {"data_wait_share", "lag", "gpu_busy", "prep_seconds", "runqueue_share"} <= found


def test_missing_families_make_their_rules_abstain() -> None:
    """Without the workers' records, the wait for data is seen and its cause left open."""
    without = tuple(metric for metric in catalog.METRICS if metric.name.startswith("yoloscope_train_worker_"))
    diagnosis = engine.diagnose_range([play(replace(STARVED, workers=2, prep=0.9, without=without))]).diagnoses[0]
    assert [verdict.name for verdict in diagnosis.verdicts] == ["insufficient_data"]
    assert "cause stays open" in diagnosis.verdicts[0].evidence
    assert diagnosis.abstained["loader_io"] == ("prep_seconds", "prep_cpu_ratio")


def test_hysteresis_neither_enters_nor_leaves_at_once() -> None:
    """A condition must last to change a verdict; an event changes it at once."""
    memory, key = Hysteresis(enter=10, leave=20), ("run", "0")
    held = {
        now: memory.update(key, {"loader_io": met, "diverged": met}, now)
        for now, met in (
            (0, True),
            (5, True),
            (10, True),
            (15, False),
            (20, True),
            (25, False),
            (44, False),
            (45, False),
        )
    }
    assert [now for now, verdicts in held.items() if verdicts["loader_io"]] == [10, 15, 20, 25, 44]
    assert [now for now, verdicts in held.items() if verdicts["diverged"]] == [0, 5, 10, 20]


def test_what_can_no_longer_be_judged_is_forgotten() -> None:
    """A verdict whose signals went away does not stay."""
    memory, key = Hysteresis(enter=0, leave=100), ("run", "0")
    assert memory.update(key, {"loader_io": True}, 0) == {"loader_io": True}
    assert memory.update(key, {}, 1) == {}
    assert memory.update(key, {"loader_io": False}, 2) == {"loader_io": False}


def test_thresholds_can_be_changed() -> None:
    """With a threshold above what is measured, nothing is found."""
    limits = Thresholds(input_share=0.9, compute_share=0.1)
    assert [v.name for v in engine.diagnose_range([play(STARVED)], limits).diagnoses[0].verdicts] == ["compute_bound"]
