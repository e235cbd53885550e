"""The end of `yoloscope run`: the card in a terminal, nothing elsewhere, `summary.json` beside the results.

The training is the loop of `tests/trainer_hooks/loop.py`, whose events are Ultralytics', where what matters is how a
command ends; a real one where it is what is told of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import asdict
from fcntl import ioctl
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from yoloscope_exporter.commands import shared_exporter

from tests import training
from tests.live import free_port, get, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

RUN = "from yoloscope_exporter.commands import hanging, run; run.ADDRESS = {!r}; hanging.LOOK_SECONDS = 1.0; "
RUN += "from yoloscope_exporter.cli import main; main()"
LOOP = """
import os, pathlib, signal, sys, time
from loop import Loop
import yoloscope_hooks
for folder in sys.argv[1].split(","):
    loop = Loop(pathlib.Path(folder), epochs=3)
    loop.save_dir.mkdir(parents=True)
    yoloscope_hooks.attach(loop).callbacks.setdefault("on_train_epoch_end", []).append(
        lambda trainer: exec(sys.argv[2], globals() | {'trainer': trainer})
    )
    print("begins", flush=True)
    loop.train()
"""
WAIT = "print('waits', flush=True); time.sleep(60)"


def environment(base: Path, **more: str) -> dict[str, str]:
    """The environment of a user's shell."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("YOLOSCOPE_", "LC_", "SLURM"))}
    paths = os.pathsep.join(str(training.ROOT / part) for part in ("exporter", "trainer_hooks", "tests/trainer_hooks"))
    ours = {"LANG": "C.UTF-8", "TERM": "dumb", "PYTHONPATH": paths, "YOLOSCOPE_DIR": str(base / "records")}
    return known | ours | more


def loop(base: Path, code: str, *options: str, names: Sequence[str] = ("one",)) -> list[str]:
    """The command that trains once for each name; `code` runs at the end of each epoch."""
    folders = ",".join(str(base / name) for name in names)
    nowhere = RUN.format(f"127.0.0.1:{free_port()}")
    return [sys.executable, "-c", nowhere, "run", *options, "--", sys.executable, "-c", LOOP, folders, code]


