"""A run by the part of its name that somebody types: `train/yolo11m` for `train/yolo11m-20261127-101625`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from yoloscope_exporter.language import either, joined, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: So many names are listed, at most.
LISTED = 10


def matches(wanted: str, known: Iterable[str]) -> list[str]:
    """The run of this name; where there is none, those whose name, with or without its project, begins with it."""
    names = list(dict.fromkeys(known))
    if wanted in names or not wanted:
        return [wanted] if wanted else []
    return [name for name in names if name.startswith(wanted) or name.rpartition("/")[2].startswith(wanted)]


def nearest(wanted: str, known: Sequence[str]) -> list[str]:
    """Up to three names that look like it, the most similar first: whole, without project, or without their time."""
    spellings: dict[str, str] = {}
    for name in known:
        last = name.rpartition("/")[2]
        for spelling in (name, last, *(one[: len(wanted)] for one in (name, last))):
            spellings.setdefault(spelling.lower(), name)
    close = difflib.get_close_matches(wanted.lower(), list(spellings), n=6, cutoff=0.7)
    return list(dict.fromkeys(spellings[one] for one in close))[:3]


def unknown(wanted: str, known: Sequence[str]) -> str:
    """What to say where not exactly one of the `known` runs is meant: the candidates, or the nearest and all."""
    candidates = matches(wanted, known)
    if len(candidates) > 1:
        return text("{wanted!r} may be {listed}; write more of the name", wanted=wanted, listed=listed(candidates))
    close = nearest(wanted, known)
    meant = text("did you mean {close}? ", close=either(close)) if close else ""
    return text("{meant}known runs: {listed}", meant=meant, listed=listed(known))


def listed(names: Sequence[str]) -> str:
    """The first of them, with commas, and how many more there are."""
    more = text(" and {more} more", more=len(names) - LISTED) if len(names) > LISTED else ""
    return joined((", ".join(names[:LISTED]), more), "")
