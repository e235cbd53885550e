"""Who writes a file: a POSIX record lock, which the kernel drops at death and tells across PID namespaces.

Only a write lock counts, which nobody can take who may not write the file: a read lock anybody can who may read it. The
kernel also drops a process' locks on a file when *any* of its descriptors of that file is closed. So a process must not
open a file that it has locked; `is_own` tells, and `keep` takes a lock back that was lost in this way. (Open file
description locks are not lost so, but they live on in every forked child, and do not say which process has them.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_record.system import keep_lock, lock, lock_holder, os

if TYPE_CHECKING:
    from pathlib import Path

_own: dict[int, tuple[int, int, int]] = {}  # by descriptor: process, device and inode of each file locked here


def take(descriptor: int) -> None:
    """Lock a file for as long as this process lives, or until `close`.

    Raises:
        OSError: another process has it locked.
    """
    lock(descriptor)
    status = os.fstat(descriptor)
    _own[descriptor] = (os.getpid(), status.st_dev, status.st_ino)


def moved(before: int, descriptor: int) -> int:
    """A locked file has another descriptor, where it had to be opened anew for its name; returns that."""
    if before in _own:
        _own[descriptor] = _own.pop(before)
    return descriptor


def keep(descriptor: int) -> None:
    """Take the lock back, should somebody in this process have opened and closed the file."""
    keep_lock(descriptor)


def close(descriptor: int) -> None:
    """Close a file that was locked, and so let go of it; nothing if that was done for us, and its number is another's.

    Raises:
        OSError: as `os.close`.
    """
    own = _own.pop(descriptor, None)
    try:
        there = own is None or _is_of(descriptor, own)
    except OSError:
        return
    if there:
        os.close(descriptor)


def is_there(descriptor: int) -> bool:
    """Whether a descriptor is still of the file that was locked by it, if one was: it may have been closed for us.

    Raises:
        OSError: it is of no file.
    """
    own = _own.get(descriptor)
    return own is None or _is_of(descriptor, own)


def _is_of(descriptor: int, own: tuple[int, int, int]) -> bool:
    status = os.fstat(descriptor)
    return own[1:] == (status.st_dev, status.st_ino)


def holder(descriptor: int) -> int | None:
    """The process that holds the writer's lock, 0 if it is not to be seen from here; None if nobody holds it."""
    return lock_holder(descriptor)


def is_own(path: Path | str, directory: int | None = None) -> bool:
    """Whether this process has locked the file at `path`: then it must not open it."""
    if not _own:
        return False
    try:
        status = os.stat(path, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    file = (os.getpid(), status.st_dev, status.st_ino)
    return any(_is_open(descriptor, status) for descriptor, own in list(_own.items()) if own == file)


def _is_open(descriptor: int, status: os.stat_result) -> bool:
    """Whether a descriptor still is of this file, and not closed otherwise than by `close`."""
    try:
        return os.path.samestat(os.fstat(descriptor), status)
    except OSError:
        return False
