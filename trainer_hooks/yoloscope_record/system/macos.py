"""macOS: locks and directories as on Linux; no shared memory in the file system, and room is made by writing."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from yoloscope_record.system.linux import (
    KEEPS_OPEN,
    after_fork,
    aside,
    duplicate,
    give_name,
    keep_lock,
    largest_file,
    launcher,
    lock,
    major_faults,
)

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

DIRECTORY = "~/Library/Caches/yoloscope"
_FLOCK = struct.Struct("=qqihh")  # struct flock of <sys/fcntl.h>: start, length, pid, type, whence
_WHO_LOCKS = _FLOCK.pack(0, 0, 0, fcntl.F_RDLCK, os.SEEK_SET)
_BLOCK = 1 << 16


def default_directory() -> Path:
    """A folder of this user's that the system may clear, which no backup copies."""
    return Path(DIRECTORY).expanduser()


def lock_holder(descriptor: int) -> int | None:
    """As on Linux; there are no PID namespaces."""
    _, _, pid, kind, _ = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, _WHO_LOCKS))
    return None if kind == fcntl.F_UNLCK else max(pid, 0)


def allocate(descriptor: int, size: int) -> None:
    """As on Linux: what is there is written again, so that holes get their room."""
    for start in range(0, size, _BLOCK):
        length = min(_BLOCK, size - start)
        block = os.pread(descriptor, length, start)
        os.pwrite(descriptor, block + bytes(length - len(block)), start)
