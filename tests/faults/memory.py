"""Where a process' memory is: in Python's objects, in what malloc gave, or kept by both for later. For Linux's glibc.

Python takes arenas of a megabyte for objects up to 512 bytes, and everything else from malloc. What both keep and have
given to nobody is fragmentation.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TOLD = re.compile(r"(?m)^# (arenas allocated current|bytes in allocated blocks)\s+=\s+([\d,]+)$")
_ARENA_MB = 1 << 20


class Census(NamedTuple):
    """Megabytes.

    Attributes:
        resident: all of it.
        objects, arenas: Python's small objects, and what it holds for them.
        used, free, mapped: what malloc has given, what it keeps, and what it has given as mappings of their own.
    """

    cycles: int
    resident: float
    objects: float
    arenas: float
    used: float
    free: float
    mapped: float


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks")
    ] + [("keepcost", ctypes.c_size_t)]


def census(cycles: int) -> Census:
    """Of this process; what it writes to stderr meanwhile goes nowhere."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo
    info, python = mallinfo2(), _python()
    return Census(
        cycles,
        psutil.Process().memory_info().rss / 1e6,
        python["bytes in allocated blocks"] / 1e6,
        python["arenas allocated current"] * _ARENA_MB / 1e6,
        info.uordblks / 1e6,
        info.fordblks / 1e6,
        info.hblkhd / 1e6,
    )


def _python() -> dict[str, int]:
    """What Python's allocator tells, which it tells to stderr alone."""
    kept = os.dup(2)
    with tempfile.TemporaryFile("w+") as file:
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return {name: int(number.replace(",", "")) for name, number in _TOLD.findall(file.read())}


def keep(path: Path, cycles: Callable[[], int], seconds: float) -> Callable[[], None]:
    """Note a census in a file now and then, in a thread of its own; what is returned ends that."""
    ended = threading.Event()

    def note() -> None:
        while not ended.wait(seconds):
            with path.open("a", encoding="ascii") as file:
                file.write(json.dumps(census(cycles())) + "\n")

    thread = threading.Thread(target=note, name="census", daemon=True)
    thread.start()

    def end() -> None:
        ended.set()
        thread.join()

    return end


def lines(path: Path) -> list[str]:
    """What was noted; of a line that is being written nothing."""
    return path.read_text(encoding="ascii").split("\n")[:-1] if path.exists() else []


def table(path: Path, most: int = 12) -> str:
    """So many of what was noted."""
    found = [Census(*json.loads(line)) for line in lines(path)]
    chosen = [found[round(index * (len(found) - 1) / (most - 1))] for index in range(most)]
    names = ("cycles", "MB", "objects", "arenas", "malloc: given", "kept", "mapped")
    rows = [(f"{one.cycles:,}", *(f"{number:.1f}" for number in one[1:])) for one in chosen]
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, ("---",) * len(names), *rows))
