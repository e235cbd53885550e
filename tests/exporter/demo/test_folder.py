"""The demo deletes what an earlier demo has made, and nothing else."""

from __future__ import annotations

import os
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
    with pytest.raises(folder.OccupiedError), folder.prepared(tmp_path):
        pass
    assert all(path.read_text() == "mine" for path in own)
    assert len(list(tmp_path.iterdir())) == len(own)


def test_an_earlier_demo_is_replaced(tmp_path: Path) -> None:
    """Its records and its recording; what else there is stays."""
    with folder.prepared(tmp_path / "new" / "demo") as root:
        write(root / "records" / "run" / "a", root / "demo.om", root / "photos" / "data.yaml")
    with folder.prepared(root) as again:
        assert again == root
    assert not list((root / "records").iterdir())
    assert not (root / "demo.om").exists()
    assert (root / "photos" / "data.yaml").exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither to what is deleted, nor to a marker elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    with folder.prepared(tmp_path / "demo") as root:
        pass
    write(elsewhere / "a", elsewhere / "om")
    folder.remove(root / "records")
    (root / "records").symlink_to(elsewhere)
    (root / "demo.om").symlink_to(elsewhere / "om")
    with folder.prepared(root):
        pass
    assert (root / "records").is_dir()
    assert not (root / "records").is_symlink()
    assert {path.name for path in elsewhere.iterdir()} == {"a", "om"}
    (elsewhere / folder.MARKER).symlink_to(root / folder.MARKER)
    with pytest.raises(folder.OccupiedError), folder.prepared(elsewhere):
        pass


def test_two_demos_in_one_folder(tmp_path: Path) -> None:
    """The second one leaves the records of the first, which trains, where they are."""
    with folder.prepared(tmp_path / "demo") as root:
        write(root / "records" / "run" / "a", root / "demo.om")
        with pytest.raises(folder.OccupiedError, match="another demo"), folder.prepared(root):
            pass
        assert (root / "records" / "run" / "a").exists()
        assert (root / "demo.om").exists()
    with folder.prepared(root):
        assert not list((root / "records").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
def test_a_folder_that_another_user_has_prepared(tmp_path: Path) -> None:
    """With its marker, and links where a demo writes: what they lead to would be overwritten."""
    root, mine = tmp_path / "demo-output", tmp_path / ".bashrc"
    write(root / folder.MARKER, mine)
    (root / "exporter.log").symlink_to(mine)
    os.chown(root, 61002, 61002)
    with pytest.raises(folder.OccupiedError, match="another user"), folder.prepared(root):
        pass
    assert mine.read_text() == "mine"
