"""What is done with every batch, and what with several at a time."""

from __future__ import annotations

import math
import os
import statistics
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yoloscope_hooks
from yoloscope_hooks import cuda_memory
from yoloscope_record.file_format import ROWS_AHEAD
from yoloscope_record.reader import Reader, read_ring

from tests.trainer_hooks.loop import Loop, Workers

if TYPE_CHECKING:
    from yoloscope_record.reader import Record

BATCHES = 2 * ROWS_AHEAD + 3


def record(loop: Loop) -> tuple[Path, Record]:
    """Train, and read what was recorded."""
    yoloscope_hooks.attach(loop).train()
    (path,) = Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")
    return path, Reader(path).read()


def test_memory_is_not_asked_for_with_every_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch takes long to answer: every 64 batches, and at an epoch's end. Between, a row does not know."""
    asked: list[int] = []

    def batch() -> tuple[float, float]:
        asked.append(len(asked))
        return 100.0 + len(asked), 200.0

    memory = SimpleNamespace(batch=batch, epoch=batch)
    monkeypatch.setattr(cuda_memory, "watch", lambda *_: memory)
    path, _ = record(Loop(tmp_path, batches=BATCHES))
    known = [row.allocated_bytes for row in read_ring(path)]
    assert [number for number in known if math.isfinite(number)] == [101.0, 102.0]
    assert (known[ROWS_AHEAD - 1], known[2 * ROWS_AHEAD - 1]) == (101.0, 102.0)
    assert len(asked) == 3


@pytest.mark.parametrize("images", [[1, 2, 3], SimpleNamespace(shape=(3, 1))])
def test_images_are_counted(tmp_path: Path, images: Any) -> None:
    """Tensors by their shape, other things by their length."""
    loop = Loop(tmp_path, batches=BATCHES)
    loop.preprocess_batch = lambda _: {"img": images}  # type: ignore[method-assign]
    _, seen = record(loop)
    found = {sample.metric.name: sample.value for sample in seen.samples}
    assert found["yoloscope_train_images_total"] == 3 * BATCHES


def test_rows_are_in_the_order_of_time(tmp_path: Path) -> None:
    """A reader takes the first row that is not younger than the one before for the oldest."""
    path, seen = record(Loop(tmp_path, epochs=3, batches=BATCHES))
    times = [row.time for row in read_ring(path)]
    assert len(times) == 3 * BATCHES
    assert sorted(set(times)) == times
    assert seen.created < times[0]
    assert times[-1] < seen.updated


def test_looking_at_the_queue_is_our_time(tmp_path: Path) -> None:
    """The hooks tell what they take, in the fetch as well, and nobody waits for the loader meanwhile."""
    loop = Loop(tmp_path, batches=7)
    loop.train_loader.iterator = Workers()
    loop.train_loader.iterator._data_queue.qsize = lambda: time.sleep(0.05) or 7
    path, seen = record(loop)
    found = {sample.metric.name: sample.value for sample in seen.samples}
    assert found["yoloscope_train_hook_seconds_total"] >= 7 * 0.05  # type: ignore[operator]
    rows = read_ring(path)
    assert [(row.worker, row.queue_depth) for row in rows] == [(0.0, 7.0)] * 7
    assert statistics.median(row.data_wait_seconds for row in rows[1:]) < 0.05  # in any of them others may have the CPU
