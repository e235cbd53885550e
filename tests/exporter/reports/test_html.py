"""Reports as HTML files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from yoloscope_exporter import colours
from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.reports import html
from yoloscope_exporter.reports.comparison import compare
from yoloscope_exporter.reports.summary import summarize

from tests.recordings.model import START, Plan, play

if TYPE_CHECKING:
    from yoloscope_exporter.reports.summary import Summary


def test_pages_are_whole_and_alone(before: Summary, after: Summary) -> None:
    """Well-formed, every plot there, nothing fetched from elsewhere; in its body no script."""
    for text in (html.one(before), html.several(compare([before], [after]))):
        root = body(text)
        plots = root.findall(".//svg")
        assert len(plots) >= 3
        assert all(len(list(plot)) for plot in plots)
        assert len(root.findall(".//figure[@data-chart]")) >= 5
        shown = text[text.index("<body>") :]
        assert not [part for part in ("http://", "https://", "<script", "url(", "@import") if part in shown]
        assert "default-src 'none'" in text
        assert "MIT License" in text  # uPlot's, which is within the file


def test_curves_can_be_read_without_a_script(before: Summary) -> None:
    """Each has its first, lowest, highest and last value in a table beside its chart."""
    root = body(html.one(before))
    figure = next(one for one in root.iter("figure") if one.get("aria-label") == "images/s")
    (_, cells) = figure.findall(".//tr")
    name, *values = ["".join(cell.itertext()) for cell in cells]
    known = [value for _, value in before.curves["images/s"][0].points]
    assert name == "rank 0"
    assert values == [f"{value:.4g}" for value in (known[0], min(known), max(known), known[-1])]


def test_shaded_parts_are_explained(before: Summary, after: Summary) -> None:
    """In each chart that has some; curves of several runs have none, as each run validates at its own time."""
    page = html.several(compare([before], [after]))
    assert page.count("shaded: validation and checkpoints") == sum(
        bool(json.loads(figure.attrib["data-chart"])["bands"]) for figure in body(page).iter("figure")
    )
    assert chart(html.one(before), "images/s")["bands"]
    assert not chart(page, "images/s")["bands"]


def body(page: str) -> ET.Element:
    """What a page shows."""
    return ET.fromstring(page[page.index("<body>") : page.index("</body>") + 7])


def chart(page: str, name: str) -> dict[str, Any]:
    """What the script is given of a chart."""
    figure = next(one for one in body(page).iter("figure") if one.get("aria-label") == name)
    drawn: dict[str, Any] = json.loads(figure.attrib["data-chart"])
    return drawn


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
    for part in ("22.00 GiB", "rank 0 worker 0", "500 ms, 180 batches", "--line-0:#0072B2;"):
        assert part in text
    both = html.several(compare([before], [after]))
    for part in ("before: before", 'class="n better"', "Configuration that differs", "After: after", "before: rank 0"):
        assert part in both


def test_the_page_has_what_the_tables_have(before: Summary) -> None:
    """Of every epoch the throughput, the wait and the score; of the loader the quantiles."""
    text = html.one(before)
    rows = text[text.index("<h2>Epochs</h2>") :].partition("</table>")[0]
    cells = [re.sub(r"\s", "", row) for row in rows.split("<tr>")[2:]]
    for epoch, row in zip(before.epochs, cells, strict=True):
        assert epoch.images is not None
        assert epoch.wait is not None
        assert epoch.score is not None
        for part in (f"{epoch.images:.1f}", f"{epoch.wait:.1%}", f"{epoch.score:.4f}"):
            assert f"<td>{part}</td>" in row
    for name, quantile in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert f"{name} {before.latency[quantile] * 1000:.3g} ms" in text


def test_epochs_are_told_without_a_known_memory(before: Summary) -> None:
    """What is not known is a dash."""
    bare = replace(before, epochs=(before.epochs[0]._replace(cuda=None, resident=None, score=None),))
    assert html.one(bare).count("<td>-</td>") == 3


def test_a_fix_says_what_it_changes_of_the_result(before: Summary) -> None:
    """An image size costs accuracy, more workers cost none."""
    (rank, verdict) = next(told for told in before.verdicts if told[1].name == "loader_workers")
    costly = replace(verdict, fix="imgsz=320", advice=Advice(arguments={"imgsz": 320}))
    assert "Changes: accuracy" in html.one(replace(before, verdicts=((rank, costly),)))
    assert "Changes:" not in html.one(before)


def test_promises_are_told(before: Summary) -> None:
    """As in the Markdown beside it; nothing where nothing was followed."""
    mended = summarize([play(Plan(run="mended", workers=4, epochs=3, batches=60), start=START + 3600)], "mended")
    text = html.several(compare([before], [mended]))
    assert "<h2>Promised and delivered</h2>" in text
    assert "<li>mended: workers=4, advised to before for loader_workers: promised 2." in text
    assert "Promised" not in html.several(compare([before], [before]))


def test_overlaid_curves_begin_at_their_runs_start(before: Summary, after: Summary) -> None:
    """A starved run is validated later than one that is not."""
    drawn = chart(html.several(compare([before], [after])), "mAP50-95")
    begins = {
        line["name"]: next(
            time for time, value in zip(drawn["times"], line["values"], strict=True) if value is not None
        )
        for line in drawn["lines"]
    }
    first = {one.run: one.curves["mAP50-95"][0].points[0][0] - one.start for one in (before, after)}
    assert begins["before: validation"] > begins["after: validation"] > 0
    assert begins == {f"{run}: validation": pytest.approx(time, abs=0.1) for run, time in first.items()}


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
    page = html.one(summarize([play(plan)], plan.run))
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<script" not in page[page.index("<body>") :]
