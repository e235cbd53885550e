"""The pairs that forecasts are held against, and the table of what came of them."""

from __future__ import annotations

import pytest

from tests import training
from tests.forecast import pairs
from tests.forecast.pairs import DOCUMENT, PAIRS, Outcome, Setting


def test_there_are_enough_of_them() -> None:
    """Thirty at least, with every kind of change."""
    assert len(PAIRS) >= 30
    changed = {name for pair in PAIRS.values() for name in pair.change}
    assert changed == {"workers", "cache", "callback"}


@pytest.mark.parametrize("name", PAIRS)
def test_each_is_two_trainings_that_differ(name: str) -> None:
    """In nothing but what is changed; both are trainings that can be started."""
    pair = PAIRS[name]
    before, after = (one.case(name, 1.0) for one in (pair.before, pair.before.with_(pair.change)))
    for case in (before, after):
        training.Options(data="", project="", **case.options)
        assert case.options["arguments"]["val"] is False
    assert before.options != after.options
    assert (before.images, before.size) == (after.images, after.size)


def test_a_change_leaves_the_rest() -> None:
    """A cache is one of the trainer's arguments, workers are an option."""
    setting = Setting({"workers": 1, "arguments": {"mosaic": 0.0}}, "something()")
    changed = setting.with_({"workers": 2, "cache": "ram"})
    assert changed.options == {"workers": 2, "arguments": {"mosaic": 0.0, "cache": "ram"}}
    assert changed.script == "something()"
    assert setting.with_({"callback": False}).script == ""


@pytest.mark.parametrize(
    ("low", "after", "holds", "broken"),
    [(15.0, 16.0, True, False), (15.0, 13.0, False, False), (15.0, 12.0, False, True), (10.0, 9.0, False, False)],
)
def test_what_is_held_and_what_is_broken(low: float, after: float, holds: bool, broken: bool) -> None:  # noqa: FBT001
    """Of 10 images/s 15 to 18 were promised: 12.5 are half of the gain."""
    outcome = Outcome(before=10.0, low=low, high=18.0, after=after, others=0.0)
    assert (outcome.holds, outcome.broken) == (holds, broken)


def test_the_table_is_of_the_pairs_that_were_run() -> None:
    """As `python -m tests.forecast.pairs --table` writes it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert pairs.known()
    assert pairs.written(text, pairs.known()) == text
    assert pairs.table(pairs.known()) in text
