"""Geometry of charts for one page without scripts: lines, blocks side by side, bars. Drawing is templates/charts.html.

Lengths are in the units of an SVG view box WIDTH wide. Colours are indexes into the page's palette, so that light and
dark both read well; lines also differ by their dashes, for eyes that tell colours badly and for printers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 26
COLOURS = 8
DASHES = ("", "6 3", "2 3", "8 3 2 3")
#: A bar's row: its height, where the bar begins, and what is left for its text.
ROW, BAR_LEFT, BAR_MARGIN = 20, 110, 240


class Tick(NamedTuple):
    """A labelled place on an axis."""

    place: float
    label: str


class Line(NamedTuple):
    """A curve; `points` are (x, y)."""

    name: str
    colour: int
    dash: str
    points: tuple[tuple[float, float], ...]


class Block(NamedTuple):
    """A rectangle in a row, or a shaded band behind curves; `title` is its tooltip."""

    left: float
    width: float
    title: str
    colour: int = 0


class Entry(NamedTuple):
    """A name in a legend."""

    name: str
    colour: int


class LineChart(NamedTuple):
    """Curves over time."""

    lines: tuple[Line, ...]
    bands: tuple[Block, ...]
    rows: tuple[Tick, ...]
    times: tuple[Tick, ...]


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
    """Curves over time since `begin`, with `bands` (from, to, name) shaded behind them."""
    everything = [point for points in curves.values() for point in points]
    times, values = ([point[axis] for point in everything] for axis in (0, 1))
    end, top, low = max(begin, *times), _ceiling(max(values)), min(0.0, *values)

    def x(time: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (time - begin) / ((end - begin) or 1.0)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / ((top - low) or 1.0)

    return LineChart(
        tuple(
            Line(name, index % COLOURS, _dash(index), tuple((x(time), y(value)) for time, value in points))
            for index, (name, points) in enumerate(curves.items())
        ),
        tuple(
            Block(x(max(start, begin)), max(x(min(stop, end)) - x(max(start, begin)), 0.5), name)
            for start, stop, name in bands
            if stop > begin and start < end
        ),
        tuple(Tick(y(value), f"{value:.3g}") for value in (low + (top - low) * index / 4 for index in range(5))),
        tuple(Tick(x(begin + seconds), _clock(seconds)) for seconds in _time_marks(end - begin)),
    )


def _dash(index: int) -> str:
    return DASHES[index // COLOURS % len(DASHES)]


def _time_marks(seconds: float) -> Iterator[float]:
    step = _time_step(seconds)
    return (index * step for index in range(int(seconds / step) + 1))


def _time_step(seconds: float) -> float:
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
    return next((step for step in steps if seconds / step <= 8), seconds / 8 or 1.0)  # noqa: PLR2004 - room for 8 labels


def _clock(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.0f}s"
    if seconds < 3600:  # noqa: PLR2004
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"
    return f"{seconds // 3600:.0f}h{seconds % 3600 // 60:02.0f}"


def _ceiling(value: float) -> float:
    """The next round number at or above."""
    if value <= 0:
        return 1.0
    unit: float = 10.0 ** math.floor(math.log10(value))
    return next(factor * unit for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if factor * unit >= value * (1 - 1e-9))


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
