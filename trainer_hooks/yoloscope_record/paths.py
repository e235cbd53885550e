"""Where records lie: one directory for the node, in it one for each run."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_record.file_format import RecordError, slug
from yoloscope_record.system import default_directory, os

if TYPE_CHECKING:
    from collections.abc import Mapping


def directory(environ: Mapping[str, str] | None = None) -> Path:
    r"""The record directory: `$YOLOSCOPE_DIR`, else that of the operating system.

    Linux has `/dev/shm/yoloscope`, and where that cannot be written a temporary directory of the user's; macOS
    `~/Library/Caches/yoloscope`, Windows `%LOCALAPPDATA%\yoloscope`.
    """
    environ = os.environ if environ is None else environ
    if chosen := environ.get("YOLOSCOPE_DIR"):
        return Path(chosen)
    return default_directory()


def make_directory(path: Path) -> Path:
    """Create the record directory, writable by every user of the node (mode 1777), and return it.

    Raises:
        RecordError: reason `directory` if it cannot be made, or is a link or a file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir()
            _open_to_all(path)
        found = path.lstat()
    except OSError as error:
        raise RecordError("directory", f"cannot make {path}: {error.strerror}; set YOLOSCOPE_DIR") from error
    if not stat.S_ISDIR(found.st_mode):
        raise RecordError("directory", f"{path} is a link or a file; set YOLOSCOPE_DIR to a real directory")
    return path


def _open_to_all(made: Path) -> None:
    """Set mode 1777 on a directory made a moment ago, unless somebody has laid something else in its place."""
    descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, 0o1777)
    finally:
        os.close(descriptor)


def run_directory(base: Path, run: str) -> Path:
    """The directory of one run below the record directory; made by the first writer of the run."""
    return base / slug(run)
