"""What Ultralytics would ignore, cap or refuse is not advised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.checks import settled
from yoloscope_exporter.diagnosis.forecast import Forecast
from yoloscope_exporter.diagnosis.signals import Signals

from tests.exporter.diagnosis.advice.cases import signals

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis import ultralytics_arguments as ultralytics


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ({"save_period": -1}, {}),
        ({"save_period": -1}, {"save_period": "-1"}),
        ({"val": False}, {"val": "False"}),
        ({"cache": "ram"}, {"cache": "ram"}),
        ({"cache": "ram"}, {"cache": "True"}),
        ({"cache": False}, {"cache": "False"}),
        ({"amp": True}, {"amp": "False", "amp_asked": "True"}),
        ({"amp": True}, {"amp": "False", "amp_asked": "False", "device": "cpu"}),
        ({"mosaic": 1.0}, {"mosaic": "0.5", "rect": "True"}),
        ({"workers": 4}, {}),
        ({"workers": 8}, {}),
        ({"batch": 32}, {}),
        ({"patience": 100}, {}),
        ({"compile": True}, {"ultralytics": "8.3.9"}),
    ],
)
def test_what_changes_nothing_is_not_advised(arguments: dict[str, ultralytics.Value], facts: dict[str, str]) -> None:
    """What is in use already, by default too, and what Ultralytics sets back: AMP after its check failed, on a CPU."""
    one = signals(facts, workers=4.0, workers_asked=8.0, batch_size=16.0, world_size=2.0)
    found = settled(Advice(arguments, note="look", forecast=Forecast("x", 1, 2, 1)), one)
    assert (found.arguments, found.forecast) == ({}, None)
    assert str(found) == "look"


@pytest.mark.parametrize("arguments", [{"batch": -1}, {"batch": 0.7}, {"rect": True}])
def test_several_gpus_have_neither_autobatch_nor_rect(arguments: dict[str, ultralytics.Value]) -> None:
    """Ultralytics raises for the one and sets the other back."""
    assert settled(Advice(arguments), signals(batch_size=16.0, world_size=2.0)).arguments == {}
    alone = {**arguments}
    assert settled(Advice(arguments), signals(batch_size=16.0, world_size=1.0)).arguments == alone


def test_workers_beyond_the_cap_are_not_advised() -> None:
    """16 CPUs over 2 visible GPUs: 8 start, whatever is asked for; an epoch of 6 batches has 6 at most."""
    one = signals(workers=4.0, node_cores=16.0, visible_gpus=2.0, epoch_batches=100.0)
    found = settled(Advice({"workers": 12}), one)
    assert found.arguments == {"workers": 8}
    assert found.note == "Ultralytics starts at most 8: 16 CPUs over 2 visible GPUs"
    assert "workers cap" in found.checks
    short = one.with_numbers({Signals.epoch_batches: 6.0})
    assert settled(Advice({"workers": 12}), short).arguments == {"workers": 6}
    assert "6 batches" in settled(Advice({"workers": 12}), short).note
    full = one.with_numbers({Signals.workers: 8.0})
    assert settled(Advice({"workers": 12}), full).arguments == {}


@pytest.mark.parametrize(
    ("arguments", "facts", "kept"),
    [
        ({"batch": 8}, {"batch": "8"}, {}),
        ({"batch": 1}, {}, {}),
        ({"batch": 16}, {}, {"batch": 16}),
        ({"conf": 0.25}, {"conf": "0.1"}, {"conf": 0.25}),
        ({"conf": 0.25}, {}, {}),
        ({"compile": False}, {}, {"compile": False}),
    ],
)
def test_a_prediction_has_arguments_of_its_own(
    arguments: dict[str, ultralytics.Value], facts: dict[str, str], kept: dict[str, ultralytics.Value]
) -> None:
    """Neither the defaults of a training nor what is set back there are its own."""
    found = settled(Advice(arguments), Signals("run", "0", "predict", facts=facts, predicts=True))
    assert (found.arguments, found.predicts) == (kept, True)
