"""The checker of histograms finds what is wrong, and nothing else."""

from __future__ import annotations

import pytest

from tests.faults.histograms import read, wrong

GOOD = """\
# TYPE a histogram
a_bucket{run="x {y}",le="0.1"} 2
a_bucket{run="x {y}",le="1"} 5
a_bucket{run="x {y}",le="+Inf"} 5
a_sum{run="x {y}"} 2.5
a_count{run="x {y}"} 5
# TYPE b_total counter
b_total 7
# TYPE c_count gauge
c_count 3
"""


def test_a_good_one() -> None:
    """Alone, after itself, and after one that was less."""
    less = read(GOOD.replace(" 5\n", " 4\n").replace("2.5", "2.4").replace("b_total 7", "b_total 6"))
    assert wrong(read(GOOD)) == wrong(read(GOOD), read(GOOD)) == wrong(read(GOOD), less) == []
    assert read(GOOD).counters == {"b_total": 7.0}
    assert read(GOOD).histograms['a{run="x {y}"}'].count == 5


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('le="0.1"} 2', 'le="0.1"} 6', "not monotone"),
        ('le="+Inf"} 5', 'le="+Inf"} 6', "the last bucket"),
        ('le="+Inf"} 5\n', "\n", "the last bucket"),
        ("} 2.5", "} 0.2", "the sum"),
        ("} 2.5", "} 9", "the sum"),
        ("} 2.5", "} NaN", "the sum"),
    ],
)
def test_a_wrong_one(old: str, new: str, what: str) -> None:
    """Alone."""
    assert what in wrong(read(GOOD.replace(old, new)))[0]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("b_total 7", "b_total 6", "b_total: 7, then 6"),
        ('le="0.1"} 2', 'le="0.1"} 1', r"the buckets \[0.1\] went backwards"),
        ("} 2.5", "} 2.4", "2.5, then 5 and 2.4"),
    ],
)
def test_backwards(old: str, new: str, what: str) -> None:
    """After a good one."""
    found = wrong(read(GOOD.replace(old, new)), read(GOOD))
    assert len(found) == 1
    assert what.replace("\\", "") in found[0]
