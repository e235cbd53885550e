"""What a run came to, and two runs side by side."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.reports import charts as svg
from yoloscope_exporter.reports import html as page
from yoloscope_exporter.reports import summary as report
from yoloscope_exporter.terminal import sparkline as spark

from tests.recordings.model import GIB, Plan, play, totals

if TYPE_CHECKING:
    from yoloscope_exporter.reports.summary import Summary

BEFORE = Plan(run="before", workers=1, epochs=3, batches=60)
AFTER = Plan(run="after", workers=4, epochs=3, batches=60, facts={"cache": "ram"})


@pytest.fixture(scope="module")
def before() -> Summary:
    """A starved run."""
    return report.summarize([play(BEFORE)], "before")


@pytest.fixture(scope="module")
def after() -> Summary:
    """The same with more workers."""
    return report.summarize([play(AFTER)], "after")


def test_figures_agree_with_the_counters(before: Summary) -> None:
    """Throughput is images over step time, whatever the sampling."""
    store = play(BEFORE)
    phases = totals(store, catalog.TRAIN_PHASE_SECONDS_TOTAL)
    spent = sum(value for key, value in phases.items() if key[2] in report.STEP_PHASES)
    assert before.figures["throughput"].value == pytest.approx(3 * 60 * 16 / spent)
    assert before.figures["data_wait"].value == pytest.approx(phases["before", "0", "data_wait"] / spent)
    assert before.figures["peak_cuda"].value == 38 * GIB
    assert before.budget["validate"] == pytest.approx(phases["before", "0", "validate"])


def test_the_budget_is_the_whole_time(before: Summary) -> None:
    """The phases of the report add up to the duration."""
    assert sum(before.budget.values()) == pytest.approx(before.figures["duration"].value, rel=0.02)


def test_epochs_and_workers(before: Summary) -> None:
    """Every epoch with its rate, wait and memory; every worker with its time."""
    assert [epoch.number for epoch in before.epochs] == [1, 2, 3]
    assert all(epoch.cuda == 22 * GIB and epoch.wait is not None and epoch.wait > 0.5 for epoch in before.epochs)
    (worker,) = before.workers
    assert worker.batches == 180
    assert worker.seconds == pytest.approx(0.5, rel=0.1)
    assert worker.computing == pytest.approx(0.85, rel=0.01)
    assert before.latency[0.5] <= before.latency[0.95]


def test_states_make_a_timeline(before: Summary) -> None:
    """Set-up, then training and validation in turns."""
    states = [state for _, _, state in before.states]
    assert states[0] == "setup"
    assert states[-1] == "finished"
    assert states.count("validate") == 3


def test_two_runs_side_by_side(before: Summary, after: Summary) -> None:
    """The remedy shows, with its certainty; what did not change says so; configuration differences are listed."""
    table = report.compare(before, after)
    rows = {row.name: row for row in table.rows}
    assert rows["throughput"].verdict == "better"
    assert rows["throughput"].sure == "95% sure"
    assert rows["throughput"].change.startswith("x 2.")
    assert rows["step"].sure == report.UNSURE
    assert rows["verdicts"].before == "loader_workers"
    assert ("cache", "false", "ram") in table.differences
    assert ("workers", "1", "4") in table.differences
    assert "| waiting for data | 5" in table.markdown()


def test_missing_figures_are_absent() -> None:
    """Without a GPU and without memory figures there is no row for them, and no zero."""
    plan = Plan(gpu=False, epochs=1, batches=60, without=(catalog.TRAIN_PROCESS_RESIDENT_BYTES,))
    figures = report.summarize([play(plan)], plan.run).figures
    assert not {"gpu_busy", "peak_cuda", "peak_resident", "wasted"} & set(figures)
    assert "throughput" in figures


def test_ranks_are_summed(before: Summary) -> None:
    """Images of two ranks count together, the wait is their mean."""
    alone = report.summarize([play(Plan(epochs=1, batches=60))], "train/yolo11m").figures
    two = report.summarize([play(Plan(epochs=1, batches=60, ranks=2))], "train/yolo11m").figures
    assert two["throughput"].value == pytest.approx(2 * alone["throughput"].value, rel=0.1)


def test_unknown_runs_are_named() -> None:
    """The error lists what there is."""
    with pytest.raises(report.Unknown, match="no run 'x' here; there are train/yolo11m"):
        report.summarize([play(Plan(epochs=1, batches=10))], "x")


def test_certainty_is_right_about_as_often_as_it_says() -> None:
    """Of 400 pairs without a difference, about 5 % are called different; a difference of three sigma nearly always."""
    chance = random.Random(3)

    def slices(mean: float) -> list[float]:
        return [chance.gauss(mean, 1) for _ in range(10)]

    false = sum(report.certainty(slices(0), slices(0)) != report.UNSURE for _ in range(400)) / 400
    found = sum(report.certainty(slices(0), slices(3)) != report.UNSURE for _ in range(400)) / 400
    assert 0.02 < false < 0.09
    assert found > 0.99
    assert report.certainty([1, 2], [1, 2, 3]) == ""


@pytest.mark.parametrize(("freedom", "value"), [(4, 2.776), (9, 2.262), (18, 2.101), (200, 1.972)])
def test_quantiles_of_student(freedom: float, value: float) -> None:
    """Against the tables."""
    assert report.student(freedom, 0.975) == pytest.approx(value, rel=0.01)


def test_pages_are_whole_and_alone(before: Summary, after: Summary) -> None:
    """Well-formed, every plot drawn, nothing fetched from elsewhere, no script."""
    for text in (page.one(before), page.two(report.compare(before, after))):
        body = text[text.index("<body>") : text.index("</body>") + 7].replace("<br>", "<br/>")
        root = ET.fromstring(_quoted(body))
        plots = root.findall(".//svg")
        assert len(plots) >= 8
        assert all(len(list(plot)) for plot in plots)
        assert not [part for part in ("http://", "https://", "<script", "url(", "@import") if part in text]


def _quoted(body: str) -> str:
    """HTML's unquoted class names, quoted for an XML parser."""
    for name in ("n", "soft", "wide"):
        body = body.replace(f"class={name}>", f'class="{name}">')
    return body


def test_names_cannot_break_the_page() -> None:
    """A run's name is text, not markup."""
    plan = Plan(run="<script>alert(1)</script>", epochs=1, batches=30)
    assert "<script" not in page.one(report.summarize([play(plan)], plan.run))


def test_lines_stay_inside_their_plot() -> None:
    """Every point lies between the axes."""
    figure = ET.fromstring(svg.lines({"a": [(0, -2), (5, 17), (9, 3)]}).split("<p ")[0])
    points = [tuple(map(float, pair.split(","))) for pair in figure.find("polyline").get("points").split()]  # type: ignore[union-attr]
    assert all(svg.LEFT <= x <= svg.WIDTH and 0 <= y <= svg.HEIGHT for x, y in points)
    assert points[1][1] < points[2][1] < points[0][1]


def test_a_line_of_blocks() -> None:
    """Low, high, unknown."""
    assert spark.line([0, 7, 14]) == "▁▅█"
    assert spark.line([0, float("nan"), 14]) == "▁ █"
    assert spark.line([float("nan")]) == ""
    assert len(spark.line(list(range(1000)), width=60)) == 60
