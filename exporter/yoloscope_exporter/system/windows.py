"""Windows: what means the same there as `system.posix`."""

from __future__ import annotations

import errno
import getpass
import msvcrt
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

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

#: A group of its own gets no Ctrl-C; and no window comes up.
APART: dict[str, Any] = {
    "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)
}
KILLS_GROUPS = False
NVML = "nvml.dll"
SHARED, EXCLUSIVE = 1, 2
#: Where locks are, far behind the end of any file: Windows lets nobody read what another has locked.
LOCKS_AT = 0x7FFE0000
#: There are no shared locks here: each who shares has a byte of its own, and who wants all to itself takes all of them.
SHARES = 64
POLL_SECONDS = 0.2
#: Keys without a letter, which a console sends as one of two marks and a scan code, as other terminals send them.
KEY_MARKS = ("\0", "\xe0")
SCAN_CODES = {
    "H": "\x1b[A",
    "P": "\x1b[B",
    "M": "\x1b[C",
    "K": "\x1b[D",
    "G": "\x1b[H",
    "O": "\x1b[F",
    "I": "\x1b[5~",
    "Q": "\x1b[6~",
}
LOOK_SECONDS = 0.05


def claim(descriptor: int) -> None:
    """Have a file for this process alone, as `posix.claim`."""
    if not _lock(descriptor, LOCKS_AT, 1):
        raise BlockingIOError(errno.EAGAIN, text("another process has it"))


def take(descriptor: int, kind: int, byte: int, *, wait: bool = False) -> bool:
    """Lock one of the first bytes of a file, as `posix.take`."""
    first = LOCKS_AT + (byte + 1) * SHARES
    _drop(descriptor, first)
    while not (_share(descriptor, first) if kind == SHARED else _lock(descriptor, first, SHARES)):
        if not wait:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _share(descriptor: int, first: int) -> bool:
    return any(_lock(descriptor, first + share, 1) for share in range(SHARES))


def _drop(descriptor: int, first: int) -> None:
    """Unlock what this descriptor has there: all of it, or one share. What it has not, Windows refuses to unlock."""
    parts = ((first, SHARES), *((first + share, 1) for share in range(SHARES)))
    any(_locking(descriptor, "LK_UNLCK", *part) for part in parts)


def _lock(descriptor: int, first: int, length: int) -> bool:
    return _locking(descriptor, "LK_NBLCK", first, length)


def _locking(descriptor: int, what: str, first: int, length: int) -> bool:
    """Lock or unlock bytes, which Windows takes from where the file stands; whether that was possible."""
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, first, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, getattr(msvcrt, what), length)  # type: ignore[attr-defined]
    except OSError:
        return False
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)
    return True


def written_files() -> Iterator[Path]:
    """None: closing a file drops no lock that another descriptor of the process has."""
    yield from ()


def end_group(process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    """End a process and all that it has started; Windows knows no way to ask another one."""
    import psutil  # noqa: PLC0415 - most commands end nobody

    with suppress(psutil.Error):
        own = psutil.Process(process.pid)
        for one in [*own.children(recursive=True), own]:
            with suppress(psutil.Error):
                (one.kill if kill else one.terminate)()


def ask_to_end() -> None:
    """Let this process end as SIGTERM ends it: `os.kill` would not ask, it would end it at once."""
    signal.raise_signal(signal.SIGTERM)


def exit_code(code: int) -> int:
    """What to exit with: codes above 2 GiB (0xC000013A after Ctrl-C) are negative numbers to whoever hands them on."""
    return code - (1 << 32) if code >= 1 << 31 else code


def is_in_foreground() -> bool:
    """Whether a console sends its Ctrl-C to this process, and to what it has started: nobody else can send it one."""
    return True


@contextmanager
def keyboard() -> Iterator[Callable[[float], str]]:
    """Keys as they are pressed, as `posix.keyboard`."""
    yield _pressed if sys.stdin.isatty() else _nothing


def _nothing(seconds: float) -> str:
    time.sleep(seconds)
    return ""


def _pressed(seconds: float) -> str:
    end = time.monotonic() + seconds
    while not msvcrt.kbhit():  # type: ignore[attr-defined]
        if (left := end - time.monotonic()) <= 0:
            return ""
        time.sleep(min(left, LOOK_SECONDS))
    sent = ""
    while msvcrt.kbhit():  # type: ignore[attr-defined]
        letter = msvcrt.getwch()  # type: ignore[attr-defined]
        sent += SCAN_CODES.get(msvcrt.getwch(), "") if letter in KEY_MARKS else letter  # type: ignore[attr-defined]
    return sent


def user_name(uid: int) -> str | None:  # noqa: ARG001 - they are all 0
    """This user, whose folder everything lies in: Windows has no numbers for users."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None


def user_number(name: str) -> int | None:  # noqa: ARG001 - they have none
    """Nobody's."""
    return None


def unload(handle: int) -> None:
    """Let go of a library that ctypes has loaded."""
    from _ctypes import FreeLibrary  # type: ignore[attr-defined]  # noqa: PLC0415 - not on the machine that tests it

    FreeLibrary(handle)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine, as `posix.run`: the event loop that Windows has by default does not tell of sockets."""
    import asyncio  # noqa: PLC0415 - most commands serve nothing

    loop = asyncio.SelectorEventLoop()
    try:
        loop.run_until_complete(main)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def descriptor_limit() -> int | None:
    """How many sockets `select` watches at once (FD_SETSIZE in CPython's selectmodule.c)."""
    return 512


def return_memory() -> None:
    """Nothing to ask for: the heap of Windows gives large pieces back."""


def reuse_address(listening: socket.socket) -> None:
    """Have the address for this server alone: SO_REUSEADDR would let another one have it too."""
    if option := getattr(socket, "SO_EXCLUSIVEADDRUSE", None):
        listening.setsockopt(socket.SOL_SOCKET, option, 1)
