"""The verdict above the pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yoloscope_exporter import colours
from yoloscope_exporter.diagnosis.rules import WARNING
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.language import CHINESE, speaking
from yoloscope_exporter.notebook.heading import heading
from yoloscope_exporter.notebook.sources import Seen

from tests.recordings.model import Plan, play

STARVED = Plan(run="starved", workers=1, epochs=2, batches=120)


@pytest.fixture(scope="module")
def seen() -> Seen:
    """A starved run, diagnosed."""
    stores = [play(STARVED)]
    return Seen("night.om", stores, diagnose_range(stores).diagnoses)


def test_the_verdict_with_evidence_and_fix(seen: Seen) -> None:
    """In the colour of its severity, below the name of the run and where it was read."""
    html = heading(seen, "starved", ())
    assert "<b>run starved · night.om · until " in html
    assert f'<b style="color:{colours.SEVERITIES[WARNING]}">loader_workers</b>' in html
    (verdict,) = [one for one in seen.diagnoses[0].verdicts if one.name == "loader_workers"]
    assert verdict.evidence in html
    assert "fix workers=" in html


def test_in_chinese(seen: Seen) -> None:
    """Fix and cause; arguments stay what is typed."""
    with speaking(CHINESE):
        html = heading(seen, "starved", ())
    assert "训练任务 starved" in html
    assert "修改方法 workers=" in html
    assert "cause " not in html


def test_nothing_in_it_is_markup(seen: Seen) -> None:
    """Names of runs, sources and notes are anybody's."""
    named = [replace(one, run="<b>x", rank="<i>") for one in seen.diagnoses]
    html = heading(seen._replace(source="<script>", diagnoses=tuple(named)), "<b>x", ["<img src=x>"])
    for part in ("<script", "<img", "<b>x", "<i>"):
        assert part not in html
    assert "&lt;img src=x&gt;" in html


def test_a_verdict_of_several_ranks_is_told_once(seen: Seen) -> None:
    """With the ranks it holds for."""
    both = (seen.diagnoses[0], replace(seen.diagnoses[0], rank="1"))
    html = heading(seen._replace(diagnoses=both), "starved", ())
    assert html.count("loader_workers") == 1
    assert "(rank 0, rank 1)" in html


def test_of_an_ended_run_the_whole_of_it(seen: Seen) -> None:
    """A running exporter has seen more of it than its last window."""
    (one,) = seen.diagnoses
    ended = replace(one, state="finished", verdicts=(), whole_run=one.verdicts)
    assert "loader_workers" in heading(seen._replace(diagnoses=(ended,)), "starved", ())
    alive = replace(ended, state="train")
    assert "loader_workers" not in heading(seen._replace(diagnoses=(alive,)), "starved", ())


def test_without_a_verdict_the_reason(seen: Seen) -> None:
    """And nothing of another run."""
    (one,) = seen.diagnoses
    early = replace(one, state="setup", verdicts=())
    assert "no verdict: too early" in heading(seen._replace(diagnoses=(early,)), "starved", ())
    assert "loader_workers" not in heading(seen, "another", ())
