"""Two runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.reports.figures import QUANTITIES, Figure, Quantity, shown
from yoloscope_exporter.reports.significance import NOT_SIGNIFICANT, certainty
from yoloscope_exporter.reports.summary import CONFIGURED, Summary


class Row(NamedTuple):
    """A line of the comparison; `verdict` is `better`, `worse`, `same` or empty."""

    name: str
    title: str
    before: str
    after: str
    change: str
    sure: str
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side."""

    before: Summary
    after: Summary
    rows: tuple[Row, ...]
    differences: tuple[tuple[str, str, str], ...]
    """Facts that differ: name, before, after."""


def compare(before: Summary, after: Summary) -> Comparison:
    """Put two runs side by side: the figures both have, how they changed, and how sure that is."""
    rows = [
        _row(name, quantity, before.figures[name], after.figures[name])
        for name, quantity in QUANTITIES.items()
        if name in before.figures and name in after.figures
    ]
    verdicts = [", ".join(dict.fromkeys(v.name for _, v in one.verdicts)) or "none" for one in (before, after)]
    rows.append(Row("verdicts", "verdicts", verdicts[0], verdicts[1], "", "", ""))
    ignored = {"pid", "user", "slurm_job_id", "pod"}
    facts = [
        (name, before.facts.get(name, ""), after.facts.get(name, ""))
        for name in (*CONFIGURED, *catalog.RUN_FACTS)
        if name not in ignored and before.facts.get(name, "") != after.facts.get(name, "")
    ]
    return Comparison(before, after, tuple(rows), tuple(facts))


def _row(name: str, quantity: Quantity, before: Figure, after: Figure) -> Row:
    change = after.value - before.value
    if not quantity.relative:
        text = f"{100 * change:+.1f} points"
    else:
        text = f"x {after.value / before.value:.2f}" if before.value else ""
    sure = certainty(before.slices, after.slices)
    verdict = "" if sure == NOT_SIGNIFICANT or not change else "better" if change * quantity.better > 0 else "worse"
    if sure == NOT_SIGNIFICANT:
        verdict = "same"
    return Row(name, quantity.title, shown(quantity, before), shown(quantity, after), text, sure, verdict)
