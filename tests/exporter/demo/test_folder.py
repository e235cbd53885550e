"""The demo deletes what an earlier demo has made, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.demo import folder

if TYPE_CHECKING:
    from pathlib import Path


def write(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")


def test_a_folder_with_files_of_others_is_left_alone(tmp_path: Path) -> None:
    """Whatever the files are called."""
    own = [tmp_path / name for name in ("records/a", "prometheus/data", "demo.om", "report.md")]
    write(*own)
    with pytest.raises(folder.OccupiedError):
        folder.prepare(tmp_path)
    assert all(path.read_text() == "mine" for path in own)
    assert len(list(tmp_path.iterdir())) == len(own)


def test_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    """Its records and its recording; what else there is stays."""
    root = folder.prepare(tmp_path / "new" / "demo")
    write(root / "records" / "run" / "a", root / "demo.om", root / "photos" / "data.yaml")
    assert folder.prepare(root) == root
    assert not list((root / "records").iterdir())
    assert not (root / "demo.om").exists()
    assert (root / "photos" / "data.yaml").exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither to what is deleted, nor to a marker elsewhere."""
    root, elsewhere = folder.prepare(tmp_path / "demo"), tmp_path / "elsewhere"
    write(elsewhere / "a", elsewhere / "om")
    folder.remove(root / "records")
    (root / "records").symlink_to(elsewhere)
    (root / "demo.om").symlink_to(elsewhere / "om")
    folder.prepare(root)
    assert (root / "records").is_dir()
    assert not (root / "records").is_symlink()
    assert {path.name for path in elsewhere.iterdir()} == {"a", "om"}
    (elsewhere / folder.MARKER).symlink_to(root / folder.MARKER)
    with pytest.raises(folder.OccupiedError):
        folder.prepare(elsewhere)
