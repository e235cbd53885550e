"""What was found as one HTML file that needs nothing else, in the clothes of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yoloscope_exporter.bench import table
from yoloscope_exporter.language import say
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
            title=say(table.title(plan)),
            about=list(map(say, table.about(plan, found, machine))),
            heads=list(map(say, table.heads(found))),
            rows=[tuple(map(say, row.cells)) for row in table.rows(found) if row.cells],
            failures=list(map(say, table.failures(found))),
            conclusions=list(map(say, table.conclusions(found))),
        )
    )
