"""What an image file is, asked of real files."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from yoloscope_hooks import image_files

images = pytest.importorskip("PIL.Image", reason="comes with the extra train")
SIZE = (64, 48)  # width, height


@pytest.mark.parametrize(
    ("name", "saved", "expected"),
    [
        ("a.jpg", {}, ("JPEG", False)),
        ("a.jpg", {"quality": 100}, ("JPEG", False)),
        ("a.jpg", {"quality": 95, "subsampling": 0}, ("JPEG", False)),
        ("a.jpg", {"quality": 100, "subsampling": 0}, ("JPEG", True)),
        ("a.png", {}, ("PNG", False)),
        ("really.png", {"format": "JPEG"}, ("JPEG", False)),
    ],
)
def test_format(tmp_path: Path, name: str, saved: dict[str, Any], expected: tuple[str, bool]) -> None:
    """By its head, not its name; what Ultralytics writes for a corrupt JPEG is told apart from other fine ones."""
    images.effect_noise(SIZE, 90).convert("RGB").save(tmp_path / name, **saved)
    assert image_files.form_of(str(tmp_path / name)) == expected


def test_what_is_no_picture(tmp_path: Path) -> None:
    """A cached array, an empty file, none at all: the ending has to do."""
    for name, form in (("a.npy", "NPY"), ("b.JpG", "JPG"), ("none", "")):
        (tmp_path / name).write_bytes(b"\x93NUMPY")
        assert image_files.form_of(str(tmp_path / name)) == (form, False)
    assert image_files.form_of("/nowhere/c.png") == ("PNG", False)


def test_a_very_large_picture_warns_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow suspects an attack, and Ultralytics has said so already."""
    images.new("L", SIZE).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_IMAGE_PIXELS", 2000)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert image_files.form_of(str(tmp_path / "a.png")) == ("PNG", False)
    assert not said


def test_file_system(tmp_path: Path) -> None:
    """As the system has it mounted; a file that is gone lies nowhere."""
    (tmp_path / "a").touch()
    here = str(tmp_path.resolve())
    mounts = [one for one in psutil.disk_partitions(all=True) if here.startswith(one.mountpoint)]
    mounted = max(mounts, key=lambda one: len(one.mountpoint))
    if Path(mounted.mountpoint).stat().st_dev == tmp_path.stat().st_dev:
        assert image_files.filesystem_of(str(tmp_path / "a")) == mounted.fstype
    assert image_files.filesystem_of("/proc/self/stat") == "proc"
    assert image_files.filesystem_of("/nowhere/c.png") == ""


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (("image", (9000, 12000), (480, 640)), (9000, 12000)),
        (SimpleNamespace(shape=(48, 64, 3)), (48, 64)),
        ((7, True), (None, None)),
        (("image", (0, 5), ()), (None, None)),
        (None, (None, None)),
    ],
)
def test_pixels(result: Any, expected: tuple[int | None, int | None]) -> None:
    """Of the original, not of what it was resized to; of another kind of data set nothing."""
    assert image_files.pixels(result) == expected
