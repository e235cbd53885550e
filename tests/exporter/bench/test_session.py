"""The course of a comparison: who is asked what in which order, and what a failure costs; in real processes."""

# ruff: noqa: RUF001 - Chinese texts use Chinese punctuation

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.bench import remote, session
from yoloscope_exporter.bench.plan import Found, Key, Plan
from yoloscope_exporter.language import CHINESE, translated
from yoloscope_exporter.tuning import processes

if TYPE_CHECKING:
    from collections.abc import Callable

STUB = Path(__file__).with_name("stub.py")
FORMATS = ("pt", "torchscript", "onnx")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Found]:
    """Runs a plan with the stub; what it was asked is in `log`, what was told in `said`."""
    monkeypatch.setattr(remote, "SCRIPT", STUB)
    monkeypatch.setattr(session, "STEP_LIMIT", 5.0)

    def run(
        faults: dict[str, Any] | None = None,
        keep: Path | None = None,
        look: Callable[[str, set[int]], None] = lambda _, __: None,
        **plan: Any,
    ) -> Found:
        environ = {**os.environ, "STUB": json.dumps(faults or {}), "STUB_LOG": str(tmp_path / "log")}
        folder = Path(tempfile.mkdtemp(dir=tmp_path))  # its name marks the processes
        chosen = {"formats": FORMATS, "batches": (1,), "rounds": 3, "seconds": 0.3, "device": "cpu", **plan}
        asked_for = Plan("m.pt", sys.executable, **chosen)
        made = session.Session(asked_for, environ, folder, keep, lambda doing: look(doing, _living(folder)))
        try:
            made.run()
        finally:
            assert _living(folder) == set()
        return made.found

    return run


def _living(folder: Path) -> set[int]:
    """Processes of a session that there are."""
    mark = f"{processes.MARK}={folder.name}-process-".encode()
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if any(one.startswith(mark) for one in path.read_bytes().split(b"\0")):
                found.add(int(path.parent.name))
    return found


def asked(tmp_path: Path, what: str) -> list[str]:
    """Of which formats something was asked, in order."""
    words = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    return [name for one, name in words if one == what]


def test_formats_are_measured_in_turns(bench: Callable[..., Found], tmp_path: Path) -> None:
    """Each round begins with another one; each is exported once and compared with the .pt model."""
    found = bench()
    assert asked(tmp_path, "measure") == [*FORMATS, *FORMATS[1:], "pt", "onnx", "pt", "torchscript"]
    assert asked(tmp_path, "export") == ["torchscript", "onnx"]
    for name in FORMATS:
        line = found.lines[Key(1, name)]
        assert line.failure == ""
        assert list(line.rounds) == [0, 1, 2]
        assert line.agreement is not None
        assert line.agreement.agrees()
        assert line.memory == {"resident": 2**20, "peak": 2**21}
    assert (found.lines[Key(1, "pt")].size, found.lines[Key(1, "onnx")].size) == (7, 8)
    assert found.lines[Key(1, "onnx")].stages["inference"] == pytest.approx(0.06)


def test_every_batch_has_its_own_export(bench: Callable[..., Found], tmp_path: Path) -> None:
    """And all exports come before the first measurement."""
    found = bench(batches=(1, 8))
    assert asked(tmp_path, "export") == ["torchscript", "onnx"] * 2
    assert set(found.lines) == {Key(batch, name) for batch in (1, 8) for name in FORMATS}
    words = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert words.index("measure") > len(words) - words[::-1].index("export") - 1


@pytest.mark.parametrize(
    ("fault", "how", "said"),
    [
        ("export onnx", "raise", "export: ValueError: as it was told"),
        ("export onnx", "die", "export: exit code 3: the last that was said"),
        ("export onnx", "kill", "export: killed by SIGKILL: out of memory?"),
        ("load onnx", "raise", "ValueError: as it was told"),
        ("load onnx", "kill", "killed by SIGKILL: out of memory?"),
        ("measure onnx", "die", "exit code 3: the last that was said"),
    ],
)
def test_one_format_fails(bench: Callable[..., Found], fault: str, how: str, said: str) -> None:
    """It has its own error; all others are measured."""
    found = bench({fault: how}, formats=("pt", "onnx", "torchscript"))
    assert found.lines[Key(1, "onnx")].failure == said
    assert not found.lines[Key(1, "onnx")].rounds
    for name in ("pt", "torchscript"):
        assert len(found.lines[Key(1, name)].rounds) == 3
        assert found.lines[Key(1, name)].failure == ""


