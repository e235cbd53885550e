"""Where records lie: one directory for each run, below one that nobody can exchange."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_record import paths
from yoloscope_record.file_format import RecordError

from tests.trainer_hooks.yoloscope_record.records import EACH_EXAMPLE_ITS_OWN_FILE

printable = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40)


@EACH_EXAMPLE_ITS_OWN_FILE
@given(one=printable, other=printable)
def test_names_that_differ_lie_apart(tmp_path: Path, one: str, other: str) -> None:
    """Two runs share a directory only if they share the name; Chinese names do not fall together."""
    assert (paths.run_directory(tmp_path, one) == paths.run_directory(tmp_path, other)) == (one == other)


def test_record_directory_exchanged_for_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lays a link in the place of the directory just made does not get its target opened to all."""
    private, path = tmp_path / "private", tmp_path / "records"
    private.mkdir(mode=0o700)
    mkdir = Path.mkdir

    def exchanged(self: Path, *arguments: Any, **options: Any) -> None:
        mkdir(self, *arguments, **options)
        if self == path:
            path.rmdir()
            path.symlink_to(private)

    monkeypatch.setattr(Path, "mkdir", exchanged)
    with pytest.raises(RecordError, match="records"):
        paths.make_directory(path)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_record_directory_is_open_to_all_and_sticky(tmp_path: Path) -> None:
    """It is made with mode 1777, and a link in its place is refused."""
    made = paths.make_directory(tmp_path / "records")
    assert made.stat().st_mode & 0o7777 == 0o1777
    link = tmp_path / "link"
    link.symlink_to(made)
    with pytest.raises(RecordError, match="link"):
        paths.make_directory(link)


def test_unwritable_directory_is_named(tmp_path: Path) -> None:
    """What cannot be made is named, with the way out."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RecordError, match="YOLOSCOPE_DIR"):
        paths.make_directory(file / "records")


def test_record_files(tmp_path: Path) -> None:
    """Those of the kinds that are asked for, of all runs and owners or of one; none where there is no directory."""
    run = paths.make_own(paths.make_directory(tmp_path / "records")) / "run"
    run.mkdir()
    for name in ("rank-0.rec", "worker-0-1.rec", "predict-0.rec", "rank-0.stacks"):
        (run / name).touch()
    found = paths.record_files(tmp_path / "records", ("rank", "predict"))
    assert sorted(path.name for path in found) == ["predict-0.rec", "rank-0.rec"]
    assert list(paths.record_files(tmp_path / "records", ("rank",), owner=run.stat().st_uid + 1)) == []
    assert list(paths.record_files(tmp_path / "nowhere", ("rank",))) == []


def test_chosen_directory_wins(tmp_path: Path) -> None:
    """YOLOSCOPE_DIR beats the default."""
    assert paths.directory({"YOLOSCOPE_DIR": str(tmp_path)}) == tmp_path
