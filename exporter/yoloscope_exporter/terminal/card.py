"""The card at the end of `yoloscope run`: at most LINES lines, whatever is told. Pure."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from yoloscope_exporter import colours
from yoloscope_exporter.diagnosis import rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_exporter.reports.ending import Line

#: Lines that each kind may take, the title's not counted; together they are LINES - 1.
MOST = {"figures": 2, "verdict": 3, "cause": 2, "fix": 2, "gain": 1, "also": 1, "others": 1, "more": 2}
LINES = 1 + sum(MOST.values())
NARROWEST = 40


def rendered(title: str, lines: Sequence[Line], *, good: bool, width: int, terminal: bool) -> str:
    """The card in lines of `width` cells; with colours if it is for a terminal."""
    room = max(width, NARROWEST)
    console = Console(file=io.StringIO(), width=room, force_terminal=terminal, highlight=False)
    style = colours.GREEN if good else colours.SEVERITIES[rules.CRITICAL]
    with console.capture() as captured:
        console.print(Rule(Text(_cut(_clean(title), room - 4)), style=style, align="left"))
        for row in _rows(lines, room, console):
            console.print(row, no_wrap=True, overflow="ignore", crop=False)
    return captured.get()


def _rows(lines: Sequence[Line], room: int, console: Console) -> Iterator[Text]:
    indent = max((cell_len(line.name) for line in lines), default=0) + 2
    for line in lines:
        style = colours.SEVERITIES[line.severity] if line.kind == "verdict" else "bold" if line.kind == "fix" else ""
        begin = indent if line.name else 0
        wrapped = Text(_clean(line.text)).wrap(console, room - begin)
        shown = [part.plain.rstrip() for part in wrapped[: MOST[line.kind]]]
        if len(wrapped) > len(shown):
            shown[-1] = _cut(f"{shown[-1]} ...", room - begin)
        for number, text in enumerate(shown):
            name = line.name if number == 0 else ""
            yield Text.assemble((name + " " * (begin - cell_len(name)), "dim"), (text, style))


def _cut(text: str, room: int) -> str:
    cut = Text(text)
    cut.truncate(room, overflow="ellipsis")
    return cut.plain


def _clean(text: str) -> str:
    """One line without what a terminal could take for a command: names and paths are anybody's."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
