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

import psutil
import pytest
from click.testing import CliRunner
from yoloscope_exporter.cli import main
from yoloscope_exporter.commands import run, shared_exporter

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
RUN = [sys.executable, "-m", "yoloscope_exporter.cli", "run", "--no-exporter", "--"]


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment of a user's shell."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("YOLOSCOPE_")}
    kept["YOLOSCOPE_LANGUAGE"] = "en"
    return kept | {"PYTHONPATH": os.pathsep.join([str(ROOT / "exporter"), str(ROOT / "trainer_hooks")])}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no command after --"),
        (["--"], "no command"),
        (["--", "nosuchprogram"], "'nosuchprogram' is not a program that can be run"),
        (["--", "train.py"], "use python train.py"),
        (["--nonsense", "--", "python"], "--nonsense"),
    ],
)
def test_bad_input(arguments: list[str], said: str) -> None:
    """One line that names the thing and the remedy, exit code 2."""
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("program", "warned"), [("apptainer", True), ("tmux", True), ("nsys", False), ("setsid", False)]
)
def test_programs_that_start_others(environ: dict[str, str], tmp_path: Path, program: str, *, warned: bool) -> None:
    """Nothing is refused that can be run; one line says so where it is not known to hand the environment on."""
    path = tmp_path / program
    path.symlink_to("/bin/echo")
    environ["PATH"] = f"{tmp_path}:{environ['PATH']}"
    done = subprocess.run([*RUN, program, "hello"], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "hello\n"
    assert (f"yoloscope: {program} is monitored only if" in done.stderr) is warned
    assert len(done.stderr.splitlines()) == warned


def test_output_and_code_are_the_trainings(environ: dict[str, str]) -> None:
    """Standard output, standard error, standard input and the exit code pass through untouched."""
    code = "import sys; print(sys.stdin.read().upper()); sys.stderr.write('err'); sys.exit(3)"
    command = [*RUN, sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, input="abc", capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("ABC\n", "err", 3)


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "2>&1 >&- | true"])
def test_standard_error_cannot_be_written(environ: dict[str, str], tmp_path: Path, where: str) -> None:
    """A log on a disk that is full: the training begins, and its exit code comes through, whatever we have to say."""
    program = tmp_path / "train"
    program.symlink_to("/bin/sh")
    line = f'"$@" -c "sleep 0.3; touch {tmp_path}/trained; exit 3" {where}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", line, "bash", *RUN, program], env=environ, timeout=60, check=False)
    assert (tmp_path / "trained").exists()
    assert done.returncode == 3


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


@pytest.mark.parametrize(
    ("options", "blind"),
    [(["-I"], True), (["-uE"], True), (["-u", "-W", "error"], False), (["-Wignore::ImportWarning", "-XIE"], False)],
)
def test_python_that_ignores_us(environ: dict[str, str], options: list[str], *, blind: bool) -> None:
    """A Python told to ignore the environment still runs, and one line says that it is not watched."""
    command = [*RUN, sys.executable, *options, "-c", "print(1)"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert ("will not be monitored" in done.stderr) is blind


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_death_by_signal(environ: dict[str, str], number: signal.Signals) -> None:
    """A training killed by a signal ends the command as a shell would say it: 128 and the number."""
    code = f"import os; os.kill(os.getpid(), {number.value})"
    assert subprocess.run([*RUN, sys.executable, "-c", code], env=environ, check=False).returncode == 128 + number


def test_a_parent_that_ignores_its_children(environ: dict[str, str]) -> None:
    """Who starts us with SIGCHLD ignored, as some supervisors do, is told of the end and its exit code all the same."""
    ignoring = (
        "import os, signal, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nos.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", ignoring, *RUN, sys.executable, "-c", "raise SystemExit(3)"]
    assert subprocess.run(command, env=environ, check=False, timeout=60).returncode == 3


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


@pytest.fixture
def address() -> Iterator[str]:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    yield free
    shared_exporter.lock_path(free).unlink(missing_ok=True)


def start(address: str, environ: dict[str, str], code: str) -> subprocess.Popen[str]:
    """`yoloscope run` with an exporter at `address`."""
    told = f"from yoloscope_exporter.commands import run; run.ADDRESS = {address!r}; "
    command = [sys.executable, "-c", f"{told}from yoloscope_exporter.cli import main; main()"]
    command += ["run", "--", sys.executable, "-c", code]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(address: str, *, answers: bool, seconds: float = 30) -> None:
    """Until an exporter is there, or gone."""
    deadline = time.monotonic() + seconds
    while _answers(f"http://{address}/-/healthy") is not answers:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_file(path: Path) -> str:
    """Python that lasts until there is a file at `path`."""
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.05)"


