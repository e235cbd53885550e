"""What charts of a page are drawn from.

Curves are drawn by its script (charts/report.js); blocks side by side and bars need none: they are SVG
(templates/charts.html).

Lengths are in the units of an SVG view box WIDTH wide. Colours are indexes into the page's palette, so that light and
dark both read well; lines also differ by their dashes, for eyes that tell colours badly and for printers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_exporter.language import in_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WIDTH = 720
COLOURS = 8
DASHES = ((), (6, 3), (2, 3), (8, 3, 2, 3))
#: A bar's row: its height, where the bar begins, and what is left for its text.
ROW, BAR_LEFT, BAR_MARGIN = 20, 110, 240


class Line(NamedTuple):
    """A curve: a value for each of the chart's times, None where it has none; its dashes as lengths."""

    name: str
    colour: int
    dash: tuple[int, ...]
    values: tuple[float | None, ...]


class Block(NamedTuple):
    """A rectangle in a row; `title` is its tooltip."""

    left: float
    width: float
    title: str
    colour: int


class Entry(NamedTuple):
    """A name in a legend."""

    name: str
    colour: int


class LineChart(NamedTuple):
    """Curves over common times, in seconds since the beginning; bands (from, to, name) are shaded behind them."""

    times: tuple[float, ...]
    lines: tuple[Line, ...]
    bands: tuple[tuple[float, float, str], ...]

    def drawn(self) -> dict[str, Any]:
        """What the script is given."""
        return {"times": self.times, "lines": [line._asdict() for line in self.lines], "bands": self.bands}

    def told(self) -> list[tuple[str, ...]]:
        """Of each curve its name, first, lowest, highest and last value."""
        known = [(line.name, [value for value in line.values if value is not None]) for line in self.lines]
        return [
            (name, *(in_figures(value, 4) for value in (values[0], min(values), max(values), values[-1])))
            for name, values in known
            if values
        ]


class BlockChart(NamedTuple):
    """Blocks side by side."""

    height: int
    blocks: tuple[Block, ...]
    legend: tuple[Entry, ...]


class Bar(NamedTuple):
    """A horizontal bar, a part of it filled (None where that is unknown)."""

    name: str
    width: float
    filled: float | None
    text: str


def lines(
    curves: Mapping[str, Sequence[tuple[float, float]]], begin: float, bands: Sequence[tuple[float, float, str]] = ()
) -> LineChart:
    """Curves over the time since `begin`, with `bands` (from, to, name) behind them; all in Unix seconds."""
    times = sorted({time for points in curves.values() for time, _ in points})
    end = max(times, default=begin)
    return LineChart(
        tuple(round(time - begin, 1) for time in times),
        tuple(
            Line(name, index % COLOURS, DASHES[index // COLOURS % len(DASHES)], _at(times, points))
            for index, (name, points) in enumerate(curves.items())
        ),
        tuple(
            (round(max(start - begin, 0.0), 1), round(min(stop, end) - begin, 1), name)
            for start, stop, name in bands
            if stop > begin and start < end
        ),
    )


def _at(times: Sequence[float], points: Sequence[tuple[float, float]]) -> tuple[float | None, ...]:
    """The points' values at these times, with five figures: more cannot be seen."""
    known = {time: float(f"{value:.5g}") for time, value in points if math.isfinite(value)}
    return tuple(known.get(time) for time in times)


def _clock(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.0f}s"
    if seconds < 3600:  # noqa: PLR2004
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"
    return f"{seconds // 3600:.0f}h{seconds % 3600 // 60:02.0f}"


def stacked(parts: Mapping[str, float], form: Callable[[float], str], colours: Mapping[str, int]) -> BlockChart:
    """One bar of shares; the legend gives each part's amount and share, `colours` its place in the page's palette."""
    total = sum(parts.values()) or 1.0
    position, blocks = 0.0, []
    for name, amount in parts.items():
        width = WIDTH * amount / total
        title = f"{name}: {form(amount)}, {amount / total:.1%}"
        blocks.append(Block(position, max(width, 0.3), title, _colour(name, colours)))
        position += width
    legend = tuple(
        Entry(f"{name} {form(amount)} ({amount / total:.1%})", _colour(name, colours)) for name, amount in parts.items()
    )
    return BlockChart(36, tuple(blocks), legend)


def _colour(name: str, colours: Mapping[str, int]) -> int:
    """Of what newer hooks may name otherwise, that of `other`."""
    return colours.get(name, colours.get("other", 0))


def timeline(states: Sequence[tuple[float, float, str]], colours: Mapping[str, int]) -> BlockChart:
    """Spans of states (from, to, name) as one row; the legend is in the order of `colours`."""
    begin, end = states[0][0], states[-1][1]
    length = (end - begin) or 1.0
    blocks = tuple(
        Block(
            WIDTH * (start - begin) / length,
            max(WIDTH * (stop - start) / length, 0.5),
            f"{state}, {_clock(stop - start)}",
            _colour(state, colours),
        )
        for start, stop, state in states
    )
    seen = {state for _, _, state in states}
    return BlockChart(22, blocks, tuple(Entry(name, colour) for name, colour in colours.items() if name in seen))


def bars(amounts: Mapping[str, tuple[float, float | None]], form: Callable[[float], str]) -> tuple[Bar, ...]:
    """Horizontal bars; of each the first number is its length, the second the share of it that is filled."""
    longest = max(amount for amount, _ in amounts.values()) or 1.0
    full = WIDTH - BAR_MARGIN
    return tuple(
        Bar(name, full * amount / longest, None if share is None else full * amount / longest * share, form(amount))
        for name, (amount, share) in amounts.items()
    )
