"""The demo's folder: made by it, marked by it, held by one demo at a time, and only then emptied by it."""

from __future__ import annotations

import shutil
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from yoloscope_exporter.language import text
from yoloscope_exporter.system import claim, os

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKER = ".yoloscope-demo"
"""A folder without this file is somebody else's."""
_TOLD = b"This folder was made by `yoloscope demo`, which replaces what it wrote here each time it is started.\n"


class OccupiedError(Exception):
    """The folder is not for this demo: the text says why, and what to do."""


@contextmanager
def prepared(output: Path) -> Iterator[Path]:
    """Make the folder, or clear what an earlier demo recorded in it; its real path, which no other demo has meanwhile.

    Raises:
        OccupiedError: it holds other files, is another user's, or another demo's that goes on; nothing was changed.
        OSError: it cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    root = output.resolve()
    marker = _claimed(root)
    try:
        for name in ("records", "demo.om"):
            remove(root / name)
        (root / "records").mkdir()
        yield root
    finally:
        os.close(marker)


def _claimed(root: Path) -> int:
    """The marker, open and locked: whoever laid links into a folder of theirs would have them written through."""
    if root.stat().st_uid != os.geteuid():
        raise OccupiedError(text("another user's; choose a folder of your own"))
    marker, flags = root / MARKER, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if not _is_file(marker):
        if any(root.iterdir()):
            raise OccupiedError(
                text("not empty, and not of a demo (no {marker}); choose a new or an empty folder", marker=MARKER)
            )
        flags |= os.O_CREAT | os.O_EXCL
    descriptor = os.open(marker, flags, 0o644)
    try:
        _lock(descriptor)
        if flags & os.O_CREAT:
            os.write(descriptor, _TOLD)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_file(path: Path) -> bool:
    with suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def _lock(descriptor: int) -> None:
    try:
        claim(descriptor)
    except BlockingIOError as error:
        raise OccupiedError(text("another demo is using it; choose another folder")) from error
    except OSError:  # a file system without locks
        return


def remove(path: Path) -> None:
    """Delete a file, a link (never what it leads to) or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
