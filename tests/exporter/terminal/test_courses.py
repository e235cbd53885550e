"""What sparklines are drawn from."""

from __future__ import annotations

import math

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.measures import training
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.terminal.courses import PARTS, Courses, drawn

from tests.recordings.model import Plan, play


def test_a_measure_part_by_part() -> None:
    """Unknown before the run began, and as the whole window says after it."""
    store = play(Plan(epochs=1, batches=300, end="running"), 1.0)
    window = Window(store, store.last - 300, store.last)
    images = Courses(window).measure(training.IMAGES, run="train/yolo11m", rank="0")
    assert len(images) == PARTS
    known = [value for value in images if math.isfinite(value)]
    assert 3 <= len(known) < PARTS
    assert not math.isfinite(images[0])
    assert all(50 < value < 100 for value in known)  # 16 images in 0.21 s


def test_a_gauge_by_its_highest_points() -> None:
    """A peak between two moments that are drawn is not lost."""
    store = Store()
    for time in range(100):
        store.add(time, [Sample(catalog.GPU_UTILIZATION_RATIO, ("0",), 0.9 if time == 52 else 0.1)])
    values = Courses(Window(store, 0.0, 99.0)).gauge(catalog.GPU_UTILIZATION_RATIO, "0")
    assert values[10] == 0.9
    assert sum(value == 0.9 for value in values) == 1
    assert all(map(math.isnan, Courses(Window(store, 0.0, 99.0)).gauge(catalog.GPU_UTILIZATION_RATIO, "1")))


def test_a_sparkline_keeps_its_width() -> None:
    """Spaces where nothing is known, so that times stand below one another."""
    assert drawn([math.nan] * PARTS).plain == " " * PARTS
    assert drawn([math.nan] * 10 + [1.0] * 10, width=10).plain == " " * 5 + "█" * 5
