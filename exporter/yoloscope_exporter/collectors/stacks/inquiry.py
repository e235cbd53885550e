"""Asks the processes of one run what they do, and reads the answers.

A signal that a process does not catch kills it, so one is sent only where all of this is true:

- the process is the one that the kernel says holds the lock on a stack file, now, as the exporter sees pids;
- it holds the lock on the record of a rank of this run, or was started by the one that does;
- the file says which signal, and that signal is the one of this version; the kernel says that the process catches it;
- the process, the file and the run's directory have one owner, who is the exporter's user, unless that is root;
- it did not answer in the last five minutes, nor was it asked, and no such signal is on its way to it.

Everything in the files is somebody else's: they are opened without following links, bounded, and refused with a count
where they are not what they should be.
"""

from __future__ import annotations

import re
import signal
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record import locks, stack_file
from yoloscope_record.file_format import SUFFIX, Identity, RecordError
from yoloscope_record.reader import Reader
from yoloscope_record.system import os

from yoloscope_exporter.collectors.stacks import dump, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from yoloscope_exporter.collectors.stacks.dump import Dump

    Reject = Callable[[str], None]

AGAIN_SECONDS = 300.0  # until a process may be asked again
ANSWER_SECONDS = 5.0  # for an answer; it takes milliseconds
MAX_FILES = 256  # of one run, ranks first; they are open while the answers are waited for
MAX_NAMES = 8192  # in a run's directory
MAX_READ_BYTES = 256 << 10  # of one file: a hundred threads of ordinary depth
MAX_ALL_BYTES = 16 << 20  # of all files of a run together
_NOTE = re.compile(r"worker ([0-9]{1,4}) (training|validation)")


class Refused(Exception):  # noqa: N818 - a file that is passed over, not an error
    """A stack file is not read, or its process not asked; the text is one of a few words, fit for a metric's label."""


class Rank(NamedTuple):
    """A rank of the run, by its record."""

    rank: str
    pid: int  # of the living rank, as the exporter sees it; 0 if it is dead, or not to be seen
    state: str  # one of catalog.STATES


class Answer(NamedTuple):
    """What one process does.

    Attributes:
        name: `main`, `worker 2`, `validation worker 0`, or `process 4711` of one that did not say what it is.
        state: its state as the kernel names it (S, D, T, Z ...); empty if it is gone.
        waits_in: the system call its main thread waits in, as far as it may be known.
        dump: its stacks; None if it did not answer.
    """

    rank: str
    name: str
    pid: int
    state: str
    waits_in: str
    dump: Dump | None


@dataclass
class StackFile:
    """A stack file that is open."""

    name: str
    descriptor: int
    header: stack_file.Header
    notes: tuple[str, ...]
    begin: int  # where answers begin
    size: int  # when it was opened
    owner: int
    changed: float  # Unix time
    pid: int = 0  # who holds its lock, once that is known and allowed
    asked: bool = False
    recent: bool = False  # the last answer is new enough to be shown
    seen: int = 0  # the size at the last look

    @property
    def of_child(self) -> bool:
        """Whether it is of a process that a rank has started."""
        return self.name != stack_file.filename(self.header.rank)

    @property
    def said(self) -> str:
        """What the process is."""
        for text in self.notes:
            if match := _NOTE.fullmatch(text):
                return f"{'' if match[2] == 'training' else 'validation '}worker {match[1]}"
        return f"process {self.pid or self.header.pid}" if self.of_child else "main"


