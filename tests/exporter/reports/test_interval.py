"""Whether a change may matter."""

from __future__ import annotations

import pytest
from yoloscope_exporter.reports.interval import band, interval
from yoloscope_exporter.reports.significance import Estimate


def test_a_ratio_lies_between_its_ends() -> None:
    """By hand: 100 +- 1 and 110 +- 1.1, so ln 1.1 +- 2.086 * 0.01414 with 20 degrees of freedom."""
    found = interval(Estimate(100, 1, 10), Estimate(110, 1.21, 10), relative=True)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((1.068, 1.133), abs=0.001)
    assert str(found) == "x 1.07 to x 1.13"
    assert found.effort == pytest.approx((2.086 * 0.01414 / 0.05) ** 2, rel=0.01)


def test_a_share_changes_by_points() -> None:
    """Zero to twenty points, of which five are none that matter."""
    found = interval(Estimate(0.2, 0.0005, 10), Estimate(0.3, 0.0005, 10), relative=False)
    assert found is not None
    assert str(found) == "+3.4 to +16.6 points"
    assert not found.matters_not
    assert band(relative=False) == "±5 points"


@pytest.mark.parametrize(("after", "matters"), [(100.0, False), (103.0, False), (104.5, True), (95.5, True)])
def test_what_matters_is_more_than_the_band(after: float, matters: bool) -> None:  # noqa: FBT001 - a parameter
    """The whole interval has to lie in it."""
    found = interval(Estimate(100, 0.16, 20), Estimate(after, 0.16, 20), relative=True)
    assert found is not None
    assert found.matters_not == (not matters)


def test_there_is_no_ratio_of_nothing() -> None:
    """Of what is zero, no share can be told."""
    assert interval(Estimate(0, 0, 3), Estimate(1, 1, 3), relative=True) is None


def test_what_is_hardly_known_has_an_end() -> None:
    """One degree of freedom and a spread as large as the mean: x 0.01 to x 100, no overflow."""
    found = interval(Estimate(1, 1, 1), Estimate(1, 1, 1), relative=True)
    assert str(found) == "x 0.01 to x 100.00"
