"""A report on predictions, from what an exporter showed last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner
from yoloscope_exporter.cli import main
from yoloscope_exporter.reports import prediction

from tests.exporter.diagnosis.test_predictions import RUN, predicted, recorded

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[3]


def test_report() -> None:
    """Figures of the whole run, where its time went, its verdict with the fix."""
    store, _ = predicted({"source": 0.016, "idle": 0.01}, source="video")
    assert prediction.known([store]) == [RUN[0]]
    text = prediction.report(prediction.totals([store], RUN[0]))
    assert text.startswith(f"# {RUN[0]}\n\npredict\n")
    assert "| source | video |" in text
    assert "| images per second | 25 |" in text
    assert "| source | 12.5 s | 32.0% |" in text
    assert "**source_bound** (warning): 40% of the time" in text
    assert "latency of an image, 99%" in text


def test_what_has_ended_is_judged_too() -> None:
    """A report is read afterwards; a running exporter says nothing of what has ended."""
    store = recorded({"user": 0.03}, state="finished")
    text = prediction.report(prediction.totals([store], RUN[0]))
    assert "finished" in text
    assert "user_code_bound" in text


RECORD = """
import pathlib, sys, yoloscope_hooks
from tests.trainer_hooks.predictor import Predictor
predictor = yoloscope_hooks.attach(Predictor(pathlib.Path(sys.argv[1]), wait=0.01), run="night")
for _ in range(3):
    predictor([1] * 10)
"""


def test_from_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`yoloscope report NAME` reads what the process has left."""
    monkeypatch.setenv("YOLOSCOPE_DIR", str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "trainer_hooks")))}
    subprocess.run([sys.executable, "-c", RECORD, str(tmp_path)], env=environment, check=True)
    done = CliRunner().invoke(main, ["report", "night-predict", "--records", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "| calls | 3 |" in done.output
    assert "| images | 30 |" in done.output
