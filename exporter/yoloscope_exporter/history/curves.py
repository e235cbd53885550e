"""The points of a run's or the node's courses: calculated when they are asked for, and each of them once."""

from __future__ import annotations

from array import array
from itertools import dropwhile
from math import floor, isfinite, log10, nan
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.measures.formula import TARGET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from yoloscope_exporter.history.courses import Course
    from yoloscope_exporter.history.store import History
    from yoloscope_exporter.measures.evaluate import Vector
    from yoloscope_exporter.measures.series import LabelSet

#: What is shown has four figures.
FIGURES = 4


class Curves:
    """Points by time, each the values of all lines at that time. Used by one thread."""

    def __init__(self, history: History, courses: Sequence[Course], run: str = "") -> None:
        """Nothing is calculated yet; `run` is empty for courses of the node."""
        self._history, self._courses, self._run = history, courses, run
        self._lines: dict[tuple[str, LabelSet], int] = {}  # the place of each in a point
        self._points: dict[float, array[float]] = {}  # not a number where there is none
        self._told: list[tuple[str, dict[str, str], int]] = []  # name, labels and place of each line, in order

    def update(self, now: float) -> Iterator[None]:
        """Calculate what is missing up to `now`, one by one, so that others get their turn; forget the oldest."""
        known, points = self._points, {}
        for time, place in list(self._history.ticks(now)):
            if time in known:
                points[time] = known[time]
            else:
                yield
                points[time] = self._point(self._history.at(time, place, self._courses, self._run))
        self._points = points

    def _point(self, found: Mapping[str, Vector]) -> array[float]:
        values = array("d")
        for name, vector in found.items():
            for labels, value in vector.items():
                place = self._lines.setdefault((name, labels), len(self._lines))
                values.extend([nan] * (place + 1 - len(values)))
                values[place] = value
        return values

    def since(self, time: float) -> dict[str, Any]:
        """Points after a Unix time: `times`, and a line of values, with null where there is none, for each series."""
        known = dropwhile(lambda at: not self._points[at], self._points)  # before them nothing was seen
        times = [at for at in known if at > time]
        lines = ((name, labels, self._values(times, place)) for name, labels, place in (self._order() if times else ()))
        return {
            "times": times,
            "series": [
                {"name": name, "labels": labels, "values": values}
                for name, labels, values in lines
                if any(value is not None for value in values)
            ],
        }

    def _order(self) -> list[tuple[str, dict[str, str], int]]:
        """The lines as they are told; looked through again when one has come."""
        if len(self._told) < len(self._lines):
            ordered = sorted(self._lines.items(), key=lambda line: (line[0][0], sorted(line[0][1])))
            self._told = [(name, own(labels), place) for (name, labels), place in ordered]
        return self._told

    def _values(self, times: Iterable[float], place: int) -> list[float | None]:
        points = (self._points[at] for at in times)
        return [rounded(point[place]) if place < len(point) and isfinite(point[place]) else None for point in points]


def own(labels: LabelSet) -> dict[str, str]:
    """Labels without those of the target and without the run."""
    return {name: value for name, value in sorted(labels) if name not in TARGET and name != "run"}


def rounded(value: float) -> float:
    """With four figures, whole numbers without a fraction."""
    if not value:
        return 0
    places = FIGURES - 1 - floor(log10(abs(value)))
    short = round(value, places)
    return int(short) if places <= 0 else short
