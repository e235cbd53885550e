"""Equal trainings compared with each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yoloscope_exporter.reports.comparison import SAME
from yoloscope_exporter.reports.summary import Summary, summarize

from tests import training
from tests.forecast import repeats
from tests.recordings.model import Plan, play


@pytest.fixture(scope="module")
def trained() -> list[Summary]:
    """A training, the same again to the last batch, and one that is three times as slow."""
    plan = Plan(epochs=1, batches=150)
    slow = replace(plan, workers=1, prep=1.5)
    return [summarize([play(one)], one.run) for one in (plan, plan, slow)]


def test_each_is_compared_with_the_next(trained: list[Summary]) -> None:
    """The equal ones are the same; the slow one is a false alarm, had it been equal."""
    equal, slow = repeats.outcomes(trained)
    assert (equal.verdict, equal.different) == (SAME, ())
    assert slow.verdict == "worse"
    assert "waiting for data" in slow.different


def test_the_table_counts_false_alarms(trained: list[Summary]) -> None:
    """Of pairs, not of trainings; the last one has no next."""
    text = repeats.section(trained, [0.1, 0.2, 1.5])
    assert text.startswith("3 equal trainings of ")
    assert "of 2 pairs 1 were called different in any line, of 1 the throughput the same" in text
    first, _, last = text.splitlines()[-3:]
    assert first.startswith("| 1 | ")
    assert first.endswith("| 0.1 | x 1.00 | same | none |")
    assert last.endswith("| 1.5 |  |  |  |")


def test_all_are_the_same_training() -> None:
    """One that can be started, with a worker and without validation."""
    case = repeats.SETTING.case("equal", 1.0)
    assert training.Options(data="", project="", **case.options).workers == 1
    assert case.options["arguments"]["val"] is False
    assert repeats.names(2) == ["repeat_01", "repeat_02"]


def test_three_against_three() -> None:
    """Equal trainings that differ by chance are rarely called different; how often is told."""
    plans = [Plan(epochs=1, batches=150, seed=seed) for seed in range(7)]
    summaries = [summarize([play(plan)], plan.run) for plan in plans]
    wrong = repeats.in_threes(summaries)
    assert wrong <= 0.05 * repeats.DRAWS
    assert f"200 times at random: {wrong} were called" in repeats.section(summaries, [0.0] * len(summaries))
