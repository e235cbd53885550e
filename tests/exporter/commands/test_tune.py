"""`yoloscope tune`: real probes of real trainings; nothing is left behind, whatever happens."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner, Result
from yoloscope_exporter.cli import main
from yoloscope_exporter.commands import run, tune
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import CHINESE, speaking
from yoloscope_exporter.tuning import processes
from yoloscope_exporter.tuning.search import Setting, Trial
from yoloscope_exporter.tuning.speed import Speed

from tests import training
from tests.exporter.language.leftovers import english

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCRIPT = Path(training.__file__)


@pytest.fixture
def place(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which all that a command writes lies, temporary files and records too."""
    for name in ("cwd", "tmp"):
        (short_path / name).mkdir()
    monkeypatch.chdir(short_path / "cwd")
    monkeypatch.setattr(tempfile, "tempdir", str(short_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(short_path / "tmp"))
    monkeypatch.setenv("YOLOSCOPE_DIR", str(short_path / "records"))
    monkeypatch.setenv("COLUMNS", "200")
    yield short_path
    monkeypatch.undo()


def everything(place: Path) -> dict[str, float]:
    """Every file and folder with the time of its last change; those that Ultralytics keeps for itself are left out."""
    own = place / "ultralytics-config"
    found = (path for path in place.rglob("*") if own not in path.parents and path != own)
    return {str(path): path.stat().st_mtime for path in found if path.is_file() or not path.name.startswith("tmp")}


def tuned(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["tune", *arguments])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([], "no command after --; use for example: yoloscope tune --"),
        (["nosuchprogram"], "'nosuchprogram' is not a program that can be run"),
        (["train.py"], "use python train.py"),
        ([sys.executable, "-I", "train.py"], "-I keeps the hooks out"),
        ([sys.executable, "-c", "print(1)"], "there is no training of Ultralytics in it"),
        ([sys.executable, "-c", "1/0"], "it fails by itself (exit code 1): ZeroDivisionError: division by zero"),
        ([sys.executable, "-c", "import os; os.abort()"], "it fails by itself (signal SIGABRT)"),
        ([sys.executable, "-c", "input()"], "it needs a terminal, and a probe has none (exit code 1): EOFError"),
        ([sys.executable, "-c", "open('/dev/tty')"], "it needs a terminal"),
    ],
)
def test_a_command_that_cannot_be_probed(place: Path, command: list[str], said: str) -> None:
    """It is named with its own error, exit code 2; nothing is left."""
    before = everything(place)
    result = tuned("--", *command)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert everything(place) == before


def test_a_command_that_never_trains(place: Path) -> None:
    """It is ended with what it started, and the budget is named."""
    code = "import subprocess, time; subprocess.Popen(['sleep', '4711'], start_new_session=True); time.sleep(1000)"
    before = everything(place)
    result = tuned("--budget", "10s", "--", sys.executable, "-c", code)
    assert result.exit_code == 2
    assert "no training of Ultralytics began within --budget 10s" in result.output
    assert everything(place) == before
    commands = [path.read_bytes() for path in _readable(Path("/proc").glob("[0-9]*/cmdline"))]
    assert b"sleep\x004711\x00" not in commands


@pytest.mark.parametrize("program", ["docker", "podman"])
def test_what_would_really_train_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """A container has no hooks, and is not ended with the program that asked for it."""
    (place / program).symlink_to("/bin/touch")
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    result = tuned("--", program, "trained")
    assert result.exit_code == 2
    assert f"{program} is not known to start Python on this machine" in result.output
    assert not Path("trained").exists()


