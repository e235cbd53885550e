"""What is kept of a training that died, beside its results: its record lies in memory, and a reboot takes it away.

    runs/detect/train7/yoloscope/<run>/rank-0.rec       as the record is, with a state that says what is known
    runs/detect/train7/yoloscope/<run>/rank-0.stacks    what a crash or a signal has left

The hooks write the first one when a training begins, so that a reboot leaves something to be told by, write it anew
when it ends with an exception, and take it away when it ends well. One that was killed is copied by the exporter, or by
the next training of the same user with results beside it.

Nobody is trusted: a folder has to belong to who trains, no link is followed below it, a file is made under a name that
is not there yet and renamed, and there are at most so many bytes.
"""

from __future__ import annotations

import errno
import json
import math
import stat
import struct
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_record import catalog, clearing, locks, stack_file
from yoloscope_record.file_format import (
    HEADER_CAPACITY_FIELD,
    HEADER_LENGTH,
    HEADER_OFFSET,
    MAX_LABEL_LENGTH,
    STATE,
    RecordError,
    clean,
    slug,
)
from yoloscope_record.reader import MAX_FILE_BYTES, Reader, open_record
from yoloscope_record.system import os

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from yoloscope_record.reader import Record

#: The setting: a directory for all runs in place of each run's own folder, or `off`.
VARIABLE = "YOLOSCOPE_KEEP_POST_MORTEM"
#: The fact of a record that says where its end is kept.
FACT = "kept_in"
FOLDER = "yoloscope"
MAX_STACK_BYTES = 256 << 10
MAX_RUNS = 200  # in one folder: of a run that is resumed again and again, or of an exporter
_OFF = frozenset({"off", "0", "false", "no"})
_BLOCK = 4096
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HEAD_U32 = "=23I"


def place(save_dir: str, environ: Mapping[str, str]) -> Path | None:
    """Where the ends of trainings with these results are kept; None where that is not wanted or not possible."""
    told = environ.get(VARIABLE, "")
    if is_off(told) or not (told or save_dir):
        return None
    base = Path(told).absolute() if told else Path(save_dir).absolute() / FOLDER
    text = str(base)
    return base if text == clean(text) and len(text) < MAX_LABEL_LENGTH else None


def is_off(told: str) -> bool:
    """Whether the setting says that nothing is to be kept."""
    return told.lower() in _OFF


def place_of(facts: Mapping[str, str]) -> Path | None:
    """The same as a record tells it."""
    path = Path(facts.get(FACT, ""))
    return path if path.is_absolute() else None


def begin(base: Path, run: str, name: str, content: bytes) -> None:
    """Make the folders in a directory of this user, and write the record of a training that begins.

    Raises:
        OSError: that is not possible, or the directory is somebody else's.
    """
    make(base, run)
    store(base, run, name, content)


def make(base: Path, run: str, room: float = math.inf) -> None:
    """Make the folder of a run in `base`, and `base` itself in a directory of this user.

    What was kept first goes where there are more than MAX_RUNS, or more than `room` bytes.

    Raises:
        OSError: that is not possible, `base` is somebody else's, or the run itself has all of the room.
    """
    with _opened(base.parent, links=True) as parent:
        if os.fstat(parent).st_uid == os.geteuid():  # else it has to be there already
            _make(base.name, parent)
        with _opened(base.name, parent) as middle:
            _require_owner(middle, os.geteuid())
            _make(slug(run), middle)
            names = os.listdir(middle)
    others = [name for name in names if name != slug(run)]
    if len(names) > MAX_RUNS:
        _remove_oldest(base, others)
    while room < math.inf and _bytes(base, names) > room:
        if not _remove_oldest(base, others):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def _bytes(base: Path, names: Iterable[str]) -> int:
    """How long all files in these folders are together."""
    found = 0
    for name in names:
        with suppress(OSError), os.scandir(base / name) as entries:
            found += sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    return found


def _remove_oldest(base: Path, names: Sequence[str]) -> bool:
    """Remove the run that was kept first, of those that have nothing but what was kept in their folders."""
    found = []
    for name in names:
        with suppress(OSError):
            status = os.lstat(base / name)
            if stat.S_ISDIR(status.st_mode):
                found.append((status.st_mtime, name))
    for _, name in sorted(found):
        with suppress(OSError):
            if clearing.remove_dead(base / name, older_than=0.0, now=time.time(), uid=os.geteuid()).gone:
                return True
    return False


def store(base: Path, run: str, name: str, content: bytes, uid: int | None = None) -> None:
    """Write a file of a run in one step, if `begin` has made its folder; it becomes `uid`'s, whose folder it has to be.

    Raises:
        OSError: that is not possible, or a folder is somebody else's.
    """
    uid = os.geteuid() if uid is None else uid
    with _folder(base, run, uid) as folder:
        _write(folder, name, content, uid)


def forget(base: Path, run: str, name: str) -> None:
    """Remove what is kept of a rank, and the folders if they are empty then.

    Raises:
        OSError: a folder is somebody else's.
    """
    stem = name[: -len(".rec")]
    with _folder(base, run, os.geteuid()) as folder:
        for one in (name, f"{stem}.stacks", f"{stem}-hangup.stacks"):
            with suppress(FileNotFoundError):
                os.unlink(one, dir_fd=folder)
    with suppress(OSError):  # other ranks, and other runs
        os.rmdir(base / slug(run))
        if base.name == FOLDER:
            os.rmdir(base)


