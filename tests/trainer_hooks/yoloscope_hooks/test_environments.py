"""The hooks with other Pythons, PyTorchs and releases of Ultralytics, in real trainings, predictions and exports.

`make long` tries the oldest Python, 3.8 with PyTorch 1.8, and a release of Ultralytics of every few months. More:

    YOLOSCOPE_PYTHONS=3.8,3.9,3.10,3.12,3.13 YOLOSCOPE_VERSIONS=8.3.77,8.4.12 make long

Each Python gets an environment of its own in `.cache/pythons`, of 2 to 6 GB; a release of Ultralytics takes 4 MB.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pytest
from yoloscope_record.reader import Reader, Record

from tests import training

#: PyTorch of each Python: the oldest that Ultralytics takes, those between, and the newest.
PYTORCH = {
    "3.8": ("torch==1.8.1", "torchvision==0.9.1"),
    "3.9": ("torch==2.1.2", "torchvision==0.16.2", "numpy<2"),
    "3.10": ("torch==1.12.1", "torchvision==0.13.1", "numpy<2"),
    "3.12": ("torch==2.5.1", "torchvision==0.20.1"),
    "3.13": ("torch", "torchvision"),
}
PYTHONS = os.environ.get("YOLOSCOPE_PYTHONS", "3.8")
VERSIONS = os.environ.get("YOLOSCOPE_VERSIONS", "8.3.50,8.3.100,8.3.150,8.3.200,8.3.253,8.4.50,8.4.100,8.4.150")
WANTED = [
    f"{kind}-{one}"
    for kind, wanted in (("python", PYTHONS), ("ultralytics", VERSIONS))
    for one in wanted.split(",")
    if one
]
BEYOND = """
import sys
import numpy
import ultralytics
import yoloscope_hooks
yoloscope_hooks.enable()
model = ultralytics.YOLO("yolo11n.yaml")
images = [numpy.full((64, 64, 3), 60, numpy.uint8)] * 8
for image in images:
    model.predict(image, imgsz=64, verbose=False, device="cpu")
for _ in model.predict(images, imgsz=64, batch=4, stream=True, verbose=False, device="cpu"):
    pass
model.val(data=sys.argv[1], imgsz=64, batch=4, workers=0, plots=False, verbose=False, device="cpu")
model.export(format="torchscript", imgsz=64, device="cpu")
"""

pytestmark = [pytest.mark.long, pytest.mark.train, pytest.mark.timeout(1800)]


class Environment(NamedTuple):
    """A Python, and a release of Ultralytics."""

    python: Path
    version: str = "newest"

    def output(self, folder: Path, *arguments: str) -> str:
        """What the program said; it ended well, and the hooks had nothing to warn of."""
        done = subprocess.run(
            [self.python, *arguments],
            env=training.environment(folder / "runs", self.version),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        assert "yoloscope:" not in done.stdout, done.stdout[-3000:]
        return done.stdout


@pytest.fixture(scope="module", params=WANTED)
def environment(request: pytest.FixtureRequest) -> Environment:
    """The next one."""
    kind, version = request.param.split("-")
    if kind == "ultralytics":
        return Environment(Path(sys.executable), version)
    return Environment(_python(version))


def _python(version: str) -> Path:
    """Of an environment with Ultralytics and a PyTorch of that Python's time."""
    folder = training.ROOT / ".cache/pythons" / version
    python = folder / "bin/python"
    if not (folder / "complete").exists():
        found = shutil.which(f"python{version}")
        if not found or subprocess.run([found, "-c", "import venv"], check=False, capture_output=True).returncode:
            pytest.skip(f"no Python {version} on this machine")
        subprocess.run([found, "-m", "venv", folder], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *PYTORCH[version], "ultralytics"]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        (folder / "complete").touch()
    return python


def recorded() -> dict[str, Record]:
    """What the runs have left, by file."""
    return {path.name: Reader(path).read() for path in Path(os.environ["YOLOSCOPE_DIR"]).glob("*/*/*.rec")}


def total(record: Record, name: str) -> float:
    """Of all series of a counter."""
    return sum(float(s.value) for s in record.samples if s.metric.name == f"yoloscope_{name}")  # type: ignore[arg-type, misc]


def test_a_training_is_recorded(environment: Environment, tmp_path: Path) -> None:
    """Each batch, the phases of its step and both loader workers."""
    data = training.make_dataset(tmp_path / "data", images=24)
    options = training.Options(str(data), str(tmp_path / "runs"), epochs=2, workers=2)
    told = environment.output(tmp_path, str(Path(training.__file__)), json.dumps(asdict(options)))
    batches = training.Finished(0, told).result()["batches"]
    records = recorded()
    assert set(records) == {"rank-0.rec", "rank-0-worker-0.rec", "rank-0-worker-1.rec"}
    rank = records["rank-0.rec"]
    assert total(rank, "train_batches_total") == batches == 12
    phases = {s.labels[2] for s in rank.samples if s.metric.name == "yoloscope_train_phase_seconds_total" and s.value}
    assert {"data_wait", "preprocess", "forward", "backward", "optimizer", "validate", "checkpoint"} <= phases


def test_what_comes_after_the_training_is_recorded(environment: Environment, tmp_path: Path) -> None:
    """Predictions call by call and as a stream, a validation and an export, by `enable()` alone."""
    data = training.make_dataset(tmp_path / "data", images=8)
    (tmp_path / "beyond.py").write_text(BEYOND)
    environment.output(tmp_path, "beyond.py", str(data))
    records = recorded()
    assert set(records) == {"predict-0.rec", "validate-0.rec", "export-0.rec"}
    assert total(records["predict-0.rec"], "predict_images_total") == 16


@pytest.mark.parametrize(("task", "score"), [("semantic", "metrics/mIoU"), ("depth", "metrics/delta1")])
def test_a_task_of_later_releases(task: str, score: str, tmp_path: Path) -> None:
    """Its batches, its score, the operations of its layers, and what its workers decode."""
    data = training.make_dataset(tmp_path / "data", images=16, task=task)
    done = training.train(data, tmp_path / "runs", task=task, workers=1)
    assert done.code == 0, done.output
    assert "yoloscope:" not in done.output, done.output
    records = recorded()
    rank = records["rank-0.rec"]
    assert total(rank, "train_batches_total") == done.result()["batches"] == 4
    assert total(rank, "train_flops_total") > 0
    assert score in {s.labels[2] for s in rank.samples if s.metric.name == "yoloscope_train_metric"}
    assert total(records["rank-0-worker-0.rec"], "train_worker_decode_seconds_total") > 0
