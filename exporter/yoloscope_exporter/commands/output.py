"""Files that commands write."""

from __future__ import annotations

import errno
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_exporter.language import say
from yoloscope_exporter.system import os, whole_files

if TYPE_CHECKING:
    from collections.abc import Iterable


def write(path: Path, texts: Iterable[str]) -> None:
    """Write `texts`, one after the other, to `path`; a file that was there stays whole until the new one is.

    Raises:
        OSError: it cannot be written, is there and not a regular file or write-protected, or was laid there by another
            user.
    """
    there = target(path)
    before = there.stat() if there.exists() else None
    if before and not stat.S_ISREG(before.st_mode):
        raise OSError(None, say("not a regular file; leave the option out to print"))
    if before and not os.access(there, os.W_OK):  # another file may take its place all the same
        raise PermissionError(None, say("write-protected; chmod u+w, or choose another file"))
    whole_files.replace(there, texts, lambda new: _give(new, before) if before else new.chmod(0o666 & ~_umask()))


def target(path: Path) -> Path:
    """Where `path` leads.

    Raises:
        OSError: that was laid there by another user, or leads nowhere.
    """
    _refuse_laid(path)
    there = Path(os.path.realpath(path))
    if there.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    _refuse_laid(there)
    return there


def _refuse_laid(path: Path) -> None:
    """Refuse a link or a file of another user in a folder that all users share, such as /tmp.

    That is the kernel's own rule (fs.protected_symlinks, fs.protected_regular), which it applies to `open` alone: who
    asks where a link leads, and replaces what is there, goes round it.
    """
    with suppress(FileNotFoundError):
        folder, there = path.parent.stat(), path.lstat()
        shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
        if shared and there.st_uid not in {os.geteuid(), folder.st_uid}:
            raise PermissionError(None, say("another user has laid it there; choose a folder of your own"))


def _give(new: Path, before: os.stat_result) -> None:
    """Let the new file be whose the old one was, as far as this user may, with its mode."""
    with suppress(PermissionError, AttributeError):  # there is no chown on Windows
        os.chown(new, before.st_uid, before.st_gid)
    new.chmod(stat.S_IMODE(before.st_mode))


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
