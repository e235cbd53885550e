"""Linux and macOS: the kernel's own calls. `system.windows` offers the same names."""

from __future__ import annotations

import fcntl
import os
import pwd
import resource
import select
import signal
import socket
import sys
import termios
import time
import tty
from _ctypes import dlclose
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Coroutine, Iterator

__all__ = [
    "APART",
    "EXCLUSIVE",
    "KILLS_GROUPS",
    "NVML",
    "SHARED",
    "ask_to_end",
    "claim",
    "descriptor_limit",
    "end_group",
    "exit_code",
    "is_in_foreground",
    "keyboard",
    "return_memory",
    "reuse_address",
    "run",
    "take",
    "unload",
    "user_name",
    "user_number",
    "written_files",
]

#: Arguments of `Popen` that put a process out of reach of the terminal's Ctrl-C.
APART: dict[str, Any] = {"start_new_session": True}
#: Whether whatever a process has started can be ended with it, and for certain.
KILLS_GROUPS = True
#: The library of the NVIDIA driver that is asked.
NVML = "libnvidia-ml.so.1"
SHARED, EXCLUSIVE = fcntl.LOCK_SH, fcntl.LOCK_EX
_DESCRIPTORS = Path("/dev/fd" if hasattr(fcntl, "F_GETPATH") else "/proc/self/fd")  # of macOS, and of Linux
MAX_PATH = 1024  # of macOS
#: Parameters of glibc's `mallopt` (malloc.h): what is kept at an arena's end, from which size on a piece is a mapping
#: of its own, which goes back when it is freed, and how many arenas threads have.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE_BYTES, _ARENAS = 1 << 17, 2
#: The escape character begins the sequence of a key without a letter, which a slow line may send in two pieces.
ESCAPE, ESCAPE_SECONDS = b"\x1b", 0.05


# --- locks ----------------------------------------------------------------------------------------------------------


def claim(descriptor: int) -> None:
    """Have a file for this process alone, until it is closed.

    Raises:
        BlockingIOError: another process has it.
        OSError: its file system has no locks.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def take(descriptor: int, kind: int, byte: int, *, wait: bool = False) -> bool:
    """Lock one of the first bytes of a file, SHARED with others who do the same or EXCLUSIVE; whether that is done.

    A lock that this process has on it is replaced. The kernel drops it when the process closes the file, or dies.
    """
    with suppress(OSError):
        fcntl.lockf(descriptor, kind | (0 if wait else fcntl.LOCK_NB), 1, byte)
        return True
    return False


def written_files() -> Iterator[Path]:
    """The files that this process has open for writing.

    Raises:
        OSError: the system does not tell.
    """
    for link in _DESCRIPTORS.iterdir():
        with suppress(OSError):  # closed in between
            if fcntl.fcntl(int(link.name), fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                yield _path(link)


def _path(link: Path) -> Path:
    if get_path := getattr(fcntl, "F_GETPATH", None):  # macOS, whose descriptors are no links
        return Path(os.fsdecode(fcntl.fcntl(int(link.name), get_path, bytes(MAX_PATH)).rstrip(b"\0")))
    return link.readlink()


# --- processes ------------------------------------------------------------------------------------------------------


def end_group(process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    """Ask a process that was started APART, and all that it has started, to end; or kill them.

    Once its end was waited for its number is free. The kernel gives it to nobody as long as somebody of its group is
    left: if there is a process of that number then, it is a stranger.
    """
    if process.returncode is not None and _exists(process.pid):
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)


def _exists(pid: int) -> bool:
    """Whether there is a process of that number, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def ask_to_end() -> None:
    """Let this process end as SIGTERM ends it; from any thread."""
    os.kill(os.getpid(), signal.SIGTERM)


def exit_code(code: int) -> int:
    """What to exit with for a process that has ended with `code`, as Popen has it: 128 + n after signal n."""
    return code if code >= 0 else 128 - code


def is_in_foreground() -> bool:
    """Whether a terminal sends its Ctrl-C to this process, and to what it has started."""
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # there is none
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextmanager
def keyboard() -> Iterator[Callable[[float], str]]:
    """Keys as they are pressed, unseen and without Enter; the value waits for so many seconds until there are some.

    Ctrl-C stays what it is. Where standard input is no terminal, nothing is ever pressed.
    """
    if not sys.stdin.isatty():
        yield _nothing
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        _let_through(descriptor)
        yield lambda seconds: _pressed(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _nothing(seconds: float) -> str:
    time.sleep(seconds)
    return ""


def _let_through(descriptor: int) -> None:
    """Let a terminal send keys without Enter, and not show them."""
    if termios.tcgetattr(descriptor)[3] & termios.ICANON:
        tty.setcbreak(descriptor, termios.TCSADRAIN)


def _pressed(descriptor: int, seconds: float) -> str:
    _let_through(descriptor)  # a shell may have had the terminal meanwhile
    sent, wait = b"", seconds
    while select.select([descriptor], [], [], wait)[0]:
        piece = os.read(descriptor, 1024)
        if not piece:  # whoever held the terminal's other end has gone
            return _nothing(seconds)
        sent += piece
        if not sent.endswith(ESCAPE):
            break
        wait = ESCAPE_SECONDS
    return sent.decode(errors="replace")


def user_name(uid: int) -> str | None:
    """The name of a user; None where this machine, or this container, has none for the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def user_number(name: str) -> int | None:
    """The number of a user; None where this machine has none of that name."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


# --- libraries and sockets ------------------------------------------------------------------------------------------


def unload(handle: int) -> None:
    """Let go of a library that ctypes has loaded."""
    dlclose(handle)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, in an event loop that tells when a socket can be read."""
    import asyncio  # noqa: PLC0415 - most commands serve nothing

    asyncio.run(main)


def descriptor_limit() -> int | None:
    """How many files and sockets this process may have open; None if as many as it likes."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def return_memory() -> None:
    """Have large pieces of memory given back when they are free: answers and expositions come and go in every thread.

    Of glibc, whose threads keep them otherwise, each in an arena of its own; others do as they do.
    """
    import ctypes  # noqa: PLC0415 - for who runs for months

    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in (
            (_MMAP_THRESHOLD, _LARGE_BYTES),
            (_TRIM_THRESHOLD, _LARGE_BYTES),
            (_ARENA_MAX, _ARENAS),
        ):
            mallopt(parameter, value)


def reuse_address(listening: socket.socket) -> None:
    """Let the address of a server that has just ended be had again, though connections of it linger."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
