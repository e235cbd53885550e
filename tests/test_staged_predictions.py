"""Verdicts on predictions, each staged in a real one on the CPU: on the card of `yoloscope run`, and afterwards.

What practitioners do beside those: a few run always, in processes that have PyTorch imported, all in `make long`.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main
from yoloscope_exporter.commands import launched
from yoloscope_exporter.commands import run as command

from tests import forked
from tests.staged_predictions import QUICK, VARIANTS, VERDICTS, Staged, run, run_quickly

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.train


def asked(*arguments: str) -> str:
    """What `yoloscope report` or `diagnose` says of the records of this test."""
    done = CliRunner().invoke(main, [*arguments, "--records", os.environ["YOLOSCOPE_DIR"]])
    assert done.exit_code in {0, 1, 3}, done.output
    return done.output


def in_a_fork(staged: Staged, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `yoloscope run` prints at the end, if it starts no Python of its own."""

    def supervise(_command: list[str], environ: Mapping[str, str], *_: object) -> int:
        return run_quickly(staged, folder, **{launched.VARIABLE: environ[launched.VARIABLE]})

    monkeypatch.setattr(command, "_supervise", supervise)
    done = CliRunner().invoke(main, ["run", "--no-exporter", "--summary", "--", "python", "program.py"])
    assert done.exit_code == staged.code, done.output
    return done.stdout


#: Python starts, and finds the hooks by itself; below, one always does.
AS_TYPED = pytest.mark.long if forked.POSSIBLE else ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "typed"),
    [
        *((name, False) for name in VERDICTS if forked.POSSIBLE),
        *(pytest.param(name, True, marks=AS_TYPED) for name in VERDICTS),
        *(pytest.param(name, True, marks=pytest.mark.long) for name in VARIANTS),
    ],
)
def test_a_verdict_is_told_and_no_other(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, typed: bool
) -> None:
    """By the card, by the report on the record, and by the diagnosis of it; each prediction takes a few seconds."""
    staged = (VERDICTS | VARIANTS)[name]
    card = run(staged, tmp_path) if typed else in_a_fork(staged, tmp_path, monkeypatch)
    report, told = is_told(staged), told_of(staged)
    shown = re.findall(r"^Verdict +(\w+): ", card, re.MULTILINE)
    assert (told or (["none"] if staged.kind == "predict" else [])) == shown, card
    assert "\nAlso " not in card
    (run_,) = re.findall(r"^More +yoloscope report (\S+)$", card, re.MULTILINE)
    assert report.startswith(f"# {run_}\n")
    (diagnosed,) = json.loads(asked("diagnose", "--black-box", run_, "--format", "json"))["runs"]
    assert [verdict["name"] for verdict in diagnosed["verdicts"]] == told


def told_of(staged: Staged) -> list[str]:
    """The verdicts that are right."""
    return [staged.verdict] if staged.verdict else []


def is_told(staged: Staged) -> str:
    """What the report on it says, which is right."""
    report = asked("report")
    assert re.findall(r"\*\*(\w+)\*\*", report) == told_of(staged), report
    assert staged.said in report, report
    assert staged.never not in report, report
    return report


@pytest.mark.skipif(not forked.POSSIBLE, reason="the same takes longer elsewhere: make long")
@pytest.mark.parametrize("name", QUICK)
def test_what_practitioners_do(name: str, tmp_path: Path) -> None:
    """The report and the diagnosis of a script say what is right of it."""
    staged = VARIANTS[name]
    run_quickly(staged, tmp_path)
    shown = is_told(staged).partition("\n")[0].removeprefix("# ")
    (diagnosed,) = json.loads(asked("diagnose", "--black-box", shown, "--format", "json"))["runs"]
    assert [verdict["name"] for verdict in diagnosed["verdicts"]] == told_of(staged)


EVERYTHING = Staged(
    """
from pathlib import Path
from tests.training import make_dataset
data = make_dataset(Path("data"), images=4)
model = YOLO("yolo11n.yaml")
model.val(data=data, imgsz=64, plots=False, **quiet)
model(["000.jpg"] * 6, imgsz=64, **quiet | dict(save=True))
model.export(format="torchscript", imgsz=64, device="cpu")
""",
    "",
)


@pytest.mark.slow
def test_a_run_is_found_by_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions and validations by their folders, an export by its file, whatever is asked; by name the same."""
    card = run(EVERYTHING, tmp_path)
    assert re.search(r"^exported in \d.* · size \d+\.?\d* MiB$", card, re.MULTILINE), card
    assert "Verdict" not in card
    monkeypatch.chdir(tmp_path)
    (artefact,) = tmp_path.glob("*.torchscript")
    for place, kind in (
        ("runs/detect/predict", "predict"),
        (f"{tmp_path}/runs/detect/val/", "validate"),
        (artefact.name, "export"),
    ):
        report = asked("report", place)
        name = report.partition("\n")[0].removeprefix("# ")
        assert f"| mode | {kind} |" in report
        assert asked("report", name) == report
        assert [
            one["run"] for one in json.loads(asked("diagnose", "--black-box", place, "--format", "json"))["runs"]
        ] == [name]
        refused = CliRunner().invoke(main, ["report", "--black-box", place, "--records", os.environ["YOLOSCOPE_DIR"]])
        assert f"{name} is no training" in refused.output
    summary = json.loads((tmp_path / "runs/detect/predict/summary.json").read_text())
    assert summary["run"].startswith("detect/predict-")
