"""The runs and ranks on the screen of `yoloscope top`, a row each, to choose from. Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.table import Table
from rich.text import Text

from yoloscope_exporter import colours
from yoloscope_exporter.diagnosis import rules, signals
from yoloscope_exporter.diagnosis.signals import prediction
from yoloscope_exporter.diagnosis.signals.view import state
from yoloscope_exporter.language import say, text
from yoloscope_exporter.measures import prediction as measures
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.reading import Reading
from yoloscope_exporter.terminal import courses, navigation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from yoloscope_exporter.diagnosis.engine import Verdict
    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.terminal.navigation import Rank
    from yoloscope_exporter.terminal.screen import Moment

#: Rows that are shown at once, those around the selected one.
MOST_ROWS: Final = 12
#: Characters of a sparkline, and of the longest name of a run that is not cut.
SPARKS, LONGEST_RUN = 10, 22


class Row(NamedTuple):
    """What is told of a rank; what is not known is None.

    Attributes:
        images: per second; of what `measure` says.
        wait: share of step time.
    """

    key: Rank
    state: str
    measure: Measure
    images: float | None
    wait: float | None
    verdict: Verdict | None


def rows(moment: Moment) -> list[Row]:
    """Of every rank, in the order in which they come."""
    reading = Reading(moment.window)
    worst = {(one.run, one.rank): one.verdicts[0] for one in moment.diagnoses if one.verdicts}
    predicting = set(signals.predictions(moment.window))
    return [_row(reading, key, worst.get(key), predicts=key in predicting) for key in moment.ranks()]


def _row(reading: Reading, key: Rank, worst: Verdict | None, *, predicts: bool) -> Row:
    run, rank = key
    images, state_of = (measures.PREDICT_IMAGES, prediction.state) if predicts else (training.IMAGES, state)
    wait = None if predicts else reading.one(training.DATA_WAIT, run=run, rank=rank)
    speed = reading.one(images, run=run, rank=rank)
    return Row(key, state_of(reading.window, *key), images, speed, wait, worst)


def ordered(found: Sequence[Row], order: str) -> list[Row]:
    """Sorted: what needs looking at first, what is not known last; equal ones as they come."""
    return sorted(found, key=_KEYS[order]) if order in _KEYS else list(found)


def _severity(row: Row) -> float:
    return -rules.SEVERITIES.index(row.verdict.severity) if row.verdict else inf


_KEYS: Final[Mapping[str, Callable[[Row], float]]] = {
    navigation.SEVERITY: _severity,
    navigation.WAIT: lambda row: inf if row.wait is None else -row.wait,
    navigation.SPEED: lambda row: inf if row.images is None else row.images,
}
#: Heads of the columns, and what sorts by them.
_HEADS: Final = (
    ("", ""),
    (text("run"), navigation.NAME),
    (text("rank"), ""),
    (text("state"), ""),
    (text("images/s"), navigation.SPEED),
    (text("waiting"), navigation.WAIT),
    ("", ""),
    (text("verdict"), navigation.SEVERITY),
)


def places(count: int, place: int) -> range:
    """Which of so many rows are shown: those around the one at `place`."""
    first = min(max(place - MOST_ROWS // 2, 0), max(count - MOST_ROWS, 0))
    return range(first, min(first + MOST_ROWS, count))


def table(found: Sequence[Row], place: int, order: str, past: courses.Courses) -> Iterator[RenderableType]:
    """The rows around the one at `place`, which is marked, and how many there are beside them."""
    drawn = Table.grid(padding=(0, 1))
    for justify in ("left", "left", "right", "left", "right", "right", "left", "left"):
        drawn.add_column(justify=justify, no_wrap=True, overflow="ellipsis")
    drawn.columns[1].max_width = LONGEST_RUN
    drawn.add_row(*(_head(name, sorts == order and bool(sorts)) for name, sorts in _HEADS))
    shown = places(len(found), place)
    for number in shown:
        drawn.add_row(*_cells(found[number], past, selected=number == place), style="bold" if number == place else "")
    yield drawn
    if len(shown) < len(found):
        told = say("{first} to {last} of {all}", first=shown.start + 1, last=shown.stop, all=len(found))
        yield Text(f"  {told}", style="dim")


def _head(name: str, sorts: bool) -> Text:  # noqa: FBT001 - a cell
    return Text(say(name) + (" ▾" if sorts else ""), style="dim bold" if sorts else "dim") if name else Text("")


def _cells(row: Row, past: courses.Courses, *, selected: bool) -> Iterator[RenderableType]:
    run, rank = row.key
    yield "▸" if selected else ""
    yield Text(run)
    yield rank
    yield say(text(row.state)) if row.state else ""
    yield "" if row.images is None else f"{row.images:.1f}"
    yield "" if row.wait is None else f"{row.wait:.0%}"
    yield courses.drawn(past.measure(row.measure, run=run, rank=rank), width=SPARKS)
    if row.verdict:
        yield Text(row.verdict.name, style=colours.SEVERITIES[row.verdict.severity])