def is_kept(path: Path, record: Record, told: Mapping[str, str]) -> bool:
    """Whether `path` holds the end of the training that `record` is of, with a cause if `told` has one."""
    try:
        kept = Reader(path).read()
    except RecordError:
        return False
    closed = kept.created == record.created and kept.state in (*catalog.FINAL, catalog.KILLED)
    return closed and ("cause" in kept.facts or "cause" not in told)


def keep(  # noqa: PLR0913 - a record, its place, and what is told of it
    path: Path, record: Record, base: Path, told: Mapping[str, str], uid: int, *, anew: bool = False
) -> bool:
    """Copy the record of a dead rank at `path`, and what its signals left, to `base`; `told` are more facts.

    Only what has not been copied before, unless `anew`: False if it has. `record` is what was read there; `uid` is
    whose folders they have to be.

    Raises:
        OSError, RecordError: that is not possible, or there is something else now.
    """
    who = record.identity
    with _folder(base, who.run, uid) as folder:
        if not anew and is_kept(base / slug(who.run) / path.name, record, told):
            return False
        data = sealed(_content(path, record), told)
        for name in (stack_file.filename(who.rank), stack_file.hangup_filename(who.rank)):
            if stacks := _stacks(path.parent, name, record.uid):
                _write(folder, name, stacks, uid)
        _write(folder, path.name, data, uid)  # last: it says that all is there
    return True


def sealed(data: bytes, told: Mapping[str, str]) -> bytes:
    """A record as one of a dead rank, with more facts as far as there is room: its state says that it was killed.

    Raises:
        RecordError: reason `header`.
    """
    content = bytearray(data)
    head = list(struct.unpack_from(_HEAD_U32, content))
    if catalog.RECORD_STATES[head[STATE]] not in catalog.FINAL:
        head[STATE] = catalog.RECORD_STATES.index(catalog.KILLED)
    start, half = head[HEADER_OFFSET], head[HEADER_CAPACITY_FIELD] // 2
    try:
        header = json.loads(content[start : start + head[HEADER_LENGTH]])
        header["facts"] = {**header["facts"], **{key: clean(value) for key, value in told.items()}}
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RecordError("header", f"not a readable header: {error!r}") from error
    if len(text) <= half:
        head[HEADER_LENGTH] = len(text)
        content[start : start + len(text)] = text
    struct.pack_into(_HEAD_U32, content, 0, *head)
    return bytes(content)


def _content(path: Path, record: Record) -> bytes:
    """All of the record at `path`, if it still is the dead one that was read."""
    descriptor, status = open_record(path)
    try:
        again = Reader(path).read_opened(descriptor, status)
        if again.alive or (again.identity, again.created, again.uid) != (record.identity, record.created, record.uid):
            raise RecordError("busy", f"{path} is not the record any more that was read")
        return os.pread(descriptor, MAX_FILE_BYTES, 0)
    finally:
        os.close(descriptor)


def _stacks(directory: Path, name: str, owner: int) -> bytes:
    """A stack file of a process that has ended, its beginning and its end; empty if there is none, or nothing in it."""
    try:
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != owner or locks.holder(descriptor) is not None:
            return b""
        head, found, rest = os.pread(descriptor, stack_file.MAX_HEADER_BYTES, 0).partition(b"\n")
        end = os.pread(descriptor, MAX_STACK_BYTES, max(len(head) + 1, status.st_size - MAX_STACK_BYTES))
        return head + found + (end if len(end) < MAX_STACK_BYTES else end.partition(b"\n")[2]) if rest else b""
    finally:
        os.close(descriptor)


@contextmanager
def _opened(directory: Path | str, parent: int | None = None, *, links: bool = False) -> Iterator[int]:
    """A descriptor of a directory, which is no link unless `links` are allowed."""
    descriptor = os.open(directory, _DIRECTORY & ~os.O_NOFOLLOW if links else _DIRECTORY, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _folder(base: Path, run: str, uid: int) -> Iterator[int]:
    """A descriptor of the folder of a run, which is this user's like the one around it."""
    with _opened(base) as outer:
        _require_owner(outer, uid)
        with _opened(slug(run), outer) as inner:
            _require_owner(inner, uid)
            yield inner


def _require_owner(descriptor: int, uid: int) -> None:
    if os.fstat(descriptor).st_uid != uid:
        raise PermissionError(errno.EPERM, "the folder is somebody else's")


def _make(name: str, parent: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)


def _write(folder: int, name: str, content: bytes, uid: int) -> None:
    """Write a file under a name that is not there yet, and rename it; blocks of zeros take no room."""
    new = f"{name}.{os.getpid()}.new"
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)  # of a process of that number that died over it
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        try:
            _fill(descriptor, content[:MAX_FILE_BYTES])
            if uid != os.geteuid():
                os.fchown(descriptor, uid, -1)
            os.fchmod(descriptor, 0o644)
        finally:
            os.close(descriptor)  # before it gets its name: Windows renames no file that is open
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise


def _fill(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, len(content))
    for start in range(0, len(content), _BLOCK):
        block = content[start : start + _BLOCK]
        if block.strip(b"\0") and os.pwrite(descriptor, block, start) != len(block):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
