"""Numbers that may be unknown (None): arithmetic with them, and how they are read from text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoloscope_exporter.measures.series import Labels


def whole(text: str) -> float | None:
    """A whole number as a fact gives it, in at most nine decimal digits; None if it is anything else."""
    return float(text) if text.isdecimal() and len(text) <= 9 else None  # noqa: PLR2004


def ratio(part: float | None, of: float | None) -> float | None:
    """`part / of`; None if either is unknown or `of` is 0."""
    return part / of if part is not None and of else None


def least(*values: float | None) -> float | None:
    """The least of the known values."""
    return min((value for value in values if value is not None), default=None)


def at_most_one(share: float | None) -> float | None:
    """A share without what the sampling adds to it."""
    return None if share is None else min(share, 1.0)


def total(parts: Mapping[Labels, float]) -> float | None:
    """The sum; None if there are no parts."""
    return sum(parts.values()) if parts else None
