"""What the kernel tells of a process: whose it is, which signals it catches, and in which system call it waits.

Always of the exporter's own /proc: pids of locks are those of its own PID namespace.
"""

from __future__ import annotations

import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from yoloscope_exporter.collectors.files import read, read_or_empty
from yoloscope_exporter.collectors.stacks.dump import clean
from yoloscope_exporter.language import text

MAX_DEPTH = 32  # of the way from a process to its rank
MAX_PATH_BYTES = 4096
STOPPED, UNINTERRUPTIBLE, ZOMBIE = ("T", "t"), "D", "Z"
_ROOT = "/proc"

#: Numbers of system calls that processes hang in, on x86-64 and on the generic table of the newer architectures.
_X86 = {
    0: "read",
    1: "write",
    2: "open",
    7: "poll",
    17: "pread64",
    18: "pwrite64",
    20: "writev",
    23: "select",
    35: "nanosleep",
    42: "connect",
    43: "accept",
    44: "sendto",
    45: "recvfrom",
    46: "sendmsg",
    47: "recvmsg",
    61: "wait4",
    72: "fcntl",
    73: "flock",
    74: "fsync",
    202: "futex",
    230: "clock_nanosleep",
    232: "epoll_wait",
    247: "waitid",
    257: "openat",
    270: "pselect6",
    271: "ppoll",
    281: "epoll_pwait",
    16: "ioctl",
}
_GENERIC = {
    63: "read",
    64: "write",
    66: "writev",
    67: "pread64",
    68: "pwrite64",
    72: "pselect6",
    73: "ppoll",
    101: "nanosleep",
    203: "connect",
    202: "accept",
    206: "sendto",
    207: "recvfrom",
    211: "sendmsg",
    212: "recvmsg",
    260: "wait4",
    25: "fcntl",
    32: "flock",
    82: "fsync",
    98: "futex",
    115: "clock_nanosleep",
    22: "epoll_pwait",
    95: "waitid",
    56: "openat",
    29: "ioctl",
}
_TABLES = {"x86_64": _X86, "aarch64": _GENERIC, "riscv64": _GENERIC}
#: What a system call is waiting for, in words; `{}` is what its first argument leads to.
_WORDS = {
    "futex": "waiting for a lock",
    "nanosleep": "sleeping",
    "clock_nanosleep": "sleeping",
    "poll": "waiting for input",
    "ppoll": "waiting for input",
    "select": "waiting for input",
    "pselect6": "waiting for input",
    "epoll_wait": "waiting for input",
    "epoll_pwait": "waiting for input",
    "wait4": "waiting for a child process",
    "waitid": "waiting for a child process",
    "flock": "waiting for a lock on {file}",
    "fcntl": "waiting for a lock on {file}",
}
_OF_A_FILE = {"read", "pread64", "write", "pwrite64", "writev", "fsync", "ioctl", "connect", "accept"} | {
    *("sendto", "recvfrom", "sendmsg", "recvmsg", "flock", "fcntl"),
}


class Status(NamedTuple):
    """/proc/PID/status, as far as it matters here."""

    state: str
    parent: int
    uids: tuple[int, ...]  # real, effective, saved, file system
    own_pid: int  # in its own PID namespace
    caught: int  # bit mask of the signals that it catches
    pending: int  # the same of those that are on their way to it


def status(pid: int) -> Status:
    """The status of a process.

    Raises:
        OSError: there is no such process, or it may not be looked at.
        ValueError: this is no Linux that tells it.
    """
    fields = dict(re.findall(r"(?m)^(\w+):\t(.*)$", read(f"{_ROOT}/{pid}/status")))
    try:
        return Status(
            state=fields["State"][:1],
            parent=int(fields["PPid"]),
            uids=tuple(map(int, fields["Uid"].split())),
            own_pid=int(fields.get("NSpid", str(pid)).split()[-1]),
            caught=int(fields["SigCgt"], 16),
            pending=int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16),
        )
    except (KeyError, IndexError) as error:
        raise ValueError(f"/proc/{pid}/status lacks {error}") from error


def has(mask: int, signal: int) -> bool:
    """Whether a signal is in one of the kernel's masks."""
    return bool(mask >> (signal - 1) & 1)


def descends(pid: int, ancestor: int) -> bool:
    """Whether a process is another one, or was started by it, directly or through others."""
    for _ in range(MAX_DEPTH):
        if pid == ancestor:
            return True
        if pid <= 1:
            return False
        try:
            pid = status(pid).parent
        except (OSError, ValueError):
            return False
    return False


def doing(pid: int, owner: int) -> tuple[str, str]:
    """The state of a process of this user, and what it waits in; both empty of one that is gone.

    Whose it is is asked last: a number may have become another process' since somebody looked, and what that one does
    is nobody's business.
    """
    waits = waits_in(pid)
    try:
        now = status(pid)
    except (OSError, ValueError):
        return "", ""
    return (now.state, waits) if set(now.uids) == {owner} else ("", "")


def waits_in(pid: int) -> str:
    """What its main thread waits in, as far as the kernel lets us know: `open() of /nfs/a.jpg`; empty if it does not.

    The system call needs the rights of a debugger, which root has; the kernel's function is a poor second.
    """
    words = read_or_empty(f"{_ROOT}/{pid}/syscall").split()
    table = _TABLES.get(platform.machine(), {})
    if len(words) > 1 and words[0].isdigit():
        name = table.get(int(words[0]), "")
        return _call(pid, name, [int(word, 16) for word in words[1:7]]) if name else ""
    where = read_or_empty(f"{_ROOT}/{pid}/wchan")
    return text("the kernel's {where}", where=where) if re.fullmatch(r"[a-z_][a-z0-9_.]{2,60}", where) else ""


def _call(pid: int, name: str, arguments: list[int]) -> str:
    if name in ("open", "openat"):
        path = _string(pid, arguments[name == "openat"])
        return text("open() of {path}", path=path) if path else "open()"
    of = _target(pid, arguments[0]) if name in _OF_A_FILE else ""
    if name in _WORDS:
        return text(_WORDS[name], file=of or text("a file"))
    return text("{name}() of {of}", name=name, of=of) if of else f"{name}()"


def _target(pid: int, descriptor: int) -> str:
    with suppress(OSError, OverflowError):
        return clean(str(Path(f"{_ROOT}/{pid}/fd/{descriptor}").readlink()))
    return ""


def _string(pid: int, address: int) -> str:
    """The text at an address of the process."""
    with suppress(OSError, OverflowError, ValueError), open(f"{_ROOT}/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 - not a file
        data = b""
        memory.seek(address)
        while b"\0" not in data and len(data) < MAX_PATH_BYTES:
            part = memory.read(min(256, 4096 - (address + len(data)) % 4096))  # the next page may not be there
            if not part:
                break
            data += part
        return clean(data.partition(b"\0")[0].decode(errors="replace"))
    return ""
