"""What is shown of a source: the heading as HTML, the figure as JSON. Pure calculation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yoloscope_exporter.language import say, speaking, text
from yoloscope_exporter.notebook.figure import figure
from yoloscope_exporter.notebook.heading import heading
from yoloscope_exporter.notebook.panels import panels
from yoloscope_exporter.reports.summary import known_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.notebook.panels import Known
    from yoloscope_exporter.notebook.sources import Seen

#: Runs that are named where one is looked for in vain.
MOST_NAMES = 10


class NoSuchRunError(ValueError):
    """The run that was asked for is not in the source, and will not come."""


def drawing(seen: Seen, run: str, language: str, known: Known | None = None, *, grows: bool) -> dict[str, Any]:
    """`html` and `figure` of a run, the one that began last where none is named.

    Args:
        seen: what a source has told.
        run: its name, or empty.
        language: of all texts.
        known: see `panels`.
        grows: a run that is not there may still come.

    Raises:
        NoSuchRunError: it is not there and cannot come.
    """
    runs = known_runs(seen.stores)
    if run and run not in runs and not grows:
        names = ", ".join(runs[:MOST_NAMES]) or text("none")
        raise NoSuchRunError(text("run={run!r}: no such run; known runs: {names}", run=run, names=names))
    chosen = run if run in runs else "" if run else next(reversed(runs), "")
    found = panels(seen.stores, chosen, known)
    with speaking(language):
        return {
            "html": heading(seen, chosen, list(_notes(seen, run, runs))),
            "figure": figure(found, several=len(seen.stores) > 1, training=bool(chosen)),
        }


def _notes(seen: Seen, run: str, runs: Sequence[str]) -> Iterator[str]:
    if seen.problem:
        yield say("{problem}; what is shown was seen before", problem=seen.problem)
    if run and run not in runs:
        names = ", ".join(runs[:MOST_NAMES]) or say("none")
        yield say("Run {run} has not been seen yet; known runs: {names}", run=run, names=names)
    if not seen.diagnosed:
        yield say("this exporter makes no diagnosis")
