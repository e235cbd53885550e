"""What names of values are called: each value that can be shown has a word."""

from __future__ import annotations

from yoloscope_exporter import catalog, colours
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.history.events import KINDS
from yoloscope_exporter.language import CHINESE, ENGLISH
from yoloscope_exporter.web import words


def test_every_value_that_is_shown_has_a_word() -> None:
    """States, severities, kinds of events, reasons of throttling."""
    assert {*colours.STATES, *catalog.STATES} <= set(words.STATES)
    assert set(words.SEVERITIES) == set(rules.SEVERITIES)
    assert set(words.EVENTS) == set(KINDS)
    assert set(words.THROTTLE_REASONS) == set(catalog.THROTTLE_REASONS)


def test_words_are_told_in_the_language_that_is_asked_for() -> None:
    """By the catalogue of translations."""
    assert words.told(words.STATES, "train", ENGLISH) == "training"
    assert words.told(words.STATES, "train", CHINESE) == "训练中"


def test_a_state_nobody_has_heard_of_is_shown_as_it_is() -> None:
    """A newer record may have one."""
    assert words.told(words.STATES, "dreaming", CHINESE) == "dreaming"
