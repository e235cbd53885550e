"""Reports as HTML files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from yoloscope_exporter.diagnosis import colours
from yoloscope_exporter.reports import charts, html
from yoloscope_exporter.reports.comparison import compare
from yoloscope_exporter.reports.summary import summarize

from tests.recordings.model import Plan, play

if TYPE_CHECKING:
    from yoloscope_exporter.reports.summary import Summary


def test_pages_are_whole_and_alone(before: Summary, after: Summary) -> None:
    """Well-formed, every plot drawn, nothing fetched from elsewhere, no script."""
    for text in (html.one(before), html.several(compare([before], [after]))):
        root = ET.fromstring(text[text.index("<body>") : text.index("</body>") + 7])
        plots = root.findall(".//svg")
        assert len(plots) >= 8
        assert all(len(list(plot)) for plot in plots)
        assert not [part for part in ("http://", "https://", "<script", "url(", "@import") if part in text]


def test_everything_is_there(before: Summary, after: Summary) -> None:
    """Verdict, figures, timeline, budget, curves, epochs, workers; of two runs the table."""
    text = html.one(before)
    for part in (
        "loader_workers",
        "Fix: <code>workers=",
        "waiting for data",
        "Timeline",
        "Where the time went",
        "images/s",
    ):
        assert part in text
    for part in ("Peak memory of each epoch", "22.00 GiB", "rank 0 worker 0", ".c0{stroke:#0072B2}"):
        assert part in text
    both = html.several(compare([before], [after]))
    for part in ("before: before", 'class="n better"', "Configuration that differs", "After: after", "before: rank 0"):
        assert part in both


def test_overlaid_curves_begin_at_their_runs_start(before: Summary, after: Summary) -> None:
    """A starved run is validated later than one that is not."""
    page = html.several(compare([before], [after]))
    chart = page[page.index("<h3>mAP50-95</h3>") :].partition("</svg>")[0]
    drawn = {
        role: float(x) - charts.LEFT
        for x, role in re.findall(r'points="([\d.]+),[^"]*"><title>(\w+): validation</title>', chart)
    }
    first = {one.run: one.curves["mAP50-95"][0].points[0][0] - one.start for one in (before, after)}
    assert drawn["before"] > drawn["after"] > 0
    assert drawn["before"] / drawn["after"] == pytest.approx(first["before"] / first["after"], rel=0.01)


def test_colours_are_those_of_the_dashboards(before: Summary) -> None:
    """Of verdicts by severity, and of each phase in the bar of where the time went."""
    text = html.one(before)
    for severity, colour in colours.SEVERITIES.items():
        assert f".v.{severity}{{border-color:{colour}}}" in text
    for phase, colour in colours.PHASES.items():
        for drawn in re.findall(rf'<rect class="f(\d+)"[^>]*><title>{phase}:', text):
            assert f".f{drawn}{{fill:{colour}}}" in text
    assert re.search(r"<title>data_wait:", text)


def test_names_cannot_break_the_page() -> None:
    """A run's name is text, not markup."""
    plan = Plan(run="<script>alert(1)</script>", epochs=1, batches=30)
    assert "<script" not in html.one(summarize([play(plan)], plan.run))