@dataclass
class Inquiry:
    """One round of questions to one run; `close` it."""

    directory: Path
    reject: Reject
    wall: Callable[[], float] = time.time
    since: float = 0.0
    """Unix time: an answer from before is not true any more, though its process may not be asked again yet."""
    user: int = field(default_factory=os.geteuid)
    ranks: list[Rank] = field(default_factory=list)
    _files: list[StackFile] = field(default_factory=list)
    _owner: int = -1  # of the run

    def __post_init__(self) -> None:
        """Open what there is. Nobody is asked yet.

        Raises:
            OSError: the directory cannot be opened.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.directory, flags)
        try:
            owner = self._owner = os.fstat(descriptor).st_uid
            with os.scandir(descriptor) as found:
                names = sorted(
                    (entry.name for entry in islice(found, MAX_NAMES)), key=lambda name: ("-child-" in name, name)
                )
            self.ranks = list(self._ranks([name for name in names if name.endswith(SUFFIX)], owner))
            self._files = list(
                self._open([name for name in names if stack_file.is_of_process(name)], descriptor, owner)
            )
        finally:
            os.close(descriptor)

    def _ranks(self, names: Sequence[str], owner: int) -> Iterator[Rank]:
        for name in [name for name in names if "-worker-" not in name][:MAX_FILES]:
            with suppress(RecordError):
                record = Reader(self.directory / name).read()
                if record.uid == owner and record.identity == Identity(record.identity.run, record.identity.rank):
                    yield Rank(record.identity.rank, record.holder, record.outcome)

    def _open(self, names: Sequence[str], directory: int, owner: int) -> Iterator[StackFile]:
        if len(names) > MAX_FILES:
            self.reject("files")
        for name in names[:MAX_FILES]:
            with self._counted():
                yield open_file(name, directory, self.directory.name, owner)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count what is refused, and go on with the next."""
        try:
            yield
        except (Refused, RecordError) as error:
            self.reject(getattr(error, "reason", str(error)))
        except (OSError, ValueError):  # it has gone in between, or may not be looked at
            self.reject("unreadable")

    def close(self) -> None:
        """Let go of the files."""
        files, self._files = self._files, []
        for file in files:
            os.close(file.descriptor)

    def ask(self) -> int:
        """Send the signal to every process that it may be sent to; returns how many those are."""
        for file in self._files:
            with self._counted():
                self._ask(file)
        return sum(file.asked for file in self._files)

    def last_answers(self) -> list[Answer]:
        """The last answer in each file, however old, of processes that may have ended since."""
        found = []
        for file in self._files:
            with self._counted():
                told = dump.parse(_answered(file, MAX_READ_BYTES), file.header.main)
                found.append(Answer(file.header.rank, file.said, file.header.pid, "", "", told))
        return found

    def _ask(self, file: StackFile) -> None:
        holder = locks.holder(file.descriptor)
        if holder is None:
            return  # it has ended
        _require(bool(holder), "invisible")  # it is in another PID namespace
        with _opened_process(holder) as send:
            status = process.status(holder)
            self._check(file, holder, status)
            file.pid = holder
            if status.state in process.STOPPED or status.state == process.ZOMBIE:
                return  # what is to be said of it is known
            lately = self._answered_lately(file)
            file.recent = lately and file.changed >= self.since
            if lately or process.has(status.pending, file.header.signal):
                return
            if locks.holder(file.descriptor) != holder:  # the process that was looked at is the one that holds it
                return
            send(file.header.signal)
            file.asked = file.recent = True

    def _check(self, file: StackFile, pid: int, status: process.Status) -> None:
        _require(set(status.uids) == {file.owner} and self.user in (0, file.owner), "user")
        _require(file.header.signal == stack_file.signal_number(), "signal")
        _require(process.has(status.caught, file.header.signal), "not_caught")
        _require(status.own_pid == file.header.pid, "pid")
        rank = next((rank.pid for rank in self.ranks if rank.rank == file.header.rank and rank.pid), 0)
        ours = process.descends(pid, rank) if file.of_child else pid == rank
        _require(bool(rank) and ours, "stranger")

    def _answered_lately(self, file: StackFile) -> bool:
        return file.size > file.begin and 0.0 <= self.wall() - file.changed < AGAIN_SECONDS

    def complete(self) -> bool:
        """Whether everybody who was asked has begun to answer, and no answer grows any more since the last look."""
        done = True
        for file in self._files:
            if file.asked:
                size = os.fstat(file.descriptor).st_size
                done &= file.size < size == file.seen
                file.seen = size
        return done

    def answers(self) -> list[Answer]:
        """What there is, of every living process that has a file and of every rank that lives without one.

        Answers that came before are as good where nobody was asked now.
        """
        room, found = MAX_ALL_BYTES, []
        for file in self._files:
            if not file.pid:
                continue
            data = b""
            with self._counted():
                data = _answered(file, min(room, MAX_READ_BYTES)) if file.recent else b""
            room -= len(data)
            found.append(_answer(file, data))
        known = {answer.pid for answer in found}
        found += [_silent(rank, self._owner) for rank in self.ranks if rank.pid and rank.pid not in known]
        return found


def answers(inquiry: Inquiry) -> list[Answer]:
    """Ask, and wait for what is answered."""
    inquiry.ask()
    end = time.monotonic() + ANSWER_SECONDS
    while not inquiry.complete() and time.monotonic() < end:
        time.sleep(0.05)
    return inquiry.answers()


def open_file(name: str, directory: int, run: str, owner: int) -> StackFile:
    """A stack file that is what it should be; its descriptor is to be closed.

    Raises:
        Refused, RecordError: it is not.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Refused("type") from error  # a link
    try:
        status = os.fstat(descriptor)
        _require(stat.S_ISREG(status.st_mode) and status.st_nlink == 1, "type")
        _require(status.st_uid == owner, "owner")
        _require(status.st_size <= stack_file.MAX_FILE_BYTES, "size")
        data = os.pread(descriptor, 2 * stack_file.MAX_HEADER_BYTES, 0)
        header = stack_file.header_of(data)
        stack_file.check_place(header, name, run)
        notes, end = stack_file.notes_of(data[header.length :])
        begin = header.length + end
        return StackFile(name, descriptor, header, tuple(notes), begin, status.st_size, owner, status.st_mtime)
    except BaseException:
        os.close(descriptor)
        raise


def _require(true: bool, otherwise: str) -> None:  # noqa: FBT001 - a condition
    """Refuse a file that is not what it should be."""
    if not true:
        raise Refused(otherwise)


class _opened_process:  # noqa: N801 - a context
    """A process that cannot become another one meanwhile; the value sends it a signal."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        try:
            self._descriptor = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
        except ProcessLookupError:
            raise
        except OSError:  # a kernel before 5.3: the pid itself, looked at a moment before
            self._descriptor = -1

    def __enter__(self) -> Callable[[int], None]:
        return self._send

    def _send(self, number: int) -> None:
        if self._descriptor < 0:
            os.kill(self._pid, number)
        else:
            signal.pidfd_send_signal(self._descriptor, number)

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _answered(file: StackFile, room: int) -> bytes:
    """The end of the file from the beginning of a line, at most `room` bytes.

    Raises:
        Refused: it was cut, deleted or replaced since.
    """
    status = os.fstat(file.descriptor)
    _require(status.st_nlink == 1, "replaced")
    _require(status.st_size >= max(file.size, file.begin), "cut")
    begin = max(file.begin, status.st_size - room)
    data = os.pread(file.descriptor, status.st_size - begin, begin)
    return data if begin == file.begin else data.partition(b"\n")[2]


def _answer(file: StackFile, data: bytes) -> Answer:
    told = dump.parse(data, file.header.main)
    return Answer(file.header.rank, file.said, file.pid, *process.doing(file.pid, file.owner), told)


def _silent(rank: Rank, owner: int) -> Answer:
    return Answer(rank.rank, "main", rank.pid, *process.doing(rank.pid, owner), None)
