"""All ranks of a run find the same name by themselves; two runs never share one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from yoloscope_hooks import naming
from yoloscope_record.file_format import MAX_LABEL_LENGTH

NOON = 1_700_000_000.0
RANK = {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
NODES = RANK | {"WORLD_SIZE": "4", "MASTER_ADDR": "node1", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "7"}


def name(environ: dict[str, str], folder: str = "/data/runs/detect/train", now: float = NOON) -> str:
    """Name of a run that saves to `folder`."""
    return naming.run(SimpleNamespace(save_dir=Path(folder)), environ, now)


def test_single_process() -> None:
    """Ultralytics' project and name, and the start time to the second."""
    assert name({}).startswith("detect/train-202311")
    assert name({}) != name({}, now=NOON + 1)
    long = f"/data/{'p' * 150}/{'n' * 150}"
    assert name({}, long) != name({}, long, now=NOON + 1)
    assert len(name({}, long)) <= MAX_LABEL_LENGTH


def test_told_name() -> None:
    """A name that was told wins: for this model, then in the environment; one for ranks counts in ranks only."""
    trainer = SimpleNamespace(save_dir=Path("x"), _yoloscope_run="mine")
    assert naming.run(trainer, {"YOLOSCOPE_RUN": "theirs"}, NOON) == "mine"
    assert name({"YOLOSCOPE_RUN": "theirs"}) == "theirs"
    assert name(RANK | {"YOLOSCOPE_RANKS_RUN": "ours"}) == "ours"
    assert name({"YOLOSCOPE_RANKS_RUN": "ours"}) != "ours"
    assert name({"YOLOSCOPE_RUN": " "}) == name({})  # an exporter takes no blank for a name
    assert naming.rank(RANK | {"RANK": " "}) == "0"


def test_ranks_of_one_launch_agree() -> None:
    """Ranks of one node take the start of their common parent, whenever they ask."""
    assert name(RANK) == name(RANK | {"RANK": "0", "LOCAL_RANK": "0"}, now=NOON + 90)


@pytest.mark.parametrize("separator", ["", "-"])
@pytest.mark.parametrize("asked", ["train", "exp-640", "v1-2", "run 2", "训练"])
def test_torchrun_folders(tmp_path: Path, asked: str, separator: str) -> None:
    """Under torchrun only rank 0 counts its folder up; the names are the same nevertheless, twelve times."""
    for count in range(12):
        made = tmp_path / (f"{asked}{separator}{count + 1}" if count else asked)
        made.mkdir()
        assert name(RANK, str(made)) == name(RANK, str(tmp_path / asked))


@pytest.mark.parametrize("asked", ["yolo11", "yolo12", "exp-640", "train_2", "train02", "2", "-2", "v8"])
def test_torchrun_names_with_numbers(tmp_path: Path, asked: str) -> None:
    """A number in the name that was asked for stays, though some of the names with smaller numbers are there."""
    for taken in ("yolo", "yolo2", "yolo3", "exp", "exp-2", "train", "train_1", asked):
        (tmp_path / taken).mkdir()
    assert name(RANK, str(tmp_path / asked)).startswith(f"{tmp_path.name}/{asked}-2")


def test_ultralytics_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics gives all its ranks one folder, so its number stays in the name."""
    monkeypatch.setattr(sys, "argv", ["/home/u/.config/Ultralytics/DDP/_temp_abc123.py"])
    assert name(RANK, "/data/runs/detect/train2").startswith("detect/train2-")


def test_several_nodes() -> None:
    """Ranks of several nodes agree without a common parent, and another launch has another name."""
    assert name(NODES) == name(NODES | {"RANK": "3"}, now=NOON + 5)
    assert name(NODES) != name(NODES | {"MASTER_PORT": "29501"})
    for key in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID"):
        assert name(NODES) != name(NODES | {key: "12"})


def test_slurm_steps() -> None:
    """A step over all nodes tells launches of one job apart; a step for each node belongs to one launch."""
    for nodes, alike in (("1", True), ("2", False)):
        first, second = (name(NODES | {"SLURM_STEP_NUM_NODES": nodes, "SLURM_STEP_ID": step}) for step in "01")
        assert (first == second) is alike


def test_rank() -> None:
    """A rank is one only if a launcher made it: RANK alone means nothing."""
    assert naming.rank({}) == naming.rank({"RANK": "3"}) == "0"
    assert naming.rank({"RANK": "3", "LOCAL_RANK": "1"}) == "3"


def test_process_start() -> None:
    """The start of this process lies between the boot and now; a process that is gone has none."""
    began = naming.process_start(os.getpid())
    assert began is not None
    assert began <= time.time()
    assert naming.process_start(2**22 + 1) is None
