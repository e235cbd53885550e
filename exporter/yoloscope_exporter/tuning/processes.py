"""A probe's processes: started apart from the terminal, and all of them gone when its `with` block is left."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from yoloscope_exporter.language import text
from yoloscope_exporter.service.signals import deferred, present
from yoloscope_exporter.system import APART, end_group, os

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Names a probe in the environment of all its processes: ranks have sessions of their own.
MARK = "YOLOSCOPE_TUNE"
#: What starts processes on other nodes, and hands SIGTERM on to them: that is all that reaches them.
FORWARDERS = frozenset({"srun", "mpirun", "mpiexec", "mpiexec.hydra", "orterun", "prterun"})
#: Seconds that those have to end by themselves, and resource trackers.
GRACE = 2.0
#: Seconds after which a process that SIGKILL has not ended is given up: it waits in the kernel, for a dead file server.
PATIENCE = 10.0


(_KILL,) = present("SIGKILL") or (signal.SIGTERM,)  # which ends a process at once on Windows


class LeftBehindError(Exception):
    """Processes of a probe that cannot be ended."""

    def __init__(self, pids: Sequence[int]) -> None:
        """Name them."""
        told = ", ".join(str(pid) for pid in pids)
        super().__init__(
            text(
                "left behind, as SIGKILL has not ended it within {patience:.0f} s: process {told}",
                patience=PATIENCE,
                told=told,
            )
        )


@contextmanager
def running(
    command: Sequence[str], environ: Mapping[str, str], log: Path, *, pipes: bool = False, directory: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `command` without a terminal, its output in `log`; `environ` has the MARK.

    With `pipes` it is spoken to: standard input and output are pipes. It works in `directory`, or where we do.

    Raises:
        OSError: it cannot be run.
        LeftBehindError: it cannot be ended.
    """
    process = None
    try:
        with deferred(), log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - what the user asked for
                command,
                env=environ,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else output,
                stderr=output,
                cwd=directory,
                **APART,
            )
        yield process
    finally:
        with deferred():
            try:
                end(environ[MARK])
            finally:
                if process is not None:
                    _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Those that have dropped their environment, too."""
    end_group(process, kill=True)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired as error:
        raise LeftBehindError([process.pid]) from error


def end(mark: str) -> None:
    """Kill everything with the mark, wherever it has gone; what has started some of it on other nodes is asked first.

    Python's resource trackers remove named semaphores when nobody else is left, and end by themselves.

    Raises:
        LeftBehindError: some of it does not end.
    """
    begun, asked = time.monotonic(), set[int]()
    while found := living(mark):
        passed = time.monotonic() - begun
        if passed > PATIENCE:
            raise LeftBehindError(found)
        for pid in found:
            forwards = _is_forwarder(pid)
            if passed > GRACE or not (forwards or _is_tracker(pid)):
                _send(pid, _KILL)
            elif forwards and pid not in asked:
                _send(pid, signal.SIGTERM)
                asked.add(pid)
        time.sleep(0.02)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(OSError):
        os.kill(pid, number)


def _is_tracker(pid: int) -> bool:
    with suppress(OSError):
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _is_forwarder(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").rstrip("\n") in FORWARDERS
    return False


def living(mark: str) -> list[int]:
    """Processes of this user that have the mark in their environment; what has ended has none."""
    return [pid for pid in psutil.pids() if _is_marked(pid, mark)]


def _is_marked(pid: int, mark: str) -> bool:
    with suppress(OSError, psutil.Error):
        if psutil.LINUX:
            return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return psutil.Process(pid).environ().get(MARK) == mark
    return False


def tail(log: Path, lines: int = 12) -> list[str]:
    """The last lines of a command's output, without terminals' control sequences."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(log.stat().st_size - 16384, 0))
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.read().decode(errors="replace"))
        return [line.rpartition("\r")[2] for line in text.splitlines() if line.strip()][-lines:]
    return []
