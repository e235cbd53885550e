"""Verdicts on predictions, each staged in a real one on the CPU: told by the card of `yoloscope run` and by `report`.

`small_inference_batch` and `precision` are about GPUs: of these there is a modelled recording in
tests/exporter/reports/test_prediction.py, and modelled series in tests/exporter/diagnosis/test_predictions.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main

from tests.training import environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.train, pytest.mark.slow]

PRELUDE = """
import time
import cv2, numpy as np
from ultralytics import YOLO
if not hasattr(np, "trapz"):
    np.trapz = np.trapezoid
noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
for index in range(12):
    cv2.imwrite(f"{index:03d}.jpg", noise[:480, :480])
quiet = dict(device="cpu", verbose=False, save=False)
"""
#: Verdict -> the prediction that it is told of, and what is advised.
STAGED = {
    "source_bound": (
        """
writer = cv2.VideoWriter("large.avi", cv2.VideoWriter_fourcc(*"MJPG"), 25, (1920, 1080))
for _ in range(25):
    writer.write(noise)
writer.release()
for _ in YOLO("yolo11n.yaml")("large.avi", stream=True, imgsz=32, **quiet):
    pass
""",
        "vid_stride=2",
    ),
    "user_code_bound": (
        """
for _ in YOLO("yolo11n.yaml")("*.jpg", stream=True, imgsz=64, **quiet):
    time.sleep(0.2)
""",
        "in a thread or process of its own",
    ),
    "postprocess_bound": (
        """
many = dict(conf=1e-7, iou=0.99, max_det=100, retina_masks=True)
for _ in YOLO("yolo11n-seg.yaml")("*.jpg", stream=True, imgsz=160, **many, **quiet):
    pass
""",
        "conf=0.25",
    ),
    "inference_bound": (
        """
for _ in YOLO("yolo11n.yaml")("*.jpg", stream=True, imgsz=640, **quiet):
    pass
""",
        "yolo export",
    ),
}


def run(script: str, folder: Path) -> str:
    """What is printed by a script under `yoloscope run`, its card included."""
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "run", "--no-exporter", "--summary", "--"]
    done = subprocess.run(
        [*command, sys.executable, "-c", PRELUDE + script],
        env=environment(folder / "runs"),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def asked(*arguments: str) -> str:
    """What `yoloscope report` or `diagnose` says of the records of this test."""
    done = CliRunner().invoke(main, [*arguments, "--records", os.environ["YOLOSCOPE_DIR"]])
    assert done.exit_code in {0, 1}, done.output
    return done.output


@pytest.mark.parametrize("name", STAGED)
def test_a_verdict_is_told_and_no_other(name: str, tmp_path: Path) -> None:
    """By the card, by the report on the record, and by the diagnosis of it; each prediction takes a few seconds."""
    script, fix = STAGED[name]
    card = run(script, tmp_path)
    report = asked("report")
    assert re.findall(r"\*\*(\w+)\*\*", report) == [name], report
    assert fix in report
    assert re.search(rf"^Verdict +{name}: ", card, re.MULTILINE), card
    assert "\nAlso " not in card
    (shown,) = re.findall(r"^More +yoloscope report (\S+)$", card, re.MULTILINE)
    assert report.startswith(f"# {shown}\n")
    (told,) = json.loads(asked("diagnose", "--black-box", shown, "--format", "json"))["runs"]
    assert [verdict["name"] for verdict in told["verdicts"]] == [name]


def test_exports_and_validations_have_a_card(tmp_path: Path) -> None:
    """Of what came last; neither has a verdict."""
    card = run('YOLO("yolo11n.yaml").export(format="torchscript", imgsz=64, device="cpu")', tmp_path)
    assert re.search(r"^exported in \d.* · size \d+\.?\d* MiB$", card, re.MULTILINE), card
    assert "Verdict" not in card
    report = asked("report")
    assert "| torchscript | " in report
    assert "Verdicts" not in report
