"""Where Ultralytics writes, by its settings."""

from __future__ import annotations

import json
from pathlib import Path

from yoloscope_exporter.checks import folders


def settings(folder: Path, content: object) -> None:
    """Write what Ultralytics keeps."""
    (folder / "Ultralytics").mkdir(parents=True)
    (folder / "Ultralytics/settings.json").write_text(json.dumps(content), encoding="utf-8")


def test_by_the_settings_of_ultralytics(tmp_path: Path) -> None:
    """The variable goes before the home directory; a folder that is not there yet is made in one that is."""
    runs, home = tmp_path / "disk", tmp_path / "home"
    runs.mkdir()
    settings(home / ".config", {"runs_dir": str(runs / "a/runs"), "datasets_dir": str(runs / "datasets")})
    assert folders.written({}, home, tmp_path) == [runs]
    settings(tmp_path / "other", {"runs_dir": str(home)})
    assert folders.written({"YOLO_CONFIG_DIR": str(tmp_path / "other")}, home, tmp_path) == [home]


def test_each_disk_once(tmp_path: Path) -> None:
    """Data sets on another file system are looked at, too."""
    settings(tmp_path / ".config", {"runs_dir": str(tmp_path), "datasets_dir": "/proc/self"})
    assert folders.written({}, tmp_path, tmp_path) == [tmp_path, Path("/proc/self")]


def test_before_the_first_start(tmp_path: Path) -> None:
    """And where the settings are damaged: the working directory."""
    assert folders.written({}, tmp_path, tmp_path) == [tmp_path]
    settings(tmp_path / ".config", ["no", "mapping"])
    assert folders.written({}, tmp_path, tmp_path) == [tmp_path]
