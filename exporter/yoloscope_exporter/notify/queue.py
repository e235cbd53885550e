"""The queue on disk: a folder for each service, in it a file for each message that waits.

A file is written whole under another name, synced and renamed, so a crash or a power failure leaves a message complete
or not at all. Names sort by time. The content is what people read; addresses and their secrets are not in it.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_exporter.language import text
from yoloscope_exporter.notify.messages import from_json, to_json
from yoloscope_exporter.system import claim, os

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from yoloscope_exporter.notify.messages import Message

#: Messages that may wait for one service. Alertmanager sends a run's alerts as one message at most every minute: it is
#: a night of one that is dead, or an hour of a cluster with twenty.
SIZE = 1000
#: Age in seconds at which an unfinished file is a killed writer's.
WRITE_SECONDS = 60.0

_log = logging.getLogger(__name__)
_numbers = itertools.count()


class QueueFullError(Exception):
    """There is no room for another message."""


def default_directory(environ: Mapping[str, str] | None = None) -> Path:
    """`$STATE_DIRECTORY` (systemd), else `yoloscope/notify` below `$XDG_STATE_HOME`, which is `~/.local/state`."""
    environ = os.environ if environ is None else environ
    if systemd := environ.get("STATE_DIRECTORY"):
        return Path(systemd.partition(":")[0])
    state = environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local/state") / "yoloscope/notify"


class Queue:
    """Messages that wait, by the keys of their services."""

    def __init__(self, directory: Path, size: int = SIZE) -> None:
        """`directory` is made by the first message."""
        self.directory = directory
        self.size = size

    def put(self, keys: Sequence[str], message: Message) -> None:
        """Keep `message` for every service of `keys`, or for none.

        Raises:
            QueueFullError: one of them has no room.
            OSError: it cannot be written.
        """
        for key in keys:
            if len(self.waiting(key)) >= self.size:
                raise QueueFullError(text("{size} messages wait for {key} already", size=self.size, key=key))
        content = json.dumps(to_json(message), ensure_ascii=False).encode()
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(_numbers)}.json"
        paths = [self.directory / key / name for key in keys]
        try:
            for path in paths:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write(path, content)
        except OSError:  # whoever sends it will send it again: none may have it twice
            for path in paths:
                with suppress(OSError):
                    self.remove(path)
            raise

    def waiting(self, key: str) -> list[Path]:
        """The files of a service, the oldest first."""
        return sorted((self.directory / key).glob("*.json"))

    def read(self, path: Path) -> Message | None:
        """The message in a file; None of a file that holds none, which is removed with a line in the log, or is gone.

        Raises:
            OSError: it cannot be read now.
        """
        try:
            return from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            _log.error("%s holds no message (%s) and is removed", path, error)
            self.remove(path)
            return None

    @staticmethod
    def remove(path: Path) -> None:
        """It was sent, or given up."""
        path.unlink(missing_ok=True)

    @staticmethod
    def put_at(path: Path) -> float:
        """When it began to wait, in Unix seconds."""
        return int(path.name.partition("-")[0]) / 1e9

    @contextmanager
    def held(self, key: str) -> Iterator[bool]:
        """Whether this process alone sends the messages of a service: two senders would send each of them twice."""
        folder = self.directory / key
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            alone = _locked(descriptor)
            if alone:
                _clear_up(folder)
            yield alone
        finally:
            os.close(descriptor)


def _clear_up(folder: Path) -> None:
    """Remove what writers that were killed have left."""
    for path in folder.glob("*.new"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - WRITE_SECONDS:
                path.unlink()


def _locked(descriptor: int) -> bool:
    try:
        claim(descriptor)
    except BlockingIOError:
        return False
    return True


def _write(path: Path, text: bytes) -> None:
    partial = path.with_suffix(".new")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
