"""Plots as SVG text, for one page without scripts or fonts from elsewhere: lines, stacked bars, bars.

Colours come from the page's style sheet by class (`c0` ... `c7`), so that light and dark both read well; series also
differ by their dashes, for eyes that tell colours badly and for printers.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 26
COLOURS = 8
DASHES = ("", "6 3", "2 3", "8 3 2 3")


def lines(curves: Mapping[str, Sequence[tuple[float, float]]], bands: Sequence[tuple[float, float, str]] = ()) -> str:
    """Curves over time since the first point, with `bands` (from, to, name) shaded behind them."""
    everything = [point for points in curves.values() for point in points]
    times, values = ([point[axis] for point in everything] for axis in (0, 1))
    begin, end, top, low = min(times), max(times), _ceiling(max(values)), min(0.0, *values)

    def x(time: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (time - begin) / ((end - begin) or 1.0)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / ((top - low) or 1.0)

    parts = [_band(x(max(a, begin)), x(min(b, end)), name) for a, b, name in bands if b > begin and a < end]
    parts += _grid(low, top, y)
    parts += _time_axis(end - begin, lambda seconds: x(begin + seconds))
    for index, (name, points) in enumerate(curves.items()):
        path = " ".join(f"{x(time):.1f},{y(value):.1f}" for time, value in points)
        dash = f' stroke-dasharray="{DASHES[index // COLOURS % len(DASHES)]}"' if index >= COLOURS else ""
        parts.append(
            f'<polyline class="c{index % COLOURS}"{dash} points="{path}"><title>{escape(name)}</title></polyline>'
        )
    return _figure(parts) + legend(list(curves))


def _band(left: float, right: float, name: str) -> str:
    width, height = max(right - left, 0.5), HEIGHT - TOP - BOTTOM
    title = f"<title>{escape(name)}</title>"
    return f'<rect class="band" x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{height}">{title}</rect>'


def _grid(low: float, top: float, y: Callable[[float], float]) -> Iterator[str]:
    for index in range(5):
        value = low + (top - low) * index / 4
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>'


def _time_axis(seconds: float, x: Callable[[float], float]) -> Iterator[str]:
    step = _time_step(seconds)
    for index in range(int(seconds / step) + 1):
        moment = index * step
        yield f'<text x="{x(moment):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{_clock(moment)}</text>'


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


def stacked(parts: Mapping[str, float], form: Callable[[float], str]) -> str:
    """One bar of shares; the legend gives each part's amount and share."""
    total = sum(parts.values()) or 1.0
    position, drawn = 0.0, []
    for index, (name, amount) in enumerate(parts.items()):
        width = WIDTH * amount / total
        label = escape(f"{name}: {form(amount)}, {amount / total:.1%}")
        drawn.append(
            f'<rect class="f{index % COLOURS}" x="{position:.1f}" y="0" width="{max(width, 0.3):.1f}" height="36">'
            f"<title>{label}</title></rect>"
        )
        position += width
    names = [f"{name} {form(amount)} ({amount / total:.1%})" for name, amount in parts.items()]
    return f'<svg viewBox="0 0 {WIDTH} 36" role="img">{"".join(drawn)}</svg>' + legend(names, kind="f")


def bars(amounts: Mapping[str, tuple[float, float | None]], form: Callable[[float], str]) -> str:
    """Horizontal bars; of each the first number is its length, the second the share of it that is filled."""
    longest = max(amount for amount, _ in amounts.values()) or 1.0
    height, drawn = 20, []
    for index, (name, (amount, share)) in enumerate(amounts.items()):
        y, width = index * height, (WIDTH - 240) * amount / longest
        drawn.append(f'<text x="0" y="{y + 14}">{escape(name)}</text>')
        drawn.append(f'<rect class="f0" x="110" y="{y + 3}" width="{width:.1f}" height="14" opacity="0.35"/>')
        if share is not None:
            drawn.append(f'<rect class="f0" x="110" y="{y + 3}" width="{width * share:.1f}" height="14"/>')
        drawn.append(f'<text x="{116 + width:.1f}" y="{y + 14}">{escape(form(amount))}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {height * len(amounts)}" role="img">{"".join(drawn)}</svg>'


def timeline(states: Sequence[tuple[float, float, str]], order: Sequence[str]) -> str:
    """Spans of states as one row of coloured blocks."""
    begin, end = states[0][0], states[-1][1]
    length = (end - begin) or 1.0
    drawn = [
        f'<rect class="f{order.index(state) % COLOURS}" x="{WIDTH * (a - begin) / length:.1f}" y="0" height="22" '
        f'width="{max(WIDTH * (b - a) / length, 0.5):.1f}"><title>{escape(f"{state}, {_clock(b - a)}")}</title></rect>'
        for a, b, state in states
    ]
    svg = f'<svg viewBox="0 0 {WIDTH} 22" role="img">{"".join(drawn)}</svg>'
    seen = [state for state in order if any(state == name for _, _, name in states)]
    return svg + legend(seen, kind="f", indexes=[order.index(state) for state in seen])


def legend(names: Sequence[str], kind: str = "c", indexes: Sequence[int] | None = None) -> str:
    """Names with their colours, below a plot."""
    places = indexes if indexes is not None else range(len(names))
    items = "".join(
        f'<span><i class="{kind}{index % COLOURS}"></i>{escape(name)}</span>'
        for index, name in zip(places, names, strict=True)
    )
    return f'<p class="legend">{items}</p>'


def _figure(parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'
