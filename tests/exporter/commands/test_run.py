"""`yoloscope run --`: the training is what it would be without, and bad input is one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main
from yoloscope_exporter.commands import run

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
RUN = [sys.executable, "-m", "yoloscope_exporter.cli", "run", "--no-exporter", "--"]


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment of a user's shell."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("YOLOSCOPE_")}
    return kept | {"PYTHONPATH": os.pathsep.join([str(ROOT / "exporter"), str(ROOT / "trainer_hooks")])}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no command: say what to run after --"),
        (["--"], "no command"),
        (["--", "nosuchprogram"], "'nosuchprogram' is not a program that can be run"),
        (["--", "train.py"], "give python train.py"),
        (["--", "ls", "-l"], "'ls' is not Python, nor does it start Python: give yolo, python or torchrun"),
        (["--nonsense", "--", "python"], "--nonsense"),
    ],
)
def test_bad_input(arguments: list[str], said: str) -> None:
    """One line that names the thing and the remedy, exit code 2."""
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_output_and_code_are_the_trainings(environ: dict[str, str]) -> None:
    """Standard output, standard error, standard input and the exit code pass through untouched."""
    code = "import sys; print(sys.stdin.read().upper()); sys.stderr.write('err'); sys.exit(3)"
    command = [*RUN, sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, input="abc", capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("ABC\n", "err", 3)


def test_options_belong_to_the_command(environ: dict[str, str]) -> None:
    """What follows `--` is not looked at, `--help` included."""
    command = [sys.executable, "--help"]
    through, plain = (
        subprocess.run([*before, *command], env=environ, capture_output=True, text=True, check=True).stdout
        for before in (RUN, [])
    )
    assert through == plain
    assert "usage:" in plain


def test_environment(environ: dict[str, str]) -> None:
    """The hooks come first on PYTHONPATH, the user's own path follows, and a name is passed on."""
    code = "import os; print(os.environ['PYTHONPATH']); print(os.environ['YOLOSCOPE_RUN'])"
    command = [*RUN[:-1], "--name", "mine", "--", sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    path, name = done.stdout.splitlines()
    assert path.split(os.pathsep)[0].endswith("autoload")
    assert path.endswith(environ["PYTHONPATH"])
    assert name == "mine"


@pytest.mark.parametrize(("options", "blind"), [(["-I"], True), (["-uE"], True), (["-u", "-W", "error"], False)])
def test_python_that_ignores_us(environ: dict[str, str], options: list[str], *, blind: bool) -> None:
    """A Python told to ignore the environment still runs, and one line says that it is not watched."""
    command = [*RUN, sys.executable, *options, "-c", "print(1)"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert ("will not be watched" in done.stderr) is blind


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_death_by_signal(environ: dict[str, str], number: signal.Signals) -> None:
    """A training killed by a signal ends the command as a shell would say it: 128 and the number."""
    code = f"import os; os.kill(os.getpid(), {number.value})"
    assert subprocess.run([*RUN, sys.executable, "-c", code], env=environ, check=False).returncode == 128 + number


SLEEPER = """
import signal, sys, time
def on(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, on)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def sleeper(environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A training that says which signals it gets, and ends at SIGTERM."""
    process = subprocess.Popen(
        [*RUN, sys.executable, "-c", SLEEPER], env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()


def test_signals_are_handed_on(sleeper: subprocess.Popen[str]) -> None:
    """What a supervisor sends to `yoloscope run` reaches the training, once, and the training decides what follows."""
    assert sleeper.stdout is not None
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
        sleeper.send_signal(number)
        assert sleeper.stdout.readline() == f"{number.name}\n"
    assert sleeper.wait(10) == 7
    assert sleeper.stdout.read() == ""


@pytest.mark.slow
def test_own_exporter(environ: dict[str, str], tmp_path: Path) -> None:
    """Where no exporter answers, one is there for the time of the training and gone after it."""
    address = "http://127.0.0.1:9911/-/healthy"
    code = f"""
import time, urllib.request
for _ in range(100):
    try:
        print(urllib.request.urlopen({address!r}).status)
        break
    except OSError:
        time.sleep(0.1)
"""
    if _answers(address):
        pytest.skip("something serves port 9911 of this machine already")
    began = time.monotonic()
    command = [argument for argument in RUN if argument != "--no-exporter"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.returncode) == ("200\n", 0)
    assert done.stderr == "yoloscope: metrics at http://127.0.0.1:9911/metrics while this runs\n"
    assert time.monotonic() - began < 30
    assert not _answers(address)


def test_exporter_that_cannot_run(environ: dict[str, str], tmp_path: Path) -> None:
    """The training runs all the same, and one line says that there were no metrics."""
    if _answers("http://127.0.0.1:9911/-/healthy"):
        pytest.skip("something serves port 9911 of this machine already")
    command = [argument for argument in RUN if argument != "--no-exporter"]
    gone = tmp_path / "gone"  # the training lasts until the exporter has ended, however slow the machine
    code = f"import os, sys, time\nwhile not os.path.exists({str(gone)!r}): time.sleep(0.05)"
    told = (
        f"import sys, atexit, pathlib\nif 'serve' in sys.orig_argv: atexit.register(pathlib.Path({str(gone)!r}).touch)"
    )
    (tmp_path / "sitecustomize.py").write_text(told)
    broken = environ | {"YOLOSCOPE_CONFIG_FILE": str(tmp_path / "missing.yaml")}
    broken["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environ["PYTHONPATH"]])
    done = subprocess.run(
        [*command, sys.executable, "-c", code], env=broken, capture_output=True, text=True, check=True
    )
    assert "did not stay up" in done.stderr


@pytest.mark.parametrize(
    "answer", [b"220 a mail server\r\n", b"", b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"]
)
def test_port_is_taken(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """Whoever has the exporter's port, no second one is started; a proxy of the environment has no say."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(run, "ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        thread = threading.Thread(target=_reply, args=(server, answer))
        thread.start()
        assert run._answers()
        thread.join()
    assert not run._answers()


def _reply(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(answer)


def _answers(address: str) -> bool:
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
