"""All ranks of a run find the same name by themselves; two runs never share one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from yoloscope_hooks import naming

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


def test_told_name() -> None:
    """A name that was told wins: for this model, then in the environment; one for ranks counts in ranks only."""
    trainer = SimpleNamespace(save_dir=Path("x"), _yoloscope_run="mine")
    assert naming.run(trainer, {"YOLOSCOPE_RUN": "theirs"}, NOON) == "mine"
    assert name({"YOLOSCOPE_RUN": "theirs"}) == "theirs"
    assert name(RANK | {"YOLOSCOPE_RANKS_RUN": "ours"}) == "ours"
    assert name({"YOLOSCOPE_RANKS_RUN": "ours"}) != "ours"


def test_ranks_of_one_launch_agree() -> None:
    """Ranks of one node take the start of their common parent, whenever they ask."""
    assert name(RANK) == name(RANK | {"RANK": "0", "LOCAL_RANK": "0"}, now=NOON + 90)


@pytest.mark.parametrize("folder", ["train2", "train-2", "train_2", "train22"])
def test_torchrun_folders(folder: str) -> None:
    """Under torchrun only rank 0 counts its folder up; the names are the same nevertheless."""
    assert name(RANK, f"/data/runs/detect/{folder}") == name(RANK)


def test_ultralytics_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics gives all its ranks one folder, so its number stays in the name."""
    monkeypatch.setattr(sys, "argv", ["/home/u/.config/Ultralytics/DDP/_temp_abc123.py"])
    assert name(RANK, "/data/runs/detect/train2").startswith("detect/train2-")


def test_several_nodes() -> None:
    """Ranks of several nodes agree without a common parent, and another launch has another name."""
    assert name(NODES) == name(NODES | {"RANK": "3"}, now=NOON + 5)
    assert name(NODES) != name(NODES | {"MASTER_PORT": "29501"})
    assert name(NODES) != name(NODES | {"SLURM_JOB_ID": "12"})


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
