"""Writes one record: numbers kept in memory, copied into the file with a few `pwrite` calls per batch."""

from __future__ import annotations

import errno
import json
import math
import stat
import tempfile
import time
import weakref
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_record import catalog, locks, log
from yoloscope_record.file_format import (
    GENERATION,
    HEAD,
    HEADER_CAPACITY,
    HEADER_LENGTH,
    HEADER_OFFSET,
    MAGIC,
    OWN_LABELS,
    RING_COLUMNS,
    RING_ROWS,
    RING_WRITTEN,
    ROW,
    ROW_SIZE,
    SEQUENCE,
    SEQUENCE_FIELD,
    SEQUENCE_OFFSET,
    SLOT_CAPACITY,
    SLOT_COUNT,
    SLOTS_OFFSET,
    STATE,
    UPDATED,
    VERSION,
    Identity,
    RecordError,
    clean,
)
from yoloscope_record.metrics import COUNTER, HISTOGRAM, HistogramValue, Metric, Sample
from yoloscope_record.reader import Reader
from yoloscope_record.system import after_fork, allocate, aside, give_name, largest_file, os

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Errors that say that a disk, or a user's share of it, is full.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_CHECK_SECONDS = 1.0  # between two looks at what became of the file


class Writer:
    """Owns one record file. Not for two threads, and never to be read in the same process.

    Declare slots first (`slot`, `histogram`), keep their indexes, then per batch:

        writer.begin(); writer.values[i] += 1; ...; writer.end(time.time())

    What is stored is in the file at the next `end`, and all of it at once. A file that cannot be written any more, or
    was deleted, is given up with one warning, and no method raises for that: what is stored from then on goes nowhere.
    A forked child's copy writes nothing.
    """

    values: memoryview[float]
    """The slots as doubles, to be stored into directly."""
    row: memoryview[float]
    """The next row of the ring, columns as in RING_COLUMNS, likewise. What is not stored anew stays.

    In a training this finds cold caches: `struct`, a module of its own, takes three times as long as a memoryview,
    which is the interpreter's own.
    """

    _file = -1  # closed, given up, or not there yet

    def __init__(  # noqa: PLR0913 - the sizes of the parts are this class's business alone
        self,
        path: Path,
        identity: Identity,
        facts: Mapping[str, str] | None = None,
        *,
        slots: int = SLOT_CAPACITY,
        header: int | None = None,
        ring: int = RING_ROWS,
        resume: bool = False,
    ) -> None:
        """Create the file at `path`, or with `resume` continue an own record left there by an earlier process.

        Raises:
            RecordError: `exists` if a living process writes it, `full` without space, `directory` if it cannot be made
                or is not ours.
        """
        self.path = path
        self._identity = identity
        self._facts = {clean(key): clean(value) for key, value in (facts or {}).items()}
        self._entries: list[tuple[Metric, tuple[str, ...]]] = []
        self._index: dict[tuple[str, tuple[str, ...]], int] = {}
        self._used = 0
        self._rows = 0  # in the ring; the head says how many of them the counters contain
        self._process = os.getpid()
        self._checked = time.time()
        self._lay_out(slots, header or HEADER_CAPACITY[identity.kind], ring)
        previous = _previous(path)
        for sample in previous if resume else ():
            self._continue(sample)
        self._file = _create(path, self._size, self._whole())
        status = os.fstat(self._file)
        self._where = status.st_dev, status.st_ino
        _writers.add(self)

    def _lay_out(self, slots: int, header: int, ring: int) -> None:
        self._header = slice(SLOTS_OFFSET + 8 * slots, SLOTS_OFFSET + 8 * slots + header)
        self._ring, self._ring_rows = self._header.stop, ring
        self._size = self._ring + ROW_SIZE * ring
        self._place, self._last_place = self._ring, self._size - ROW_SIZE  # of the next row, and of the ring's last
        self.row = memoryview(bytearray(ROW_SIZE)).cast("d")
        self._memory = memoryview(bytearray(self._header.start))  # head and slots; header and ring are in the file only
        self._sequence = self._memory[SEQUENCE_OFFSET : SEQUENCE_OFFSET + SEQUENCE_FIELD.size]
        self._u32 = self._memory[:SLOTS_OFFSET].cast("I")
        self._u64 = self._memory[:SLOTS_OFFSET].cast("Q")
        self._f64 = self._memory[:SLOTS_OFFSET].cast("d")
        self.values = self._memory[SLOTS_OFFSET:].cast("d")
        for index in range(slots):
            self.values[index] = math.nan
        now = time.time()
        head = (0, 0, slots, 0, self._header.start, header, 0, self._header.stop, ring, len(RING_COLUMNS), 0)
        HEAD.pack_into(self._memory, 0, MAGIC, VERSION, 0, *head, now, now, self._process)

    def _continue(self, sample: Sample) -> None:
        if sample.metric.kind == COUNTER:
            self.values[self.slot(sample.metric, *sample.labels)] = float(sample.value)  # type: ignore[arg-type]
        elif isinstance(sample.value, HistogramValue):
            first = self.histogram(sample.metric, *sample.labels)
            for offset, number in enumerate((*sample.value.counts, sample.value.sum)):
                self.values[first + offset] = number

    def slot(self, metric: Metric, *labels: str) -> int:
        """Declare one series and return its index in `values`; counters start at 0, gauges unset (NaN).

        Asking again for the same series returns the same index.

        Raises:
            RecordError: `full` if the slots or the header have no room.
        """
        return self._declare(metric, labels, 1)

    def histogram(self, metric: Metric, *labels: str) -> int:
        """Declare a histogram and return the index of its first bucket; the sum is the last of its doubles."""
        return self._declare(metric, labels, len(metric.buckets) + 2)

    def _declare(self, metric: Metric, labels: tuple[str, ...], width: int) -> int:
        key = (metric.name, labels)
        if key in self._index:
            return self._index[key]
        if self._used + width > len(self.values):
            raise RecordError("full", f"{self.path} has no slot left for {metric.name}")
        index = self._used
        initial = 0.0 if metric.kind in (COUNTER, HISTOGRAM) else math.nan
        for offset in range(width):
            self.values[index + offset] = initial
        self._index[key] = index
        self._entries.append((metric, tuple(map(clean, labels))))
        self._used += width
        if self._file >= 0:  # the first header is written once, by __init__
            try:
                self._write_header()
            except RecordError:  # no room: as if it had not been asked for
                self._used -= width
                self._entries.pop()
                del self._index[key]
                raise
        return index

    def set_facts(self, facts: Mapping[str, str]) -> None:
        """Add or replace facts of the run (label values of info metrics).

        Raises:
            RecordError: `full` if the header has no room; then the facts are what they were.
        """
        before = self._facts
        self._facts = {**before, **{clean(key): clean(value) for key, value in facts.items()}}
        try:
            self._write_header()
        except RecordError:
            self._facts = before
            raise

    def _write_header(self) -> None:
        data = self._encoded()
        self.begin()
        self._write(data, self._announce(data))
        self.end(time.time())

    def _encoded(self) -> bytes:
        who = self._identity
        own = (clean(who.run), clean(who.rank))
        entries = [
            [metric.name, [*(OWN_LABELS if labels[:2] == own else labels[:2]), *labels[2:]], list(metric.buckets)]
            for metric, labels in self._entries
        ]
        names = {name: clean(getattr(who, name)) for name in ("kind", "run", "rank", "worker")}
        content = {**names, "facts": self._facts, "slots": entries}
        data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        if len(data) > (self._header.stop - self._header.start) // 2:
            raise RecordError("full", f"{self.path} has no room for a header of {len(data)} bytes")
        return data

    def _announce(self, header: bytes) -> int:
        """Let the head tell of a new header; returns the offset of the half that it has to be in."""
        second = (self._header.start + self._header.stop) // 2
        unused = second if self._u32[HEADER_OFFSET] == self._header.start else self._header.start
        self._u32[HEADER_OFFSET] = unused
        self._u32[HEADER_LENGTH] = len(header)
        self._u32[SLOT_COUNT] = self._used
        self._u64[GENERATION] += 1
        self._in_use = self._memory[: SLOTS_OFFSET + 8 * self._used]
        return unused

    def _whole(self) -> tuple[tuple[bytes | memoryview, int], ...]:
        """All that a file without batches holds, and where: for one that is new, or was cut."""
        header = self._encoded()
        return (header, self._announce(header)), (self._memory, 0)

    @property
    def is_open(self) -> bool:
        """Whether what is stored gets into the file: it is neither closed nor given up, nor a parent's."""
        return self._file >= 0

    @property
    def facts(self) -> Mapping[str, str]:
        """The facts as they are now."""
        return self._facts

    def begin(self) -> None:
        """Open a write."""
        self._u64[SEQUENCE] |= 1

    def end(self, now: float) -> None:
        """Close a write at Unix time `now`: what was stored gets into the file."""
        if not self._u64[SEQUENCE] & 1:
            self.begin()
        self._f64[UPDATED] = now
        if not 0.0 <= now - self._checked < _CHECK_SECONDS:
            self._checked = now
            self._check_file()
        self._write(self._in_use, 0)
        self._u64[SEQUENCE] += 1
        self._write(self._sequence, SEQUENCE_OFFSET)

    def observe(self, first: int, buckets: Sequence[float], value: float) -> None:
        """Count `value` in the histogram whose first bucket is at `first`. Between `begin` and `end`."""
        self.values[first + bisect_left(buckets, value)] += 1.0
        self.values[first + len(buckets) + 1] += value

    def set_state(self, state: str) -> None:
        """Set the state, one of catalog.RECORD_STATES. Between `begin` and `end`."""
        self._u32[STATE] = catalog.RECORD_STATES.index(state)

    def append(self, row: Sequence[float] = ()) -> None:
        """Put a batch into the ring at once: these numbers, or what is in `row`; up to ROWS_AHEAD between `count`s."""
        file, place = self._file, self._place
        if row:
            self.row[:] = memoryview(ROW.pack(*row)).cast("d")
        if file >= 0:
            try:
                os.pwrite(file, self.row, place)
            except OSError as error:
                self._lose(error)
            self._rows += 1
            self._place = place + ROW_SIZE if place != self._last_place else self._ring

    def count(self) -> None:
        """Say that all rows of the ring are in the counters. Between `begin` and `end`."""
        self._u64[RING_WRITTEN] = self._rows

    def content(self) -> bytes:
        """All that the file holds; empty if it cannot be read any more."""
        if self._file >= 0:
            with suppress(OSError):
                return os.pread(self._file, self._size, 0)
        return b""

    def _write(self, data: bytes | memoryview, offset: int) -> None:
        if self._file >= 0:
            try:
                _pwrite(self._file, data, offset)
            except OSError as error:
                self._lose(error)

    def _check_file(self) -> None:
        """Write the file anew if somebody cut it, the ring's rows excepted; give it up if it was deleted."""
        if self._file < 0:
            return
        try:
            status = self._status()
            # Cut and written to since, it may have its size again, but no header.
            if status.st_size != self._size or os.pread(self._file, 1, self._u32[HEADER_OFFSET]) != b"{":
                self._rows, self._place, self._u64[RING_WRITTEN] = 0, self._ring, 0
                _fill(self._file, self._size, self._whole())
        except OSError as error:
            self._lose(error)

    def _status(self) -> os.stat_result:
        """Of the file, whose lock is taken again.

        Raises:
            OSError: it was deleted, or closed: what has its number by now is the user's.
        """
        if not locks.is_there(self._file):
            raise OSError(errno.EBADF, "somebody has closed it")
        locks.keep(self._file)
        status = os.fstat(self._file)
        if not status.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "it was deleted")
        return status

    def _lose(self, error: OSError) -> None:
        log.warning("yoloscope: recording to %s has stopped, training goes on: %s", self.path, error.strerror)
        self.discard()

    def discard(self) -> None:
        """Remove the file and close it. Absent is better than wrong: without new batches it would look like a hang."""
        if self._file >= 0:
            with suppress(OSError):
                if self._is_at_its_path():
                    self._remove()
            self.let_go()

    def _is_at_its_path(self) -> bool:
        status = self.path.lstat()
        return (status.st_dev, status.st_ino) == self._where

    def _remove(self) -> None:
        try:
            self.path.unlink()
        except PermissionError:  # on Windows it has to be closed before
            self.let_go()
            os.unlink(self.path)

    def close(self) -> None:
        """Give up the lock; the file stays. Harmless when called twice."""
        self._check_file()
        self.let_go()

    def let_go(self) -> None:
        """Write no more. In a forked child the file and its lock stay the parent's."""
        file, self._file = self._file, -1
        if file >= 0:
            with suppress(OSError):  # a network file system may find out only now that it is full
                locks.close(file)


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _let_all_go() -> None:
    for writer in list(_writers):
        writer.let_go()


