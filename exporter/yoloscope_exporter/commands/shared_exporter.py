"""The exporter that `yoloscope run` starts: all runs of a user share it, and it ends when the last of them has ended.

Two bytes of a file are locked: the first by every run, shared; the second by the exporter. The exporter waits for the
first byte to be free of runs, holds it while it ends, and so keeps a new run from counting on it. The kernel drops
locks at any death, so a run that is killed leaves no exporter behind. (PR_SET_PDEATHSIG would end it with the run that
started it, although others use it.) The empty file stays.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from yoloscope_exporter import SAFE_PATH
from yoloscope_exporter.language import say
from yoloscope_exporter.service.signals import hold
from yoloscope_exporter.system import APART, EXCLUSIVE, SHARED, ask_to_end, os, take

RUNS, EXPORTER = 0, 1
END_SECONDS = 2.0  # that an exporter may take to end


def open_lock(address: str) -> int:
    """The descriptor of the file with the locks of the exporter at `address`.

    Raises:
        OSError: there is no directory for it, or the file is somebody else's.
    """
    path = lock_path(address)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.fstat(descriptor).st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(say("{path} belongs to somebody else", path=path))
    return descriptor


def lock_path(address: str) -> Path:
    """The file: one for each user and port of this machine."""
    shared = Path("/dev/shm")  # noqa: S108 - as the records: a Slurm job has a temporary directory of its own
    directory = shared if os.access(shared, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    return directory / f"yoloscope-run-{os.geteuid()}-{address.rpartition(':')[2]}.lock"


def join(lock: int) -> bool:
    """Be one of the runs until `lock` is closed. Waits while an exporter is about to end; False if it does not."""
    deadline = time.monotonic() + 2 * END_SECONDS
    while not take(lock, SHARED, RUNS):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_last(lock: int) -> bool:
    """Whether no other run uses the exporter."""
    return take(lock, EXCLUSIVE, RUNS)


def start(address: str) -> subprocess.Popen[bytes]:
    """Start the exporter: quiet, and out of reach of the terminal's Ctrl-C."""
    return subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", __name__, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **SAFE_PATH},
        **APART,
    )


def main(address: str) -> None:
    """The exporter's process."""
    lock = open_lock(address)
    if not take(lock, EXCLUSIVE, EXPORTER):
        return  # another run has started one this moment
    hold({signal.SIGTERM})  # `serve` waits for it
    threading.Thread(target=_end_with_the_runs, args=(lock, address), daemon=True).start()
    from yoloscope_exporter.cli import main as command_line  # noqa: PLC0415 - the lock comes first

    command_line(["serve", f"--web.listen-address={address}"])


def _end_with_the_runs(lock: int, address: str) -> None:
    take(lock, EXCLUSIVE, RUNS, wait=True)
    if not _listens(address):
        os._exit(0)  # noqa: SLF001 - it is still starting
    ask_to_end()
    time.sleep(END_SECONDS)
    os._exit(1)  # noqa: SLF001 - it hangs


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), END_SECONDS):
        return True
    return False


if __name__ == "__main__":
    main(sys.argv[1])
