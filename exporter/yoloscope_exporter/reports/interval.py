"""The interval that holds a figure or a change: whether it says anything, what may matter, what would narrow it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.language import text
from yoloscope_exporter.reports.significance import difference, logarithm, margin

if TYPE_CHECKING:
    from yoloscope_exporter.reports.significance import Estimate

#: Changes that do not matter: 5 %, or 5 points of a share. Ours.
BAND = 0.05
#: Half the width from which on an interval says nothing: a share is anything, a ratio a tenth or ten times. Ours.
_WIDEST_OF_SHARES, _WIDEST_OF_RATIOS = 0.5, math.log(10)


class Interval(NamedTuple):
    """What holds a change, a ratio or a difference of shares, at `significance.CONFIDENCE`.

    Attributes:
        effort: times as long a run, or as many, so that an interval of no change would be BAND wide to either side.
    """

    low: float
    high: float
    relative: bool
    effort: float

    @property
    def unchanged(self) -> float:
        """What says that nothing changed."""
        return 1.0 if self.relative else 0.0

    @property
    def matters_not(self) -> bool:
        """Whether no change in it matters."""
        return self.unchanged - BAND <= self.low and self.high <= self.unchanged + BAND

    @property
    def excludes_none(self) -> bool:
        """Whether it leaves out that nothing changed."""
        return not self.low <= self.unchanged <= self.high

    def __str__(self) -> str:
        """`x 0.62 to x 1.41`, `-3.1 to +7.0 points`."""
        if self.relative:
            return text("x {low:.2f} to x {high:.2f}", low=self.low, high=self.high)
        return text("{low:+.1f} to {high:+.1f} points", low=100 * self.low, high=100 * self.high)


def says_of_mean(half: float, mean: float, *, relative: bool) -> bool:
    """Whether an interval of half that width says anything of a mean: no more than the mean, of a share half of all.

    A change of a share goes from -1 to 1, the share itself from 0 to 1.
    """
    return half <= (abs(mean) if relative else _WIDEST_OF_SHARES / 2)


def says_of_change(half: float, *, relative: bool) -> bool:
    """The same of a change: of the logarithm of a ratio, or of a difference of shares."""
    return half <= (_WIDEST_OF_RATIOS if relative else _WIDEST_OF_SHARES)


def spread(estimate: Estimate, *, relative: bool) -> float | None:
    """Half the width of what holds a mean; None where that says nothing."""
    half = margin(estimate)
    return half if says_of_mean(half, estimate.mean, relative=relative) else None


def interval(before: Estimate, after: Estimate, *, relative: bool) -> Interval | None:
    """From one to the other; None where it would say nothing, and for a ratio of what may be zero."""
    if relative and min(before.mean, after.mean) <= 0:
        return None
    apart = difference(logarithm(before), logarithm(after)) if relative else difference(before, after)
    half = margin(apart)
    if not says_of_change(half, relative=relative):
        return None
    ends = (apart.mean - half, apart.mean + half)
    low, high = map(math.exp, ends) if relative else ends
    return Interval(low, high, relative, (half / BAND) ** 2)


def band(*, relative: bool) -> str:
    """BAND in words: `±5%`, `±5 points`."""
    return text("±{band:g}%" if relative else "±{band:g} points", band=100 * BAND)
