"""The record is a flight recorder: it outlives whatever killed the training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main
from yoloscope_record.reader import Reader, read_ring

ROOT = Path(__file__).resolve().parents[3]

KILLED = """
import os, sys
from pathlib import Path
import yoloscope_hooks
from tests.trainer_hooks.loop import Loop

def die(*_):
    os.kill(os.getpid(), 9)

loop = Loop(Path(sys.argv[1]), epochs=2)
place = sys.argv[2]
if place.startswith("on_"):
    loop.callbacks[place] = []
    yoloscope_hooks.attach(loop, run="black box")
    loop.callbacks[place].append(die)
else:
    setattr(loop, place, die)
    yoloscope_hooks.attach(loop, run="black box")
loop.train()
"""


@pytest.mark.parametrize(
    ("place", "state", "batches"),
    [
        ("on_pretrain_routine_end", "setup", 0),
        ("on_train_batch_start", "train", 0),
        ("optimizer_step", "train", 0),
        ("on_train_batch_end", "train", 1),  # written, but not counted yet
        ("on_train_epoch_end", "train", 3),
        ("validate", "validate", 3),
        ("save_model", "checkpoint", 3),
        ("final_eval", "validate", 6),
    ],
)
def test_kill_9(tmp_path: Path, place: str, state: str, batches: int) -> None:
    """After SIGKILL, anywhere, the record and `report --black-box` say in which state, and hold every batch."""
    parts = (ROOT, ROOT / "exporter", ROOT / "trainer_hooks")
    environ = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(map(str, parts))}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), place], check=False, env=environ)
    assert done.returncode == -9
    (path,) = Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")
    record = Reader(path).read()
    assert (record.state, record.alive) == (state, False)
    assert value(path, "batches_total") == batches == len(read_ring(path))
    assert value(path, "end_timestamp_seconds") is None
    told = CliRunner().invoke(main, ["report", "--black-box", "black box"], catch_exceptions=False)
    assert told.exit_code == 0
    assert "black box: killed" in told.output
    assert f"rank 0: state at its last write: {state}" in told.output
    assert ("no batch was recorded" if not batches else f"the last {batches} batches") in told.output


def value(path: Path, name: str) -> Any:
    """The only series of that metric, None if it is not set."""
    return next((s.value for s in Reader(path).read().samples if s.metric.name == f"yoloscope_train_{name}"), None)
