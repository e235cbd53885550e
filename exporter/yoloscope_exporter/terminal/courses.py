"""Sparklines of the last minutes: what a window says of measures and gauges, part by part. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rich.text import Text

from yoloscope_exporter.measures.reading import Reading
from yoloscope_exporter.terminal.sparkline import line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.catalog import Metric
    from yoloscope_exporter.measures.measure import Measure
    from yoloscope_exporter.measures.series import Window

#: Parts of the time, each a character.
PARTS: Final = 20
STYLE: Final = "blue"


class Courses:
    """What happened in a window, in PARTS of equal length; asked for by several ranks, it is calculated once."""

    def __init__(self, window: Window) -> None:
        """Nothing is evaluated yet."""
        self.window = window
        self._readings: tuple[Reading, ...] | None = None

    def measure(self, measure: Measure, **labels: str) -> list[float]:
        """A measure in each part; NaN where it is not known. Parts too short for two samples know none."""
        if self._readings is None:
            self._readings = tuple(map(Reading, self.window.parts(PARTS)))
        values = [reading.one(measure, **labels) for reading in self._readings]
        return [math.nan if value is None else value for value in values]

    def gauge(self, metric: Metric, *labels: str) -> list[float]:
        """The highest of a gauge's points in each part; NaN where there is none."""
        highest = [math.nan] * PARTS
        for time, value in self.window.points(metric, *labels):
            place = min(int((time - self.window.start) / self.window.seconds * PARTS), PARTS - 1)
            highest[place] = value if math.isnan(highest[place]) else max(value, highest[place])
        return highest


def drawn(values: Sequence[float], high: float | None = None, width: int = PARTS) -> Text:
    """A sparkline of so many characters; spaces where nothing is known."""
    return Text(line(values, width=width, high=high).ljust(width), style=STYLE)
