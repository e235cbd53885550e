"""Judging in isolation: one rule or one rank that fails costs nobody else anything."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import Context
from yoloscope_exporter.config import defaults
from yoloscope_exporter.diagnosis import live, rules, signals
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.signals import Signals, gpu, step, view
from yoloscope_exporter.diagnosis.signals.arithmetic import whole
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.series import Store

from tests.recordings.model import Plan, moments

if TYPE_CHECKING:
    from pathlib import Path

    from yoloscope_exporter.diagnosis.live import Live
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View
    from yoloscope_exporter.measures.series import Window

STARVED = Plan(run="starved", workers=1, epochs=1, batches=120, end="running")
OTHER = replace(STARVED, run="other")


def boom(*_: object) -> NoReturn:
    raise KeyError("new_signal")


def break_rule(monkeypatch: pytest.MonkeyPatch, name: str, **changes: object) -> None:
    """Put a rule with a fault in the place of one in the table."""
    broken = tuple(replace(rule, **changes) if rule.name == name else rule for rule in rules.RULES)  # type: ignore[arg-type]
    monkeypatch.setattr(rules, "RULES", broken)
    monkeypatch.setattr(rules, "BY_NAME", {rule.name: rule for rule in broken})


@pytest.fixture
def counted() -> Counter[tuple[str, str]]:
    """What was refused, by collector and reason."""
    return Counter()


def watched(tmp_path: Path, counted: Counter[tuple[str, str]]) -> Live:
    """The stage of an exporter that sees two starved runs."""

    def reject(collector: str, reason: str) -> None:
        counted[collector, reason] += 1

    def clock() -> float:
        return 0.0

    stage = live.derived(Context(tmp_path, tmp_path, tmp_path, clock, clock, reject, config=defaults))
    for (time, first), (_, second) in zip(moments(STARVED, 1.0), moments(OTHER, 1.0), strict=True):
        stage.feed(time, [*first, *(sample for sample in second if sample.labels[:1] == ("other",))])
    return stage


def verdicts(stage: Live) -> dict[str, list[str]]:
    return {one.run: [verdict.name for verdict in one.verdicts] for one in stage.diagnoses}


def test_a_rule_that_fails_silences_no_other(
    tmp_path: Path,
    counted: Counter[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is counted each time, said once for each rank, and named in what the exporter answers."""
    break_rule(monkeypatch, "stalled", when=boom, needs=())
    stage = watched(tmp_path, counted)
    assert verdicts(stage) == {"starved": ["loader_workers"], "other": ["loader_workers"]}
    said = [record.getMessage() for record in caplog.records]
    assert sorted(said) == [
        f"the rule stalled failed for {run}, rank 0: KeyError: 'new_signal'; the rest goes on"
        for run in ("other", "starved")
    ]
    assert counted["diagnosis", "error"] > 2
    assert stage.document()["notes"] == [
        f"the rule stalled failed for {run}, rank 0: KeyError" for run in ("other", "starved")
    ]


def test_a_verdict_without_words_stands(
    tmp_path: Path, counted: Counter[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be put into words holds all the same."""
    break_rule(monkeypatch, "loader_workers", evidence=boom)
    stage = watched(tmp_path, counted)
    assert verdicts(stage) == {"starved": ["loader_workers"], "other": ["loader_workers"]}
    assert stage.diagnoses[0].verdicts[0].evidence == "its numbers cannot be shown"


def test_signals_that_fail_for_one_rank_are_unknown_for_it(
    tmp_path: Path, counted: Counter[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run has its verdict, and the rank the signals of the other parts."""
    usual = step.step

    def fail(view: View) -> Numbers:
        return boom() if view.run == "other" else usual(view)

    parts = tuple(fail if part is usual else part for part in signals.PARTS)
    monkeypatch.setattr(signals, "PARTS", parts)
    stage = watched(tmp_path, counted)
    told = {one.run: one for one in stage.diagnoses}
    assert [verdict.name for verdict in told["starved"].verdicts] == ["loader_workers"]
    assert told["other"].signals.has(Signals.workers)
    assert not told["other"].signals.has(Signals.data_wait_share)


def test_a_rank_that_cannot_be_viewed_is_named(
    tmp_path: Path, counted: Counter[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of it; the other run has its verdict."""
    usual = view._facts

    def fail(window: Window, run: str, rank: str) -> dict[str, str]:
        return boom() if run == "other" else usual(window, run, rank)

    monkeypatch.setattr(view, "_facts", fail)
    stage = watched(tmp_path, counted)
    assert verdicts(stage) == {"starved": ["loader_workers"]}
    assert stage.document()["notes"] == ["gathering signals failed for other, rank 0: KeyError"]


def test_over_a_stretch_of_time_it_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """`diagnose` and `report` show the notes of a course."""
    break_rule(monkeypatch, "environment", when=boom, needs=())
    store = Store()
    for time, samples in moments(STARVED, 1.0):
        store.add(time, samples)
    course = diagnose_range([store])
    assert [verdict.name for verdict in course.diagnoses[0].verdicts] == ["loader_workers"]
    assert "the rule environment failed for starved, rank 0: KeyError" in course.notes


def test_a_rank_that_has_gone_is_forgotten() -> None:
    """With what failed for it."""
    faults = Faults()
    for rank in ("0", "1"):
        with faults.passed_over("the rule x", "run", rank):
            boom()
    faults.keep([("run", "1")])
    assert [fault.rank for fault in faults.seen] == ["1"]


@pytest.mark.parametrize("text", ["²", "1".zfill(10), "9" * 300, "-1", "1e3", "", "½", "x"])
def test_what_is_no_whole_number(text: str) -> None:
    """`str.isdigit` takes a superscript for a digit, `int` and `float` do not."""
    assert whole(text) is None
    assert gpu._version(f"12.{text}") is None


def test_a_number_beyond_what_can_be_true_is_skipped() -> None:
    """In a recording as in what an exporter says."""
    store = Store()
    for time, value in enumerate((1e300, 7.0, -1.0), start=1):
        store.add(time, [catalog.Sample(catalog.TRAIN_BATCH_SIZE, ("a", "0"), value)])
    assert list(store.series[catalog.TRAIN_BATCH_SIZE.name]["a", "0"].values) == [7.0]
    assert store.skipped == {"beyond what can be true": 2}