@pytest.fixture
def impatient(bench: Callable[..., Found], monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are given up sooner; within this time Python has to start."""
    monkeypatch.setattr(session, "STEP_LIMIT", 1.5)
    monkeypatch.setattr(session, "EXPORT_LIMIT", 0.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("fault", "how", "after"),
    [
        ("load torchscript", "raise", "loading onnx"),
        ("load torchscript", "sleep", "loading onnx"),
        ("load torchscript", "cpu", "loading onnx"),
        ("measure torchscript", "raise", "round 2 of 3, onnx"),
    ],
)
def test_a_format_that_failed_holds_nothing(bench: Callable[..., Found], fault: str, how: str, after: str) -> None:
    """Its process, with its memory and its work, is gone when the next format is asked."""
    seen: set[int] = set()
    found = bench({fault: how}, look=lambda doing, pids: seen.add(len(pids)) if after in doing else None, device="0")
    assert seen == {2}
    assert found.lines[Key(1, "torchscript")].failure
    assert all(len(found.lines[Key(1, name)].rounds) == 3 for name in ("pt", "onnx"))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["raise", "sleep"])
def test_an_export_that_failed_holds_nothing(bench: Callable[..., Found], how: str) -> None:
    """The next one is made by a new process, beside which there is no other."""
    seen: dict[str, set[int]] = {}
    bench({"export torchscript": how}, look=lambda doing, pids: seen.update({str(doing).split(" for ")[0]: pids}))
    first, second = (seen[f"exporting {name}"] for name in ("torchscript", "onnx"))
    assert len(second) == 1
    assert not first & second


@pytest.mark.usefixtures("impatient")
def test_a_format_that_hangs_is_given_up(bench: Callable[..., Found]) -> None:
    """After the limit of a step."""
    found = bench({"load onnx": "sleep"})
    assert found.lines[Key(1, "onnx")].failure == "load has not ended within 1.5 s"
    assert len(found.lines[Key(1, "pt")].rounds) == 3


def test_what_is_not_installed_is_not_tried(bench: Callable[..., Found], tmp_path: Path) -> None:
    """It is a line with what to install."""
    found = bench(formats=("pt", "openvino", "engine"))
    assert found.lines[Key(1, "openvino")].failure == f"not installed: {sys.executable} -m pip install openvino"
    there = f"not installed: {sys.executable} -m pip install tensorrt"
    assert found.lines[Key(1, "engine")].failure == f"needs an NVIDIA GPU (--device 0); {there}"
    assert "openvino" not in (tmp_path / "log").read_text()


def test_a_runtime_that_goes_on_with_the_cpu(bench: Callable[..., Found]) -> None:
    """Is not shown as a GPU's."""
    found = bench({"load onnx": "cpu"}, device="0")
    assert found.lines[Key(1, "onnx")].failure.startswith("ran on the CPU")
    assert len(found.lines[Key(1, "pt")].rounds) == 3


@pytest.mark.parametrize(("gpu", "device"), [({"gpu": "NVIDIA H100"}, "0"), ({}, "cpu")])
def test_the_device_that_is_there(bench: Callable[..., Found], gpu: dict[str, str], device: str) -> None:
    """The first GPU, else the CPU: OpenVINO is for one of them."""
    found = bench({"facts": {**gpu, "modules": ["openvino"]}}, device="", formats=("pt", "openvino"))
    assert (found.lines[Key(1, "openvino")].failure == "") == (device == "cpu")


def test_the_gpu_is_looked_for_in_a_process_of_its_own(bench: Callable[..., Found], tmp_path: Path) -> None:
    """With the device that was asked for; it is gone when the model is loaded, because CUDA chooses a GPU once."""
    seen: dict[str, set[int]] = {}
    bench(device="1", look=lambda doing, pids: seen.update({str(doing): pids}))
    first, then = seen["starting Python and Ultralytics"], seen["loading the model"]
    assert len(first) == len(then) == 1
    assert not first & then
    assert asked(tmp_path, "facts") == ["1"]


def test_half_needs_a_gpu(bench: Callable[..., Found]) -> None:
    """Ultralytics would go on in FP32."""
    with pytest.raises(session.CannotBenchError, match="--half: FP16 is computed on a GPU"):
        bench(half=True)


def test_a_model_that_cannot_be_loaded(bench: Callable[..., Found]) -> None:
    """Its own error, for all formats at once."""
    with pytest.raises(session.CannotBenchError, match="ValueError: as it was told"):
        bench({"prepare": "raise"})


def test_what_the_worker_says_is_told_in_chinese(
    bench: Callable[..., Found], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is another Python, which knows no catalogue: it gives the template and its values."""
    said = ["--imgsz {imgsz}: this model has stride {stride}: use {low} or {high}"]
    said.append({"imgsz": 100, "stride": 32, "low": 96, "high": 128})
    script = tmp_path / "told.py"
    script.write_text(f"input(); print({json.dumps(json.dumps({'error': 'ToldError', 'text': said}))})")
    monkeypatch.setattr(remote, "SCRIPT", script)
    with pytest.raises(session.CannotBenchError) as error:
        bench()
    assert str(error.value) == "--imgsz 100: this model has stride 32: use 96 or 128"
    assert translated(error.value.args[0], CHINESE) == "--imgsz 100：该模型的 stride 为 32：请用 96 或 128"


def test_a_python_without_ultralytics(
    bench: Callable[..., Found], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is named, and the option for another."""
    script = tmp_path / "without.py"
    script.write_text("input(); print('{\"error\": \"ModuleNotFoundError: No module named \\'ultralytics\\'\"}')")
    monkeypatch.setattr(remote, "SCRIPT", script)
    with pytest.raises(session.CannotBenchError, match=r"has no ultralytics: .* --python PATH"):
        bench()


def test_exports_are_kept_where_asked(bench: Callable[..., Found], tmp_path: Path) -> None:
    """By batch."""
    bench(keep=tmp_path / "kept", batches=(1, 8))
    kept = sorted(str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*.*"))
    assert kept == ["batch-1/m.onnx", "batch-1/m.torchscript", "batch-8/m.onnx", "batch-8/m.torchscript"]


def test_a_copy_that_fails_leaves_nothing_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a half nor what somebody else has there."""
    exported, kept = tmp_path / "m_openvino_model", tmp_path / "kept"
    for folder in (exported, kept):
        folder.mkdir()
        (folder / "m.xml").write_text(folder.name)

    def half(_: Path, to: Path, **__: object) -> None:
        to.mkdir()
        (to / "m.xml").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(session.shutil, "copytree", half)
    with pytest.raises(OSError, match="No space left"):
        session._copy(exported, kept)
    assert [(path.name, path.read_text()) for path in kept.iterdir()] == [("m.xml", "kept")]


def test_nothing_is_installed_or_recorded(bench: Callable[..., Found], tmp_path: Path, monkeypatch: Any) -> None:
    """Whatever the user's environment says."""
    script = tmp_path / "environment.py"
    script.write_text(
        "import json, os; input(); kept = {n: os.environ.get(n) for n in ('YOLO_AUTOINSTALL', 'YOLOSCOPE')}\n"
        "print(json.dumps({'error': json.dumps(kept)}))"
    )
    monkeypatch.setattr(remote, "SCRIPT", script)
    monkeypatch.setenv("YOLO_AUTOINSTALL", "true")
    with pytest.raises(session.CannotBenchError) as error:
        bench()
    assert json.loads(str(error.value)) == {"YOLO_AUTOINSTALL": "false", "YOLOSCOPE": "off"}


def test_scratch_is_removed() -> None:
    """Also when it is left by an error."""
    with pytest.raises(NotADirectoryError), session.scratch() as folder:
        Path(sys.executable, "file").write_text("no folder")
    assert not folder.exists()
