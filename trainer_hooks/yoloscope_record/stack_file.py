"""The format of stack files: where a process that hangs writes what it is doing, when a signal asks it to.

Each process of a training has one, beside the record of its rank: `rank-0.stacks` for the rank itself,
`rank-0-child-17.stacks` for a process that it forked or started (loader workers), and `rank-0-hangup.stacks` for what
SIGHUP leaves of the rank, because the stack of one signal looks like that of another. The first line says who writes:

    yoloscope-stacks 1 {"signal": 45, "pid": 4711, "main": "0x00007f3b1c9d4740", "run": "train/x", "rank": "0"}

`pid` and `main` (the main thread) are those of the process, in its own PID namespace. Lines that begin with `# ` are
notes of the process about itself. The rest is what `faulthandler` writes, each time the signal comes: every thread,
its newest frame first.

Liveness: as with records, the writer holds a POSIX lock on the file for as long as it answers. Who holds it is the only
process that the signal may be sent to. A child's file is one of SLOTS that are used again, so their number is bounded.
"""

from __future__ import annotations

import errno
import json
import re
import signal
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record import locks
from yoloscope_record.file_format import RecordError, clean, slug
from yoloscope_record.system import aside, os

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".stacks"
_HANGUP = f"-hangup{SUFFIX}"
SLOTS = 128  # living children of a rank that have a file
PROBES = 16  # slots that a child tries
MAX_HEADER_BYTES = 4096
#: Nobody is asked again whose file has grown so far: some forty stacks of a process with many threads.
MAX_FILE_BYTES = 4 << 20
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
BEGIN = b"yoloscope-stacks "
_MAGIC = BEGIN.decode() + "1 "
_NOTE = "# "


class Header(NamedTuple):
    """Who writes a stack file."""

    signal: int
    pid: int  # in its own PID namespace
    main: str  # the main thread, as faulthandler writes it
    run: str
    rank: str
    length: int  # of the line, in bytes


def signal_number() -> int | None:
    """The signal that asks for stacks; None where there are no real-time signals.

    SIGUSR1 and SIGUSR2 belong to users and to Slurm; glibc keeps the first real-time signals, debuggers the last ones.
    """
    first = getattr(signal, "SIGRTMIN", None)
    return None if first is None else int(first) + 11


def filename(rank: str, slot: int | None = None) -> str:
    """Name of a stack file inside its run's directory: of the rank itself, or of one of its children."""
    return slug(f"rank-{rank}") + ("" if slot is None else f"-child-{slot}") + SUFFIX


def hangup_filename(rank: str) -> str:
    """Name of the file that SIGHUP of the rank writes into."""
    return slug(f"rank-{rank}") + _HANGUP


def is_of_process(name: str) -> bool:
    """Whether a file of that name is one whose process may be asked."""
    return name.endswith(SUFFIX) and not name.endswith(_HANGUP)


def belongs_to(name: str, rank: str) -> bool:
    """Whether a file of that name is the rank's, or one of its children's."""
    kinds = rf"(-child-[0-9]{{1,3}}|-hangup)?{re.escape(SUFFIX)}"
    return re.fullmatch(re.escape(slug(f"rank-{rank}")) + kinds, name) is not None


def create(directory: Path, run: str, rank: str, thread: int, *, child: bool) -> int:
    """Make the file of this process, locked, and return its descriptor: `locks.close` gives it up.

    `thread` is the main thread. The file is readable to nobody else until it is locked.

    Raises:
        OSError: it cannot be made, or a living process has it.
    """
    line = _first_line(run, rank, thread)
    slots = [os.getpid() % SLOTS + probe for probe in range(PROBES)] if child else [None]
    for slot in slots:
        name = filename(rank, None if slot is None else slot % SLOTS)
        with suppress(BlockingIOError):
            return _begin(directory / name, line)
    raise OSError(errno.EBUSY, f"living processes have all of the slots {slots}")


def create_for_hangup(directory: Path, run: str, rank: str, thread: int) -> int:
    """The same of the file that SIGHUP writes into.

    Raises:
        OSError: as `create`.
    """
    return _begin(directory / hangup_filename(rank), _first_line(run, rank, thread))


def _first_line(run: str, rank: str, thread: int) -> bytes:
    header = {
        "signal": signal_number(),
        "pid": os.getpid(),
        "main": f"0x{thread:016x}",
        "run": clean(run),
        "rank": rank,
    }
    return f"{_MAGIC}{json.dumps(header)}\n".encode()


def _begin(path: Path, line: bytes) -> int:
    """Make the file anew: one that is there anybody may have open, and locked for reading."""
    _make_room(path)
    try:
        descriptor = aside(os.open(path, _FLAGS, 0o600))
    except FileExistsError as error:
        raise BlockingIOError(errno.EAGAIN, f"another process has {path}") from error
    try:
        locks.take(descriptor)
        os.write(descriptor, line)
        os.fchmod(descriptor, 0o644)
    except OSError:
        locks.close(descriptor)
        raise
    return descriptor


def _make_room(path: Path) -> None:
    """Remove what a process that has ended left at `path`; what this process itself has there goes on unseen.

    Raises:
        BlockingIOError: a living process has it.
        OSError: it is no regular file.
    """
    if not locks.is_own(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, f"{path} is no regular file")
            if locks.holder(descriptor) is not None:
                raise BlockingIOError(errno.EAGAIN, f"a living process has {path}")
        finally:
            os.close(descriptor)
    path.unlink()


def note(descriptor: int, text: str) -> None:
    """Let a process say something about itself in its file, once or twice in its life."""
    os.write(descriptor, f"{_NOTE}{clean(text)}\n".encode())


def header_of(data: bytes) -> Header:
    """The header of a file that begins with `data`.

    Raises:
        RecordError: reason `header`, it is no stack file.
    """
    line, found, _ = data[:MAX_HEADER_BYTES].partition(b"\n")
    if not found or not line.startswith(_MAGIC.encode()):
        raise RecordError("header", "not a stack file")
    try:
        content = json.loads(line[len(_MAGIC) :].decode("ascii"))  # JSON escapes the rest
        header = Header(**{key: content[key] for key in ("signal", "pid", "main", "run", "rank")}, length=len(line) + 1)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RecordError("header", f"not a stack file: {error!r}") from error
    if [type(value) for value in header] != [int, int, str, str, str, int]:
        raise RecordError("header", "a stack file with values of other types")
    return header


def notes_of(data: bytes) -> tuple[list[str], int]:
    """The notes at the beginning of `data`, which follows the header, and where they end."""
    notes, end = [], 0
    while data[end : end + len(_NOTE)] == _NOTE.encode():
        stop = data.find(b"\n", end)
        if stop < 0:
            break
        notes.append(data[end + len(_NOTE) : stop].decode(errors="replace"))
        end = stop + 1
    return notes, end


def check_place(header: Header, name: str, run: str) -> None:
    """Check that a file has the name and lies in the directory (`run`) that follow from its header.

    Raises:
        RecordError: reason `identity`.
    """
    if not belongs_to(name, header.rank) or slug(header.run) != run:
        raise RecordError("identity", f"{name} in {run} says it is of rank {header.rank} of {header.run}")
