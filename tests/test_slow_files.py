"""Slow files planted among the images of a real training, and what the commands tell of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main
from yoloscope_exporter.recordings import postmortem

from tests.training import make_dataset, train

#: A file that is slow to read, as from far away: computing it takes no longer than any other.
FAR = """
import time
from ultralytics.data import base
plain = base.imread
def imread(path, *arguments, **named):
    if "0003" in str(path) and "/train/" in str(path):
        time.sleep(0.6)
    return plain(path, *arguments, **named)
base.imread = imread
"""


@pytest.mark.train
@pytest.mark.slow
def test_planted_files_are_named_with_the_reason(tmp_path: Path) -> None:
    """A large PNG, a JPEG that Ultralytics repairs, one that is slow to read: in text, JSON, Markdown and HTML."""
    data = make_dataset(tmp_path / "data", images=24)
    folder = (tmp_path / "data" / "images" / "train").resolve()
    _plant(folder)
    done = train(data, tmp_path / "runs", workers=2, epochs=3, everywhere=FAR)
    assert done.code == 0, done.output
    (run,) = postmortem.runs(Path(os.environ["YOLOSCOPE_DIR"]))
    text = _printed("diagnose", "--black-box", run, "--verbose")
    png, repaired, _ = (_line(text, folder / name) for name in ("0001.png", "0002.jpg", "0003.jpg"))
    assert "; 3000 x 2500 px, PNG, " in png
    assert "; 2400 x 2400 px, JPEG, " in repaired
    assert repaired.endswith("quality 100, as Ultralytics rewrites a corrupt JPEG")
    told = json.loads(_printed("diagnose", "--black-box", run, "--format", "json"))
    files = {Path(file["path"]).name: file for file in told["runs"][0]["slow_files"]}
    assert set(files) >= {"0001.png", "0002.jpg", "0003.jpg"}
    assert [name for name, file in files.items() if file.get("repaired")] == ["0002.jpg"]
    # On a busy machine all wait, but only a large file takes long to compute.
    assert files["0001.png"]["computing"] > 0.03 > files["0003.jpg"]["computing"]
    assert files["0003.jpg"]["seconds"] > 0.6
    assert all(0 <= file["computing"] <= file["seconds"] for file in files.values())
    page = tmp_path / "run.html"
    assert f"| {folder}/0001.png | " in _printed("report", run, "--html", str(page))
    assert f"<td>{folder}/0001.png</td>" in page.read_text(encoding="utf-8")


def _plant(folder: Path) -> None:
    import cv2  # noqa: PLC0415 - comes with ultralytics, which not every test run has
    import numpy as np  # noqa: PLC0415

    random = np.random.default_rng(0)
    (folder / "0001.jpg").unlink()
    cv2.imwrite(str(folder / "0001.png"), random.integers(0, 255, (2500, 3000, 3), np.uint8))
    cv2.imwrite(str(folder / "0002.jpg"), random.integers(0, 255, (2400, 2400, 3), np.uint8))
    with (folder / "0002.jpg").open("ab") as file:
        file.write(b"\0\0")  # behind its end: that is what Ultralytics repairs, and what is cut off it leaves out


def _printed(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.output


def _line(text: str, path: Path) -> str:
    assert str(path) in text, text
    (line,) = [line for line in text.splitlines() if f"{path};" in line]
    return line.strip()
