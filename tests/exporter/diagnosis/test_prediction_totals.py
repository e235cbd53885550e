"""All that was seen of a run that predicts, as one window; and its verdicts, where no window could judge it."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog as c
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.diagnosis.faults import Faults
from yoloscope_exporter.diagnosis.prediction_totals import totals, verdicts
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.measures.series import Store

from tests.exporter.diagnosis.test_predictions import BASE, RUN, samples

PHASES = {**BASE, "source": 0.03}


def store(seconds: range, *, began: float, state: str = "predict", at: float = 1000.0) -> Store:
    """A run that has predicted for so many seconds at each moment, and began `began`."""
    made = Store()
    start = Sample(c.PREDICT_START_TIMESTAMP_SECONDS, RUN, began)
    for second in seconds:
        made.add(at + second, [*samples(float(second), PHASES, state=state), start])
    return made


def images(made: Store) -> float | None:
    """Images of the window."""
    window = totals(made, RUN[0])
    assert window is not None
    return window.increase(c.PREDICT_IMAGES_TOTAL, *RUN)


def test_a_run_that_began_here_counts_from_zero() -> None:
    """Though it was first seen three seconds later."""
    made = store(range(3, 20), began=1001.0)
    made.first = 1000.0  # something else was sampled before
    assert images(made) == pytest.approx(19 / sum(PHASES.values()))


def test_of_one_that_began_before_only_what_was_seen_counts() -> None:
    """The figures of a recording are of its time."""
    assert images(store(range(100, 120), began=900.0)) == pytest.approx(19 / sum(PHASES.values()))


def test_what_is_born_later_counts_from_zero() -> None:
    """Its first boxes were found when somebody was looking already."""
    made = store(range(100, 120), began=900.0)
    made.add_one(1119.5, Sample(c.PREDICT_ABANDONED_TOTAL, RUN, 2.0))
    window = totals(made, RUN[0])
    assert window is not None
    assert window.increase(c.PREDICT_ABANDONED_TOTAL, *RUN) == 2.0


def test_one_that_was_never_seen_alive_is_known_by_its_totals() -> None:
    """It had ended before anybody looked: what it did is what there is to report."""
    made = store(range(40, 42), began=100.0, state="finished")
    assert images(made) == pytest.approx(41 / sum(PHASES.values()))
    (found,) = verdicts([window for window in [totals(made, RUN[0])] if window], DEFAULTS, Faults()).values()
    assert [verdict.name for verdict in found] == ["source_bound"]


def test_of_facts_that_change_the_latest_count() -> None:
    """Files first, a video then: what is told is of the video."""
    made = Store()
    for second in range(20):
        made.add(1000.0 + second, samples(float(second), PHASES, source="files" if second < 10 else "video"))
    window = totals(made, RUN[0])
    assert window is not None
    assert {labels[2 + c.PREDICT_FACTS.index("source")] for labels in window.labels(c.PREDICT_RUN_INFO)} == {"video"}


def test_no_window_of_another_run() -> None:
    """A store that does not have it has nothing to say."""
    assert totals(store(range(5), began=1000.0), "other") is None


@pytest.mark.parametrize(("seconds", "expected"), [(3, ["source_bound"]), (0.2, [])])
def test_a_short_prediction_is_judged_by_all_of_it(seconds: float, expected: list[str]) -> None:
    """Over before a verdict could hold for long enough: many are. Of fewer than five batches nothing is said."""
    made = Store()
    began = Sample(c.PREDICT_START_TIMESTAMP_SECONDS, RUN, 1000.5)
    for second in range(60):
        made.add(1000.0 + second, [Sample(c.TRAIN_UP, ("other", "0"), 1.0)])
    made.add(1062.0, [*samples(seconds / 2, PHASES), began])
    made.add(1063.0, [*samples(seconds, PHASES, state="finished"), began])
    (told,) = (one for one in diagnose_range([made]).diagnoses if one.run == RUN[0])
    assert [verdict.name for verdict in told.verdicts] == expected


def test_nothing_is_judged_of_an_idle_hour_of_a_long_run() -> None:
    """What it did before the time range is no part of it."""
    made = Store()
    began = Sample(c.PREDICT_START_TIMESTAMP_SECONDS, RUN, 10.0)
    for second in range(90):
        made.add(1000.0 + second, [*samples(500.0, PHASES), began])
    (told,) = diagnose_range([made]).diagnoses
    assert told.verdicts == ()


def test_the_gpu_that_predicts_is_in_it() -> None:
    """Busy for a fifth of a prediction of three seconds, whatever other GPUs did; absent if it is not known."""
    made = Store()
    for second in range(4):
        seen = samples(float(second), BASE, busy=0.2, gpu_uuid="GPU-9")
        made.add(1000.0 + second, [*seen, Sample(c.GPU_BUSY_SECONDS_TOTAL, ("1",), float(second))])
    window = totals(made, RUN[0])
    assert window is not None
    assert window.rates(c.GPU_BUSY_SECONDS_TOTAL) == {("0",): pytest.approx(0.2)}
    (found,) = verdicts([window], DEFAULTS, Faults()).values()
    assert "small_inference_batch" in [verdict.name for verdict in found]
    without = totals(store(range(4), began=1000.0), RUN[0])
    assert without is not None
    assert not without.rates(c.GPU_BUSY_SECONDS_TOTAL)


def test_the_gpu_is_known_though_samples_are_rare() -> None:
    """Every 15 s, as a Prometheus takes them: the facts are those of the last one, ten seconds before the end."""
    made = Store()
    for second in (0, 15, 30):
        made.add(1000.0 + second, samples(float(second), BASE, busy=0.2, gpu_uuid="GPU-9"))
    made.add_one(1030.0, Sample(c.PREDICT_END_TIMESTAMP_SECONDS, RUN, 1040.0))
    window = totals(made, RUN[0])
    assert window is not None
    assert window.rates(c.GPU_BUSY_SECONDS_TOTAL) == {("0",): pytest.approx(0.2)}
