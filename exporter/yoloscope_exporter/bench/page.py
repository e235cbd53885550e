"""What was found as one HTML file that needs nothing else, in the clothes of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yoloscope_exporter.bench import table
from yoloscope_exporter.reports.html import environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoloscope_exporter.bench.plan import Found, Plan


def page(plan: Plan, found: Found, machine: Mapping[str, Any]) -> str:
    """The whole page."""
    return (
        environment()
        .get_template("bench.html")
        .render(
            title=table.title(plan),
            about=table.about(plan, found, machine),
            heads=table.heads(found),
            rows=[row.cells for row in table.rows(found) if row.cells],
            failures=table.failures(found),
            conclusions=table.conclusions(found),
        )
    )
