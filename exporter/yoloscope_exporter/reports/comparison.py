"""Runs side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.language import say, text, units
from yoloscope_exporter.reports.figures import QUANTITIES, Figure, Quantity, shown
from yoloscope_exporter.reports.interval import band, interval
from yoloscope_exporter.reports.significance import (
    CONFIDENCE,
    CONFIDENCE_OF_ONE,
    Estimate,
    among,
    chance_of_difference,
    chance_of_less,
    significant,
    significant_together,
)
from yoloscope_exporter.reports.summary import CONFIGURED, Summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoloscope_exporter.reports.interval import Interval

#: A change below this shows as `x 1.00` or `+0.0 points`.
ROUNDING = {True: 0.005, False: 0.0005}
#: So many columns have their change and its certainty in columns of their own.
PAIR = 2
#: What runs are compared for, and the share of the doubt that is left to it; the other lines share the rest.
THROUGHPUTS, THROUGHPUT_DOUBT = ("throughput", "typical", "predict_throughput"), 5 / 6
#: What nobody repeats a run for, unless it was half as long already, in seconds; and nobody repeats it so often. Ours.
LONGEST, MOST_RUNS = 86400.0, 30
#: That by which `chance_of_slowdown` judges; a run has one of them.
SPEEDS = ("throughput", "predict_throughput")
SAME, UNCERTAIN = "same", "uncertain"
BEYOND, TOO_SHORT = "more than the runs' own spread", "too short to tell"
#: The interval of one line leaves out that nothing changed; among so many lines that happens by chance.
DOUBTFUL = "not beyond doubt"
ONE_EACH = "One run each says nothing about what a repetition would give: `report A1 A2 A3 --vs B1 B2 B3`."
#: Facts that differ from run to run and explain nothing.
IGNORED = frozenset({"pid", "user", "slurm_job_id", "pod"})


class Cell(NamedTuple):
    """A figure of a column beside that of the first one.

    Attributes:
        sure: what is known of the change; empty where the figure has no spread to compare it with.
        verdict: `better`, `worse`, `same`, `uncertain` or empty.
        certain: the change is more than chance, and between single runs it may matter.
    """

    text: str
    change: str = ""
    sure: str = ""
    verdict: str = ""
    certain: bool = False

    @property
    def marked(self) -> str:
        """The change where there is no room for its certainty: `x 1.30?`."""
        return f"{self.change}?" if self.verdict == UNCERTAIN else self.change


class Row(NamedTuple):
    """A line of the comparison, a cell for each column."""

    name: str
    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Column:
    """A run, or repetitions of one."""

    name: str
    runs: tuple[Summary, ...]

    @property
    def title(self) -> str:
        """Name and runs."""
        return say("{name}: {runs}", name=self.name, runs=", ".join(summary.run for summary in self.runs))

    def figure(self, name: str) -> Figure | None:
        """That of the run, or the mean over repetitions."""
        found = [summary.figures[name] for summary in self.runs if name in summary.figures]
        if len(found) < 2:  # noqa: PLR2004 - nothing to take a mean of
            return found[0] if found else None
        return Figure(fmean(figure.value for figure in found))

    def estimate(self, name: str) -> Estimate | None:
        """How well the figure is known: from the repetitions, or from within a single run."""
        if len(self.runs) > 1:
            return among([summary.figures[name].value for summary in self.runs if name in summary.figures])
        figure = self.figure(name)
        return figure.estimate if figure else None

    @property
    def speed(self) -> Estimate | None:
        """How well its images per second are known."""
        return next((found for name in SPEEDS if (found := self.estimate(name))), None)

    @property
    def seconds(self) -> float:
        """What was seen of a run, the mean of several."""
        return fmean(summary.end - summary.start for summary in self.runs)

    def fact(self, name: str) -> str:
        """Its value, or values."""
        return ", ".join(dict.fromkeys(summary.facts.get(name, "") for summary in self.runs))

    @property
    def verdicts(self) -> str:
        """Their names."""
        told = dict.fromkeys(verdict.name for summary in self.runs for _, verdict in summary.verdicts)
        return ", ".join(told) or say("none")


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, the first of them being what the others are compared with.

    Attributes:
        differences: facts that differ: name, and its value in each column.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    differences: tuple[tuple[str, ...], ...]

    @property
    def repeated(self) -> bool:
        """Whether any column has more than one run."""
        return any(len(column.runs) > 1 for column in self.columns)

    @property
    def confidence(self) -> float:
        """Asked of what is said beyond doubt: of single runs more."""
        return CONFIDENCE if self.repeated else CONFIDENCE_OF_ONE


def compare(*groups: Sequence[Summary]) -> Comparison:
    """Put runs, or groups of repeated ones, side by side: figures, how they changed, and how sure that is."""
    names = (say("before"), say("after")) if len(groups) == PAIR else [str(number + 1) for number in range(len(groups))]
    columns = tuple(Column(name, tuple(group)) for name, group in zip(names, groups, strict=True))
    facts = [
        (name, *values)
        for name in dict.fromkeys((*CONFIGURED, *catalog.RUN_FACTS, *catalog.PREDICT_FACTS))
        if name not in IGNORED and len(set(values := [column.fact(name) for column in columns])) > 1
    ]
    bare = Comparison(columns, (), tuple(facts))
    return replace(bare, rows=_rows(bare))


def _rows(comparison: Comparison) -> tuple[Row, ...]:
    columns = comparison.columns
    known = [name for name in QUANTITIES if sum(column.figure(name) is not None for column in columns) > 1]
    chances = {
        (name, index): chance
        for name, index in product(known, range(1, len(columns)))
        if (chance := _chance(name, columns[0], columns[index])) is not None
    }
    sure = _sure(chances, comparison.confidence)
    rows = [
        _row(name, columns, {index: (name, index) in sure for key, index in chances if key == name}) for name in known
    ]
    return (*rows, Row("verdicts", say("verdicts"), tuple(Cell(column.verdicts) for column in columns)))


def _sure(chances: Mapping[tuple[str, int], float], confidence: float) -> set[tuple[str, int]]:
    """Throughput has a share of the doubt to itself, so that it does not drown among the other lines.

    Its mean and what is typical of it go together.
    """
    doubt = 1 - confidence
    first = {key: chance for key, chance in chances.items() if key[0] in THROUGHPUTS}
    others = {key: chance for key, chance in chances.items() if key not in first}
    throughput = THROUGHPUT_DOUBT * doubt
    return significant_together(first, 1 - throughput) | significant(others, 1 - doubt + throughput)


def _chance(name: str, before: Column, after: Column) -> float | None:
    """Of a difference like this between equal ones; None where a spread is missing, or is not of the same kind."""
    if (len(before.runs) > 1) != (len(after.runs) > 1):
        return None
    one, other = before.estimate(name), after.estimate(name)
    return None if one is None or other is None else chance_of_difference(one, other)


def _row(name: str, columns: Sequence[Column], sure: dict[int, bool]) -> Row:
    quantity = QUANTITIES[name]
    first, *others = columns
    cells = [_cell(name, quantity, first)]
    for index, column in enumerate(others, start=1):
        cells.append(_compared(name, quantity, first, column, sure.get(index)))
    return Row(name, say(quantity.title), tuple(cells))


def _cell(name: str, quantity: Quantity, column: Column) -> Cell:
    figure = column.figure(name)
    return Cell("-" if figure is None else shown(quantity, figure.value, column.estimate(name)))


def _compared(name: str, quantity: Quantity, first: Column, column: Column, sure: bool | None) -> Cell:  # noqa: FBT001
    cell, before, after = _cell(name, quantity, column), first.figure(name), column.figure(name)
    if before is None or after is None:
        return cell
    change = after.value - before.value
    told = say("{change:+.1f} points", change=100 * change)
    if quantity.relative:
        told = f"x {after.value / before.value:.2f}" if before.value else ""
    cell = cell._replace(change=told)
    rounded = abs(change) < ROUNDING[quantity.relative] * (abs(before.value) if quantity.relative else 1.0)
    if not change or (rounded and sure is not False):
        return cell._replace(sure=say(SAME), verdict=SAME)
    if sure is not None:
        return _judged(cell, name, first, column, sure=sure)
    seen_in_parts = len(first.runs) == len(column.runs) == 1 and (before.parts or after.parts)
    return cell._replace(sure=say(TOO_SHORT), verdict=UNCERTAIN) if seen_in_parts else cell


def _judged(cell: Cell, name: str, first: Column, column: Column, *, sure: bool) -> Cell:
    """Different, the same, or neither: where the interval of the change is too wide to say so."""
    quantity, before, after = QUANTITIES[name], first.estimate(name), column.estimate(name)
    if before is None or after is None:
        return cell
    within, repeated = interval(before, after, relative=quantity.relative), len(first.runs) > 1
    counts = f" (n={len(first.runs)}+{len(column.runs)})" if repeated else ""
    if within and within.matters_not and not (sure and repeated):
        return cell._replace(
            sure=say(
                "{same} within {band}{counts}", same=text(SAME), band=band(relative=quantity.relative), counts=counts
            ),
            verdict=SAME,
        )
    if sure:
        verdict = ("better" if (after.mean - before.mean) * quantity.better > 0 else "worse") if quantity.better else ""
        return cell._replace(
            sure=say("significant{counts}", counts=counts) if repeated else say(BEYOND), verdict=verdict, certain=True
        )
    doubt = DOUBTFUL if within and within.excludes_none else TOO_SHORT
    words = say("not significant{counts}", counts=counts) if repeated else say(doubt)
    return cell._replace(sure=f"{words}{_what_would(within, first, column)}", verdict=UNCERTAIN)


def _what_would(within: Interval | None, first: Column, column: Column) -> str:
    """The interval, and the length or the number of runs that would narrow it to what does not matter."""
    if within is None:
        return ""
    if within.effort <= 1 or within.excludes_none:
        return say(": {within}", within=within)
    needed, narrow = _needed(within.effort, first, column), band(relative=within.relative)
    if needed:
        return say(": {within}; about {needed} each would tell {band}", within=within, needed=needed, band=narrow)
    few = text("so few runs") if len(first.runs) > 1 else text("runs as short as these")
    return say(": {within}; {few} cannot tell {band}", within=within, few=few, band=narrow)


def _needed(effort: float, first: Column, column: Column) -> str:
    """A length or a number of runs that is `effort` times that of now; empty where nobody would go to it."""
    if len(first.runs) > 1:
        runs = math.ceil(effort * max(len(first.runs), len(column.runs)))
        return text("{runs} runs", runs=runs) if runs <= MOST_RUNS else ""
    now = max(first.seconds, column.seconds)
    return units.about(effort * now) if effort * now <= max(LONGEST, 2 * now) else ""


def about(comparison: Comparison) -> list[str]:
    """How the table is to be read."""
    spread = say("among the repeated runs") if comparison.repeated else say("from within each run")
    bands = say("{band}, or {points} of a share", band=band(relative=True), points=band(relative=False))
    lines = [
        say(
            "± is the interval that holds the mean at {confidence:.0%}, estimated {spread}.",
            confidence=CONFIDENCE,
            spread=spread,
        ),
        say("A figure is the same where the interval of its change lies within {bands}.", bands=bands),
    ]
    if len(comparison.columns) > PAIR:
        lines.append(
            say(
                "Changes are against {name}; bold ones are {beyond}, those with ? uncertain.",
                name=comparison.columns[0].name,
                beyond=text(BEYOND),
            )
        )
    if not comparison.repeated:
        lines.append(say(ONE_EACH))
    return lines


def chance_of_slowdown(comparison: Comparison, least: float) -> float | None:
    """Probability of a throughput as low as the second column's, were it only the share `least` below the first's.

    None where a throughput or its spread is not known.
    """
    before, after = (column.speed for column in comparison.columns)
    return None if before is None or after is None else chance_of_less(before, after, 1 - least)
