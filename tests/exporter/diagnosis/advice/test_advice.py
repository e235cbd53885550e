"""How an advice reads, and what it changes of the result."""

from __future__ import annotations

from yoloscope_exporter.diagnosis.advice import Advice, effect_in_words, gain
from yoloscope_exporter.diagnosis.advice.gains import shorter_run, without_share

from tests.exporter.diagnosis.advice.cases import signals


def test_advice_reads_as_one_would_type_it() -> None:
    """Environment first, then arguments, then the note."""
    text = str(Advice({"workers": 4}, {"OMP_NUM_THREADS": "1"}, "and look"))
    assert text == "OMP_NUM_THREADS=1 workers=4; and look"
    assert str(Advice()) == ""


def test_every_argument_that_is_advised_has_a_known_effect() -> None:
    """Validation away ends early stopping and best.pt; workers change nothing of the result."""
    assert Advice({"workers": 4, "cache": "ram"}).effect == ()
    assert Advice({"workers": 4, "val": False}).effect == ("best.pt", "early stopping")
    assert Advice({"something_new": 1}).effect == ("accuracy",)
    assert effect_in_words(Advice({"val": False})) == "best.pt, early stopping"
    assert effect_in_words(Advice({"workers": 4})) == "none"


def test_gain_below_noise_is_no_gain() -> None:
    """Two per cent are not promised."""
    one = signals(images_per_second=9.0)
    assert gain(Advice(forecast=without_share(one, 0.001))) is None
    assert gain(Advice(forecast=without_share(one, 0.2))) == "up to 1.3x: 9 -> at most 11.5 images/s"
    assert gain(Advice()) is None


def test_gain_of_a_whole_run_promises_no_faster_steps() -> None:
    """Without its validation a run is shorter; images per second of training stay what they are."""
    assert gain(Advice(forecast=shorter_run(1 / 3))) == "up to 1.5x for the run as a whole"
