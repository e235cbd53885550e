"""Linux: the kernel's own calls. The other two files offer the same names."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import resource
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "DIRECTORY",
    "KEEPS_OPEN",
    "after_fork",
    "allocate",
    "aside",
    "default_directory",
    "duplicate",
    "give_name",
    "keep_lock",
    "largest_file",
    "launcher",
    "lock",
    "lock_holder",
    "major_faults",
    "os",
]

#: The record directory where nobody has chosen another, in words.
DIRECTORY = "/dev/shm/yoloscope"  # noqa: S108 - memory, not disk; guarded by the sticky bit and owner checks
#: Whether a reader may keep the file of a living writer open: on Windows nobody could rename or remove it meanwhile.
KEEPS_OPEN = True
#: The lowest number of a descriptor that is set aside: few programs have as many.
_ASIDE = 512
_FLOCK = struct.Struct("=hhxxxxqqixxxx")  # struct flock of 64-bit Linux
_WHO_LOCKS = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)  # nothing but a lock for writing is in a reader's way


def default_directory() -> Path:
    """The record directory where nobody has chosen another: memory that all users share, else a temporary directory."""
    shared = Path(DIRECTORY)
    parent = shared if shared.exists() else shared.parent
    if os.access(parent, os.W_OK | os.X_OK):
        return shared
    return Path(tempfile.gettempdir()) / f"yoloscope-{os.getuid()}"


def lock(descriptor: int) -> None:
    """Take the writer's lock on a file; this process has it until it closes the file.

    Raises:
        OSError: EACCES or EAGAIN if another process has it.
    """
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def keep_lock(descriptor: int) -> None:
    """Take the lock again: closing *any* descriptor of the file in the process that has it has dropped it."""
    with suppress(OSError):  # a reader of another user was faster: the next time
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_holder(descriptor: int) -> int | None:
    """The process that holds the writer's lock, None if nobody does.

    The kernel translates the pid into the namespace of who asks (fs/locks.c, locks_translate_pid) and says 0 where
    the process is not to be seen from there.
    """
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, _WHO_LOCKS))
    return None if kind == fcntl.F_UNLCK else max(pid, 0)


def after_fork(function: Callable[[], None]) -> None:
    """Call it in every child that is forked, before anything else runs there."""
    os.register_at_fork(after_in_child=function)


def allocate(descriptor: int, size: int) -> None:
    """Let a file have its room really there, in memory or on disk, up to `size` bytes.

    Raises:
        OSError: there is none.
    """
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # not every file system knows how
            raise


def largest_file() -> float:
    """Bytes that a file of this process may have: a user may have put SIGXFSZ, which ends it, in Python's place."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return math.inf if most == resource.RLIM_INFINITY else most


def give_name(descriptor: int, temporary: Path, path: Path) -> int:
    """Rename the file that is open and locked; returns the descriptor that it has from now on.

    Raises:
        OSError: it cannot be renamed; it is closed and removed then.
    """
    try:
        temporary.replace(path)
    except OSError:
        os.close(descriptor)
        temporary.unlink()
        raise
    return descriptor


def duplicate(descriptor: int) -> int:
    """Another descriptor of the file, by a number that no file gets which is opened next.

    Programs close what is not theirs: all above 2, or one of theirs twice. What they open then has the lowest number
    that is free, and must not be what we write into.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ASIDE if most < 0 else min(_ASIDE, most // 2))


def aside(descriptor: int) -> int:
    """The only descriptor of a file that is not locked yet, by such a number where there is one."""
    try:
        moved = duplicate(descriptor)
    except OSError:  # no number is left
        return descriptor
    os.close(descriptor)
    return moved


def major_faults() -> int | None:
    """Pages that this process had to wait for, as they came from storage; None where nobody counts them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def launcher() -> str:
    """What the ranks of one launch on this machine have in common: the process that has started them."""
    return str(os.getppid())
