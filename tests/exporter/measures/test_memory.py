"""When memory is full, by formulas over samples of which the end is known."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog as c
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.measures import memory
from yoloscope_exporter.measures.evaluate import evaluate
from yoloscope_exporter.measures.series import Store, Window

RANK = ("run", "0")
SECONDS = 300


def seconds_left(done: float, workers: float | None) -> list[float]:
    """Of a first epoch in which memory falls by 1 MB a second, after so many batches at the window's start."""
    store = Store("node")
    for second in range(0, SECONDS + 1, 5):
        samples = [
            Sample(c.MEMORY_AVAILABLE_BYTES, (), 1e9 - 1e6 * second),
            Sample(c.TRAIN_EPOCH_BATCHES, RANK, 1e5),
            Sample(c.TRAIN_BATCHES_TOTAL, RANK, done + second),
        ]
        store.add(
            100.0 + second, samples + [Sample(c.TRAIN_WORKERS, RANK, each) for each in (workers,) if each is not None]
        )
    found = evaluate(memory.HOST_FIRST_SECONDS_LEFT.formula, [Window(store, 100.0, 100.0 + SECONDS, 5.0)])
    return list(found.values())


@pytest.mark.parametrize("workers", [None, 0, 1])
def test_the_main_process_has_the_buffers_where_no_worker_has_them(workers: float | None) -> None:
    """As the diagnosis counts (`signals.memory`): eight batches for one process that loads, after the first twenty."""
    assert seconds_left(27, workers) == []
    assert seconds_left(29, workers) == pytest.approx([700], rel=0.1)


def test_each_worker_has_buffers() -> None:
    """Four of them have 32 batches."""
    assert seconds_left(51, 4) == []
    assert len(seconds_left(53, 4)) == 1
