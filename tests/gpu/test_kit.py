"""The GPU kit without a GPU: it runs to its end and says so; and the section of the documents that a real one wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fake_nvml import FakeNvml, steps
from tests.gpu.kit import commands, parts, report
from tests.recordings import cases
from tests.training import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_documents_say_what_the_cards_showed() -> None:
    """docs/benchmarks.md holds a section for each time: write them with `python -m tests.gpu.kit.report`."""
    document = (ROOT / "docs" / "benchmarks.md").read_text()
    sections = report.sections()
    assert len(sections) >= 2
    assert [section for section in sections if section.strip() not in document] == []


def test_what_is_used_of_the_card_is_told() -> None:
    """Operations over the peak beside the tensor cores' time, for trainings where the driver tells both."""
    used = parts.used(cases.path("near_its_peak"), "train/yolo11m")
    assert 0.05 < used["mfu"] < 0.2  # a convolutional detector
    assert 0.1 < used["tensor_active"] < 0.3
    told = {"gpu_fed": {"right": [], "told": [], **used}, "gpu_leak": {"right": ["gpu_memory_leak"], "told": []}}
    section = report.markdown({"date": "2026-01-01", "machine": {"card": "A"}, "diagnoses": told})
    assert "| hooks per batch | MFU | tensor cores active |" in section
    assert f"| healthy | healthy |  |  | {used['mfu']:.1%} | {used['tensor_active']:.1%} |" in section


def test_peaks_of_tune() -> None:
    """As it said them on an H200: two measured, one predicted and then measured."""
    seen = json.loads((report.SEEN / "2026-11-28-h200.json").read_text())["tune"]
    told = commands.peaks("\n".join(seen["said"]))
    assert told == {"measured": {16: 7.82, 32: 15.16, 128: 59.21}, "predicted": {128: 59.19}}


def test_part_that_failed_is_told() -> None:
    """A part without a result is not left out."""
    found = {"date": "2026-01-01", "machine": {"card": "A"}, "square": {"error": "no driver"}}
    assert "square: no driver" in report.markdown(found)


def test_without_a_gpu(tmp_path: Path) -> None:
    """Everything but what a GPU alone can show is there, and that is said to be missing."""
    pytest.importorskip("ultralytics")
    nvml = FakeNvml(tmp_path, steps("healthy_h100x8")[0])
    command = [sys.executable, "-m", "tests.gpu.kit", "--out", str(tmp_path / "out"), "--device", "cpu"]
    asked = "machine,driver_calls,square,phases,trainings,predictions,hang,cost,diagnoses"
    paths = os.pathsep.join([str(ROOT), str(ROOT / "exporter"), str(ROOT / "trainer_hooks")])
    environment = os.environ | nvml.environment() | {"YOLOSCOPE_KIT": "here", "PYTHONPATH": paths}
    done = subprocess.run(
        [*command, "--parts", asked, "--cases", "gpu_callback"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out" / "kit.json").read_text())
    assert "no GPU was seen" in done.stdout
    assert "there was no GPU" in (tmp_path / "out" / "kit.md").read_text()
    assert found["driver_calls"]["gpu"]["calls"]["nvmlDeviceGetPowerUsage"][0] == 8
    assert found["diagnoses"]["gpu_callback"]["batches"] > 0
    assert found["predictions"]["predict_single"]["images_per_second"] > 0
    assert any("hang (" in line for line in found["hang"]["said"])
    assert not [part for part, told in found.items() if isinstance(told, dict) and "error" in told]
