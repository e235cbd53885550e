"""Two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.reports.comparison import compare
from yoloscope_exporter.reports.markdown import comparison_markdown
from yoloscope_exporter.reports.significance import NOT_SIGNIFICANT

if TYPE_CHECKING:
    from yoloscope_exporter.reports.summary import Summary


def test_two_runs_side_by_side(before: Summary, after: Summary) -> None:
    """The remedy shows, with its certainty; what did not change says so; configuration differences are listed."""
    table = compare(before, after)
    rows = {row.name: row for row in table.rows}
    assert rows["throughput"].verdict == "better"
    assert rows["throughput"].sure == "95% sure"
    assert rows["throughput"].change.startswith("x 2.")
    assert rows["step"].sure == NOT_SIGNIFICANT
    assert rows["verdicts"].before == "loader_workers"
    assert ("cache", "false", "ram") in table.differences
    assert ("workers", "1", "4") in table.differences
    assert "| waiting for data | 5" in comparison_markdown(table)
