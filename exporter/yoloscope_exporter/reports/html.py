"""A report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere.

Curves are drawn by a script within the file, as on the live page; without it everything else can be read, and of each
curve its figures.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from yoloscope_exporter import charts as shared
from yoloscope_exporter import colours
from yoloscope_exporter.charts import pages
from yoloscope_exporter.diagnosis import slow_files
from yoloscope_exporter.diagnosis.advice import effect_in_words
from yoloscope_exporter.language import say, spoken, units
from yoloscope_exporter.reports import charts
from yoloscope_exporter.reports.comparison import PAIR, about
from yoloscope_exporter.reports.figures import QUANTITIES, shown
from yoloscope_exporter.reports.markdown import EXPORT_HEADS, about_run, export_rows, facts_of_predictions
from yoloscope_exporter.reports.promises import followed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jinja2 import Environment, Template

    from yoloscope_exporter.reports.charts import Bar, BlockChart, LineChart
    from yoloscope_exporter.reports.comparison import Comparison
    from yoloscope_exporter.reports.summary import Summary

#: The page's colours: those of lines first, then those of states and phases.
_OF_PHASES = {**colours.PREDICT_PHASES, **colours.PHASES}
PALETTE = (*colours.PALETTE, *colours.STATES.values(), *_OF_PHASES.values())
_STATES = {state: len(colours.PALETTE) + place for place, state in enumerate(colours.STATES)}
_PHASES = {phase: len(colours.PALETTE) + len(_STATES) + place for place, phase in enumerate(_OF_PHASES)}
#: Facts of a run that stand below its name.
FACTS = ("model", "data", "imgsz", "device", "amp", "cache", "ultralytics", "torch", "cuda")


def one(summary: Summary) -> str:
    """The page of one run."""
    return _template().render(title=summary.run, summaries={"": summary})


def several(comparison: Comparison) -> str:
    """The page of a comparison: the table first, then what was promised and delivered, then each of its runs."""
    runs = _roles(comparison)
    return _template().render(
        title=say(" and ").join(dict.fromkeys(summary.run for summary in runs.values())),
        comparison=comparison,
        pair=len(comparison.columns) == PAIR,
        about=about(comparison),
        followed=followed(list(runs.values())),
        overlaid=_overlaid(runs),
        summaries=runs,
    )


def _roles(comparison: Comparison) -> dict[str, Summary]:
    """Every run, by its column and its number there."""
    return {
        column.name if len(column.runs) == 1 else f"{column.name} {number}": summary
        for column in comparison.columns
        for number, summary in enumerate(column.runs, start=1)
    }


def _template() -> Template:
    return environment().get_template("report.html")


@cache
def environment() -> Environment:
    """The templates of reports, with the functions and colours that they share."""
    made = pages.environment("yoloscope_exporter.reports")
    made.filters |= {
        "duration": units.duration,
        "effect": effect_in_words,
        "file_row": lambda file: map(say, slow_files.row(file)),
        "gib": units.gib,
        "milliseconds": units.milliseconds,
        "percent": units.percent,
        "when": units.local,
    }
    made.globals |= {
        "palette": PALETTE,
        "lines_palette": colours.PALETTE,
        "scripts": (*shared.SCRIPTS, "report.js"),
        "styles": shared.STYLES,
        "embedded": _embedded,
        "spoken": spoken,
        "about_run": about_run,
        "severities": colours.SEVERITIES,
        "light": colours.LIGHT,
        "dark": colours.DARK,
        "charts": charts,
        "facts": _facts,
        "file_heads": slow_files.HEADS,
        "figures": _figures,
        "curves": _curves,
        "timeline": _timeline,
        "budget": _budget,
        "workers": _workers,
        "export_heads": EXPORT_HEADS,
        "exports": export_rows,
    }
    return made


def _embedded(name: str) -> Markup:
    """A file of ours, as it is: not escaped."""
    return Markup(shared.read(name).decode())  # noqa: S704 - nothing in it comes from elsewhere


def _overlaid(runs: Mapping[str, Summary]) -> dict[str, LineChart]:
    """The curves of all runs in the same charts, over the time since the start of each."""
    return {
        name: charts.lines(
            {
                say("{role}: {name}", role=role, name=say(curve.name)): [
                    (time - summary.start, value) for time, value in curve.points
                ]
                for role, summary in runs.items()
                for curve in summary.curves.get(name, ())
            },
            begin=0.0,
        )
        for name in dict.fromkeys(name for summary in runs.values() for name in summary.curves)
    }


def _facts(summary: Summary) -> str:
    told = {name: summary.facts[name] for name in FACTS if summary.facts.get(name)} if summary.trains else {}
    return ", ".join(f"{name}={value}" for name, value in {**told, **facts_of_predictions(summary)}.items())


def _figures(summary: Summary) -> Iterator[tuple[str, str]]:
    for name, quantity in QUANTITIES.items():
        if name in summary.figures:
            yield say(quantity.title), shown(quantity, summary.figures[name].value, summary.figures[name].estimate)


def _curves(summary: Summary) -> dict[str, LineChart]:
    pauses = [span for span in summary.states if span[2] in ("validate", "checkpoint")]
    return {
        name: charts.lines({say(curve.name): curve.points for curve in curves}, summary.start, pauses)
        for name, curves in summary.curves.items()
    }


def _timeline(summary: Summary) -> BlockChart:
    spans = [(start, stop, say(state)) for start, stop, state in summary.states]
    return charts.timeline(spans, {say(state): colour for state, colour in _STATES.items()})


def _budget(summary: Summary) -> BlockChart:
    return charts.stacked(summary.budget, units.duration, _PHASES)


def _workers(summary: Summary) -> tuple[Bar, ...]:
    named = {f"rank {w.rank} worker {w.name}": w for w in summary.workers}
    drawn = charts.bars({name: (w.seconds, w.computing) for name, w in named.items()}, units.milliseconds)
    return tuple(
        bar._replace(text=say("{time}, {batches:.0f} batches", time=bar.text, batches=named[bar.name].batches))
        for bar in drawn
    )
