"""Geometry of charts."""

from __future__ import annotations

from yoloscope_exporter.reports import charts


def test_lines_stay_inside_their_plot() -> None:
    """Every point lies between the axes."""
    (line,) = charts.lines({"a": [(0, -2), (5, 17), (9, 3)]}, 0).lines
    points = line.points
    assert all(charts.LEFT <= x <= charts.WIDTH and 0 <= y <= charts.HEIGHT for x, y in points)
    assert points[1][1] < points[2][1] < points[0][1]


def test_time_begins_where_it_is_said_to() -> None:
    """Not at the first point, which may come late."""
    chart = charts.lines({"a": [(130.0, 1.0), (160.0, 2.0)]}, 100.0)
    (first, _), (last, _) = chart.lines[0].points
    assert (first - charts.LEFT) / (last - charts.LEFT) == 0.5
    assert [(tick.label, tick.place) for tick in chart.times if tick.label in {"0s", "30s"}] == [
        ("0s", charts.LEFT),
        ("30s", first),
    ]


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
    assert (lines[0].colour, lines[0].dash) == (lines[8].colour, "")
    assert lines[8].dash
