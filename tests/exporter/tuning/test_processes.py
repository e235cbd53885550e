"""A probe's processes are all gone when its block is left, wherever they went."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from yoloscope_exporter.service.signals import interruptible
from yoloscope_exporter.tuning import processes

if TYPE_CHECKING:
    from pathlib import Path

#: Starts one in a session of its own that ignores signals, prints its pid, and goes on.
DAEMON = """
import os, signal, subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(1000)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(SECONDS)
"""


def _run(tmp_path: Path, mark: str, seconds: float) -> int:
    """Run it until it has told its child."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", DAEMON.replace("SECONDS", str(seconds))]
    with processes.running(command, {**os.environ, processes.MARK: mark}, log) as process:
        end = time.monotonic() + 30
        while not log.read_text().strip():
            assert time.monotonic() < end
            time.sleep(0.01)
        child = int(log.read_text())
        assert child in processes.living(mark)
        if not seconds:
            process.wait(30)
    return child


@pytest.mark.parametrize("seconds", [1000.0, 0.0])
def test_they_are_killed(tmp_path: Path, seconds: float) -> None:
    """With their sessions, and also where the first of them has ended and left others behind."""
    child = _run(tmp_path, f"mark-{os.getpid()}", seconds)
    assert processes.living(f"mark-{os.getpid()}") == []
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_others_are_not_touched() -> None:
    """A mark that begins like another is another."""
    assert processes.living("mark") == []
    processes.end("mark")


def test_it_gets_no_terminal(tmp_path: Path) -> None:
    """Nothing can be read; signals are not blocked in it."""
    code = "import signal, sys; print(repr(sys.stdin.read()), signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    environ = {**os.environ, processes.MARK: "mark-2"}
    with processes.running([sys.executable, "-c", code], environ, tmp_path / "log") as process:
        process.wait(30)
    assert (tmp_path / "log").read_text() == "'' set()\n"


def test_who_has_dropped_the_environment_is_killed_too(tmp_path: Path) -> None:
    """It is still of the group that was started."""
    command = ["env", "-i", sys.executable, "-c", "import time; print(1, flush=True); time.sleep(1000)"]
    with processes.running(command, {**os.environ, processes.MARK: "mark-3"}, tmp_path / "log") as process:
        end = time.monotonic() + 30
        while not (tmp_path / "log").read_text():
            assert time.monotonic() < end
            time.sleep(0.01)
    assert process.returncode == -9


#: Has not handed SIGTERM on before it is asked to; ends then.
SRUN = """#!/bin/bash
trap 'echo forwarded > {file}; exit 0' TERM
echo begun
while :; do sleep 0.05; done
"""


def _begun(log: Path) -> None:
    end = time.monotonic() + 30
    while not log.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("name", "forwards"), [("srun", True), ("train.sh", False)])
def test_what_runs_on_other_nodes_is_told_to_end(tmp_path: Path, name: str, *, forwards: bool) -> None:
    """Only by what has started it there; of everything else nothing more is executed."""
    program, file = tmp_path / name, tmp_path / "forwarded"
    program.write_text(SRUN.format(file=file))
    program.chmod(0o755)
    environ = {**os.environ, processes.MARK: f"mark-4-{os.getpid()}"}
    with processes.running([str(program)], environ, tmp_path / "log") as process:
        _begun(tmp_path / "log")
    assert file.exists() is forwards
    assert process.returncode == (0 if forwards else -9)


def test_what_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a limit: a process that waits for a dead file server does not end by SIGKILL."""
    mark = f"mark-5-{os.getpid()}"
    environ = {**os.environ, processes.MARK: mark}
    with processes.running(["sleep", "1000"], environ, tmp_path / "log") as process:
        while process.pid not in processes.living(mark):
            time.sleep(0.01)
        with monkeypatch.context() as patch:
            patch.setattr(processes, "PATIENCE", 0.2)
            patch.setattr(processes, "_send", lambda _pid, _number: None)
            with pytest.raises(processes.LeftBehindError, match=f"left behind.*: process {process.pid}$"):
                processes.end(mark)


def test_an_interrupt_waits_for_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever thread the kernel hands it to: Python's handlers run in the main one."""
    killed, over = [], threading.Event()
    other = threading.Thread(target=over.wait)
    environ = {**os.environ, processes.MARK: f"mark-6-{os.getpid()}"}

    def send(pid: int, number: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        os.kill(pid, number)
        killed.append(pid)

    def interrupted() -> None:
        with interruptible(), processes.running(["sleep", "1000"], environ, tmp_path / "log") as process:
            while process.pid not in processes.living(environ[processes.MARK]):
                time.sleep(0.01)
            monkeypatch.setattr(processes, "_send", send)

    other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        over.set()
        other.join()
    assert killed
