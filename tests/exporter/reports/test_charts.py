"""What charts are drawn from."""

from __future__ import annotations

from yoloscope_exporter.reports import charts


def test_curves_share_their_times() -> None:
    """Since the beginning, which is not that of the first point; None where a curve has no point."""
    chart = charts.lines({"a": [(130.0, 1.0), (160.0, 2.0)], "b": [(140.0, 7.123456)]}, 100.0)
    assert chart.times == (30.0, 40.0, 60.0)
    assert [line.values for line in chart.lines] == [(1.0, None, 2.0), (None, 7.1235, None)]


def test_bands_lie_within_the_chart() -> None:
    """Those before and after are left out, others cut."""
    bands = [(0.0, 50.0, "x"), (90.0, 120.0, "validate"), (150.0, 500.0, "checkpoint"), (300.0, 400.0, "x")]
    chart = charts.lines({"a": [(110.0, 1.0), (160.0, 2.0)]}, 100.0, bands)
    assert chart.bands == ((0.0, 20.0, "validate"), (50.0, 60.0, "checkpoint"))


def test_what_is_no_number_is_not_drawn() -> None:
    """JSON has no NaN."""
    chart = charts.lines({"a": [(0, float("nan")), (1, float("inf")), (2, 3.0)]}, 0)
    assert chart.lines[0].values == (None, None, 3.0)


def test_curves_are_told_in_figures() -> None:
    """First, lowest, highest, last; of one without a value nothing."""
    chart = charts.lines({"a": [(0, 5.0), (1, -2.0), (2, 17.123456), (3, 4.0)], "b": []}, 0)
    assert chart.told() == [("a", "5", "-2", "17.12", "4")]


def test_parts_fill_the_row_and_bars_their_share() -> None:
    """Widths are in proportion, and legends say how much."""
    chart = charts.stacked({"train": 3.0, "validate": 1.0}, "{:.0f} s".format, {"train": 4, "other": 5})
    assert [block.colour for block in chart.blocks] == [entry.colour for entry in chart.legend] == [4, 5]
    assert [block.width for block in chart.blocks] == [charts.WIDTH * 0.75, charts.WIDTH * 0.25]
    assert [entry.name for entry in chart.legend] == ["train 3 s (75.0%)", "validate 1 s (25.0%)"]
    long, short = charts.bars({"a": (2.0, 0.5), "b": (1.0, None)}, "{:.0f}".format)
    assert (long.filled, short.filled, short.width) == (long.width / 2, None, long.width / 2)


def test_a_ninth_line_has_dashes_of_its_own() -> None:
    """Colours come again, dashes tell them apart."""
    lines = charts.lines({str(index): [(0, 1), (1, index)] for index in range(9)}, 0).lines
    assert (lines[0].colour, lines[0].dash) == (lines[8].colour, ())
    assert lines[8].dash
