"""A probe's processes are all gone when its block is left, wherever they went."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
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
