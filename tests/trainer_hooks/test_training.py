"""Real trainings, watched: what is in the record is what happened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.catalog import HistogramValue
from yoloscope_hooks.record import Reader, Record, read_ring

from tests.training import VERSIONS, Finished, make_dataset, train

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.train


@dataclass(frozen=True)
class Watched:
    """A finished training and its records by file name."""

    done: Finished
    records: Mapping[str, Record]
    folder: Path

    def value(self, name: str, *labels: str, record: str = "rank-0.rec") -> Any:
        """Value of one series, None if it is not set."""
        for sample in self.records[record].samples:
            if sample.metric.name == f"yoloscope_{name}" and sample.labels[2:] == labels:
                return sample.value
        return None

    def phases(self, record: str = "rank-0.rec") -> dict[str, float]:
        """Seconds by phase."""
        samples = self.records[record].samples
        return {s.labels[2]: s.value for s in samples if s.metric.name == "yoloscope_train_phase_seconds_total"}  # type: ignore[misc]


def watch(data: Path, folder: Path, **options: Any) -> Watched:
    """Train, see that nothing went wrong, and read the records."""
    done = train(data, folder / "runs", **options)
    assert done.code == 0, done.output
    assert "yoloscope:" not in done.output, done.output
    base = Path(os.environ["YOLOSCOPE_DIR"])
    (run,) = base.iterdir()
    return Watched(done, {path.name: Reader(path).read() for path in sorted(run.iterdir())}, run)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images: at four a batch, the last batch of an epoch has two."""
    return make_dataset(tmp_path_factory.mktemp("data"), images=10)


def check_single(seen: Watched, epochs: int) -> None:
    """What holds for every training of one process, three batches an epoch and four images a batch."""
    record = seen.records["rank-0.rec"]
    result = seen.done.result()
    assert record.state == "finished"
    assert not record.alive
    assert seen.value("train_hook_errors_total") == 0
    assert seen.value("train_batches_total") == result["batches"] == 3 * epochs
    assert seen.value("train_images_total") == 10 * epochs
    assert (seen.value("train_epoch"), seen.value("train_epochs")) == (epochs, epochs)
    assert (seen.value("train_epoch_batches"), seen.value("train_batch_size")) == (3, 4)
    assert record.facts["ultralytics"] == result["version"]
    for name in ("train_data_wait_seconds", "train_step_seconds"):
        histogram = seen.value(name)
        assert isinstance(histogram, HistogramValue)
        assert sum(histogram.counts) == 3 * epochs
    assert seen.value("train_loss", "box_loss") >= 0
    assert 0 < seen.value("train_learning_rate", "pg0") < 1
    assert seen.value("train_metric", "metrics/mAP50(B)") is not None
    assert len(read_ring(seen.folder / "rank-0.rec")) == 3 * epochs


def check_sum(seen: Watched, record: str = "rank-0.rec") -> None:
    """The phases add up to wall time, from start to end."""
    wall = seen.value("train_end_timestamp_seconds", record=record) - seen.value(
        "train_start_timestamp_seconds", record=record
    )
    assert sum(seen.phases(record).values()) == pytest.approx(wall, rel=0.01)


@pytest.mark.parametrize("version", VERSIONS)
def test_attach(data: Path, tmp_path: Path, version: str) -> None:
    """attach() records every batch, on every supported version, and the phases add up."""
    seen = watch(data, tmp_path, version=version, hooks="attach")
    check_single(seen, epochs=1)
    check_sum(seen)


@pytest.mark.parametrize("version", VERSIONS)
def test_run(data: Path, tmp_path: Path, version: str) -> None:
    """`yoloscope run --` does the same without a change in the code, and the loss is the same to the bit as without."""
    seen = watch(data, tmp_path, version=version, hooks="run")
    check_single(seen, epochs=1)
    without = train(data, tmp_path / "plain", version=version, hooks="none")
    assert without.result()["losses"] == seen.done.result()["losses"]
