"""Data sets, generated: nothing can be downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.demo import photos

from tests.training import make_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gpu.kit.cases import Case

IMAGES, VALIDATION, SIZE = 1024, 64, 640
PHOTOS, DIFFERENT = 1600, 24  # so many of them are files of their own


def of(case: Case, work: Path) -> Path:
    """What `data=` takes for a case, written on first use."""
    root = work / "data" / case.data
    yaml = root if case.task == "classify" else root / "data.yaml"
    if root.exists():
        return yaml
    if case.data == "photos":
        for _ in photos.write(root, train=DIFFERENT, val=4):
            pass
        _copies(root, "train", "000", PHOTOS - DIFFERENT)
    elif case.data == "validation":
        make_dataset(root, images=64, size=SIZE)
        _copies(root, "val", "0000", 1500)
    else:
        make_dataset(root, images=IMAGES, size=SIZE, task=case.task)
        for image in sorted(root.glob("val/*/*.jpg") if case.task == "classify" else root.glob("images/val/*.jpg")):
            if int(image.stem) >= VALIDATION:
                image.unlink()
    return yaml


def _copies(root: Path, split: str, name: str, count: int) -> None:
    """So many more links to one image and its label."""
    for folder, suffix in (("images", "jpg"), ("labels", "txt")):
        first = root / folder / split / f"{name}.{suffix}"
        for index in range(count):
            (root / folder / split / f"more{index:04d}.{suffix}").hardlink_to(first)
