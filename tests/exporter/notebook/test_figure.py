"""The figure: what plotly takes, one set of axes for each panel with data, a sentence for each without."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from yoloscope_exporter import colours
from yoloscope_exporter.language import LANGUAGES, say, speaking
from yoloscope_exporter.notebook.figure import NO_RUN, figure
from yoloscope_exporter.notebook.panels import Panels, panels

from tests.recordings.model import GIB, Plan, play

graphs = pytest.importorskip("plotly.graph_objects", reason="needs the extra notebook")
NOTHING = Panels({}, None, ())


def _of(plan: Plan) -> Panels:
    return panels([play(plan, every=2.0)], plan.run)


def _texts(drawn: dict[str, Any]) -> list[str]:
    return [note["text"] for note in drawn["layout"]["annotations"]]


def _axes(drawn: dict[str, Any], kind: str) -> list[str]:
    return [name for name in drawn["layout"] if name.startswith(f"{kind}axis")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_plotly_takes_all_of_it(language: str) -> None:
    """Every name and value, for a run with everything and for one with nothing; and JSON holds it."""
    with speaking(language):
        both = figure(_of(Plan(ranks=2, epochs=2, batches=40))), figure(NOTHING)
    for drawn in both:
        made = graphs.Figure(drawn)
        assert len(made.data) == len(drawn["data"])
        json.dumps(drawn, allow_nan=False)


def test_three_panels_of_a_run_on_a_gpu() -> None:
    """GPU lines on an axis of time, the heatmap on the same, bars by epoch."""
    drawn = figure(_of(Plan(workers=4, epochs=2, batches=40)))
    assert [trace["type"] for trace in drawn["data"]] == ["scatter"] * 3 + ["heatmap"] + ["bar"] * 2
    assert len(_axes(drawn, "x")) == len(_axes(drawn, "y")) == 5
    matched = [drawn["layout"][axis].get("matches") for axis in _axes(drawn, "x")]
    assert matched == [None, "x", "x", "x", None]
    assert drawn["data"][3]["colorscale"] == colours.HEAT
    assert drawn["data"][3]["y"] == ["worker 0", "worker 1", "worker 2", "worker 3"]
    assert drawn["data"][4]["x"] == ["1", "2"]
    assert {trace["line"]["color"] for trace in drawn["data"][:3]} == {colours.PALETTE[0]}


def test_panels_do_not_overlap() -> None:
    """From the top down, with room between them for the next one's title."""
    layout = figure(_of(Plan(workers=4, epochs=2, batches=40)))["layout"]
    domains = [layout[name]["domain"] for name in layout if name.startswith("yaxis")]
    assert all(0 <= low < high <= 1 for low, high in domains)
    assert all(above[0] - below[1] > 20 / layout["height"] for above, below in pairwise(domains))


def test_without_a_gpu_it_is_said_and_no_axis_is_empty() -> None:
    """And that memory is that of the process, because the run is on the CPU."""
    drawn = figure(_of(Plan(gpu=False, workers=0, epochs=2, batches=40)))
    assert "No GPU on this node." in _texts(drawn)
    assert any("trained on the CPU" in text for text in _texts(drawn))
    assert [trace["type"] for trace in drawn["data"]] == ["heatmap", "bar"]
    assert len(_axes(drawn, "x")) == len(_axes(drawn, "y")) == 2
    used = {trace[f"{kind}axis"].replace(kind, f"{kind}axis") for trace in drawn["data"] for kind in "xy"}
    assert used == {*_axes(drawn, "x"), *_axes(drawn, "y")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_before_a_run_there_is_no_axis_at_all(language: str) -> None:
    """What to do is said instead."""
    with speaking(language):
        drawn = figure(NOTHING, training=False)
        said = say(NO_RUN)
    assert drawn["data"] == []
    assert _axes(drawn, "x") == []
    assert _texts(drawn).count(said) == 2


def test_growth_stands_in_the_bars() -> None:
    """Since the first epoch."""
    drawn = figure(_of(Plan(gpu=False, epochs=3, batches=40, resident=lambda at: (6 + at.epoch) * GIB)))
    (bars,) = [trace for trace in drawn["data"] if trace["type"] == "bar"]
    assert bars["text"] == ["+0 MiB", "+1024 MiB", "+2048 MiB"]


def test_names_are_no_markup() -> None:
    """A label of a Prometheus may be anything; plotly reads some HTML."""
    store = play(Plan(gpu=True, epochs=1, batches=30), every=2.0)
    store.name = "<a href=x>"
    other = play(Plan(run="b", gpu=True, epochs=1, batches=30), every=2.0)
    other.name = "n2"
    text = json.dumps(figure(panels([store, other], ""), several=True))
    assert "&lt;a href=x&gt; 0" in text
    assert '"name": "GPU <a' not in text
