"""What is typical of a window, beside what happens once and what comes in bursts."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.reading import PARTS, Reading
from yoloscope_exporter.measures.series import Store, Window

RANK = ("run", "0")


def reading(*waits: float) -> Reading:
    """Six parts of ten seconds, of which so many each went into waiting for data, and the rest into computing."""
    store, waited, computed = Store(), 0.0, 0.0
    for second in range(10 * len(waits) + 1):
        values = {"data_wait": waited, "forward": computed}
        named = [Sample(catalog.TRAIN_PHASE_SECONDS_TOTAL, (*RANK, name), value) for name, value in values.items()]
        store.add(100.0 + second, [Sample(catalog.TRAIN_UP, RANK, 1.0), *named])
        share = waits[min(second // 10, len(waits) - 1)] / 10
        waited, computed = waited + share, computed + 1 - share
    return Reading(Window(store, 100.0, 100.0 + 10 * len(waits)))


@pytest.mark.parametrize(
    ("waits", "typical"),
    [
        ((3, 3, 3, 3, 3, 3), 0.3),
        ((0, 0, 9, 0, 0, 0), 0.0),  # once
        ((0, 9, 0, 0, 9, 0), 0.18),  # in bursts, which the median overlooks
        ((9, 0, 9, 0, 9, 0), 0.45),
    ],
)
def test_what_comes_in_bursts_is_typical_and_what_came_once_is_not(waits: tuple[int, ...], typical: float) -> None:
    """The mean of all parts but the largest, or the median."""
    assert len(waits) == PARTS
    assert reading(*waits).about(run="run", rank="0").typical(training.DATA_WAIT) == pytest.approx(typical, abs=0.02)


def test_usual_is_the_median_of_parts_that_are_enough() -> None:
    """Two parts have no median to speak of."""
    assert reading(0, 9, 0, 0, 9, 0).about(run="run", rank="0").usual(training.DATA_WAIT) == pytest.approx(
        0.0, abs=0.01
    )
    assert reading(0).about(run="other", rank="0").usual(training.DATA_WAIT) is None
