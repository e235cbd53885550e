"""The command line where Linux' calls are missing: help, supervision of a command, and any encoding of the console."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.cli import COMMANDS

from tests.other_systems import looks

if TYPE_CHECKING:
    from pathlib import Path

CLI = [sys.executable, "-m", "yoloscope_exporter.cli"]
TIMEOUT = 60.0
#: Runs the command line for each command's help in one process: to start one takes longer than its help.
EVERY_HELP = """
import contextlib, io, sys
from yoloscope_exporter.cli import COMMANDS, main
for name in COMMANDS:
    with contextlib.suppress(SystemExit):
        main([name, "--help"], standalone_mode=True)
"""
WAITS = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
try:
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path(sys.argv[1]).write_text("interrupted")
    sys.exit(7)
"""


def run(system: str, home: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """A command on that system."""
    told = looks.environment(system, home) | environ
    return subprocess.run(command, env=told, capture_output=True, timeout=TIMEOUT, check=False)


@pytest.mark.parametrize("system", looks.SYSTEMS)
def test_every_help(tmp_path: Path, system: str) -> None:
    """Each command is imported and describes itself."""
    done = run(system, tmp_path, sys.executable, "-c", EVERY_HELP)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"Usage: ") == len(COMMANDS)
    assert {"windows": b"%LOCALAPPDATA%", "macos": b"~/Library/Caches"}[system] in done.stdout


@pytest.mark.parametrize("system", looks.SYSTEMS)
def test_run_hands_on_the_exit_code(tmp_path: Path, system: str) -> None:
    """The command's code is the one of `run`."""
    done = run(system, tmp_path, *CLI, "run", "--no-exporter", "--", sys.executable, "-c", "raise SystemExit(3)")
    assert (done.returncode, done.stderr) == (3, b"")


@pytest.mark.parametrize(
    ("system", "number"), [("windows", signal.SIGINT), ("macos", signal.SIGINT), ("macos", signal.SIGTERM)]
)
def test_run_ends_with_what_it_runs(tmp_path: Path, system: str, number: signal.Signals) -> None:
    """Ctrl-C reaches the training once, a signal is handed on, and nothing is left behind."""
    began, environ = tmp_path / "began", looks.environment(system, tmp_path / "home")
    command = [*CLI, "run", "--no-exporter", "--", sys.executable, "-c", WAITS, str(began)]
    with subprocess.Popen(command, env=environ, start_new_session=True) as process:
        end = time.monotonic() + TIMEOUT
        while not began.exists() and time.monotonic() < end:
            time.sleep(0.05)
        if system == "windows":
            os.killpg(process.pid, number)  # as a console does
        else:
            process.send_signal(number)
        code = process.wait(TIMEOUT)
    assert code == (7 if number == signal.SIGINT else 128 + signal.SIGTERM)
    assert began.read_text() == ("interrupted" if number == signal.SIGINT else "")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


LOCKS = """
import sys
from yoloscope_exporter.system import EXCLUSIVE, SHARED, os, take
first, second, exporter = (os.open(sys.argv[1], os.O_RDWR | os.O_CREAT) for _ in range(3))
print(take(first, SHARED, 0), take(second, SHARED, 0), take(exporter, EXCLUSIVE, 0), take(exporter, EXCLUSIVE, 1))
os.close(first)
print(take(exporter, EXCLUSIVE, 0), take(second, EXCLUSIVE, 0), take(exporter, EXCLUSIVE, 0))
os.close(second)
print(take(exporter, EXCLUSIVE, 0))
"""


def test_locks_of_several_runs_on_windows(tmp_path: Path) -> None:
    """Shared and exclusive ones mean what they mean elsewhere, though Windows has no shared ones."""
    done = run("windows", tmp_path, sys.executable, "-c", LOCKS, str(tmp_path / "lock"))
    assert done.stdout.decode().splitlines() == ["True True False True", "False True False", "True"], done.stderr


