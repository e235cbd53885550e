"""Runs side by side."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog, simulation
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.reports.comparison import BEYOND, SAME, TOO_SHORT, UNCERTAIN, chance_of_slowdown, compare
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
    assert cells["typical"][2:] == (BEYOND, "better", True)
    assert cells["step"].verdict == SAME
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
    """Rank 0 is starved in the first run, rank 1 in the second: the runs' means are equal, and no line is different."""

    def starved(rank: int) -> Summary:
        plan = replace(before_plan, ranks=2, prep=lambda at: 0.9 if at.rank == rank else 0.2)
        return summarize([play(plan)], plan.run)

    cells = changed(compare([starved(0)], [starved(1)]))
    assert {cells[name].verdict for name in ("throughput", "data_wait", "step")} <= {SAME, UNCERTAIN}
    assert 0.97 < float(cells["throughput"].change.removeprefix("x ")) < 1.03


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


def parts(mean: float, apart: float, count: int = 64) -> Figure:
    """A figure that swings by `apart` from part to part."""
    return Figure(mean, tuple(Part(mean + (apart if index % 2 else -apart), 1.0) for index in range(count)))


def test_a_training_of_seconds_is_too_short_to_tell(before: Summary) -> None:
    """Three times as fast, and yet it may be chance: neither the same nor better; what may be anything is not told."""
    slow = Figure(2.0, tuple(Part(value, 1.0) for value in (0.2, 5.0, 0.3, 2.5)))
    table = compare(
        [with_figures(before, throughput=slow)], [with_figures(before, throughput=parts(7.5, 3.0, count=6))]
    )
    cell = changed(table)["throughput"]
    assert (cell.change, cell.verdict, cell.certain) == ("x 3.75", UNCERTAIN, False)
    assert cell.sure == TOO_SHORT
    assert table.rows[0].cells[0].text == "2.0 (too little data for ±)"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(40.0, "about 94 min each would tell ±5%"), (7200.0, "runs as short as these cannot tell ±5%")],
)
def test_nobody_trains_for_days_to_be_sure(before: Summary, seconds: float, told: str) -> None:
    """What would tell is said as long as somebody may go to that length."""
    runs = [replace(with_figures(before, throughput=drifting(mean)), start=0.0, end=seconds) for mean in (100.0, 103.0)]
    cell = changed(compare(runs[:1], runs[1:]))["throughput"]
    assert cell.sure.startswith(f"{TOO_SHORT}: x 0.")
    assert cell.sure.endswith(told)


def drifting(mean: float) -> Figure:
    """A figure that goes slowly by a fifth beyond its mean, and back."""
    shape = [mean + 20 * math.cos(2 * math.pi * (index + 0.5) / 64) for index in range(64)]
    return Figure(mean, tuple(Part(value, 1.0) for value in shape))


def test_a_training_of_hardly_any_parts_has_no_interval(before: Summary) -> None:
    """Three epochs have no spread that means anything, yet they could have had one."""
    three, many = parts(10.0, 1.0, count=3), parts(20.0, 1.0)
    cell = changed(compare([with_figures(before, epoch=three)], [with_figures(before, epoch=many)]))["epoch"]
    assert (cell.change, cell.sure, cell.verdict) == ("x 2.00", TOO_SHORT, UNCERTAIN)


@pytest.mark.parametrize(
    ("name", "one", "other", "verdict"),
    [
        ("throughput", parts(100, 5), parts(102, 5), SAME),
        ("throughput", parts(100, 5), parts(94, 5), "worse"),
        ("data_wait", parts(0.30, 0.05), parts(0.32, 0.05), SAME),
        ("data_wait", parts(0.30, 0.05), parts(0.38, 0.05), "worse"),
    ],
)
def test_the_same_is_what_cannot_matter(before: Summary, name: str, one: Figure, other: Figure, verdict: str) -> None:
    """Between single runs two per cent are the same however sure they are: a repetition differs by as much."""
    cell = changed(compare([with_figures(before, **{name: one})], [with_figures(before, **{name: other})]))[name]
    assert cell.verdict == verdict
    assert cell.certain == (verdict != SAME)
    assert cell.sure == (BEYOND if cell.certain else f"same within ±5{'%' if name == 'throughput' else ' points'}")


def test_a_change_among_many_lines_may_be_chance(before: Summary) -> None:
    """Its own interval leaves out that nothing changed; with lines beside it that is not enough."""
    drift = [Part(100.0 + 6 * math.cos(math.pi * (index + 0.5) / 64), 1.0) for index in range(64)]
    spread = within(100.0, drift)
    assert spread is not None
    higher = [Part(part.value + 2.6 * math.sqrt(2 * spread.variance), 1.0) for part in drift]
    moved = Figure(fmean(part.value for part in higher), tuple(higher))
    equal = {name: parts(0.5, 0.01) for name in ("data_wait", "gpu_busy", "goodput", "well_used")}
    pair = [with_figures(before, step=one, **equal) for one in (Figure(100.0, tuple(drift)), moved)]
    cell = changed(compare(pair[:1], pair[1:]))["step"]
    assert cell.sure.startswith("not beyond doubt: x 1.0")
    assert (cell.verdict, cell.certain) == (UNCERTAIN, False)
    assert "each" not in cell.sure


