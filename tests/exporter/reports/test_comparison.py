"""Runs side by side."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import simulation
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.reports.comparison import BEYOND, SAME, WITHIN, chance_of_slowdown, compare
from yoloscope_exporter.reports.figures import Figure
from yoloscope_exporter.reports.markdown import comparison_markdown
from yoloscope_exporter.reports.significance import Part, within
from yoloscope_exporter.reports.summary import summarize

from tests.recordings.model import Plan, play

if TYPE_CHECKING:
    from yoloscope_exporter.reports.comparison import Cell, Comparison
    from yoloscope_exporter.reports.summary import Summary


def with_figures(summary: Summary, **figures: Figure) -> Summary:
    return replace(summary, figures=figures)


def changed(table: Comparison) -> dict[str, Cell]:
    """The cells of the second column."""
    return {row.name: row.cells[1] for row in table.rows}


def test_two_runs_side_by_side(before: Summary, after: Summary) -> None:
    """The remedy shows, with its certainty; what did not change says so; configuration differences are listed."""
    table = compare([before], [after])
    cells = changed(table)
    assert cells["throughput"][1:] == (cells["throughput"].change, BEYOND, "better", True)
    assert cells["throughput"].change.startswith("x 2.")
    assert cells["step"].sure == SAME
    assert next(row for row in table.rows if row.name == "verdicts").cells[0].text == "loader_workers"
    assert ("cache", "false", "ram") in table.differences
    assert ("workers", "1", "4") in table.differences
    text = comparison_markdown(table)
    assert "| waiting for data | 5" in text
    assert "significant" not in text


def test_the_same_training_with_other_noise_is_not_different(before: Summary, before_plan: Plan) -> None:
    """Nothing but chance differs, and no line says otherwise."""
    again = summarize([play(replace(before_plan, seed=2))], "before")
    assert not [cell for cell in changed(compare([before], [again])).values() if cell.certain]


def test_all_ranks_count(before_plan: Plan) -> None:
    """Rank 0 is starved in the first run, rank 1 in the second: the runs' means are equal, and so is every line."""

    def starved(rank: int) -> Summary:
        plan = replace(before_plan, ranks=2, prep=lambda at: 0.9 if at.rank == rank else 0.2)
        return summarize([play(plan)], plan.run)

    cells = changed(compare([starved(0)], [starved(1)]))
    assert {cells[name].verdict for name in ("throughput", "data_wait", "step")} == {SAME}


@pytest.mark.parametrize(
    ("name", "one", "other", "sure"),
    [
        ("loss", 1.2345, 1.2344, SAME),
        ("loss", 1.2345, 1.3, ""),
        ("duration", 100.0, 100.2, SAME),
        ("duration", 100.0, 120.0, ""),
        ("score", 0.5012, 0.5010, SAME),
        ("peak_cuda", 0.0, 0.0, SAME),
    ],
)
def test_figures_without_a_spread(before: Summary, name: str, one: float, other: float, sure: str) -> None:
    """A difference within rounding is none; a larger one is shown, but neither good nor bad."""
    cell = changed(
        compare([with_figures(before, **{name: Figure(one)})], [with_figures(before, **{name: Figure(other)})])
    )[name]
    assert cell.sure == sure
    assert cell.verdict == sure
    assert not cell.certain


def test_what_is_neither_better_nor_worse_has_no_colour(before: Summary) -> None:
    """Reading less from storage is a fact, no merit."""
    reading = [
        with_figures(before, storage_read=Figure(mean, tuple(Part(mean + index % 2, 1.0) for index in range(20))))
        for mean in (1e6, 2e6)
    ]
    cell = changed(compare([reading[0]], [reading[1]]))["storage_read"]
    assert (cell.certain, cell.verdict, cell.sure) == (True, "", BEYOND)


