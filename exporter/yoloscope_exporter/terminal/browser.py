"""The screen of `yoloscope top` in a terminal: head, what is chosen of the rest, and a foot with what keys do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from yoloscope_exporter.language import say, text
from yoloscope_exporter.language.units import clock, duration, local_date
from yoloscope_exporter.terminal import navigation, overview, screen, timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from yoloscope_exporter.diagnosis.engine import Diagnosis
    from yoloscope_exporter.terminal.keys import Click
    from yoloscope_exporter.terminal.navigation import Scene, View
    from yoloscope_exporter.terminal.overview import Row
    from yoloscope_exporter.terminal.screen import Moment

    _Lines = list[list[Segment]]

_ORDERS: Final = {
    navigation.NAME: text("by name"),
    navigation.SEVERITY: text("the worst first"),
    navigation.WAIT: text("the most waiting first"),
    navigation.SPEED: text("the slowest first"),
}


@dataclass(frozen=True)
class Screen:
    """Head and foot stay; of what is between them as much is shown as there is room, from the line `scrolled` on.

    Attributes:
        lead: parts of the body above the table of ranks, whose first line are its heads.
        places: of the ranks that the table's lines show.
        bar: cells of the foot's first line that are the time of a recording.
    """

    head: RenderableType
    body: Sequence[RenderableType]
    foot: Sequence[RenderableType]
    scrolled: int = 0
    lead: int = 0
    places: range = range(0)
    bar: range = range(0)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Fill the terminal."""
        head, body, foot, room = self._lines(console, options)
        first = min(self.scrolled, max(len(body) - room, 0))
        shown = body[first : first + room]
        blank: list[list[Segment]] = [[] for _ in range(room - len(shown))]
        for number, line in enumerate([*head, *shown, *blank, *foot]):
            if number:
                yield Segment.line()
            yield from line

    def hidden(self, console: Console) -> int:
        """How many lines of the body there is no room for."""
        _, body, _, room = self._lines(console, console.options)
        return max(len(body) - room, 0)

    def clicked(self, console: Console, view: View, click: Click, scene: Scene) -> View:
        """The view after a click: on a rank of the table, or on the time of a recording; elsewhere it stays."""
        head, body, _, room = self._lines(console, console.options)
        line = click.line - len(head)
        if line == room and click.column in self.bar:
            share = (click.column - self.bar.start + 0.5) / len(self.bar)
            return navigation.at(view, scene, scene.start + share * (scene.end - scene.start))
        above = self.body[: self.lead]
        heads = len(console.render_lines(Group(*above), console.options.update(height=None))) if above else 0
        number = line + min(self.scrolled, max(len(body) - room, 0)) - heads - 1
        if 0 <= line < room and 0 <= number < len(self.places):
            return navigation.chosen(view, scene.ranks[self.places[number]])
        return view

    def _lines(self, console: Console, options: ConsoleOptions) -> tuple[_Lines, _Lines, _Lines, int]:
        """Lines of the head, the body and the foot, and how many of the body there is room for."""
        whole = options.update(height=None)
        head, body, foot = (
            console.render_lines(Group(*part), whole, pad=False) for part in ((self.head,), self.body, self.foot)
        )
        return head, body, foot, max(options.max_height - len(head) - len(foot), 1)


def browsed(  # noqa: PLR0913 - what is known, how it is looked at, and where
    moment: Moment,
    rows: Sequence[Row],
    view: View,
    scene: Scene,
    *,
    spans: Sequence[Diagnosis] = (),
    problem: str = "",
    width: int = 80,
) -> Screen:
    """The screen: all ranks to choose from if there are several, and the chosen one in full.

    Args:
        moment: what is known at the moment that is shown.
        rows: the ranks in the order of the screen, which is also that of the scene.
        view: how somebody looks at it.
        scene: what there is.
        spans: of a recording, the diagnosis of all of it.
        problem: why nothing newer is known.
        width: of the terminal, in cells.
    """
    head = screen.head(moment)
    foot, bar = _foot(moment, view, scene, spans, width)
    if view.helping:
        return Screen(head, [Text(), *_help()], foot)
    place = navigation.position(view, scene.ranks)
    lead: list[RenderableType] = [waiting(problem)] if problem else []
    table = overview.table(rows, place, view.order, moment.courses) if len(rows) > 1 else ()
    places = overview.places(len(rows), place) if table else range(0)
    body = [*lead, *table, *screen.body(moment, scene.ranks[place : place + 1])]
    return Screen(head, body, foot, view.scrolled, len(lead), places, bar)


def waiting(problem: str) -> Text:
    """Why nothing newer is known."""
    return Text(say("{problem}; trying again", problem=problem), style="bold red")


def _help() -> Sequence[RenderableType]:
    table = Table.grid(padding=(0, 2))
    for keys, does in navigation.HELP:
        table.add_row(Text(say(keys), style="bold"), say(does))
    return (table, Text(), Text(say("any key goes back"), style="dim"))


def _foot(
    moment: Moment, view: View, scene: Scene, spans: Sequence[Diagnosis], width: int
) -> tuple[Sequence[RenderableType], range]:
    """Its lines, and the cells of the first that are the time of a recording."""
    told = Text("  ", no_wrap=True, overflow="ellipsis").join(
        [_time(moment, view, scene), *(Text(part, style="dim") for part in _hints(view, scene))]
    )
    if not scene.recorded:
        return (told,), range(0)
    ends = [clock(time, moment.zone) for time in (scene.start, scene.end)]
    ends[0] = f"{local_date(scene.start, moment.zone)} {ends[0]}"
    long = max(width - sum(map(len, ends)) - 2, 1)
    bar = timeline.bar(spans, scene.start, scene.end, moment.window.end, long)
    line = Text.assemble((ends[0], "dim"), " ", bar, " ", (ends[1], "dim"), no_wrap=True)
    return (line, told), range(len(ends[0]) + 1, len(ends[0]) + 1 + long)


def _time(moment: Moment, view: View, scene: Scene) -> Text:
    """Which time is shown, and whether it goes on."""
    now = clock(moment.window.end, moment.zone)
    if scene.recorded:
        return Text(f"{'▶' if view.playing else '⏸'} {now} x{view.speed:g}", style="bold")
    if view.moment is None:
        return Text(say("live"), style="bold")
    ago = duration(max(scene.end - moment.window.end, 0.0))
    return Text(say("frozen at {now}, {ago} ago", now=now, ago=ago), style="bold reverse")


def _hints(view: View, scene: Scene) -> Sequence[str]:
    hints = [say("? keys"), say("q leaves")]
    if scene.recorded:
        hints += [say("space goes on") if not view.playing else say("space stops"), say("[ ] events"), say("+ - speed")]
    else:
        hints += [say("space goes on") if view.moment is not None else say("space freezes")]
    if len(scene.ranks) > 1:
        hints += [say("↑ ↓ rank"), say("s sorted {how}", how=_ORDERS[view.order])]
    if scene.nodes > 1:
        hints += [say("n node {number} of {all}", number=view.node + 1, all=scene.nodes)]
    return hints
