"""What is seen of a probe: the batches of each of its ranks, and how far it is."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.tuning.watch import Watch, lasted
from yoloscope_record import catalog
from yoloscope_record.file_format import Identity, Row
from yoloscope_record.paths import run_directory
from yoloscope_record.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _record(records: Path, identity: Identity, batches: int, images: float = 16.0) -> None:
    """A record with so many batches, one a second, that has ended: a process must not read what it writes."""
    directory = run_directory(records, identity.run)
    with closing(Writer(directory / identity.filename, identity)) as writer:
        who = (identity.run, identity.rank)
        numbers = {
            writer.slot(catalog.TRAIN_BATCHES_TOTAL, *who): float(batches),
            writer.slot(catalog.TRAIN_IMAGES_TOTAL, *who): batches * images,
            writer.slot(catalog.TRAIN_UP, *who): 1.0,
        }
        for batch in range(batches):
            writer.append(Row(1000.0 + batch, 0.1, 0.9, 0.0, 0.0, 0.0, 1.0, 0.0))
        writer.begin()
        for slot, value in numbers.items():
            writer.values[slot] = value
        writer.set_state("finished")
        writer.count()
        writer.end(time.time())


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with closing(Watch(tmp_path)) as one:
        yield one


def test_the_batches_of_each_rank(watch: Watch, tmp_path: Path) -> None:
    """In the order of ranks; neither workers nor another run are any."""
    for rank, batches in (("0", 5), ("10", 3), ("2", 4)):
        _record(tmp_path, Identity("probe-1", rank), batches)
    _record(tmp_path, Identity("probe-1", "0", "worker", "1"), 7)
    _record(tmp_path, Identity("probe-2", "0"), 9)
    rows = watch.rows("probe-1")
    assert [len(one) for one in rows] == [5, 4, 3]
    assert lasted(rows[0]) == 4.0
    assert watch.rows("probe-3") == []
    assert lasted([]) == 0.0


def test_images_are_those_of_all_ranks(watch: Watch, tmp_path: Path) -> None:
    """A mean over batches, of which an epoch's last may be smaller; unknown before the first."""
    assert watch.images_of_a_batch("probe-1") is None
    _record(tmp_path, Identity("probe-1", "0"), 5)
    _record(tmp_path, Identity("probe-1", "1"), 5, images=12.0)
    watch.look()
    assert watch.images_of_a_batch("probe-1") == 28.0
    assert watch.stage("probe-1") == "finished"
    assert watch.stage("probe-2") == ""
    assert watch.signals("probe-2", 0.0) is None
