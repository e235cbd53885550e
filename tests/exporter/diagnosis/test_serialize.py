"""A diagnosis as JSON and back, and as text and Markdown: effect, forecast, and what was followed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
from yoloscope_exporter.diagnosis.follow_up import FollowUp
from yoloscope_exporter.diagnosis.forecast import Forecast
from yoloscope_exporter.diagnosis.serialize import TOLD, from_json, to_json
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.slow_files import SlowFile
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.diagnosis.ultralytics_arguments import parsed
from yoloscope_exporter.language import CHINESE, translated
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.terminal.diagnosis import to_markdown, to_text

PROMISED = Forecast("images/s", 15.0, 18.0, 10.0)
FOLLOWED = FollowUp("before", "loader_workers", {"workers": 4}, PROMISED, 10.0, 17.0, ("batch",))


@pytest.fixture
def diagnosis() -> Diagnosis:
    """A rank whose validation takes long, and that followed something."""
    told = Advice({"val": False}, {"OMP_NUM_THREADS": "1"}, "look", Forecast("x", 1.2, 1.5, 1.0), ("known",))
    verdict = Verdict(
        "validation_bound", "warning", "seen", "because", "check", str(told), str(told.forecast), advice=told
    )
    return Diagnosis("run", "0", "train", (verdict,), {}, Signals("run", "0", "train"), "", 17.0, (FOLLOWED,))


def test_an_exporter_tells_it_as_json(diagnosis: Diagnosis) -> None:
    """And what a command reads from it is what it was, but for the note, which stands in the fix."""
    content = json.loads(json.dumps(to_json([diagnosis])))
    (read,) = from_json(content)
    assert read.images_per_second == 17.0
    assert read.followed == (FOLLOWED,)
    advice = read.verdicts[0].advice
    assert (advice.forecast, advice.checks) == (Forecast("x", 1.2, 1.5, 1.0), ("known",))
    assert (advice.arguments, advice.environment) == ({"val": False}, {"OMP_NUM_THREADS": "1"})
    told = content["runs"][0]["verdicts"][0]
    assert told["effect"] == ["best.pt", "early stopping"]
    assert told["forecast"] == {"unit": "x", "low": 1.2, "high": 1.5, "today": 1.0}
    assert content["runs"][0]["followed"][0]["helped"] is True


def test_what_is_no_number_costs_no_other_run_its_figures(diagnosis: Diagnosis) -> None:
    """JSON has neither infinity nor NaN: nothing stands there."""
    told = Advice({"lr0": math.nan, "val": False}, forecast=Forecast("x", math.inf, math.inf, math.nan))
    hostile = replace(
        diagnosis,
        run="hostile",
        verdicts=(replace(diagnosis.verdicts[0], advice=told, share=math.inf),),
        images_per_second=math.inf,
        joules={"gpu": math.nan},
        followed=(replace(FOLLOWED, before=math.nan, after=math.inf),),
        slow_files=(SlowFile("a.jpg", "0", math.inf),),
    )
    content = json.loads(json.dumps(to_json([hostile, diagnosis], with_signals=True), allow_nan=False))
    assert [one["run"] for one in content["runs"]] == ["hostile", "run"]
    assert content["runs"][0]["verdicts"][0]["arguments"] == {"lr0": None, "val": False}
    assert content["runs"][1]["images_per_second"] == 17.0


@pytest.mark.parametrize("fact", ["nan", "1e999", "-inf"])
def test_a_fact_that_is_no_number_is_a_text(fact: str) -> None:
    """It is not calculated with."""
    assert parsed(fact) == fact


def test_an_exporter_tells_its_texts_in_chinese_too() -> None:
    """What a command says of them is what the exporter would say itself, letter by letter; an older one has none."""
    path = Path(__file__).parents[2] / "recordings/loader_workers.om.gz"
    (found,) = diagnose_range(reader.read(path)).diagnoses
    content = json.loads(json.dumps(to_json([found], with_signals=True)))
    (read,) = from_json(content)
    for name in TOLD:
        own, told = getattr(found.verdicts[0], name), getattr(read.verdicts[0], name)
        assert told == own
        assert translated(told, CHINESE) == translated(own, CHINESE)
    assert "waits for data" not in translated(read.verdicts[0].evidence, CHINESE)
    assert "zh" not in to_json([found])["runs"][0]["verdicts"][0]
    del content["runs"][0]["verdicts"][0]["zh"]
    (older,) = from_json(content)
    assert older.verdicts[0].evidence == found.verdicts[0].evidence


def test_an_older_exporter_tells_less(diagnosis: Diagnosis) -> None:
    """Its answer has neither forecast nor follow-ups."""
    content = to_json([diagnosis])
    for name in ("followed", "images_per_second"):
        del content["runs"][0][name]
    for name in ("effect", "forecast", "checks"):
        del content["runs"][0]["verdicts"][0][name]
    (read,) = from_json(content)
    assert (read.followed, read.images_per_second, read.verdicts[0].advice.forecast) == ((), None, None)


def test_text_says_what_changes_and_what_came(diagnosis: Diagnosis) -> None:
    """Below the fix its effect and its forecast; at the end what was promised and delivered."""
    text = to_text([diagnosis])
    assert "    effect    best.pt, early stopping\n    gain      1.2x to 1.5x for the run as a whole\n" in text
    assert f"  promised and delivered:\n    {FOLLOWED}\n" in text


def test_markdown_says_the_same(diagnosis: Diagnosis) -> None:
    """In columns of their own."""
    text = to_markdown([diagnosis])
    assert "| fix | effect on the result | gain |" in text
    assert "| best.pt, early stopping | 1.2x to 1.5x for the run as a whole |" in text
    assert f"Promised and delivered:\n\n- {FOLLOWED}\n" in text
