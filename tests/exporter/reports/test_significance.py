"""Whether a difference is one."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from yoloscope_exporter.reports.significance import (
    CONFIDENCE_OF_ONE,
    Estimate,
    Part,
    among,
    beyond,
    chance_of_difference,
    chance_of_less,
    margin,
    significant,
    significant_together,
    within,
)

ALIKE = (0.0, 0.3, 0.5, 0.7, 0.9)


def throughput(alike: float, chance: random.Random, factor: float = 1.0, parts: int = 64) -> Estimate:
    """Of a training whose parts resemble each other: 100 +- 1 to 2.3 images/s, times `factor`."""
    level, values = chance.gauss(0, (1 - alike**2) ** -0.5), []
    for _ in range(parts):
        level = alike * level + chance.gauss(0, 1)
        values.append(factor * (100 + level))
    estimate = within(fmean(values), [Part(value, 1.0) for value in values])
    assert estimate is not None
    return estimate


def test_equal_trainings_are_seldom_called_different_and_slower_ones_are_found() -> None:
    """Of 200 equal pairs at most 5 %, of 200 with a tenth less throughput at least 90 %, whatever their correlation."""
    chance = random.Random(3)
    pairs = [(throughput(a, chance), throughput(a, chance), throughput(a, chance, 1 / 1.1)) for a in ALIKE * 40]
    equal = [chance_of_difference(one, same) < 1 - CONFIDENCE_OF_ONE for one, same, _ in pairs]
    slower = [chance_of_difference(one, slow) < 1 - CONFIDENCE_OF_ONE for one, _, slow in pairs]
    assert sum(equal) <= 10
    assert sum(slower) >= 180


@pytest.mark.parametrize("alike", ALIKE)
def test_few_parts_are_not_surer(alike: float) -> None:
    """A run of which ten or twenty parts were seen is no likelier to be called different."""
    chance = random.Random(4)
    pairs = [(throughput(alike, chance, parts=n), throughput(alike, chance, parts=n)) for n in (10, 20) * 50]
    assert sum(chance_of_difference(*pair) < 1 - CONFIDENCE_OF_ONE for pair in pairs) <= 5


def test_parts_weigh_what_they_are_divided_by() -> None:
    """A part with hardly any training in it, and so with a wild throughput, hardly counts."""
    steady = [Part(100 + index % 2, 1.0) for index in range(20)]
    wild = [*steady[:10], Part(900.0, 0.001), *steady[10:]]
    one, other = within(100.5, steady), within(100.5, wild)
    assert one is not None
    assert other is not None
    assert margin(other) < 2 * margin(one)


def test_what_has_too_few_parts_has_no_spread() -> None:
    """Three parts have no slow cosine, one run no variance."""
    assert within(1.0, [Part(1.0, 1.0)] * 3) is None
    assert among([1.0]) is None


def test_repetitions_are_compared_as_welch_does() -> None:
    """By hand: means 2 and 4.1, variances 1 and 0.91, t = 2.632 with 3.99 degrees of freedom, of which 3 count."""
    three, others = among([1.0, 2.0, 3.0]), among([3.1, 4.2, 5.0])
    assert three is not None
    assert others is not None
    assert chance_of_difference(three, others) == pytest.approx(beyond(2.632, 3), rel=0.001)
    assert margin(three) == pytest.approx(4.303 / 3**0.5, rel=0.001)


def test_what_never_varies_is_certain() -> None:
    """Without a spread any difference is one, and no difference none."""
    assert chance_of_difference(Estimate(1, 0, 3), Estimate(2, 0, 3)) == 0
    assert chance_of_difference(Estimate(1, 0, 3), Estimate(1, 0, 3)) == 1


def test_less_than_a_share() -> None:
    """One-sided: 90 is less than 0.95 of 100 if both are known well; 96 is not, and 110 still less so."""
    before = Estimate(100, 1, 20)
    less, about, more = (chance_of_less(before, Estimate(mean, 1, 20), 0.95) for mean in (90, 96, 110))
    assert less < 0.01
    assert 0.5 < about < more <= 1


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (18, 2.101), (200, 1.972)]
)
def test_student(freedom: int, value: float) -> None:
    """Against the tables."""
    assert beyond(value, freedom) == pytest.approx(0.05, rel=0.001)
    assert margin(Estimate(0, 1, freedom)) == pytest.approx(value, rel=0.001)


def test_many_lines_need_more_each() -> None:
    """Holm's order: 0.05 over the number of lines that are left."""
    assert significant({"a": 0.01, "b": 0.02, "c": 0.03}, 0.95) == {"a", "b", "c"}
    assert significant({"a": 0.01, "b": 0.03, "c": 0.03}, 0.95) == {"a"}
    assert significant({"a": 0.02, "b": 0.5, "c": 0.5}, 0.95) == set()


@pytest.mark.parametrize(
    ("chances", "found"),
    [
        ({"mean": 0.018, "typical": 0.019}, {"mean", "typical"}),  # together: step down would ask 0.01 of the first
        ({"mean": 0.009, "typical": 0.5}, {"mean"}),
        ({"mean": 0.018, "typical": 0.5}, set()),
        ({"mean": 0.3, "typical": 0.5}, set()),
        ({}, set()),
    ],
)
def test_figures_that_go_together_need_not_be_sure_for_two(chances: dict[str, float], found: set[str]) -> None:
    """Hochberg's step up, at a doubt of 2 %."""
    assert significant_together(chances, 0.98) == found