@pytest.mark.slow
def test_own_exporter(environ: dict[str, str], tmp_path: Path, address: str) -> None:
    """Where no exporter answers, one is there for the time of the training and gone after it."""
    end = tmp_path / "end"
    process = start(address, environ, wait_for_file(end))
    wait_for(address, answers=True)
    end.touch()
    said = process.communicate(timeout=30)
    assert (*said, process.returncode) == ("", f"yoloscope: metrics at http://{address}/metrics while this runs\n", 0)
    assert not _answers(f"http://{address}/-/healthy")


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python looks into the working directory first")
def test_a_module_beside_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """The exporter starts in the user's folder, and takes no module from there for one of its own."""
    (tmp_path / "statistics.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    lock = shared_exporter.open_lock(address)
    assert shared_exporter.join(lock)
    process = shared_exporter.start(address)
    try:
        wait_for(address, answers=True)
    finally:
        os.close(lock)
        process.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize("death", [None, signal.SIGKILL])
def test_two_runs_share_an_exporter(
    environ: dict[str, str], tmp_path: Path, address: str, death: signal.Signals | None
) -> None:
    """The one that started it ends, or is killed, before the other: it lasts until that one ends, and is gone then."""
    ends = [tmp_path / "first", tmp_path / "second"]
    first = start(address, environ, wait_for_file(ends[0]))
    wait_for(address, answers=True)
    second = start(address, environ, f"print(1, flush=True)\n{wait_for_file(ends[1])}")
    assert second.stdout is not None
    assert second.stdout.readline() == "1\n"
    if death:
        first.send_signal(death)
    ends[0].touch()
    first.communicate(timeout=30)
    assert first.returncode == (-death if death else 0)
    for _ in range(20):
        assert _answers(f"http://{address}/-/healthy")
        time.sleep(0.1)
    ends[1].touch()
    assert second.communicate(timeout=30) == ("", "")
    wait_for(address, answers=False)


@pytest.mark.slow
def test_a_run_after_another(environ: dict[str, str], tmp_path: Path, address: str) -> None:
    """It begins while the exporter of the one before ends, and has one for all of its time."""
    ends = [tmp_path / "first", tmp_path / "second"]
    first = start(address, environ, wait_for_file(ends[0]))
    wait_for(address, answers=True)
    ends[0].touch()
    first.wait(30)
    second = start(address, environ, wait_for_file(ends[1]))
    wait_for(address, answers=True)
    ends[1].touch()
    for process in (first, second):
        _, error = process.communicate(timeout=30)
        assert error == f"yoloscope: metrics at http://{address}/metrics while this runs\n"


def test_nowhere_to_lock(environ: dict[str, str], address: str) -> None:
    """Without a file to share by there is no exporter, one line says why, and the training runs."""
    path = shared_exporter.lock_path(address)
    path.symlink_to("/nowhere")
    process = start(address, environ, "print(1)")
    out, error = process.communicate(timeout=30)
    assert (out, process.returncode) == ("1\n", 0)
    assert "yoloscope: cannot start an exporter: " in error
    assert str(path) in error


def test_exporter_that_cannot_run(environ: dict[str, str], tmp_path: Path, address: str) -> None:
    """The training runs all the same, and one line says that there were no metrics."""
    gone = tmp_path / "gone"  # the training lasts until the exporter has ended, however slow the machine
    told = "import atexit, os, pathlib, sys\n"
    told += "if 'yoloscope_exporter.commands.shared_exporter' in sys.orig_argv:\n"
    told += f"    atexit.register(os.symlink, str(os.getpid()), {str(gone)!r})\n"
    (tmp_path / "sitecustomize.py").write_text(told)
    broken = environ | {"YOLOSCOPE_CONFIG_FILE": str(tmp_path / "missing.yaml")}
    broken["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environ["PYTHONPATH"]])
    until = f"import os, time\nwhile not os.path.lexists({str(gone)!r}): time.sleep(0.05)\n"
    until += f"pid = os.readlink({str(gone)!r})\n"
    until += "while open(f'/proc/{pid}/stat').read().split()[2] != 'Z': time.sleep(0.05)"
    _, error = start(address, broken, until).communicate(timeout=60)
    assert "has exited" in error


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


@pytest.mark.slow
def test_a_killed_run_takes_its_exporter_along(environ: dict[str, str], tmp_path: Path, address: str) -> None:
    """At once: in 0.03 to 0.2 s, measured on a busy machine; the training goes on to its end."""
    end, done = tmp_path / "end", tmp_path / "done"
    process = start(address, environ, f"{wait_for_file(end)}\nopen({str(done)!r}, 'w').close()")
    wait_for(address, answers=True)
    process.kill()
    wait_for(address, answers=False, seconds=10)
    end.touch()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while not done.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_that_is_killed_while_its_exporter_starts(environ: dict[str, str], tmp_path: Path, address: str) -> None:
    """No exporter is left behind that has not begun to wait for the runs' end."""
    end = tmp_path / "end"
    process = start(address, environ, f"print(1, flush=True)\n{wait_for_file(end)}")
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    (exporter,) = [one for one in psutil.process_iter() if _is_exporter(one, address)]
    process.kill()
    exporter.wait(30)
    end.touch()
    process.communicate(timeout=30)
    assert not _answers(f"http://{address}/-/healthy")


def _is_exporter(process: psutil.Process, address: str) -> bool:
    try:
        return process.cmdline()[-2:] == ["yoloscope_exporter.commands.shared_exporter", address]
    except psutil.Error:
        return False
