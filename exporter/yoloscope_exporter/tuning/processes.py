"""A probe's processes: started apart from the terminal, and all of them gone when its `with` block is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from yoloscope_exporter.service.signals import INTERRUPTS, blocked, deferred

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Names a probe in the environment of all its processes: ranks have sessions of their own.
MARK = "YOLOSCOPE_TUNE"
#: Seconds that a resource tracker has, when all others are gone.
TRACKER_PATIENCE = 2.0


@contextmanager
def running(command: Sequence[str], environ: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start `command` without a terminal, its output in `log`; `environ` has the MARK.

    Raises:
        OSError: it cannot be run.
    """
    process = None
    try:
        with deferred(), log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - what the user asked for
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        yield process
    finally:
        with blocked(INTERRUPTS):
            end(environ[MARK])
            if process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # those that have dropped their environment
                process.wait()


def end(mark: str) -> None:
    """Kill everything with the mark, wherever it has gone.

    Python's resource trackers remove named semaphores when nobody else is left, and end by themselves.
    """
    limit = time.monotonic() + TRACKER_PATIENCE
    while found := living(mark):
        others = [pid for pid in found if not _is_tracker(pid)]
        for pid in others or (found if time.monotonic() > limit else ()):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _is_tracker(pid: int) -> bool:
    with suppress(OSError):
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def living(mark: str) -> list[int]:
    """Processes of this user that have the mark in their environment; what has ended has none."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for pid in psutil.pids():
        with suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found
