"""Plots in a line of text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"


def line(values: Sequence[float], width: int = 60, low: float = 0.0, high: float | None = None) -> str:
    """Values as blocks, each the highest of its stretch; a space where there is none.

    Args:
        values: in order; NaN where unknown.
        width: of the line, in characters.
        low: value of the lowest block.
        high: value of the highest block; the greatest value if not given.
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    top = max(known) if high is None else high
    count = min(width, len(values))
    groups = [values[len(values) * i // count : len(values) * (i + 1) // count] for i in range(count)]
    return "".join(_block([value for value in group if math.isfinite(value)], low, top) for group in groups)


def _block(values: Sequence[float], low: float, top: float) -> str:
    if not values:
        return " "
    share = (max(values) - low) / ((top - low) or 1.0)
    return _BLOCKS[min(max(int(share * len(_BLOCKS)), 0), len(_BLOCKS) - 1)]
