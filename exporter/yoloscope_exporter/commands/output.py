"""Files that commands write."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_exporter.language import say

if TYPE_CHECKING:
    from collections.abc import Iterable


def write(path: Path, texts: Iterable[str]) -> None:
    """Write `texts`, one after the other, to `path`; a file that was there stays whole until the new one is.

    Raises:
        OSError: it cannot be written, or is there and not a regular file.
    """
    there = path.resolve()
    before = there.stat() if there.exists() else None
    if before and not stat.S_ISREG(before.st_mode):
        raise OSError(None, say("not a regular file; leave the option out to print"))
    descriptor, name = tempfile.mkstemp(dir=there.parent, prefix=".yoloscope-")
    new = Path(name)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            file.writelines(texts)
        if before:
            _give(new, before)
        else:
            new.chmod(0o666 & ~_umask())
        new.replace(there)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _give(new: Path, before: os.stat_result) -> None:
    """Let the new file be whose the old one was, as far as this user may, with its mode."""
    with suppress(PermissionError, AttributeError):  # there is no chown on Windows
        os.chown(new, before.st_uid, before.st_gid)
    new.chmod(stat.S_IMODE(before.st_mode))


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