def in_terminal(command: list[str], environ: dict[str, str], press: str = "") -> tuple[int, str]:
    """Exit code and output in a terminal of 80 columns; after `press` is read, Ctrl-C is pressed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, environ)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    shown, deadline = b"", time.monotonic() + 90
    with contextlib.suppress(OSError):  # EIO: everybody has closed it
        while time.monotonic() < deadline and (select.select([terminal], [], [], 1.0)[0] or True):
            if select.select([terminal], [], [], 0)[0]:
                shown += (more := os.read(terminal, 65536))
                if not more:
                    break
            if press and press.encode() in shown:
                press = ""
                os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode().replace("\r\n", "\n")


def card(shown: str) -> str:
    """The card at the end of an output: from its rule on."""
    begin = [line for line in shown.splitlines() if line.endswith("───")]
    return shown[shown.rindex(begin[-1]) :] if begin else ""


def summary(folder: Path) -> dict[str, Any]:
    """What stands beside the results."""
    return dict(json.loads((folder / "train" / "summary.json").read_text(encoding="utf-8")))


def test_a_card_in_a_terminal(tmp_path: Path) -> None:
    """How it ended, how far it came, what to type; the file beside the results says the same."""
    code, shown = in_terminal(loop(tmp_path, "pass", "--no-exporter"), environment(tmp_path))
    told, written = card(shown), summary(tmp_path / "one")
    assert code == 0
    assert re.match(rf"{written['run']} finished after \d+\.\d s on {written['node']} ─", told), shown
    assert "\nepochs 3/3 · images/s " in told
    assert f"\nMore     yoloscope report {written['run']}\n" in told
    assert len(told.splitlines()) <= 15
    assert (written["state"], written["exit_code"], written["metrics"]["epoch"]) == ("finished", 0, 3)
    assert oct((tmp_path / "one/train/summary.json").stat().st_mode & 0o777 & ~0o022) == "0o644"
    assert [path.name for path in (tmp_path / "one/train").iterdir()] == ["summary.json"]


def test_in_the_terminals_language(tmp_path: Path) -> None:
    """A Chinese locale; the file stays English."""
    _, shown = in_terminal(loop(tmp_path, "pass", "--no-exporter"), environment(tmp_path, LANG="zh_CN.UTF-8"))
    assert re.search(r" 已完成，用时 \d+\.\d s，节点 ", card(shown)), shown  # noqa: RUF001 - Chinese
    assert "\nepoch 数 3/3 · 图像/秒 " in card(shown)
    assert "已完成" not in json.dumps(summary(tmp_path / "one"), ensure_ascii=False)


def test_none_without_a_terminal(tmp_path: Path) -> None:
    """Output, errors and exit code are those of the training, byte by byte; the file is written all the same."""
    command = loop(tmp_path, "print('epoch', trainer.epoch); print('e', file=sys.stderr)", "--no-exporter")
    seen = subprocess.run(command, env=environment(tmp_path), capture_output=True, check=False)
    (tmp_path / "one").rename(tmp_path / "seen")
    plain = subprocess.run(
        command[command.index("--") + 1 :], env=environment(tmp_path), capture_output=True, check=False
    )
    assert (seen.returncode, seen.stdout, seen.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert seen.stdout == b"begins\nepoch 0\nepoch 1\nepoch 2\n"
    assert summary(tmp_path / "seen")["state"] == "finished"
    assert not (tmp_path / "one/train/summary.json").exists()


@pytest.mark.parametrize(("option", "there"), [("--summary", True), ("--no-summary", False)])
def test_asked_for(tmp_path: Path, option: str, *, there: bool) -> None:
    """--summary shows it anywhere, --no-summary nowhere; without a terminal it has no colours."""
    command = loop(tmp_path, "pass", "--no-exporter", option)
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=True)
    _, shown = in_terminal(loop(tmp_path, "pass", "--no-exporter", option, names=["two"]), environment(tmp_path))
    assert ("yoloscope report" in done.stdout) is there
    assert ("yoloscope report" in shown) is there
    assert "\x1b" not in done.stdout


def test_a_failure_is_told_with_its_cause(tmp_path: Path) -> None:
    """And the remedy of diagnosis/causes.py."""
    command = loop(tmp_path, "raise RuntimeError('CUDA error: out of memory')", "--no-exporter")
    code, shown = in_terminal(command, environment(tmp_path))
    told = card(shown)
    assert code == 1
    assert " failed with exit code 1 after " in told
    unwrapped = told.replace("\n         ", " ")
    assert "\nVerdict  failed: the trainer ended with an exception in epoch 1: RuntimeError: CUDA error:" in unwrapped
    assert "\nCause    cuda_out_of_memory: the GPU's memory is used up\n" in told
    assert "a smaller batch, or imgsz; batch=-1" in unwrapped
    assert f"\nMore     yoloscope report --black-box {summary(tmp_path / 'one')['run']}\n" in told
    assert len(told.splitlines()) <= 15
    assert [one["name"] for one in summary(tmp_path / "one")["verdicts"]] == ["failed"]


def test_a_kill_is_told(tmp_path: Path) -> None:
    """By the signal."""
    command = loop(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)", "--no-exporter")
    code, shown = in_terminal(command, environment(tmp_path))
    assert code == 128 + signal.SIGKILL
    assert " was killed by SIGKILL after " in card(shown)
    assert "\nVerdict  killed: " in card(shown)


def test_ctrl_c(tmp_path: Path) -> None:
    """The card all the same: the training got the signal from the terminal, and `run` waits for its end."""
    code, shown = in_terminal(loop(tmp_path, WAIT, "--no-exporter"), environment(tmp_path), press="waits")
    assert code == 128 + signal.SIGINT
    assert " was killed by SIGINT after " in card(shown), shown
    assert "\nCause    interrupted: " in card(shown)


def test_several_trainings(tmp_path: Path) -> None:
    """A card for the last, with the number of the others; a file for each."""
    command = loop(tmp_path, "pass", "--no-exporter", names=["one", "two", "three"])
    _, shown = in_terminal(command, environment(tmp_path))
    told = card(shown)
    assert told.startswith(summary(tmp_path / "three")["run"])
    assert "\nOthers   2 more of this command\n" in told
    assert len({summary(tmp_path / name)["run"] for name in ("one", "two", "three")}) == 3


def test_no_training_no_card(tmp_path: Path) -> None:
    """Nothing was recorded, nothing is told."""
    command = loop(tmp_path, "pass", "--no-exporter", "--summary")
    command[command.index("--") + 1 :] = [sys.executable, "-c", "print('done')"]
    assert in_terminal(command, environment(tmp_path)) == (0, "done\n")


def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    """The training has written a `summary.json` of its own: it stays, and one line says so; so does the exit code."""
    command = loop(tmp_path, "pathlib.Path(trainer.save_dir, 'summary.json').write_text('[]')", "--no-exporter")
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "begins\n")
    assert re.fullmatch(r"yoloscope: no summary\.json in .*/one/train: FileExistsError.*\n", done.stderr)
    assert [path.read_text() for path in (tmp_path / "one/train").iterdir()] == ["[]"]


# --- real trainings -------------------------------------------------------------------------------------------------


def real(base: Path, name: str, **options: Any) -> list[str]:
    """The command of a real training."""
    data = training.make_dataset(base / "data", images=16, size=64)
    chosen = training.Options(
        data=str(data), project=str(base / "runs"), name=name, model=training.TINY, hooks="none", **options
    )
    return [sys.executable, str(training.ROOT / "tests/training.py"), json.dumps(asdict(chosen))]


def real_environment(base: Path, **more: str) -> dict[str, str]:
    """Its environment; Ultralytics is quiet, so that its output is the same each time."""
    return (
        training.environment(base / "runs")
        | {"LANG": "C.UTF-8", "TERM": "dumb", "YOLO_VERBOSE": "false", "YOLOSCOPE_DIR": str(base / "records")}
        | more
    )


@pytest.fixture
def address() -> Iterator[str]:
    """Where nobody listens."""
    free = f"127.0.0.1:{free_port()}"
    yield free
    shared_exporter.lock_path(free).unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.train
def test_a_real_training(tmp_path: Path, address: str) -> None:
    """Its output is what it is without `run`; the file tells what Ultralytics' own results say."""
    before = [sys.executable, "-c", RUN.format(address), "run", "--"]
    seen, plain = (
        subprocess.run(
            [*prefix, *real(tmp_path, name, epochs=2)], env=real_environment(tmp_path), capture_output=True, check=False
        )
        for prefix, name in ((before, "seen"), ([], "plain"))
    )
    assert (seen.returncode, seen.stdout) == (plain.returncode, plain.stdout), seen.stderr
    line = f"yoloscope: metrics at http://{address}/metrics while this runs\n".encode()
    assert seen.stderr == line + plain.stderr
    told = json.loads((tmp_path / "runs/seen/summary.json").read_text())
    rows = (tmp_path / "runs/seen/results.csv").read_text().splitlines()
    column = [name.strip() for name in rows[0].split(",")].index("metrics/mAP50-95(B)")
    assert told["metrics"]["best_score"] >= max(float(row.split(",")[column]) for row in rows[1:])
    assert (told["state"], told["metrics"]["epoch"], told["facts"]["epochs"]) == ("finished", 2, "2")
    assert told["metrics"]["images_per_second"] > 0
    assert not (tmp_path / "runs/plain/summary.json").exists()


