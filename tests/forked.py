"""Python programs in processes that begin with PyTorch and Ultralytics imported, which takes longer than they do.

    with running("newest", ["program.py", "argument"], environ, folder, output=file.fileno()) as child:
        code = child.wait(timeout=60)

One process of each version imports both and does nothing else; each program is a fork of it that has a session, an
environment and a command line of its own, and ends as any Python does. Whoever tests what is done while Python starts,
or what others see of a process, starts a Python.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Elsewhere a fork of a process that has loaded this much is nothing to rely on.
POSSIBLE = sys.platform == "linux"
_LARGEST = 1 << 17  # bytes of an order


@dataclass
class Forked:
    """A program that runs."""

    pid: int
    _answers: socket.socket
    _code: int | None = None

    def wait(self, timeout: float) -> int:
        """Its exit code, as subprocess has it.

        Raises:
            TimeoutError: it takes longer.
        """
        if self._code is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise TimeoutError
            self._code = int(self._answers.recv(_LARGEST))
        return self._code

    def end(self) -> None:
        """It and its group are gone."""
        with contextlib.suppress(TimeoutError):
            self.wait(0)
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


@contextlib.contextmanager
def running(
    version: str,
    command: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
    *,
    output: int,
    source: int | None = None,
) -> Iterator[Forked]:
    """A Python file runs with its arguments in `folder`; what is left of it at the end of the block is killed.

    Descriptors are of standard output and error, and of input. There is one program at a time of each version.
    """
    orders = _server(version).orders
    order = {"command": list(command), "environ": dict(environ), "folder": str(folder)}
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a descriptor is wanted
        fds = [nothing.fileno() if source is None else source, output]
        socket.send_fds(orders, [json.dumps(order).encode()], fds)
    child = Forked(int(orders.recv(_LARGEST)), orders)
    try:
        yield child
    finally:
        child.end()


class _Server(NamedTuple):
    process: subprocess.Popen[bytes]
    orders: socket.socket


@functools.cache
def _server(version: str) -> _Server:
    """Whom to ask for programs; it ends when this process does."""
    from tests import training  # noqa: PLC0415 - which asks here

    folder = tempfile.mkdtemp(prefix="yoloscope-forked")
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, __file__, str(its.fileno())],
            env=training.environment(Path(folder) / "runs", version),
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    server = _Server(process, ours)
    atexit.register(_end, server, folder)
    return server


def _end(server: _Server, folder: str) -> None:
    server.orders.close()
    server.process.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


def _serve(orders: socket.socket) -> list[str]:
    """Fork for each order. Only the forks return, with the command that they are to run."""
    while True:
        message, fds, _, _ = socket.recv_fds(orders, _LARGEST, 2)
        if not message:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            break
        for fd in fds:
            os.close(fd)
        orders.send(str(pid).encode())
        orders.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
    orders.close()
    order = json.loads(message)
    os.setsid()
    for target, fd in ((0, fds[0]), (1, fds[1]), (2, fds[1])):
        os.dup2(fd, target)
    for fd in fds:
        os.close(fd)
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir(order["folder"])
    return list(order["command"])


if __name__ == "__main__":
    for name in (
        "cv2",
        "torch.distributed",
        "torch.utils.data",
        "ultralytics.engine.trainer",
        "ultralytics.models.yolo",
    ):
        importlib.import_module(name)

    gc.freeze()  # what forks share they need not look through
    sys.argv[:] = _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_path(sys.argv[0], run_name="__main__")
