"""Rules over signals: one table, and abstention."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import engine, forecast, rules, signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS, SOURCES
from yoloscope_exporter.measures.series import Window

from tests.exporter.diagnosis.advice import cases
from tests.recordings.model import Plan, play


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_a_rule_abstains_without_its_signals(rule: rules.Rule) -> None:
    """Where a signal is missing there is no verdict, neither yes nor no."""
    assert rule.states
    bare = signals.Signals("run", "0", rule.states[0])
    if rule.needs:
        assert rule.name not in engine.judge(bare, DEFAULTS)
        assert rule.missing(bare) == tuple(signal.name for signal in rule.needs)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_rules_name_known_signals_and_thresholds(rule: rules.Rule) -> None:
    """The table refers to nothing that is not there."""
    assert {signal.name for signal in rule.needs} <= set(signals.SIGNALS)
    assert set(rule.thresholds) <= set(SOURCES)
    assert rule.severity in rules.SEVERITIES
    assert set(rule.waste) <= set(catalog.PHASES)


def test_nobody_forecasts_what_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What advice brings is calculated for verdicts that hold, not for every rule that asks whether it does."""
    made: list[float] = []
    throughput = forecast.throughput

    def counted(now: forecast.Costs, *then: forecast.Costs) -> forecast.Forecast:
        made.append(now.batch)
        return throughput(now, *then)

    monkeypatch.setattr(forecast, "throughput", counted)
    s = cases.signals(**cases.LOADER, batches=60.0, prep_cpu_ratio=0.9, rank_cores=8.0, free_cores=4.0)
    assert engine.judge(s, DEFAULTS)["loader_workers"]
    assert not made
    told = engine.diagnose(s, {"loader_workers": s}, DEFAULTS)
    assert told.verdicts[0].gain
    assert len(made) == 1


def test_every_threshold_is_used() -> None:
    """A number that no rule names is dead."""
    assert {name for rule in rules.BY_NAME.values() for name in rule.thresholds} == set(SOURCES)


def test_every_signal_is_described() -> None:
    """No signal is produced that the table of signals does not explain."""
    store = play(Plan(ranks=2, epochs=3, batches=60))
    window = Window(store, store.last - 40, store.last - 22, 2.0)
    everything = Window(store, store.first, store.last - 22, 2.0)
    found = {name for one in signals.gather([(window, everything)]) for name in one.numbers}
    assert found <= set(signals.SIGNALS)
    assert {"data_wait_share", "lag", "gpu_busy", "prep_seconds", "runqueue_share"} <= found
