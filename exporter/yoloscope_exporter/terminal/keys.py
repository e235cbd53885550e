"""Keys as a terminal sends them, by name. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

UP, DOWN, LEFT, RIGHT = "up", "down", "left", "right"
HOME, END, PAGE_UP, PAGE_DOWN = "home", "end", "page up", "page down"
ESCAPE: Final = "escape"
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
_KEY = re.compile(r"\x1b(?:\[|O)(?P<sequence>[0-9;<=>?]*[@-~])|(?P<letter>.)", re.DOTALL)


def named(sent: str) -> Iterator[str]:
    """The keys in what a terminal sent: names of those without a letter, letters; other sequences are left out."""
    for found in _KEY.finditer(sent):
        if letter := found["letter"]:
            yield ESCAPE if letter == "\x1b" else letter
        elif name := _SEQUENCES.get(found["sequence"]):
            yield name