def test_processes_that_do_not_end_are_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of `nothing is left behind`; the exit code is that of an interrupt, if it was one."""
    for error, code in ((KeyboardInterrupt, tune.INTERRUPTED), (OSError, 2)):

        def left(*_: object, error: type[BaseException] = error, **__: object) -> None:
            try:
                raise error
            finally:
                raise processes.LeftBehindError([4711, 4712])

        monkeypatch.setattr(tune, "tuned", left)
        result = tuned("--", sys.executable, "train.py")
        assert result.exit_code == code
        assert "SIGKILL has not ended it within 10 s: process 4711, 4712" in result.output
        assert "nothing is left behind" not in result.output


def test_the_training_goes_on_with_the_users_settings(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `yoloscope run` does: whom to tell, and in which language."""
    monkeypatch.setenv("YOLOSCOPE_NOTIFY", "json://localhost/told")
    monkeypatch.setenv("YOLOSCOPE_NOTIFY_LANGUAGE", "zh-CN")
    went_on: list[tuple[list[str], int, str]] = []
    monkeypatch.setattr(tune, "tuned", lambda *_, **__: _result("cuda:0", Setting(4)))
    monkeypatch.setattr(run, "_supervise", lambda command, *_: 3 if "train.py" in command else 0)
    monkeypatch.setattr(run, "_answers", lambda: True)
    monkeypatch.setattr(
        run, "_tell", lambda end, services, language, **_: went_on.append((end.command, len(services), language))
    )
    monkeypatch.delenv("YOLOSCOPE_ARGUMENTS", raising=False)
    result = tuned("--run", "--", "python3", "train.py", "--notify", "nobody")
    assert result.exit_code == 3, result.output
    assert went_on == [("python3 train.py --notify", 1, "zh-CN")]
    assert json.loads(os.environ["YOLOSCOPE_ARGUMENTS"]) == {"workers": 4}


def _readable(files: Any) -> list[Path]:
    return [path for path in files if os.access(path, os.R_OK) and path.exists()]


@pytest.mark.parametrize(
    "option", [["--budget", "1s"], ["--budget", "soon"], ["--nonsense"], ["--write-cfg", "/nowhere/fast.yaml"]]
)
def test_bad_options(option: list[str]) -> None:
    """One line that names the option."""
    result = tuned(*option, "--", sys.executable, "-c", "1")
    assert result.exit_code == 2
    assert option[0] in result.output
    assert len(result.output.strip().splitlines()) == 1


def script(place: Path, **options: Any) -> list[str]:
    """A training by a Python script, on a data set of its own."""
    data = training.make_dataset(place / "data", images=8, size=32)
    chosen = training.Options(data=str(data), project=str(place / "runs"), hooks="none", **options)
    return [sys.executable, str(SCRIPT), json.dumps(asdict(chosen))]


def environment(place: Path, version: str = "newest") -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("TMPDIR", "YOLOSCOPE_DIR", "COLUMNS")}
    return training.environment(place / "runs", version) | kept


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "yoloscope_exporter.cli", "tune", *arguments]


def tune_really(place: Path, arguments: Sequence[str], version: str = "newest") -> subprocess.CompletedProcess[str]:
    """In a process of its own; what was there before is untouched."""
    before = everything(place)
    done = subprocess.run(
        program(*arguments), env=environment(place, version), capture_output=True, text=True, check=False, timeout=170
    )
    assert everything(place) == before
    return done


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize(
    "version", [pytest.param(one, marks=[pytest.mark.long] * (one != "newest")) for one in training.VERSIONS]
)
def test_a_script_is_probed_and_nothing_is_left(place: Path, version: str) -> None:
    """Neither a folder of runs nor labels' caches; a cache that was there is what it was."""
    numpy = pytest.importorskip("numpy")
    command = script(place, workers=1, epochs=2)
    kept = place / "data" / "labels" / "val.cache"
    with kept.open("wb") as file:
        numpy.save(file, {"version": "of another one", "hash": ""})
    before = kept.read_bytes()
    done = tune_really(place, ["--budget", "60s", "--json", "--", *command], version)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    first = told["trials"][0]
    assert (first["arguments"], first["workers"], first["why"]) == ({}, 1, "the command as it is")
    assert first["images_per_second"] > 0
    assert first["batches"] > 4
    assert told["forecast"]["low"] < told["forecast"]["high"]
    assert kept.read_bytes() == before


