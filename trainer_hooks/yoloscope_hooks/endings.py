"""Why a training ends before its time, as its exception says: type, message, and the calls it came through."""

from __future__ import annotations

import os
import sysconfig
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

MAX_MESSAGE = 250  # characters; a fact holds 256
_OURS = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - prefixes of paths in tracebacks
_PACKAGES = ("site-packages", "dist-packages")


def facts_of(exception: BaseException) -> dict[str, str]:
    """Facts that tell an exception; what cannot be read of it is left out."""
    facts = {"exception": type(exception).__name__}
    with suppress(Exception):
        facts["exception_message"] = _short(str(exception))
    with suppress(Exception):
        facts.update(_places(exception.__traceback__))
    return facts


def _short(text: str) -> str:
    """The first line and, where there are more, the last one: torch ends with what happened in a worker."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2:  # noqa: PLR2004 - a first and a last one
        return " ".join(lines)[:MAX_MESSAGE]
    last = lines[-1][: MAX_MESSAGE // 2]
    return f"{lines[0][: MAX_MESSAGE - len(last) - 3]} … {last}"


def _places(trace: TracebackType | None) -> dict[str, str]:
    """The last call of the user's own code, and the last of all: where it was raised."""
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if _is_own(frame.filename)]
    places = {"exception_at": frames[-1:], "exception_own": own[-1:]}
    return {name: _place(found[0]) for name, found in places.items() if found}


def _place(frame: Any) -> str:
    file: str = frame.filename
    name: str = frame.name[:100]
    room = 200 - len(name)
    return f"{name} ({file if len(file) <= room else '…' + file[1 - room :]}:{frame.lineno})"


def _is_own(file: str) -> bool:
    """Whether a file is the user's: neither installed nor Python's nor ours."""
    library = sysconfig.get_path("stdlib")
    foreign = file.startswith(("<frozen", _OURS)) or any(f"{os.sep}{part}{os.sep}" in file for part in _PACKAGES)
    return not foreign and not (library and file.startswith(library))
