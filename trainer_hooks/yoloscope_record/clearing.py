"""Removes what dead trainings left: file by file, and nothing but records that were looked at."""

from __future__ import annotations

import math
import re
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record import locks, log, stack_file
from yoloscope_record.file_format import SUFFIX, RecordError, slug
from yoloscope_record.reader import MAX_FILE_BYTES, Reader, open_record
from yoloscope_record.system import os

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NAMES = 4096  # in a run's directory that is to be cleared
_TEMPORARY = re.compile(r"(.+\.rec)\.[a-z0-9_]{8}\.new")  # a record before it gets its name


class Removal(NamedTuple):
    """What `remove_dead` did with a directory."""

    removed: tuple[str, ...] = ()  # names of the files
    foreign: str = ""  # the first thing found that is no record of this run and owner: nothing was removed
    gone: bool = False  # the directory is removed, too


def remove_dead(directory: Path, *, older_than: float, now: float, uid: int | None = None) -> Removal:
    """Remove a run's directory if all in it are records of that run that nobody has written for `older_than` seconds.

    Stack files of its processes count as records. All or nothing: one thing that is anything else, or one record that
    is in use or too young, and all stays. Safe against an owner who swaps what lies there meanwhile: no link is
    followed, nothing is removed but names in the directory that was opened, and the directory itself only when it is
    empty. One without any record stays.

    `uid` is whose directory it has to be, None for anybody's; the records have to be its owner's.

    Raises:
        OSError: the directory cannot be opened (it is a link, it is gone), or a file cannot be removed.
    """
    with _opened(directory.parent) as parent, _opened(directory.name, parent) as descriptor:
        status = os.fstat(descriptor)
        names = os.listdir(descriptor)
        if uid not in (None, status.st_uid) or len(names) > MAX_NAMES:
            return Removal(foreign=directory.name)
        dead = {}
        # A rank's record comes after those of its workers, and all records after the stacks: the last to go tell a run.
        for name in sorted(names, key=lambda name: (not name.endswith(stack_file.SUFFIX), name)):
            try:
                dead[name] = _dead(descriptor, directory.name, name, status.st_uid, now - older_than)
            except RecordError:
                return Removal(foreign=name)
            if dead[name] is None:
                return Removal()
        removed = tuple(name for name, seen in dead.items() if seen and _unlink(descriptor, directory, name, seen))
        return Removal(removed, gone=bool(removed) and _rmdir(parent, directory, status))


def remove_workers(path: Path) -> None:
    """Remove what an earlier training's processes left beside the record of their rank at `path`: records and stacks.

    Raises:
        OSError: as `remove_dead`.
    """
    with _opened(path.parent) as descriptor:
        for name in os.listdir(descriptor):
            worker = name.startswith(f"{path.stem}-worker-") and name.endswith(SUFFIX)
            if worker or stack_file.belongs_to(name, path.stem[len("rank-") :]):
                with suppress(RecordError):
                    seen = _dead(descriptor, path.parent.name, name, os.geteuid(), math.inf)
                    if seen is not None:
                        _unlink(descriptor, path.parent, name, seen)


@contextmanager
def _opened(directory: Path | str, parent: int | None = None) -> Iterator[int]:
    """A descriptor of a directory that is no link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(directory, flags, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _dead(descriptor: int, run: str, name: str, owner: int, before: float) -> os.stat_result | None:
    """What was at `name` if it is a record whose writer is gone and wrote last before that time; None if in use.

    A file changed since is not even opened: in the process that writes it, closing it again would give up the lock.

    Raises:
        RecordError: it is no record, or not one of this owner and of the run whose directory is called `run`.
    """
    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    temporary = _TEMPORARY.fullmatch(name)
    wanted = temporary[1] if temporary else name
    if not (stat.S_ISREG(status.st_mode) and status.st_uid == owner and wanted.endswith((SUFFIX, stack_file.SUFFIX))):
        raise RecordError("type", f"{name} is no record of {owner}")
    if status.st_mtime > before:
        return None
    if name.endswith(stack_file.SUFFIX):
        return _dead_stacks(descriptor, run, name, status)
    if temporary and status.st_size == 0:
        return status  # its writer died in the moment after making it
    try:
        file, opened = open_record(Path(name), descriptor)
        try:
            blank = temporary and not os.pread(file, MAX_FILE_BYTES, 0).strip(b"\0")
            record = None if blank else Reader(Path(name)).read_opened(file, opened)
        finally:
            os.close(file)
    except RecordError as error:
        if error.reason in ("busy", "missing", "own"):
            return None
        raise
    if record is not None:
        if (record.identity.filename, slug(record.identity.run)) != (wanted, run):
            raise RecordError("identity", f"{name} says it is {record.identity}")
        if record.alive or record.updated > before:
            return None
    return opened if os.path.samestat(opened, status) else None


def _dead_stacks(descriptor: int, run: str, name: str, status: os.stat_result) -> os.stat_result | None:
    """The same of a stack file, which looked like `status`."""
    if locks.is_own(name, descriptor):
        return None
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
    except OSError as error:
        raise RecordError("type", f"cannot open {name}: {error.strerror}") from error
    try:
        head = os.pread(file, stack_file.MAX_HEADER_BYTES, 0)
        if head:  # else its writer died in the moment after making it
            stack_file.check_place(stack_file.header_of(head), name, run)
        return status if os.path.samestat(os.fstat(file), status) and locks.holder(file) is None else None
    finally:
        os.close(file)


def _unlink(descriptor: int, directory: Path, name: str, seen: os.stat_result) -> bool:
    """Remove `name` if it still is the file that was seen."""
    if not os.path.samestat(os.stat(name, dir_fd=descriptor, follow_symlinks=False), seen):
        return False
    os.unlink(name, dir_fd=descriptor)
    log.info("removed the old record %s", directory / name)
    return True


def _rmdir(parent: int, directory: Path, seen: os.stat_result) -> bool:
    """Remove the directory if it still is the one that was seen, and empty."""
    with suppress(OSError):
        if os.path.samestat(os.stat(directory.name, dir_fd=parent, follow_symlinks=False), seen):
            os.rmdir(directory.name, dir_fd=parent)
            log.info("removed the old run %s", directory)
            return True
    return False