@contextlib.contextmanager
def exporter(base: Path, address: str, *options: str) -> Iterator[None]:
    """`yoloscope serve`, as another user may have started it."""
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "serve", "--web.listen-address", address, *options]
    with subprocess.Popen(command, env=real_environment(base), stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: "yoloscope" in get(f"http://{address}/metrics"), what="the exporter", timeout=60)
            yield
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.timeout(360)
@pytest.mark.parametrize(
    "own",
    [
        pytest.param(True, marks=pytest.mark.long, id="its own exporter"),
        pytest.param(False, id="one that may not ask"),
    ],
)
def test_a_hang_is_named(tmp_path: Path, address: str, *, own: bool) -> None:
    """By the exporter that `run` has started; by `run` where another one is there that asks nobody. Once."""
    (tmp_path / "limits.yaml").write_text("stall_seconds: 6\nstall_factor: 2\n")
    script = "import time\ndef hang(trainer):\n    losses[5:] and time.sleep(999)\n"
    script += "model.add_callback('on_train_batch_end', hang)"
    limits = str(tmp_path / "limits.yaml")
    command = [sys.executable, "-c", RUN.format(address), "run", "--", *real(tmp_path, "hung", epochs=9, script=script)]
    other = exporter(tmp_path, address, "--no-collector.stacks", "--diagnosis.thresholds", limits)
    log = tmp_path / "log"
    with contextlib.nullcontext() if own else other, log.open("w") as file:
        environ = real_environment(tmp_path, YOLOSCOPE_DIAGNOSIS_THRESHOLDS=limits)
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=file)
        try:
            if own:
                wait_for(lambda: "; rank 0, main" in get(f"http://{address}/api/v1/diagnosis"), timeout=220)
                assert "hang (" in get(f"http://{address}/api/v1/diagnosis")
            else:
                wait_for(lambda: "stands still" in log.read_text(), timeout=220, what=log.read_text)
                assert re.search(r"yoloscope: \S+ stands still: rank 0, main \(pid \d+\), .*: hang \(", log.read_text())
            time.sleep(5)  # of another look
            shown = subprocess.run(
                [sys.executable, "-m", "yoloscope_exporter.cli", "stacks"],
                env=environ,
                capture_output=True,
                check=False,
            )
            assert b"hang (" in shown.stdout
            (stacks,) = (tmp_path / "records").glob("**/rank-0.stacks")
            assert stacks.read_text().count("Current thread") == 1  # whoever asked
        finally:
            whole = psutil.Process(process.pid)
            for one in (*whole.children(recursive=True), whole):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait()