after_fork(_let_all_go)


def _previous(path: Path) -> tuple[Sample, ...]:
    """What an earlier process of this user left at `path`; nothing if that is no record or somebody else's."""
    try:
        record = Reader(path).read()
    except RecordError as error:
        if error.reason == "own":
            raise RecordError("exists", f"{path} is being written by this process") from error
        return ()
    if record.alive:
        raise RecordError("exists", f"{path} is being written by another process")
    return record.samples if record.uid == os.getuid() else ()


def _create(path: Path, size: int, content: Iterable[tuple[bytes | memoryview, int]]) -> int:
    """Make the file, locked and filled before it has its name; returns its descriptor.

    Nobody else may open it before it is locked: a lock for reading would be in the way.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _check_ours(path.parent)
        descriptor, temporary = tempfile.mkstemp(".new", f"{path.name}.", path.parent)
        descriptor = aside(descriptor)
        try:
            locks.take(descriptor)
            os.fchmod(descriptor, 0o644)
            _fill(descriptor, size, content)
        except OSError:
            locks.close(descriptor)
            Path(temporary).unlink(missing_ok=True)
            raise
        return locks.moved(descriptor, give_name(descriptor, Path(temporary), path))
    except OSError as error:
        reason = "full" if error.errno in NO_ROOM else "directory"
        raise RecordError(reason, f"cannot create {path}: {error.strerror}") from error


def _fill(descriptor: int, size: int, content: Iterable[tuple[bytes | memoryview, int]]) -> None:
    """Give the file its size, its memory really there: a full disk fails here, not at some batch."""
    if size > largest_file():
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    os.ftruncate(descriptor, size)
    allocate(descriptor, size)
    for data, offset in content:
        _pwrite(descriptor, data, offset)


def _pwrite(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    if os.pwrite(descriptor, data, offset) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _check_ours(directory: Path) -> None:
    """Write nowhere but in a directory of this user: the record directory is open to all."""
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise RecordError("directory", f"{directory} belongs to somebody else; choose another YOLOSCOPE_RUN")
