"""Images' sizes, and with them those of caches, are what Ultralytics finds by decoding."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_hooks import image_sizes
from yoloscope_record import catalog
from yoloscope_record.file_format import Identity
from yoloscope_record.paths import run_directory
from yoloscope_record.reader import Reader
from yoloscope_record.writer import Writer

from tests import training

if TYPE_CHECKING:
    from pathlib import Path

WHO = ("run", "0")
SIZES = ((48, 64), (200, 100), (33, 77), (64, 64))  # height, width


def images(folder: Path, task: str = "detect") -> Path:
    """A data set of images of several sizes."""
    cv2 = pytest.importorskip("cv2", reason="needs the extra train")
    numpy = pytest.importorskip("numpy")
    data = training.make_dataset(folder / "data", images=len(SIZES), task=task)
    for path, (height, width) in zip(sorted((folder / "data").rglob("train/**/*.jpg")), SIZES, strict=True):
        cv2.imwrite(str(path), numpy.zeros((height, width, 3), numpy.uint8))
    return data


def dataset(folder: Path, *, rect: bool = False, imgsz: int = 64) -> Any:
    """Training images as the installed Ultralytics loads them."""
    loaded = pytest.importorskip("ultralytics.data.dataset", reason="needs the extra train")
    content = json.loads(images(folder).read_text())
    names = {int(index): name for index, name in content["names"].items()}
    path = str(folder / "data" / "images" / "train")
    return loaded.YOLODataset(path, data={"names": names, "channels": 3}, task="detect", imgsz=imgsz, rect=rect)


@pytest.mark.parametrize("rect", [False, True])
@pytest.mark.parametrize("imgsz", [64, 96])
def test_a_ram_cache_takes_what_ultralytics_decodes(tmp_path: Path, rect: bool, imgsz: int) -> None:  # noqa: FBT001
    """From labels, and with rect, which takes sizes out of them, from the files' heads."""
    found = dataset(tmp_path, rect=rect, imgsz=imgsz)
    needs = image_sizes.needs(found, "detect")
    assert needs is not None
    assert needs.ram == sum(found.load_image(index)[0].nbytes for index in range(len(SIZES)))
    assert needs.disk == sum(3 * height * width for height, width in SIZES)


def test_classification_keeps_images_as_they_are(tmp_path: Path) -> None:
    """In memory as on disk."""
    loaded = pytest.importorskip("ultralytics.data.dataset", reason="needs the extra train")
    cfg = pytest.importorskip("ultralytics.cfg")
    folder = images(tmp_path, "classify")
    found = loaded.ClassificationDataset(str(folder / "train"), cfg.get_cfg(overrides={"imgsz": 32}))
    needs = image_sizes.needs(found, "classify")
    assert needs is not None
    assert needs.ram == needs.disk == sum(found.imread(sample[0]).nbytes for sample in found.samples)


def stored(trainer: Any, folder: Path) -> dict[str, float]:
    """What is in the record: by cache, and the room as `room`."""
    identity = Identity(*WHO)
    path = run_directory(folder, identity.run) / identity.filename
    path.parent.mkdir(parents=True)
    writer = Writer(path, identity, {})
    writer.begin()
    image_sizes.store(trainer, writer, WHO)
    writer.end(1.0)
    writer.close()  # a process may not read what it writes
    record = Reader(path).read()
    needed = catalog.TRAIN_CACHE_NEEDED_BYTES, catalog.TRAIN_CACHE_DISK_AVAILABLE_BYTES
    return {(*labels[2:], "room")[0]: value for metric, labels, value in record.samples if metric in needed}


def trainer_of(train: Any, val: Any, task: str = "detect") -> Any:
    """As much of a trainer as is asked."""
    loaders = {"train_loader": SimpleNamespace(dataset=train), "test_loader": SimpleNamespace(dataset=val)}
    return SimpleNamespace(args=SimpleNamespace(task=task), **loaders)


def of_size(folder: Path, count: int) -> Any:
    """A data set of `count` images of 32 x 64."""
    labels = [{"shape": (32, 64)}] * count
    return SimpleNamespace(labels=labels, im_files=[str(folder / "0.jpg")] * count, imgsz=64)


def test_both_data_sets_are_cached(tmp_path: Path) -> None:
    """Training's and validation's; a sample of a large one stands for all of it."""
    found = stored(trainer_of(of_size(tmp_path, 5000), of_size(tmp_path, 100)), tmp_path / "records")
    assert found["ram"] == found["disk"] == 5100 * 3 * 32 * 64
    free = os.statvfs(tmp_path)
    assert found["room"] == pytest.approx(free.f_bavail * free.f_frsize, rel=0.1)


def test_a_folder_without_write_permission_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics skips the cache there."""
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert stored(trainer_of(of_size(tmp_path, 4), None), tmp_path / "records")["room"] == 0


@pytest.mark.parametrize(
    ("train", "task"), [(SimpleNamespace(), "detect"), (SimpleNamespace(labels=[{}], im_files=[]), "detect")]
)
def test_data_sets_of_another_kind_have_no_size(tmp_path: Path, train: Any, task: str) -> None:
    """A custom data set is no error."""
    assert stored(trainer_of(train, None, task), tmp_path / "records") == {}


def test_a_task_that_is_not_known_has_no_size(tmp_path: Path) -> None:
    """Depth and semantic data sets resize otherwise."""
    assert "ram" not in stored(trainer_of(of_size(tmp_path, 4), None, "depth"), tmp_path / "records")


def test_slow_storage_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read until then stands for the rest."""
    found = dataset(tmp_path, rect=True)
    monkeypatch.setattr(image_sizes, "SECONDS", -1.0)
    assert image_sizes.needs(found, "detect") is None
