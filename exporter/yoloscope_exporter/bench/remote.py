"""A process of the user's Python that does what it is told: `worker.py`, a line for each thing to do and its answer."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.language import Text, text
from yoloscope_exporter.tuning import processes

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence

SCRIPT = Path(__file__).with_name("worker.py")
#: Seconds between two looks at a process that is at work.
POLL = 0.2
_CHUNK = 1 << 16


class WorkerError(Exception):
    """It could not do what it was told; the text says why, in its own words."""


class WorkerEndedError(WorkerError):
    """It has ended, or had to be given up."""


class Remote:
    """One process, spoken to by one at a time."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, wait: Callable[[], None]) -> None:
        """`wait` is called several times a second while it works."""
        self._process, self._log, self._wait = process, log, wait
        self._read = b""

    def ask(self, what: str, limit: float, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        """The answer to one thing to do.

        Raises:
            WorkerError: it could not do it.
            WorkerEndedError: it died of it, or took more than `limit` seconds.
        """
        assert self._process.stdin  # noqa: S101 - for the type checker: it was started with a pipe
        try:
            self._process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerEndedError(self._end()) from None
        answer = json.loads(self._line(limit, what))
        if "error" in answer:
            raise WorkerError(Text(*answer["text"]) if "text" in answer else answer["error"])
        return answer["ok"]

    def _line(self, limit: float, what: str) -> bytes:
        assert self._process.stdout  # noqa: S101 - for the type checker: it was started with a pipe
        descriptor, until = self._process.stdout.fileno(), time.monotonic() + limit
        while b"\n" not in self._read:
            if time.monotonic() > until:
                raise WorkerEndedError(text("{what} has not ended within {limit:g} s", what=what, limit=limit))
            self._wait()
            if select.select([descriptor], [], [], POLL)[0]:
                chunk = os.read(descriptor, _CHUNK)
                if not chunk:
                    raise WorkerEndedError(self._end())
                self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _end(self) -> str:
        """How it ended, and what it said last."""
        code = self._process.wait()
        how = (
            text("killed by {name}", name=signal.Signals(-code).name)
            if code < 0
            else text("exit code {code}", code=code)
        )
        if how.endswith("SIGKILL"):
            return text("{how}: out of memory?", how=how)
        said = processes.tail(self._log, 1)
        return f"{how}: {said[0].strip()}" if said else how


@contextmanager
def started(
    python: Sequence[str], environ: Mapping[str, str], folder: Path, name: str, wait: Callable[[], None]
) -> Iterator[Remote]:
    """A process that is gone, with all that it has started, when the block is left.

    Raises:
        OSError: Python cannot be run.
    """
    log = folder / f"{name}.log"
    marked = {**environ, processes.MARK: f"{folder.name}-{name}"}
    command = [*python, str(SCRIPT)]
    with processes.running(command, marked, log, pipes=True, directory=folder) as process:
        try:
            yield Remote(process, log, wait)
        finally:
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what was not written to one that has died
                    pipe and pipe.close()
