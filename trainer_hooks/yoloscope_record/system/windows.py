"""Windows: the calls of POSIX that a record needs, by what means the same there.

A file that is open can be neither renamed nor removed. So nobody keeps a record open but its writer, a record gets its
name while it is closed for a moment, and what meets a reader is tried again a few times.

There are no owners in numbers: every file is user 0's, and so is this process. Folders are this user's by where they
lie (%LOCALAPPDATA%), and closed to other users by their access control lists. A folder has no descriptor: `Folder`
stands in for one, and a link below it is refused by looking at it first.

A lock is one byte far behind the end of the file, because Windows lets nobody read what another has locked. It does not
say who has it either: who that is, the record says itself.
"""

# ruff: noqa: PTH102, PTH116, PTH118, PTH208 - it is `os` that is made here

from __future__ import annotations

import errno
import math
import msvcrt
import os as _os
import stat as _stat
import struct
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoloscope_record.file_format import HEAD, MAGIC

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

DIRECTORY = r"%LOCALAPPDATA%\yoloscope"
KEEPS_OPEN = False
#: Seconds between attempts at what somebody prevents who has the file open: readers have one for a millisecond.
PAUSES = (0.002, 0.01, 0.05, 0.1)
LOCK_AT = 0x7FFF0000
#: Flags that Windows lacks, as bits that none of its own has; `open` below knows what to do instead.
O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK = (1 << bit for bit in (24, 25, 26, 27))
_OURS = O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK
#: Bytes as they are, and not for child processes.
_ALWAYS = getattr(_os, "O_BINARY", 0) | getattr(_os, "O_NOINHERIT", 0)
#: Tags of reparse points that lead elsewhere: symbolic links, and junctions. Others are files of a cloud, say.
_LINKS = (0xA000000C, 0xA0000003)
_PID = struct.Struct("=I")  # the last field of a record's head


# --- the record -----------------------------------------------------------------------------------------------------


def default_directory() -> Path:
    """A folder of this user's that does not roam to other machines."""
    local = _os.environ.get("LOCALAPPDATA")
    return Path(local or tempfile.gettempdir()) / "yoloscope"


def lock(descriptor: int) -> None:
    """Take the writer's lock, as `linux.lock`."""
    for pause in (*PAUSES, None):  # a reader that asks whether there is a lock has it itself for a moment
        if _try_lock(descriptor):
            return
        if pause is not None:
            time.sleep(pause)
    raise BlockingIOError(errno.EAGAIN, "a living process has the file")


def keep_lock(descriptor: int) -> None:
    """Nothing is to be done: a lock goes with its own handle, whatever else is closed."""


def lock_holder(descriptor: int) -> int | None:
    """The process that holds the writer's lock, as the record tells it; 0 if it does not, None if nobody holds it."""
    for pause in (0.0, *PAUSES[:2]):  # it may be another reader that asks the same
        time.sleep(pause)
        if _try_lock(descriptor):
            _seek(descriptor, LOCK_AT)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
            return None
    head = pread(descriptor, HEAD.size, 0)
    told = head.startswith(MAGIC) and len(head) == HEAD.size
    return int(_PID.unpack(head[-_PID.size :])[0]) if told else 0


def _try_lock(descriptor: int) -> bool:
    _seek(descriptor, LOCK_AT)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    return True


def after_fork(function: Callable[[], None]) -> None:
    """Nothing is to be done: nobody forks here."""


def allocate(descriptor: int, size: int) -> None:
    """Nothing is left to do: a file has its room as soon as it has its size."""


def duplicate(descriptor: int) -> int:
    """Another descriptor of the file; numbers cannot be chosen here."""
    return _os.dup(descriptor)


def aside(descriptor: int) -> int:
    """The descriptor as it is: numbers cannot be chosen here."""
    return descriptor


def largest_file() -> float:
    """Bytes that a file of this process may have; nobody limits them here."""
    return math.inf


def give_name(descriptor: int, temporary: Path, path: Path) -> int:
    """Rename the file, as `linux.give_name`: it is closed for that moment, and no record until it is locked again."""
    head = pread(descriptor, len(MAGIC), 0)
    pwrite(descriptor, bytes(len(head)), 0)
    _os.close(descriptor)
    try:
        replace(temporary, path)
    except OSError:
        unlink(temporary)
        raise
    named = _os.open(path, _os.O_RDWR | _ALWAYS)
    try:
        lock(named)
        pwrite(named, head, 0)
    except OSError:
        _os.close(named)
        raise
    return named


def major_faults() -> int | None:
    """Windows counts the faults of a process, and not which of them have read from storage."""
    return None


def launcher() -> str:
    """Nothing: with a virtual environment each rank is started by a program of its own."""
    return ""


# --- the calls of POSIX ---------------------------------------------------------------------------------------------


class Folder(int):
    """Stands in for the descriptor of a folder."""

    path: str


