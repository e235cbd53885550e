"""Advice as a file for `yolo cfg=`: what leaves the result unchanged, and the rest where it is asked for."""

from __future__ import annotations

from dataclasses import replace

import yaml
from yoloscope_exporter.diagnosis import cfg
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
from yoloscope_exporter.diagnosis.signals import Signals


def diagnosis(**advice: Advice) -> list[Diagnosis]:
    """A rank with these verdicts."""
    verdicts = tuple(
        Verdict(name, "warning", "seen", "because", "look", str(one), None, advice=one) for name, one in advice.items()
    )
    return [Diagnosis("run", "0", "train", verdicts, {}, Signals("run", "0"))]


MIXED = diagnosis(loader_workers=Advice({"workers": 6}), validation_bound=Advice({"val": False}))


def test_only_what_changes_nothing_is_written() -> None:
    """The rest is named in a comment, with what it would change."""
    text = cfg.to_cfg(MIXED)
    assert yaml.safe_load(text) == {"mode": "train", "workers": 6}
    assert "# val=False is left out (--allow-changes): it changes early stopping, best.pt\n" in text
    assert cfg.advised(MIXED) == {"workers": 6}


def test_what_changes_the_result_is_written_where_it_is_allowed() -> None:
    """With a comment on its own line that says what it changes."""
    text = cfg.to_cfg(MIXED, changes=True)
    assert yaml.safe_load(text) == {"mode": "train", "workers": 6, "val": False}
    assert "val: false  # it changes early stopping, best.pt\n" in text
    assert "workers: 6\n" in text
    assert "left out" not in text


def test_advice_on_a_prediction_is_for_predictions() -> None:
    """With what its arguments change there: `batch=` changes nothing of a prediction, and much of a training."""
    advice = Advice({"batch": 8, "stream": True, "half": True}, predicts=True)
    (one,) = diagnosis(small_inference_batch=advice)
    for facts, mode in (({"mode": "predict"}, "predict"), ({"mode": "track"}, "track"), ({}, "predict")):
        told = [replace(one, signals=Signals("run", "0", "predict", facts=facts, predicts=True))]
        text = cfg.to_cfg(told)
        assert yaml.safe_load(text) == {"mode": mode, "batch": 8}
        assert f"# Advice of yoloscope, for: yolo {mode} cfg=<this file> model=... source=...\n" in text
        assert "# half=True is left out (--allow-changes): it changes accuracy\n" in text


def test_a_file_with_nothing_to_change_says_so() -> None:
    """It is a YAML all the same."""
    nothing = cfg.to_cfg(diagnosis(compute_bound=Advice()))
    assert yaml.safe_load(nothing) is None
    assert nothing == "# Advice of yoloscope: no argument of Ultralytics to change\n"
    only = cfg.to_cfg(diagnosis(validation_bound=Advice({"val": False})))
    assert yaml.safe_load(only) is None
    assert "val=False is left out (--allow-changes)" in only
