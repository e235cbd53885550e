"""The runs of one command, found by its token."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.commands.launched import Run, of_launch
from yoloscope_record import paths
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def record(records: Path, run: str, facts: dict[str, str], rank: str = "0") -> None:
    """The record of a rank that has ended."""
    who = Identity(run, rank)
    path = paths.run_directory(records, run) / who.filename
    with closing(Writer(path, who, facts, slots=64, header=1 << 14, ring=16)) as writer:
        writer.begin()
        writer.values[writer.slot(catalog.TRAIN_BATCHES_TOTAL, run, rank)] = 5.0
        writer.end(time.time())


def test_runs_of_one_launch(tmp_path: Path) -> None:
    """Those with its token among their facts, however many others there are; a damaged record is passed over."""
    for run, launch in (("one", "7-1"), ("two", "7-2"), ("three", "7-1")):
        record(tmp_path, run, {"launch": launch, "save_dir": f"/results/{run}"})
    (tmp_path / "other").mkdir()
    (tmp_path / "other/rank-0.rec").write_text("no record")
    os.utime(paths.run_directory(tmp_path, "one") / "rank-0.rec")  # written last, and the oldest all the same
    assert of_launch(tmp_path, "7-1") == [Run("one", "/results/one"), Run("three", "/results/three")]
    assert of_launch(tmp_path, "7-3") == []


def test_what_a_training_also_predicts_comes_before_it(tmp_path: Path) -> None:
    """Whichever began first: the last is what is told in full."""
    record(tmp_path, "trains", {"launch": "7-1"})
    for kind in ("predict", "export"):
        who = Identity(f"{kind}s", "0", kind)
        path = paths.run_directory(tmp_path, who.run) / who.filename
        with closing(Writer(path, who, {"launch": "7-1", "mode": kind}, slots=64, ring=0)) as writer:
            writer.begin()
            writer.set_state("finished")
            writer.end(time.time())
    assert [run.name for run in of_launch(tmp_path, "7-1")] == ["predicts", "exports", "trains"]


def test_a_run_that_is_cleared_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are found all the same: what follows decides on the exit code of a training."""
    record(tmp_path, "one", {"launch": "7-1"})
    (tmp_path / "two").mkdir()
    glob = type(tmp_path).glob

    def vanishing(folder: Path, pattern: str) -> object:
        if folder.name == "two":
            raise FileNotFoundError(folder)
        return glob(folder, pattern)

    monkeypatch.setattr(type(tmp_path), "glob", vanishing)
    assert [run.name for run in of_launch(tmp_path, "7-1")] == ["one"]
    assert of_launch(tmp_path / "nowhere", "7-1") == []


def test_ranks_are_one_run(tmp_path: Path) -> None:
    """With the folder that any of them knows; hooks of an earlier version know none."""
    record(tmp_path, "ddp", {"launch": "7-1"})
    record(tmp_path, "ddp", {"launch": "7-1", "save_dir": "/results/ddp"}, "1")
    record(tmp_path, "old", {"launch": "7-1"})
    assert of_launch(tmp_path, "7-1") == [Run("ddp", "/results/ddp"), Run("old", "")]


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    """The command has left it in the background: it has not ended with it."""
    code = f"""
import pathlib, sys, time
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
path = pathlib.Path({str(paths.run_directory(tmp_path, "one"))!r}) / Identity("one").filename
writer = Writer(path, Identity("one"), {{"launch": "7-1"}}, slots=64, header=1 << 14, ring=16)
writer.begin()
print("lives", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "lives\n"
        assert of_launch(tmp_path, "7-1") == [Run("one", "", lives=True)]
        process.communicate()
    assert of_launch(tmp_path, "7-1") == [Run("one", "")]
