"""What `faulthandler` writes, read as text that anybody may have written: bounded, cleaned, never trusted."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_THREADS = 128  # faulthandler writes 100
MAX_FRAMES = 128  # of a thread; faulthandler writes 100
MAX_TEXT = 256  # of a path, which keeps its end, and of a function

_THREAD = re.compile(r"(Current thread|Thread) (0x[0-9a-f]{1,16})(?: \[(.{0,64})\])?(?: \(most recent call first\))?:")
_FRAME = re.compile(r'  File "(.*)", line (\d{1,9}|\?\?\?) in (.*)')
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


class Frame(NamedTuple):
    """One call."""

    function: str
    file: str
    line: int  # 0 where it is not known


class Thread(NamedTuple):
    """One thread, its newest call first."""

    ident: str
    frames: tuple[Frame, ...]


class Dump(NamedTuple):
    """One answer of a process."""

    threads: tuple[Thread, ...]
    main: Thread | None

    @property
    def others(self) -> tuple[Thread, ...]:
        """All threads but the main one."""
        return tuple(thread for thread in self.threads if thread is not self.main)


def parse(data: bytes, main: str) -> Dump | None:
    """The last answer in `data`, which begins at a line; None where there is none that is whole.

    `main` is the main thread; where it is not among the threads, the oldest one counts, which is written last.
    """
    lines = data.decode("ascii", errors="replace").split("\n")[:-1]  # what follows the last line end is half a line
    threads = [thread for thread in _threads(_last_answer(lines)) if thread.frames][:MAX_THREADS]
    if not threads:
        return None
    found = next((thread for thread in threads if int(thread.ident, 16) == _number(main)), threads[-1])
    return Dump(tuple(threads), found)


def _number(ident: str) -> int:
    return int(ident, 16) if re.fullmatch("0x[0-9a-f]{1,16}", ident) else -1


def _last_answer(lines: Sequence[str]) -> Sequence[str]:
    """Within an answer there is an empty line before each thread but the first."""
    begins = [index for index, line in enumerate(lines) if _THREAD.match(line) and (not index or lines[index - 1])]
    return lines[begins[-1] :] if begins else ()


def _threads(lines: Sequence[str]) -> Iterator[Thread]:
    ident, frames = "", list[Frame]()
    for line in lines:
        if begin := _THREAD.match(line):
            if ident:
                yield Thread(ident, tuple(frames))
            ident, frames = begin[2], []
        elif (frame := _FRAME.fullmatch(line)) and len(frames) < MAX_FRAMES:
            frames.append(Frame(_text(frame[3]), _text(frame[1]), int(frame[2]) if frame[2].isdigit() else 0))
    if ident:
        yield Thread(ident, tuple(frames))


def _text(escaped: str) -> str:
    """Text as it was before faulthandler escaped it, without what a terminal could take for a command."""
    return clean(_ESCAPE.sub(lambda match: _character(match[1] or match[2] or match[3]), escaped[-8 * MAX_TEXT :]))


def _character(code: str) -> str:
    number = int(code, 16)
    return chr(number) if number <= sys.maxunicode else "?"  # halves of a pair are not printable


def clean(text: str) -> str:
    """Printable text, from its end where it is too long: paths are told apart by their ends."""
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return printable if len(printable) <= MAX_TEXT else "…" + printable[1 - MAX_TEXT :]