def test_repetitions_tell_what_is_significant(before: Summary) -> None:
    """Three runs of each kind: figures without a spread of their own have one now."""
    lists = (
        {"score": (0.50, 0.51, 0.52), "loss": (1.0, 1.1, 1.2)},
        {"score": (0.60, 0.61, 0.62), "loss": (1.05, 1.1, 1.25)},
    )
    groups = [
        [
            with_figures(before, score=Figure(score), loss=Figure(loss))
            for score, loss in zip(*figures.values(), strict=True)
        ]
        for figures in lists
    ]
    cells = changed(compare(*groups))
    assert (cells["score"].sure, cells["score"].verdict) == ("significant (n=3+3)", "better")
    assert (cells["loss"].sure, cells["loss"].verdict) == ("not significant (n=3+3)", SAME)
    assert cells["score"].text == "0.6100 ± 0.0248"


def test_throughput_does_not_drown_among_other_lines(before: Summary) -> None:
    """A difference of the throughput that is surer than 99 % is told, however many lines are as equal as can be."""
    level = [Part(100.0 + index % 2, 1.0) for index in range(64)]
    equal = {
        name: Figure(100.5, tuple(level)) for name in ("data_wait", "gpu_busy", "goodput", "step", "epoch", "energy")
    }

    def run(throughput: float) -> Summary:
        shifted = tuple(Part(part.value + throughput - 100.5, 1.0) for part in slow_drift)
        return with_figures(before, throughput=Figure(throughput, shifted), **equal)

    slow_drift = [Part(100.5 + 3 * math.cos(math.pi * (index + 0.5) / 64), 1.0) for index in range(64)]
    spread = within(100.5, slow_drift)
    assert spread is not None
    for times, certain in ((2.0, False), (4.5, True)):
        cells = changed(compare([run(100.5)], [run(100.5 + times * math.sqrt(2 * spread.variance))]))
        assert cells["throughput"].certain == certain
        assert cells["throughput"].sure == (BEYOND if certain else WITHIN)


def test_any_number_of_runs(before: Summary, after: Summary) -> None:
    """Each beside the first; what one of them does not have is a dash."""
    poor = with_figures(before, throughput=before.figures["throughput"])
    table = compare([before], [after], [poor])
    rows = {row.name: row.cells for row in table.rows}
    assert [cell.certain for cell in rows["throughput"]] == [False, True, False]
    assert rows["data_wait"][2].text == "-"
    text = comparison_markdown(table)
    assert "| 1: before | 2: after | 3: before |" in text.splitlines()[0]
    assert "(**x 2." in text
    assert "| configuration | 1 | 2 | 3 |" in text


def test_slower_beyond_doubt(before: Summary, after: Summary) -> None:
    """From the mended run to the starved one a third is surely lost; the other way nothing; unknown is unknown."""
    worse, better = compare([after], [before]), compare([before], [after])
    assert (chance_of_slowdown(worse, 0.33) or 1) < 0.05
    assert (chance_of_slowdown(worse, 0.6) or 0) > 0.5
    assert (chance_of_slowdown(better, 0.0) or 0) > 0.99
    assert chance_of_slowdown(compare([with_figures(before)], [after]), 0.05) is None


def test_gpu_figures() -> None:
    """Energy, energy per image and time above 85 % utilization are there where there is a GPU, and agree."""
    fleet = simulation.fleet("healthy", nodes=1, gpus=2, start=1_790_000_000.0, workers=4, onset=60.0)
    (instance,) = fleet.trainings
    store = Store()
    for second in range(60, 180, 2):
        store.add(1_790_000_000.0 + second, fleet.node(instance, 1_790_000_000.0 + second))
    (run,) = {labels[0] for labels in store.series["yoloscope_train_up"]}
    figures = summarize([store], run).figures
    images = figures["throughput"].value * 118
    assert figures["energy"].value == pytest.approx(2 * 118 * 400, rel=0.6)
    assert figures["image_energy"].value == pytest.approx(figures["energy"].value / images, rel=0.2)
    assert 0 < figures["well_used"].value <= 1
    assert len(figures["image_energy"].parts) > 30
    assert figures["storage_read"].value >= 0
    assert 0 < figures["decoding"].value < 1