def test_repetitions_tell_what_is_small_and_sure(before: Summary) -> None:
    """Of three runs each two per cent may be significant; and where they are not, they may be too small to matter."""

    def runs(*values: float) -> list[Summary]:
        return [with_figures(before, throughput=Figure(value)) for value in values]

    small = changed(compare(runs(100.0, 100.1, 100.2), runs(102.0, 102.1, 102.2)))["throughput"]
    assert (small.sure, small.verdict) == ("significant (n=3+3)", "better")
    none = changed(compare(runs(100.0, 101.0, 102.0), runs(100.5, 101.0, 102.5)))["throughput"]
    assert (none.sure, none.verdict) == ("same within ±5% (n=3+3)", SAME)


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
        {"score": (0.50, 0.51, 0.52), "loss": (1.0, 1.05, 1.1)},
        {"score": (0.60, 0.61, 0.62), "loss": (1.02, 1.05, 1.12)},
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
    assert cells["loss"].verdict == UNCERTAIN
    assert cells["loss"].sure.startswith("not significant (n=3+3): x 0.8")
    assert cells["loss"].sure.endswith("runs each would tell ±5%")
    assert cells["score"].text == "0.6100 ± 0.0248"
    hardly = [[with_figures(before, loss=Figure(loss)) for loss in losses] for losses in ((1.0, 2.0), (1.0, 1.5))]
    assert changed(compare(*hardly))["loss"].text == "1.25 (too little data for ±)"


def test_nobody_repeats_a_run_a_hundred_times(before: Summary) -> None:
    """Of runs that differ by a third, more than anybody has patience for would have to be compared."""
    several = (1.0, 1.2, 1.4), (1.1, 1.3, 1.5)
    groups = [[with_figures(before, loss=Figure(loss)) for loss in losses] for losses in several]
    cell = changed(compare(*groups))["loss"]
    assert cell.sure.startswith("not significant (n=3+3): x 0.")
    assert cell.sure.endswith("; so few runs cannot tell ±5%")


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
        assert cells["throughput"].sure.startswith(BEYOND if certain else TOO_SHORT)


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


def test_of_several_runs_a_doubtful_change_has_a_mark(before: Summary) -> None:
    """There is no column for its certainty."""
    runs = [with_figures(before, throughput=parts(mean, 60.0, count=8)) for mean in (100, 130, 100)]
    table = compare(*([run] for run in runs))
    assert [cell.marked for cell in table.rows[0].cells] == ["", "x 1.30?", "x 1.00"]
    assert "(x 1.30?)" in comparison_markdown(table)


def test_slower_beyond_doubt(before: Summary, after: Summary) -> None:
    """From the mended run to the starved one a third is surely lost; the other way nothing; unknown is unknown."""
    worse, better = compare([after], [before]), compare([before], [after])
    assert (chance_of_slowdown(worse, 0.33) or 1) < 0.05
    assert (chance_of_slowdown(worse, 0.6) or 0) > 0.5
    assert (chance_of_slowdown(better, 0.0) or 0) > 0.99
    assert chance_of_slowdown(compare([with_figures(before)], [after]), 0.05) is None


def shared(*others: tuple[str, float, int], seconds: int = 160, watts: float = 500.0) -> dict[str, float]:
    """Joules by run of a GPU on which run `a` uses 40 % of the SM time, and others theirs from some second on."""
    users = (("a", 0.4, 0), *others)
    store = Store()
    for time in range(seconds + 1):
        samples = [Sample(catalog.GPU_ENERGY_JOULES_TOTAL, ("0",), 7000.0 + watts * time)]
        for run, share, since in users:
            if run:
                samples += [
                    Sample(catalog.TRAIN_UP, (run, "0"), float(time < seconds)),
                    Sample(catalog.TRAIN_DEVICE_INFO, (run, "0", "0", "GPU-0"), 1.0),
                ]
            if time >= since:
                labels = ("0", f"{since}", "python", run, "0" if run else "", "li")
                samples.append(Sample(catalog.GPU_PROCESS_SM_RATIO, labels, share))
        store.add(1000.0 + time, samples)
    return {run: summarize([store], run).figures["energy"].value for run, _, _ in users if run}


@pytest.mark.parametrize(
    ("others", "parts"),
    [
        ([], {"a": 1.0}),
        ([("b", 0.4, 0)], {"a": 0.5, "b": 0.5}),
        ([("b", 0.1, 0)], {"a": 0.8, "b": 0.2}),
        ([("b", 0.4, 80)], {"a": 0.75, "b": 0.25}),
        ([("", 0.1, 0)], {"a": 0.8}),
        ([("b", 0.2, 0), ("c", 0.2, 0)], {"a": 0.5, "b": 0.25, "c": 0.25}),
    ],
    ids=["alone", "two alike", "one small", "one that comes later", "no training", "three"],
)
def test_energy_of_a_shared_gpu(others: list[tuple[str, float, int]], parts: dict[str, float]) -> None:
    """By SM time, while they share it; what the runs on it drew is the whole, within half a per cent."""
    drawn = shared(*others)
    assert {run: joules / (160 * 500) for run, joules in drawn.items()} == pytest.approx(parts, abs=0.005)
    if all(run for run, _, _ in others):
        assert sum(drawn.values()) == pytest.approx(160 * 500, rel=0.005)


@pytest.mark.parametrize(("parts", "hours"), [((), 2.0), ((2 / 7, 1 / 7), 3 / 7)], ids=["two GPUs", "MIG instances"])
def test_gpu_hours_held(parts: tuple[float, ...], hours: float) -> None:
    """By two ranks for an hour; a MIG instance counts as its part of a GPU."""
    store = Store()
    for time in range(0, 3601, 10):
        samples = [Sample(catalog.GPU_PART_RATIO, (f"0/{number}",), part) for number, part in enumerate(parts)]
        for rank in ("0", "1"):
            samples += [
                Sample(catalog.TRAIN_UP, ("a", rank), 1.0),
                Sample(catalog.TRAIN_DEVICE_INFO, ("a", rank, f"0/{rank}", "MIG-1"), 1.0),
            ]
        store.add(1000.0 + time, samples)
    assert summarize([store], "a").figures["gpu_hours"].value == pytest.approx(hours, rel=0.01)


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
