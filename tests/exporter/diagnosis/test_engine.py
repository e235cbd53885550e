"""From windows to verdicts: one table, hysteresis, abstention, the account of wasted time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis import engine, rules, signals
from yoloscope_exporter.diagnosis.engine import Hysteresis, Live

from tests.recordings.model import Plan, moments, play

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.series import Store

STARVED = Plan(workers=1, epochs=1, batches=200)


def names(store: Store) -> list[str]:
    """Verdicts of the first rank."""
    return [verdict.name for verdict in engine.over([store]).diagnoses[0].verdicts]


def test_a_healthy_training_yields_nothing_but_healthy() -> None:
    """The control."""
    assert names(play(Plan(epochs=2))) == ["compute_bound"]


def test_a_verdict_is_told_with_numbers_and_a_remedy() -> None:
    """Evidence, cause, verification, fix and gain of one starved training."""
    verdict = engine.over([play(STARVED)]).diagnoses[0].verdicts[0]
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
        assert rule.name not in engine.judge(bare, rules.DEFAULTS)
        assert engine.missing(rule, bare) == rule.needs


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_rules_name_known_signals_and_thresholds(rule: rules.Rule) -> None:
    """The table refers to nothing that is not there."""
    assert set(rule.needs) <= set(signals.SIGNALS)
    assert set(rule.thresholds) <= set(rules.THRESHOLDS)
    assert rule.severity in rules.SEVERITIES
    assert set(rule.waste) <= set(catalog.PHASES)


def test_every_threshold_is_used() -> None:
    """A number that no rule names is dead."""
    assert {name for rule in rules.RULES for name in rule.thresholds} == set(rules.THRESHOLDS)


def test_every_signal_is_described() -> None:
    """No signal is produced that the table of signals does not explain."""
    store = play(Plan(ranks=2, epochs=3, batches=60))
    window = engine.Window(store, store.last - 40, store.last - 22, 2.0)
    everything = engine.Window(store, store.first, store.last - 22, 2.0)
    found = {name for one in signals.gather(window, everything) for name in one.numbers}
    assert found <= set(signals.SIGNALS)
    assert {"data_wait_share", "lag", "gpu_busy", "prep_seconds", "runqueue_share"} <= found


def test_missing_families_make_their_rules_abstain() -> None:
    """Without the workers' records, the wait for data is seen and its cause left open."""
    without = tuple(metric for metric in catalog.METRICS if metric.name.startswith("yoloscope_train_worker_"))
    diagnosis = engine.over([play(replace(STARVED, workers=2, prep=0.9, without=without))]).diagnoses[0]
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
    limits = {**rules.DEFAULTS, "input_share": 0.9, "compute_share": 0.1}
    assert [v.name for v in engine.over([play(STARVED)], limits).diagnoses[0].verdicts] == ["compute_bound"]


# --- live -----------------------------------------------------------------------------------------------------------


def live(plan: Plan, every: float = 1.0) -> tuple[Live, dict[tuple[str, tuple[str, ...]], float]]:
    """The live diagnosis at the end of a plan, and its last samples."""
    watching, last = Live(), {}
    for time, samples in moments(plan, every):
        last = {(s.metric.name, s.labels): s.value for s in watching.feed(time, samples)}
    return watching, last  # type: ignore[return-value]


def test_live_publishes_verdict_goodput_and_waste() -> None:
    """The same verdict as from the recording, as samples of the catalogue."""
    watching, last = live(replace(STARVED, end="running"))
    run = STARVED.run
    assert last[catalog.TRAIN_VERDICT.name, (run, "0", "loader_workers")] == 1
    assert last[catalog.TRAIN_VERDICT.name, (run, "0", "compute_bound")] == 0
    assert last[catalog.TRAIN_GOODPUT_RATIO.name, (run, "0")] == pytest.approx(0.41, abs=0.05)
    waste = last[catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL.name, (run, "0", "loader_workers")]
    assert waste == pytest.approx(0.56 * 88, rel=0.25)
    assert [verdict.name for verdict in watching.diagnoses[0].verdicts] == ["loader_workers"]


def test_live_forgets_a_run_that_is_no_longer_published() -> None:
    """No series of the diagnosis outlives its run."""
    watching, _ = live(replace(STARVED, end="running"))
    now = watching.short.last
    assert any(sample.labels[0] == STARVED.run for sample in watching.feed(now + 1, []))
    for second in range(2, 80):
        last = watching.feed(now + second, [])
    assert not [sample for sample in last if sample.labels[0] == STARVED.run]
    assert not watching.diagnoses


def test_live_survives_a_clock_that_is_set_back() -> None:
    """It starts anew instead of judging the future."""
    watching, _ = live(replace(STARVED, end="running", batches=40))
    assert watching.feed(watching.short.last - 3600, []) == []


def test_a_gpu_held_by_nobodys_training_is_counted() -> None:
    """Memory held by a process without a run, on an idle GPU, is wasted with empty run and rank."""
    watching = Live()
    for second in range(90):
        now = 1000.0 + second
        samples = [
            Sample(catalog.GPU_BUSY_SECONDS_TOTAL, ("1",), 5.0),
            Sample(catalog.GPU_PROCESS_MEMORY_BYTES, ("1", "77", "jupyter", "", ""), 9e9),
        ]
        last = {(s.metric.name, s.labels): s.value for s in watching.feed(now, samples)}
    assert last[catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL.name, ("", "", "held_idle")] == pytest.approx(85, abs=6)
    (alone,) = watching.diagnoses
    assert alone.verdicts[0].name == "held_idle"
    assert "77 (jupyter)" in alone.verdicts[0].fix


def test_a_rank_without_a_gpu_wastes_none() -> None:
    """A training on the CPU holds no GPU."""
    _, last = live(replace(STARVED, gpu=False, end="running"))
    assert not [key for key in last if key[0] == catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL.name]
    assert last[catalog.TRAIN_VERDICT.name, (STARVED.run, "0", "loader_workers")] == 1