@pytest.mark.train
@pytest.mark.slow
def test_a_training_without_the_hooks_is_ended_before_it_trains(place: Path) -> None:
    """A shell script replaces PYTHONPATH: nothing of the user's is touched, and the remedy is told."""
    earlier = place / "runs" / "test" / "results.csv"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("of an earlier run")
    path = environment(place)["PYTHONPATH"]
    file = place / "train.sh"
    file.write_text(f'export PYTHONPATH="{path}"\n{shlex.join(script(place, arguments={"exist_ok": True}))}\n')
    done = tune_really(place, ["--", "bash", str(file)])
    assert done.returncode == 2, done.stderr
    assert "trains without the hooks: PYTHONPATH is replaced on the way to it" in done.stderr
    assert f"{path}:$PYTHONPATH" in done.stderr


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.long
def test_yolo_on_a_cpu(place: Path) -> None:
    """Ultralytics sets workers=0 there; memory cannot be predicted, and that is said."""
    data = training.make_dataset(place / "data", images=8, size=32)
    yolo = Path(sys.executable).with_name("yolo")
    command = [str(yolo), "detect", "train", f"data={data}", "model=yolo11n.yaml", "imgsz=32", "batch=4", "device=cpu"]
    done = tune_really(place, ["--budget", "30s", "--batch", "--", *command, "amp=False", "optimizer=SGD"])
    assert done.returncode == 0, done.stderr
    assert "as it is (0 workers)" in done.stdout
    assert "--batch: memory is predicted for a GPU only" in done.stdout
    assert "best: " in done.stdout
    assert "no GPU that can be seen" in done.stderr


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.long
def test_two_ranks(place: Path) -> None:
    """Through Ultralytics' own launcher, whose files are not left either; workers are those of a rank."""
    command = script(place, workers=1, ranks=2, epochs=2)
    done = tune_really(place, ["--budget", "90s", "--json", "--", *command])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"][0]["workers"] == 1
    assert not list((place / "ultralytics-config").rglob("_temp_*"))


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.long
def test_waiting_transforms_get_workers_and_the_training_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second of waiting per batch without workers: what is found is typed, written, and used by --run."""
    command = script(place, workers=0, image_sleep=0.15, step_sleep=0.2)
    for name, value in environment(place).items():
        monkeypatch.setenv(name, value)
    went_on: list[dict[str, str]] = []
    monkeypatch.setattr(run, "_supervise", lambda _command, environ, *_: went_on.append(environ) or 7)
    monkeypatch.setattr(run, "_answers", lambda: True)
    result = tuned("--run", "--write-cfg", str(place / "fast.yaml"), "--budget", "120s", "--", *command)
    assert result.exit_code == 7, result.output
    assert "best: workers=" in result.output
    assert 'lambda trainer: setattr(trainer.args, "workers"' in result.output
    (environ,) = went_on
    assert json.loads(environ["YOLOSCOPE_ARGUMENTS"])["workers"] > 0
    assert "YOLOSCOPE_PROBE" not in environ
    assert yaml.safe_load((place / "fast.yaml").read_text())["mode"] == "train"


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "when"),
    [
        pytest.param("SIGINT", "starting", marks=pytest.mark.long),
        ("SIGINT", "training"),
        pytest.param("SIGTERM", "training", marks=pytest.mark.long),
    ],
)
def test_an_interrupt_leaves_nothing(place: Path, number: str, when: str) -> None:
    """While Python starts, and while two ranks train with their workers."""
    command = script(place, workers=1, ranks=2)
    before = everything(place)
    with (place / "log").open("w") as log:
        process = subprocess.Popen(program("--", *command), env=environment(place), stdout=log, stderr=log)
    try:
        mark = _wait_for(place, when)
        process.send_signal(signal.Signals[number])
        assert process.wait(30) == tune.INTERRUPTED
    finally:
        process.kill()
    assert "interrupted; nothing is left behind" in (place / "log").read_text()
    (place / "log").unlink()
    assert processes.living(mark) == []
    assert everything(place).keys() == before.keys()
    assert not list((place / "ultralytics-config").rglob("_temp_*"))


def _wait_for(place: Path, when: str) -> str:
    """Until a probe has come so far; its mark."""
    sign = {"starting": "tmp/yoloscope-tune-*/1/log", "training": "yoloscope-tune-*/*/*/rank-1-worker-*.rec"}[when]
    end = time.monotonic() + 120
    while not list(place.glob(sign)):
        assert time.monotonic() < end, "the probe has not come so far"
        time.sleep(0.05)
    return next((place / "tmp").glob("yoloscope-tune-*")).name


def _trial(setting: Setting, rate: float) -> Trial:
    return Trial(setting, "tried", Speed(rate, 0.02, 0.5, 50, 5.0), workers=setting.workers or 8)


def _result(device: str, setting: Setting) -> tune.Result:
    facts = {"device": device}
    trials = [_trial(Setting(), 50), _trial(setting, 100)]
    return tune.Result(trials, Signals("run", "0", facts=facts), setting, {}, ["something"])


def test_what_is_typed_for_yolo() -> None:
    """Environment, command and arguments; and the forecast."""
    text = tune._text(_result("cuda:0", Setting(4, "ram", 1)), ["/usr/bin/yolo", "train", "data=coco8.yaml"])
    assert "type: OMP_NUM_THREADS=1 /usr/bin/yolo train data=coco8.yaml workers=4 cache=ram\n" in text
    assert "best: OMP_NUM_THREADS=1 workers=4 cache=ram; 1.9x to 2.1x: 50 -> 96.5 to 104 images/s\n" in text
    assert "note: something\n" in text
    assert "on a CPU" not in text


def test_what_is_typed_in_a_script() -> None:
    """As arguments of `model.train`; blanks are quoted."""
    text = tune._text(_result("cuda:0", Setting(4, "ram")), ["python", "my train.py"])
    assert "type: python 'my train.py', with model.train(..., workers=4, cache='ram')\n" in text


def test_in_chinese() -> None:
    """Table, forecast, notes, and what is typed on a CPU; arguments and commands stay."""
    with speaking(CHINESE):
        told = [
            tune._text(_result("cuda:0", Setting(4, "ram", 1)), ["yolo", "train"]),
            tune._text(_result("cpu", Setting(2, "ram")), ["python", "train.py"]),
            tune._text(tune.Result([_trial(Setting(), 50)], Signals("run", "0"), Setting(), {}, []), ["yolo"]),
        ]
    for one in told:
        assert re.search(r"[一-鿿]", one)
        code = re.sub(r"(?m)^ .*$", "", one.replace("something", ""))  # what is typed is indented
        assert english(code) == []


def test_a_command_that_is_best_as_it_is_has_a_forecast_too() -> None:
    """And nothing to type."""
    text = tune._text(tune.Result([_trial(Setting(), 50)], Signals("run", "0"), Setting(), {}, []), ["yolo"])
    assert "best: the command as it is; 48.3 to 51.8 images/s; nothing that was tried is faster" in text
    assert "type:" not in text


def test_workers_on_a_cpu_are_told_as_a_callback(tmp_path: Path) -> None:
    """Typed they change nothing, so that they are not in the file either."""
    result = _result("cpu", Setting(2, "ram"))
    text = tune._text(result, ["yolo", "train"])
    assert 'setattr(trainer.args, "workers", 2)' in text
    assert "type: yolo train cache=ram\n" in text
    assert "type:" not in tune._text(_result("cpu", Setting(2)), ["yolo", "train"])
    tune._write(tmp_path / "fast.yaml", result)
    assert yaml.safe_load((tmp_path / "fast.yaml").read_text()) == {"mode": "train", "cache": "ram"}


def test_json_has_all_that_was_tried() -> None:
    """With what failed, and the forecast."""
    result = _result("cuda:0", Setting(4))
    failed = Trial(Setting(8), "tried", failure="killed")
    told = json.loads(tune._json(tune.Result([*result.trials, failed], result.signals, result.best, {"nbs": 32}, [])))
    assert [one["arguments"] for one in told["trials"]] == [{}, {"workers": 4}, {"workers": 8}]
    assert told["trials"][2]["failure"] == "killed"
    assert told["best"] == {"arguments": {"workers": 4, "nbs": 32}, "environment": {}}
    assert told["forecast"]["today"] == 50
