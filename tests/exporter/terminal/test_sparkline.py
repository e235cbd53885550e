"""A plot in a line."""

from __future__ import annotations

from yoloscope_exporter.terminal.sparkline import line


def test_a_line_of_blocks() -> None:
    """Low, high, unknown."""
    assert line([0, 7, 14]) == "▁▅█"
    assert line([0, float("nan"), 14]) == "▁ █"
    assert line([float("nan")]) == ""
    assert len(line(list(range(1000)), width=60)) == 60
