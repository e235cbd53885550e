"""Whether a change may matter."""

from __future__ import annotations

import pytest
from yoloscope_exporter.reports.interval import band, interval, spread
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


@pytest.mark.parametrize(("relative", "known", "hardly"), [(True, 0.03, 1.0), (False, 0.002, 0.01)])
def test_an_interval_that_holds_anything_says_nothing(relative: bool, known: float, hardly: float) -> None:  # noqa: FBT001
    """One degree of freedom: a ratio from a tenth to ten times, a share of any size, are not told."""
    for variance, told in ((known / 10, True), (hardly, False)):
        one = Estimate(0.4, variance, 1)
        assert (interval(one, one, relative=relative) is not None) == told


@pytest.mark.parametrize(
    ("mean", "variance", "relative", "half"),
    [
        (0.354, 0.0153, False, None),  # 35.4% ± 157.2%, as a demo once said
        (0.354, 0.0001, False, 0.127),
        (0.02, 0.0001, False, 0.127),  # 0 to 15 %: that is little in any case
        (20.0, 4.0, True, None),
        (20.0, 1.0, True, 12.7),
        (0.0, 0.0, True, 0.0),
    ],
)
def test_a_figure_that_may_be_anything_has_no_spread(
    mean: float,
    variance: float,
    relative: bool,  # noqa: FBT001 - a parameter
    half: float | None,
) -> None:
    """By hand, with Student's 12.706 for one degree of freedom: more than half of all shares, or more than the mean."""
    assert spread(Estimate(mean, variance, 1), relative=relative) == (half and pytest.approx(half, rel=0.01))