@pytest.mark.parametrize("encoding", ["cp936", "cp1252", "ascii"])
def test_any_encoding(tmp_path: Path, encoding: str) -> None:
    """A console or a file in any encoding takes what is said; what it lacks is a question mark."""
    script = "from yoloscope_exporter.cli import main\n"
    script += "main.callback = lambda: print('中文 █ ± é')\n"
    script += "main.invoke_without_command, main.no_args_is_help = True, False\nmain([])"
    done = run("windows", tmp_path, sys.executable, "-c", script, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr.decode()
    expected = "中文 █ ± é".encode(encoding, errors="replace")
    assert done.stdout.strip() == expected


@pytest.mark.parametrize("encoding", ["cp936", "cp1252", "ascii"])
def test_diagnosis_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    """A real diagnosis comes out without an error."""
    recording = str(looks.ROOT / "tests/recordings/loader_cpu.om.gz")
    done = run("windows", tmp_path, *CLI, "diagnose", "--recording", recording, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"loader_cpu" in done.stdout


SHARING = """
import subprocess, sys, time
from yoloscope_exporter.commands import shared_exporter as shared
from yoloscope_exporter.system import os
first, second = (shared.open_lock(sys.argv[1]) for _ in range(2))
assert shared.join(first)
process = shared.start(sys.argv[1])
while not shared._listens(sys.argv[1]):
    assert process.poll() is None, process.returncode
    time.sleep(0.05)
if sys.argv[2] == "windows":  # locks of POSIX belong to processes, and this one has both
    assert shared.join(second) and not shared.is_last(first)
    os.close(first)
    time.sleep(1)
    assert process.poll() is None and shared.is_last(second)
os.close(second)
print(process.wait(20))
"""


@pytest.mark.parametrize("system", looks.SYSTEMS)
def test_exporter_ends_with_the_last_run(tmp_path: Path, system: str) -> None:
    """It waits for all runs, and then ends as it would by itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    done = run(system, tmp_path, sys.executable, "-c", SHARING, address, system)
    assert done.stdout.decode().split() == ["0"], done.stderr.decode()


RECORDING = """
import sys
from pathlib import Path
from yoloscope_exporter.recordings.writer import Writer
path = Path(sys.argv[1])
for moment in (100.0, 200.0):
    writer = Writer(path)
    writer.exposition(moment, "# TYPE yoloscope_cpu_cores gauge\\nyoloscope_cpu_cores 2.0\\n# EOF\\n")
    try:
        Writer(path)
    except ValueError as error:
        print(error)
    writer.close()
print(path.read_text())
"""


@pytest.mark.parametrize("system", looks.SYSTEMS)
def test_recording_is_continued_by_one_writer(tmp_path: Path, system: str) -> None:
    """A lock on bytes leaves the file where it stood, and a second writer is noticed."""
    done = run(system, tmp_path, sys.executable, "-c", RECORDING, str(tmp_path / "night.om"))
    said = done.stdout.decode()
    assert said.count("another process is recording to it") == 2, done.stderr.decode()
    assert said.count("yoloscope_cpu_cores 2.0 ") == 2
    assert said.count("# EOF") == 1


#: What PyTorch has is asked for on one of them: it takes longer than all else.
@pytest.mark.parametrize(("system", "options"), [("windows", ()), ("macos", ("--python", "true"))])
def test_check_finds_what_there_is(tmp_path: Path, system: str, options: tuple[str, ...]) -> None:
    """Collectors that need Linux have no data, and nothing fails; the others have what psutil tells."""
    done = run(system, tmp_path, *CLI, "check", "--web.listen-address=127.0.0.1:0", *options)
    said = done.stdout.decode()
    assert done.returncode == 0, said
    found = {line.split()[2]: line.split()[0] for line in said.splitlines() if " collector " in line}
    assert {name for name, mark in found.items() if mark == "ok"} >= {"runs", "cpu", "memory", "disk", "network"}
    assert {name for name, mark in found.items() if mark == "note"} >= {"pressure"}


def test_tune_is_refused_on_windows(tmp_path: Path) -> None:
    """Before anything is started."""
    done = run("windows", tmp_path, *CLI, "tune", "--", sys.executable, "-c", "print('started')")
    assert done.returncode == 2
    assert b"WSL2" in done.stderr
    assert b"started" not in done.stdout
