"""What can be shown over time."""

from __future__ import annotations

from yoloscope_exporter import catalog
from yoloscope_exporter.history.courses import ANATOMY, KEPT, OF_GPUS, OF_RANKS, OF_RUN, metrics
from yoloscope_exporter.measures import catalog as measures
from yoloscope_exporter.measures.formula import last, quantile, rate


def test_metrics_of_formulas() -> None:
    """However deep they stand in one."""
    formula = (rate(catalog.TRAIN_IMAGES_TOTAL).total("sum") / last(catalog.TRAIN_EPOCH).total("max")).clamped(most=1)
    assert metrics([formula, quantile(0.5, catalog.TRAIN_STEP_SECONDS)]) == {
        catalog.TRAIN_IMAGES_TOTAL,
        catalog.TRAIN_EPOCH,
        catalog.TRAIN_STEP_SECONDS,
    }


def test_what_is_kept_is_of_the_catalogue() -> None:
    """Names of metrics; nothing that the exporter does not publish."""
    assert set(catalog.BY_NAME) >= KEPT
    assert catalog.TRAIN_PHASE_SECONDS_TOTAL.name in KEPT


def test_a_course_of_a_measures_name_is_that_measure() -> None:
    """One answer to one question: no second formula under a measure's name."""
    for course in (*OF_RUN, *OF_GPUS, *OF_RANKS):
        measure = measures.BY_NAME.get(course.name)
        assert measure is None or course.formula is measure.formula
    assert {course.name for course in (*OF_RANKS, *OF_GPUS)} <= set(measures.BY_NAME)


def test_the_anatomy_is_a_batch() -> None:
    """Seconds, one course for each phase of a step."""
    assert {course.unit for course in ANATOMY} == {"seconds"}
    assert "data_wait" in {course.name for course in ANATOMY}
    assert "validate" not in {course.name for course in ANATOMY}
