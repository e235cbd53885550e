"""Whether a difference is one."""

from __future__ import annotations

import random

import pytest
from yoloscope_exporter.reports.significance import NOT_SIGNIFICANT, certainty, student


def test_certainty_is_right_about_as_often_as_it_says() -> None:
    """Of 400 pairs without a difference, about 5 % are called different; a difference of three sigma nearly always."""
    chance = random.Random(3)

    def slices(mean: float) -> list[float]:
        return [chance.gauss(mean, 1) for _ in range(10)]

    false = sum(certainty(slices(0), slices(0)) != NOT_SIGNIFICANT for _ in range(400)) / 400
    found = sum(certainty(slices(0), slices(3)) != NOT_SIGNIFICANT for _ in range(400)) / 400
    assert 0.02 < false < 0.09
    assert found > 0.99
    assert certainty([1, 2], [1, 2, 3]) == ""


@pytest.mark.parametrize(("freedom", "value"), [(4, 2.776), (9, 2.262), (18, 2.101), (200, 1.972)])
def test_quantiles_of_student(freedom: float, value: float) -> None:
    """Against the tables."""
    assert student(freedom, 0.975) == pytest.approx(value, rel=0.01)