def open(  # noqa: A001 - the name and the arguments of os.open
    path: Any, flags: int, mode: int = 0o777, *, dir_fd: Folder | None = None
) -> int:
    """`os.open` with O_DIRECTORY, O_NOFOLLOW and `dir_fd`; nothing blocks, and nothing is inherited anyway."""
    path = _joined(path, dir_fd)
    if flags & O_NOFOLLOW and _is_link(path):
        raise OSError(errno.ELOOP, "a link", path)
    if not flags & O_DIRECTORY:
        return _os.open(path, flags & ~_OURS | _ALWAYS, mode)
    if not _stat.S_ISDIR(_os.stat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", path)
    folder = Folder(-1)
    folder.path = path
    return folder


def close(descriptor: int) -> None:
    """`os.close`; a folder was never open."""
    if not isinstance(descriptor, Folder):
        _os.close(descriptor)


def fstat(descriptor: int) -> _os.stat_result:
    """`os.fstat`, of a folder as well."""
    return _os.lstat(descriptor.path) if isinstance(descriptor, Folder) else _os.fstat(descriptor)


def fsync(descriptor: int) -> None:
    """`os.fsync`; folders are written at once."""
    if not isinstance(descriptor, Folder):
        _os.fsync(descriptor)


def listdir(path: Any = ".") -> list[str]:
    """`os.listdir`, of a folder as well."""
    return _os.listdir(_joined("", path) if isinstance(path, Folder) else path)


def scandir(path: Any = ".") -> Any:
    """`os.scandir`, of a folder as well."""
    return _os.scandir(_joined("", path) if isinstance(path, Folder) else path)


def stat(path: Any, *, dir_fd: Folder | None = None, follow_symlinks: bool = True) -> _os.stat_result:
    """`os.stat` with `dir_fd`."""
    return _os.stat(_joined(path, dir_fd), follow_symlinks=follow_symlinks)


def mkdir(path: Any, mode: int = 0o777, *, dir_fd: Folder | None = None) -> None:
    """`os.mkdir` with `dir_fd`."""
    _os.mkdir(_joined(path, dir_fd), mode)


def rmdir(path: Any, *, dir_fd: Folder | None = None) -> None:
    """`os.rmdir` with `dir_fd`."""
    _patiently(_os.rmdir, _joined(path, dir_fd))


def unlink(path: Any, *, dir_fd: Folder | None = None) -> None:
    """`os.unlink` with `dir_fd`."""
    _patiently(_os.unlink, _joined(path, dir_fd))


def rename(old: Any, new: Any, *, src_dir_fd: Folder | None = None, dst_dir_fd: Folder | None = None) -> None:
    """`os.rename` as POSIX has it: what was at the new name is replaced."""
    _patiently(_os.replace, _joined(old, src_dir_fd), _joined(new, dst_dir_fd))


def replace(old: Any, new: Any, *, src_dir_fd: Folder | None = None, dst_dir_fd: Folder | None = None) -> None:
    """`os.replace` with folders."""
    rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def pread(descriptor: int, length: int, offset: int) -> bytes:
    """`os.pread`; not for two threads with one descriptor."""
    _seek(descriptor, offset)
    found = _os.read(descriptor, length)
    while len(found) < length and (more := _os.read(descriptor, length - len(found))):
        found += more
    return found


def pwrite(descriptor: int, data: Any, offset: int) -> int:
    """`os.pwrite`; not for two threads with one descriptor."""
    _seek(descriptor, offset)
    return _os.write(descriptor, data)


def geteuid() -> int:
    """The owner of every file, as Windows has it in `st_uid`."""
    return 0


def fchmod(descriptor: int, mode: int) -> None:
    """Who may read a file follows from its folder's access control list."""


def fchown(descriptor: int, uid: int, gid: int) -> None:
    """Every file is user 0's."""


def uname() -> Any:
    """`os.uname`, as far as it is asked for."""
    import platform

    return types.SimpleNamespace(nodename=platform.node())


def statvfs(path: Any) -> Any:
    """`os.statvfs`, as far as it is asked for: sizes in blocks of one byte."""
    import shutil

    usage = shutil.disk_usage(path)
    return types.SimpleNamespace(f_frsize=1, f_blocks=usage.total, f_bavail=usage.free)


def _seek(descriptor: int, offset: int) -> None:
    _os.lseek(descriptor, offset, _os.SEEK_SET)


def _joined(path: Any, folder: int | None) -> str:
    return _os.path.join(folder.path, path) if isinstance(folder, Folder) else _os.fspath(path)


def _is_link(path: str) -> bool:
    try:
        found = _os.lstat(path)
    except OSError:
        return False
    return _stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) in _LINKS


def _patiently(call: Callable[..., None], *paths: str) -> None:
    for pause in (*PAUSES, None):
        try:
            call(*paths)
        except PermissionError:  # noqa: PERF203 - five attempts
            if pause is None:
                raise
            time.sleep(pause)
        else:
            return


def _put_in_place() -> types.ModuleType:
    """Python's `os` with what stands above in place of what is missing there, or means something else."""
    module = types.ModuleType("os", _os.__doc__)
    ours = (
        *(open, close, fstat, fsync, listdir, scandir, stat, mkdir, rmdir, unlink, rename, replace, pread, pwrite),
        *(geteuid, fchmod, fchown, uname, statvfs),
    )
    vars(module).update({**vars(_os), **{call.__name__: call for call in ours}, "getuid": geteuid, "remove": unlink})
    for name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"):
        setattr(module, name, getattr(sys.modules[__name__], name))
    return module


os: Any = _put_in_place()
