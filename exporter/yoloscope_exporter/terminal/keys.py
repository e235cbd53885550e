"""Keys and clicks as a terminal sends them, keys by name. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

UP, DOWN, LEFT, RIGHT = "up", "down", "left", "right"
HOME, END, PAGE_UP, PAGE_DOWN = "home", "end", "page up", "page down"
WHEEL_UP, WHEEL_DOWN = "wheel up", "wheel down"
ESCAPE: Final = "escape"
#: What makes a terminal tell of the mouse, and tell no more (xterm's modes 1000 and 1006; others pass them over).
MOUSE_ON, MOUSE_OFF = "\x1b[?1000h\x1b[?1006h", "\x1b[?1006l\x1b[?1000l"
#: What follows the escape character (ECMA-48, as xterm, the Linux console and tmux send it).
_SEQUENCES: Final = {
    "A": UP,
    "B": DOWN,
    "C": RIGHT,
    "D": LEFT,
    "H": HOME,
    "F": END,
    "1~": HOME,
    "4~": END,
    "5~": PAGE_UP,
    "6~": PAGE_DOWN,
    "7~": HOME,
    "8~": END,
}
_MOUSE = re.compile(r"<(?P<button>\d+);(?P<column>\d+);(?P<line>\d+)M")
_WHEEL: Final = {"64": WHEEL_UP, "65": WHEEL_DOWN}
_LEFT: Final = "0"
_KEY = re.compile(r"\x1b(?:\[|O)(?P<sequence>[0-9;<=>?]*[@-~])|(?P<letter>.)", re.DOTALL)


class Click(NamedTuple):
    """The left button of a mouse, in cells from the upper left corner on, counted from 0."""

    column: int
    line: int


def named(sent: str) -> Iterator[str | Click]:
    """Keys and clicks in what a terminal sent: names of keys without a letter, letters; others are left out."""
    for found in _KEY.finditer(sent):
        if letter := found["letter"]:
            yield ESCAPE if letter == "\x1b" else letter
        elif name := _SEQUENCES.get(found["sequence"]):
            yield name
        elif mouse := _MOUSE.fullmatch(found["sequence"]):
            if wheel := _WHEEL.get(mouse["button"]):
                yield wheel
            elif mouse["button"] == _LEFT:
                yield Click(int(mouse["column"]) - 1, int(mouse["line"]) - 1)
