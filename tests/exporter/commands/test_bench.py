"""`yoloscope bench`: what it refuses, what it leaves, and real exports of real models."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from yoloscope_exporter.bench import remote, session
from yoloscope_exporter.bench.formats import FORMATS
from yoloscope_exporter.cli import main
from yoloscope_exporter.tuning import processes

from tests import training
from tests.exporter.language.leftovers import english

if TYPE_CHECKING:
    from collections.abc import Iterator

STUB = Path(__file__).parents[1] / "bench" / "stub.py"
QUICK = ["--seconds", "300ms", "--rounds", "3", "--batch", "1", "--device", "cpu"]


@pytest.fixture
def place(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with some weights, and all that is written for a while below `tmp`."""
    (short_path / "tmp").mkdir()
    (short_path / "weights").mkdir()
    (short_path / "weights" / "best.pt").write_text("weights")
    monkeypatch.chdir(short_path)
    monkeypatch.setattr(tempfile, "tempdir", str(short_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(short_path / "tmp"))
    monkeypatch.setenv("COLUMNS", "250")
    yield short_path
    monkeypatch.undo()


@pytest.fixture
def stubbed(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With processes that answer at once, and need no Ultralytics."""
    monkeypatch.setattr(remote, "SCRIPT", STUB)
    return place


def benched(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


def left(place: Path) -> list[Path]:
    """What is there beside the weights."""
    return [path for path in place.rglob("*") if path.is_file() and path.name != "best.pt"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'MODEL'"),
        (["nosuch.pt"], "nosuch.pt: no such file"),
        (["nowhere/model.yaml"], "nowhere/model.yaml: no such file"),
        (["weights/best.onnx"], "a model is a .pt file, or a .yaml file of an architecture"),
        (
            ["weights/best.pt", "--formats", "pt,tflite"],
            "unknown format tflite: use pt, torchscript, onnx, openvino, e",
        ),
        (["weights/best.pt", "--formats", ","], "unknown format ',': use pt, torchscript"),
        (["weights/best.pt", "--imgsz", "100"], "Ultralytics would take 128: use 96 or 128"),
        (["weights/best.pt", "--imgsz", "0"], "0 is outside 32 to 8192"),
        (["weights/best.pt", "--batch", "0"], "'0': use whole numbers from 1 to 1024, for example 1,8,32"),
        (["weights/best.pt", "--batch", "8,-1"], "use whole numbers from 1"),
        (["weights/best.pt", "--device", "0,1"], "'0,1': use one of cpu, 0, cuda:0, mps"),
        (["weights/best.pt", "--source", "nowhere"], "'nowhere' does not exist"),
        (["weights/best.pt", "--seconds", "soon"], "invalid duration 'soon'"),
        (["weights/best.pt", "--rounds", "1"], "1 is not in the range"),
        (["weights/best.pt", "--python", "nosuchpython"], "--python nosuchpython: no program that can be run"),
        (["weights/best.pt", "--json", "nowhere/x.json"], "--json nowhere/x.json: nowhere is no directory that can"),
        (["weights/best.pt", "--html", "nowhere/x.html"], "--html nowhere/x.html: nowhere is no directory that can"),
        (["weights/best.pt", "--out", "nowhere/models"], "--out nowhere/models: no permission to write there"),
        (["weights/best.pt", "--out", "weights"], "--out weights: not empty; name a new folder"),
    ],
)
def test_bad_input(place: Path, arguments: list[str], said: str) -> None:
    """One line that names the field and what is allowed, before anything is started."""
    result = benched(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert left(place) == []


def test_everything_is_shown_and_written(stubbed: Path) -> None:
    """Table, documents, exports; the folder of the weights is as it was."""
    files = [f"--{name}={stubbed / f'found.{name}'}" for name in ("json", "markdown", "html")]
    result = benched("weights/best.pt", *QUICK, "--formats", "pt,torchscript,onnx,openvino", *files, "--out", "kept")
    assert result.exit_code == 0, result.output
    assert "onnx is fastest, 1.84x to 2.18x as fast as pt" in result.output
    assert f"openvino: not installed: {sys.executable} -m pip install openvino" in result.output
    told = json.loads((stubbed / "found.json").read_text())
    assert [one["format"] for one in told["lines"]] == ["pt", "torchscript", "onnx", "openvino"]
    assert told["machine"]["cores"] >= 1
    assert "| 1 | onnx |" in (stubbed / "found.markdown").read_text()
    assert "<td>onnx</td>" in (stubbed / "found.html").read_text()
    assert {path.name for path in left(stubbed / "kept")} == {"m.torchscript", "m.onnx"}
    assert list((stubbed / "weights").iterdir()) == [stubbed / "weights" / "best.pt"]
    assert left(stubbed / "tmp") == []


def test_in_chinese(stubbed: Path) -> None:
    """Table, conclusions and documents; names of formats and commands stay."""
    files = [f"--{name}={stubbed / f'found.{name}'}" for name in ("markdown", "html")]
    result = benched("weights/best.pt", *QUICK, "--formats", "pt,onnx,openvino", *files, "--language", "zh-CN")
    assert result.exit_code == 0, result.output
    page = re.sub(r"(?s)<style>.*?</style>", "", (stubbed / "found.html").read_text())
    for told in (result.output, (stubbed / "found.markdown").read_text(), re.sub(r"<[^>]+>", "\n", page)):
        assert re.search(r"[一-鿿]", told)
        assert english(told) == []


def test_nothing_that_could_be_measured(stubbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each format's reason, and exit code 2."""
    monkeypatch.setenv("STUB", json.dumps({"load": "raise", "prepare": ""}))
    result = benched("weights/best.pt", *QUICK, "--formats", "engine,openvino")
    assert result.exit_code == 2
    assert "ValueError: as it was told" in result.output
    monkeypatch.setenv("STUB", "{}")
    result = benched("weights/best.pt", *QUICK, "--formats", "engine,openvino")
    assert result.exit_code == 2
    assert "engine: needs an NVIDIA GPU (--device 0)" in result.output
    assert "nothing could be measured" in result.output
    assert left(stubbed) == []


def test_processes_that_do_not_end_are_told(stubbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of `nothing is left behind`."""

    def stays(_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise processes.LeftBehindError([4711])

    monkeypatch.setattr(session.Session, "run", stays)
    result = benched("weights/best.pt", *QUICK)
    assert result.exit_code == 130
    assert "SIGKILL has not ended it within 10 s: process 4711" in result.output
    assert "nothing is left behind" not in result.output


def test_a_full_disk_is_one_line(stubbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file that could not be written."""

    def full(_: object) -> None:
        raise OSError(28, "No space left on device", "/tmp/x")

    monkeypatch.setattr(session.Session, "run", full)
    result = benched("weights/best.pt", *QUICK)
    assert result.exit_code == 2
    assert result.output == "Error: /tmp/x: No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["facts", "export onnx", "load onnx", "measure onnx"])
def test_an_interrupt_leaves_nothing_but_what_is_known(place: Path, number: signal.Signals, when: str) -> None:
    """At any moment: no process, no file; what was measured is printed and written."""
    code = "from yoloscope_exporter.bench import remote; from yoloscope_exporter import cli; from pathlib import Path\n"
    code += f"remote.SCRIPT = Path({str(STUB)!r}); cli.main(prog_name='yoloscope')"
    log = place / "tmp" / "asked"
    environ = {**os.environ, "STUB": json.dumps({when: "sleep"}), "STUB_LOG": str(log)}
    arguments = ["bench", "weights/best.pt", *QUICK, "--formats", "pt,onnx", "--json", "found.json"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        end = time.monotonic() + 30
        while not (log.exists() and any(line.startswith(when) for line in log.read_text().splitlines())):
            assert time.monotonic() < end, "it has not come so far"
            time.sleep(0.02)
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted; nothing is left behind" in output
    log.unlink()
    assert left(place / "tmp") == []
    assert [path.name for path in (place / "tmp").iterdir()] == []
    assert _children(STUB) == []
    if when == "measure onnx":
        told = json.loads((place / "found.json").read_text())
        assert told["interrupted"] is True
        assert told["lines"][0]["images_per_second"] == pytest.approx(50.0)
        assert "images_per_second" not in told["lines"][1]
        assert " pt " in output
    else:
        assert not (place / "found.json").exists()


def _children(script: Path) -> list[int]:
    """Processes that run it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(script).encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


# --- real models ------------------------------------------------------------------------------------------------------


def really(place: Path, *arguments: str, version: str = "newest") -> dict[str, Any]:
    """In a process of its own; what JSON says, and nothing is left."""
    environ = training.environment(place / "runs", version) | {"TMPDIR": str(place / "tmp"), "COLUMNS": "250"}
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "bench", *arguments, "--json", str(place / "found.json")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=170, cwd=place)
    assert done.returncode == 0, done.stderr
    assert left(place / "tmp") == []
    told: dict[str, Any] = json.loads((place / "found.json").read_text())
    told["output"] = done.stdout
    return told


def lines(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["format"]: one for one in told["lines"]}


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "formats"),
    [
        ("newest", "pt,onnx,engine"),
        *(pytest.param(one, ",".join(FORMATS), marks=pytest.mark.long) for one in training.VERSIONS),
    ],
)
def test_a_real_model(place: Path, version: str, formats: str) -> None:
    """Each format that is installed is faster than nothing, finds the boxes of the .pt model, and has its size."""
    pytest.importorskip("ultralytics", reason="needs the extra train: pip install 'yoloscope[train]'")
    told = really(
        place,
        "yolo11n.yaml",
        "--imgsz",
        "64",
        "--batch",
        "2",
        "--seconds",
        "500ms",
        "--rounds",
        "3",
        "--device",
        "cpu",
        "--formats",
        formats,
        version=version,
    )
    found = lines(told)
    assert told["random"] is True
    assert "the weights are random" in told["output"]
    assert found["engine"]["failure"].startswith("needs an NVIDIA GPU (--device 0)")
    assert list(found) == formats.split(",")
    for name, one in found.items():
        if name == "engine" or "not installed" in one.get("failure", ""):
            continue
        assert "failure" not in one
        assert one["images_per_second"] > 1
        assert 0 < one["p50"] <= one["longest"]
        assert one["bytes"] > 1e6
        assert 1e8 < one["memory_bytes"]["resident"] <= one["memory_bytes"]["peak"]
        assert "gpu_resident" not in one["memory_bytes"]
        assert one["agreement"]["counted"] > 50
        assert one["agreement"]["agrees"], one["agreement"]
        assert 0 < one["stages"]["inference"] < one["longest"]
    assert found["pt"]["agreement"]["shift"] < 0.01


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize("formats", ["pt", pytest.param("pt,torchscript", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "task", ["segment", *(pytest.param(task, marks=pytest.mark.long) for task in ("classify", "pose", "obb"))]
)
def test_every_task(place: Path, task: str, formats: str) -> None:
    """Its own results are compared: masks, key points, turned boxes, classes."""
    pytest.importorskip("ultralytics", reason="needs the extra train: pip install 'yoloscope[train]'")
    options = ["--imgsz", "64", "--batch", "2", "--seconds", "200ms", "--rounds", "2", "--formats", formats]
    told = really(place, training.MODELS[task], *options)
    assert told["task"] == task
    for one in told["lines"]:
        assert one["agreement"]["agrees"], one
        assert one["agreement"]["counted"] > 10
        for field, having in (("mask", "segment"), ("points", "pose"), ("shift", "detect")):
            assert (field in one["agreement"]) == (task == having or (field == "shift" and task != "classify"))
