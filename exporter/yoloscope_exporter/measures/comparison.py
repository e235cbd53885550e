"""One of several beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yoloscope_exporter.measures.formula import Formula


def of_others(each: Formula, among: tuple[str, ...]) -> Formula:
    """For each of several series the mean of the others with the same labels `among`; absent where it is the only one.

    The others', not that of all: with two ranks the mean of all would hide half of what is wrong with one. The mean,
    not the median, because PromQL cannot leave one series out of an aggregation but can subtract it from a sum.
    """
    without_it = (each * -1).joined("+", each.total("sum", among), among)
    return without_it.joined("/", each.total("count", among) - 1, among)


def to_others(each: Formula, among: tuple[str, ...]) -> Formula:
    """Each of several series over the mean of the others."""
    return each / of_others(each, among)
