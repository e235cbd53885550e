"""Files that commands write."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from yoloscope_exporter.language import say
from yoloscope_exporter.system import whole_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write(path: Path, texts: Iterable[str]) -> None:
    """Write `texts`, one after the other, to `path`; a file that was there stays whole until the new one is.

    Raises:
        OSError: it cannot be written, or is there and not a regular file.
    """
    there = path.resolve()
    before = there.stat() if there.exists() else None
    if before and not stat.S_ISREG(before.st_mode):
        raise OSError(None, say("not a regular file; leave the option out to print"))
    whole_files.replace(there, texts, lambda new: _give(new, before) if before else new.chmod(0o666 & ~_umask()))


def _give(new: Path, before: os.stat_result) -> None:
    """Let the new file be whose the old one was, as far as this user may, with its mode."""
    with suppress(PermissionError, AttributeError):  # there is no chown on Windows
        os.chown(new, before.st_uid, before.st_gid)
    new.chmod(stat.S_IMODE(before.st_mode))


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
