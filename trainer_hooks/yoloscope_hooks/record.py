r"""The mapped flight recorder: one file per writer (a rank or a loader worker), read by the exporter.

A store into mapped memory costs well under a microsecond, needs no thread and no socket, and outlives the process.

Format, version 1, in the machine's own byte order (a record never leaves its machine):

    offset  type      content
    0       8 bytes   magic `YOLOSCP\n`
    8       u32       format version
    12      u32       state: index into catalog.STATES
    16      u64       sequence: odd while a write is under way
    24      u64       generation of the JSON header: rises with every change of it
    32      u32       slot capacity        36  u32  slots in use
    40      u32       header offset        44  u32  header capacity       48  u32  header length in use
    52      u32       ring offset          56  u32  ring rows             60  u32  ring columns
    64      u64       rows ever written to the ring
    72      f64       Unix time of creation
    80      f64       Unix time of the last write
    88      u32       pid of the writer, in its own PID namespace
    256               slots: f64 each, NaN = not set
    header offset     JSON: {"kind", "run", "rank", "worker", "facts", "slots": [[name, label values, bounds], ...]}
    ring offset       rows of f64, columns as in RING_COLUMNS, the newest at (rows written - 1) modulo ring rows

Each entry of "slots" takes one f64, or for a histogram (bounds not empty) one per bound, one for +Inf and one for the
sum. Entries are only ever appended. The header's room is two halves: a new header goes into the half not in use, and
the header offset then changes over, so a death in the middle leaves the old one.

Consistency: the writer makes the sequence odd, stores, makes it even. A reader that finds it odd or changed tries
again, and after `READ_ATTEMPTS` gives up for this time. A writer that died in the middle leaves it odd for ever: then
the values are read as they are, each of them whole, because nobody changes them any more. (Stores become visible in
order on x86-64. A weakly ordered CPU could show a reader a mixture of two neighbouring batches, never a broken value.)

Liveness: the writer holds a POSIX record lock on the file for its lifetime. The kernel drops it at death, whatever the
death was, and tells it across PID namespaces. POSIX locks also vanish when *any* descriptor of the file is closed in
the process that holds them: so a process must never read a record that it writes.

The reader takes a file for hostile input: it never maps it (a truncation would be a SIGBUS), follows no link, opens
nothing but regular files, and bounds everything it reads.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import math
import mmap
import os
import re
import stat
import struct
import tempfile
import time
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_record import catalog
from yoloscope_record.metrics import (
    COUNTER,
    HISTOGRAM,
    HistogramValue,
    Metric,
    Sample,
    plausible,
    plausible_histogram,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAGIC = b"YOLOSCP\n"
VERSION = 1
SUFFIX = ".rec"

_HEAD = struct.Struct("=8sIIQQIIIIIIIIQddI")
_SLOTS_OFFSET = 256
_SEQUENCE_FIELD = struct.Struct("=Q")
_SEQUENCE_OFFSET = 16
_STATE, _SLOT_COUNT, _HEADER_OFFSET, _HEADER_LENGTH = 3, 9, 10, 12  # indexes into the head seen as u32
_SEQUENCE, _GENERATION, _RING_WRITTEN = 2, 3, 8  # indexes into the head seen as u64
_UPDATED = 10  # index into the head seen as f64

RING_ROWS = 4096
RING_COLUMNS = (
    "time",  # Unix time of the batch's end
    "data_wait_seconds",
    "step_seconds",
    "allocated_bytes",
    "reserved_bytes",
    "worker",
    "queue_depth",
    "epoch",
)
_ROW = struct.Struct(f"={len(RING_COLUMNS)}d")

SLOT_CAPACITY = 1024
HEADER_CAPACITY = 1 << 16
MAX_FILE_BYTES = 4 << 20
MAX_SLOTS = 4096
MAX_LABEL_LENGTH = 256
MAX_NAMES = 4096  # in a run's directory that is to be cleared
READ_ATTEMPTS = 5
_PAUSE_SECONDS = 0.0002  # longer with every attempt; a write takes some microseconds
_FLOCK = struct.Struct("=hhxxxxqqixxxx")  # struct flock of 64-bit Linux
_WHO_LOCKS = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_TEMPORARY = re.compile(r"(.+\.rec)\.[a-z0-9_]{8}\.new")  # a record before it gets its name
_log = logging.getLogger("yoloscope")


class RecordError(Exception):
    """A record cannot be read or written. `reason` is one of a few short words, fit for a metric's label."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep `reason` apart from the readable `detail`."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Row(NamedTuple):
    """One batch in the ring; fields as in RING_COLUMNS, NaN where the writer did not know."""

    time: float
    data_wait_seconds: float
    step_seconds: float
    allocated_bytes: float
    reserved_bytes: float
    worker: float
    queue_depth: float
    epoch: float


@dataclass(frozen=True)
class Identity:
    """Who writes a record: `kind` is `rank` or `worker`, `worker` is empty for a rank."""

    run: str
    rank: str = "0"
    kind: str = "rank"
    worker: str = ""

    @property
    def filename(self) -> str:
        """Name of the record's file inside its run's directory."""
        suffix = f"-worker-{self.worker}" if self.kind == "worker" else ""
        return _slug(f"rank-{self.rank}{suffix}") + SUFFIX


class Record(NamedTuple):
    """A consistent copy of what a record held at one moment."""

    identity: Identity
    facts: Mapping[str, str]
    state: str
    numbers: tuple[Sample, ...]
    histograms: tuple[Sample, ...]
    created: float
    updated: float
    pid: int
    uid: int
    alive: bool
    torn: bool  # the writer died in the middle of a write
    unknown: int  # series of metrics this version's catalogue does not have, or that were not accepted
    series: int  # series, a histogram's parts each counted
    holder: int  # pid of the living writer in the reader's own PID namespace; 0 if it is dead or not visible there

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All that was set."""
        return self.numbers + self.histograms


# --- where records lie ----------------------------------------------------------------------------------------------


def directory(environ: Mapping[str, str] | None = None) -> Path:
    """The record directory: `$YOLOSCOPE_DIR`, else `/dev/shm/yoloscope`, else a per-user temporary directory."""
    environ = os.environ if environ is None else environ
    if chosen := environ.get("YOLOSCOPE_DIR"):
        return Path(chosen)
    shared = Path("/dev/shm/yoloscope")  # noqa: S108 - memory, not disk; guarded by the sticky bit and owner checks
    parent = shared if shared.exists() else shared.parent
    if os.access(parent, os.W_OK | os.X_OK):
        return shared
    return Path(tempfile.gettempdir()) / f"yoloscope-{os.getuid()}"


def make_directory(path: Path) -> Path:
    """Create the record directory, writable by every user of the node (mode 1777), and return it.

    Raises:
        RecordError: reason `directory` if it cannot be made or is a link.
    """
    try:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o1777)
    except OSError as error:
        raise RecordError("directory", f"cannot make {path}: {error.strerror}; set YOLOSCOPE_DIR") from error
    if path.is_symlink():
        raise RecordError("directory", f"{path} is a link; set YOLOSCOPE_DIR to a real directory")
    return path


def run_directory(base: Path, run: str) -> Path:
    """The directory of one run below the record directory; made by the first writer of the run."""
    return base / _slug(run)


def _slug(text: str) -> str:
    """A file name for `text`; where that loses something (a slash, Chinese), a checksum keeps two names apart."""
    text = _clean(text)  # as it will stand in the header
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:200]
    return slug if slug and slug == text else f"{slug}-{zlib.crc32(text.encode(errors='replace')):08x}".lstrip("-")


def _clean(text: str) -> str:
    """`text` as the reader accepts it."""
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_LABEL_LENGTH])


# --- writing --------------------------------------------------------------------------------------------------------


class Writer:
    """Owns one record file. Not for two threads, and never to be read in the same process.

    Declare slots first (`slot`, `histogram`), keep their indexes, then per batch:

        writer.begin(); writer.values[i] += 1; ...; writer.end(time.time())

    Between `begin` and `end` readers wait, so only stores belong there.
    """

    values: memoryview[float]
    """The slots as doubles, to be stored into directly."""

    def __init__(  # noqa: PLR0913 - the sizes of the parts are this class's business alone
        self,
        path: Path,
        identity: Identity,
        facts: Mapping[str, str] | None = None,
        *,
        slots: int = SLOT_CAPACITY,
        header: int = HEADER_CAPACITY,
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
        self._facts = {_clean(key): _clean(value) for key, value in (facts or {}).items()}
        self._entries: list[tuple[Metric, tuple[str, ...]]] = []
        self._index: dict[tuple[str, tuple[str, ...]], int] = {}
        self._used = 0
        previous = _previous(path)
        self._file, temporary = _create(path, _layout(slots, header, ring))
        self._map(slots, header, ring)
        self._lock()
        for sample in previous if resume else ():
            self._continue(sample)
        self._write_header()
        temporary.replace(path)

    def _map(self, slots: int, header: int, ring: int) -> None:
        size = _layout(slots, header, ring)
        self._memory = memoryview(mmap.mmap(self._file, size))
        self._header = slice(_SLOTS_OFFSET + 8 * slots, _SLOTS_OFFSET + 8 * slots + header)
        self._u32 = self._memory[:_SLOTS_OFFSET].cast("I")
        self._u64 = self._memory[:_SLOTS_OFFSET].cast("Q")
        self._f64 = self._memory[:_SLOTS_OFFSET].cast("d")
        self.values = self._memory[_SLOTS_OFFSET : self._header.start].cast("d")
        self._ring, self._ring_rows, self._rows = self._header.stop, ring, 0
        for index in range(slots):
            self.values[index] = math.nan
        now = time.time()
        head = (0, 0, slots, 0, self._header.start, header, 0, self._header.stop, ring, len(RING_COLUMNS), 0)
        _HEAD.pack_into(self._memory, 0, MAGIC, VERSION, 0, *head, now, now, os.getpid())

    def _lock(self) -> None:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RecordError("lock", f"cannot lock {self.path}: {error.strerror}") from error

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
        self._index[key] = index
        self._entries.append((metric, tuple(map(_clean, labels))))
        if metric.kind in (COUNTER, HISTOGRAM):
            for offset in range(width):
                self.values[index + offset] = 0.0
        self._used += width
        if self._u64[_GENERATION]:  # the first header is written once, by __init__
            self._write_header()
        return index

    def set_facts(self, facts: Mapping[str, str]) -> None:
        """Add or replace facts of the run (label values of info metrics)."""
        self._facts.update({_clean(key): _clean(value) for key, value in facts.items()})
        self._write_header()

    def _write_header(self) -> None:
        who = self._identity
        entries = [[metric.name, list(labels), list(metric.buckets)] for metric, labels in self._entries]
        names = {name: _clean(getattr(who, name)) for name in ("kind", "run", "rank", "worker")}
        data = json.dumps({**names, "facts": self._facts, "slots": entries}).encode()
        half = (self._header.stop - self._header.start) // 2
        if len(data) > half:
            raise RecordError("full", f"{self.path} has no room for a header of {len(data)} bytes")
        unused = self._header.start + half if self._u32[_HEADER_OFFSET] == self._header.start else self._header.start
        self._memory[unused : unused + len(data)] = data
        self.begin()
        self._u32[_HEADER_OFFSET] = unused
        self._u32[_HEADER_LENGTH] = len(data)
        self._u32[_SLOT_COUNT] = self._used
        self._u64[_GENERATION] += 1
        self.end(time.time())

    def begin(self) -> None:
        """Open a write: readers wait from here on."""
        self._u64[_SEQUENCE] |= 1

    def end(self, now: float) -> None:
        """Close a write at Unix time `now`."""
        self._f64[_UPDATED] = now
        self._u64[_SEQUENCE] = (self._u64[_SEQUENCE] | 1) + 1

    def observe(self, first: int, buckets: Sequence[float], value: float) -> None:
        """Count `value` in the histogram whose first bucket is at `first`. Between `begin` and `end`."""
        self.values[first + bisect_left(buckets, value)] += 1.0
        self.values[first + len(buckets) + 1] += value

    def set_state(self, state: str) -> None:
        """Set the state, one of catalog.STATES. Between `begin` and `end`."""
        self._u32[_STATE] = catalog.STATES.index(state)

    def append(self, row: Sequence[float]) -> None:
        """Append a batch to the ring, columns as in RING_COLUMNS. Between `begin` and `end`."""
        _ROW.pack_into(self._memory, self._ring + self._rows % self._ring_rows * _ROW.size, *row)
        self._rows += 1
        self._u64[_RING_WRITTEN] = self._rows

    def close(self) -> None:
        """Unmap and give up the lock; the file stays. Harmless when called twice."""
        if self._file >= 0:
            for view in (self._u32, self._u64, self._f64, self.values, self._memory):
                view.release()
            os.close(self._file)
            self._file = -1


def _layout(slots: int, header: int, ring: int) -> int:
    return _SLOTS_OFFSET + 8 * slots + header + 8 * len(RING_COLUMNS) * ring


def _previous(path: Path) -> tuple[Sample, ...]:
    """What an earlier process of this user left at `path`; nothing if that is no record or somebody else's."""
    try:
        record = Reader(path).read()
    except RecordError:
        return ()
    if record.alive:
        raise RecordError("exists", f"{path} is being written by another process")
    return record.samples if record.uid == os.getuid() else ()


def _create(path: Path, size: int) -> tuple[int, Path]:
    """Make the file under a temporary name, its memory really there: a full disk fails here, not as a SIGBUS later."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _check_ours(path.parent)
        descriptor, name = tempfile.mkstemp(".new", f"{path.name}.", path.parent)
        try:
            os.fchmod(descriptor, 0o644)
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            os.close(descriptor)
            os.unlink(name)  # noqa: PTH108 - made a moment ago
            raise
    except OSError as error:
        reason = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "directory"
        raise RecordError(reason, f"cannot create {path}: {error.strerror}") from error
    return descriptor, Path(name)


def _check_ours(directory: Path) -> None:
    """Write nowhere but in a directory of this user: the record directory is open to all."""
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise RecordError("directory", f"{directory} belongs to somebody else; choose another YOLOSCOPE_RUN")


# --- reading --------------------------------------------------------------------------------------------------------


class _Head(NamedTuple):
    magic: bytes
    version: int
    state: int
    sequence: int
    generation: int
    slot_capacity: int
    slot_count: int
    header_offset: int
    header_capacity: int
    header_length: int
    ring_offset: int
    ring_rows: int
    ring_columns: int
    ring_written: int
    created: float
    updated: float
    pid: int


class _Entry(NamedTuple):
    metric: Metric
    labels: tuple[str, ...]
    first: int
    width: int


Accept = Callable[["Identity", Metric, tuple[str, ...]], "tuple[str, ...] | None"]


@dataclass(frozen=True)
class _Header:
    identity: Identity
    facts: Mapping[str, str]
    numbers: tuple[_Entry, ...] = ()
    histograms: tuple[_Entry, ...] = ()
    slots: int = 0
    unknown: int = 0


class Reader:
    """Reads one record file again and again; keeps the parsed header until its generation changes.

    The file is closed at the end of each read, unless its writer lives and the caller says each time which file the
    path leads to: opening is half of what a read costs. The size of a file that stays open is not looked at again.
    """

    _kept: tuple[int, os.stat_result] | None = None  # the file that is open between two reads

    def __init__(self, path: Path, accept: Accept | None = None) -> None:
        """Remember where the record lies; nothing is opened yet.

        `accept` is asked once for each series, with the writer's identity: it returns the labels to give it, or None
        to leave it out.
        """
        self.path = path
        self._accept = accept or (lambda _who, _metric, labels: labels)
        self._version: tuple[float, ...] = ()  # what was parsed: inode, creation, generation
        self._parsed = _Header(Identity(""), {})
        self._length = _SLOTS_OFFSET + 8 * SLOT_CAPACITY  # bytes to read at once
        self._last: tuple[tuple[object, ...], Record] | None = None  # what was read, and what came of it

    @property
    def keeps(self) -> bool:
        """Whether the file is open."""
        return self._kept is not None

    def read(self, inode: int = 0, *, keep: bool = False) -> Record:
        """Take a consistent copy.

        `inode` is that of the file at `path` now: if it is still the one that was kept open, it is not opened again.
        `keep` keeps it open until the next read, as long as its writer lives. Not in a process that writes records.

        Raises:
            RecordError: with reason `missing`, `type`, `size`, `magic`, `version`, `layout`, `header`, or `busy` when
                the writer kept changing it.
        """
        if self._kept is None or self._kept[1].st_ino != inode:
            self.close()
            self._kept = _open(self.path)
        try:
            record = self._read(*self._kept)
        except BaseException:
            self.close()
            raise
        if not (keep and record.alive):
            self.close()
        return record

    def close(self) -> None:
        """Let go of the file; may be called more than once."""
        kept, self._kept = self._kept, None
        if kept is not None:
            os.close(kept[0])

    __del__ = close

    def _read(self, descriptor: int, status: os.stat_result) -> Record:
        holder = _holder(descriptor)
        for attempt in range(READ_ATTEMPTS):
            data = os.pread(descriptor, self._length, 0)  # in one system call, as close in time as it can be
            content = (data, holder, status.st_ino, status.st_uid)
            if self._last is not None and self._last[0] == content:
                return self._last[1]
            record = self._parse(descriptor, data, status, holder)
            if record is not None:
                return record
            time.sleep(_PAUSE_SECONDS * attempt)
        raise RecordError("busy", f"{self.path} changed during {READ_ATTEMPTS} reads")

    def _parse(self, descriptor: int, data: bytes, status: os.stat_result, holder: int | None) -> Record | None:
        """The record that begins with `data`; None if it was changed meanwhile."""
        head, data = _complete(descriptor, status.st_size, data)
        version = (status.st_ino, head.created, head.generation)
        known = version == self._version
        text = b"" if known else _pread(descriptor, head.header_length, head.header_offset)
        if not _settled(descriptor, head) or (head.sequence % 2 and holder is not None):
            return None
        if not known:
            self._parsed, self._version = _header(text, self._accept), version
        record = _record(head, self._parsed, data, status.st_uid, holder)
        self._length = len(data)
        self._last = ((data, holder, status.st_ino, status.st_uid), record)
        return record


def read_ring(path: Path) -> list[Row]:
    """The last batches of a record, oldest first: at most RING_ROWS rows.

    Raises:
        RecordError: as `Reader.read`.
    """
    descriptor, status = _open(path)
    try:
        head, _ = _complete(descriptor, status.st_size, os.pread(descriptor, _SLOTS_OFFSET, 0))
        if not head.ring_rows or not head.ring_written:
            return []
        data = _pread(descriptor, 8 * head.ring_columns * head.ring_rows, head.ring_offset)
        after = _head(_pread(descriptor, _HEAD.size, 0))
    finally:
        os.close(descriptor)
    rows = [Row(*values) for values in _ROW.iter_unpack(data)]
    newest = head.ring_written
    # What was written meanwhile went over the oldest rows, the one under way included.
    oldest = max(0, newest - head.ring_rows, after.ring_written + after.sequence % 2 - head.ring_rows)
    return [rows[number % head.ring_rows] for number in range(oldest, newest)]


def _open(path: Path, directory: int | None = None) -> tuple[int, os.stat_result]:
    """The descriptor of a regular file, to be closed by who asked, without following a link or blocking on a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        reason = "type" if error.errno in (errno.ELOOP, errno.ENXIO) else "missing"
        raise RecordError(reason, f"cannot open {path}: {error.strerror}") from error
    status = os.fstat(descriptor)
    problem = _problem(status)
    if problem:
        os.close(descriptor)
        raise RecordError(problem, f"{path} is refused: not a regular file of a possible size")
    return descriptor, status


def _problem(status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "type"
    return "" if _SLOTS_OFFSET <= status.st_size <= MAX_FILE_BYTES else "size"


def _holder(descriptor: int) -> int | None:
    """The process that holds the writer's lock, None if nobody does.

    The kernel translates the pid into the namespace of who asks (fs/locks.c, locks_translate_pid) and says 0 where
    the process is not to be seen from there.
    """
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, _WHO_LOCKS))
    return None if kind == fcntl.F_UNLCK else max(pid, 0)


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    try:
        data = os.pread(descriptor, length, offset)
    except OSError as error:
        raise RecordError("layout", f"cannot read: {error.strerror}") from error
    if len(data) != length:
        raise RecordError("layout", f"ends after {len(data)} of {length} bytes at {offset}")
    return data


def _head(data: bytes) -> _Head:
    return _Head(*_HEAD.unpack_from(data))


def _complete(descriptor: int, size: int, data: bytes) -> tuple[_Head, bytes]:
    """The head, and head and slots whole, of a file that begins with `data`."""
    while True:
        if len(data) < _SLOTS_OFFSET:
            raise RecordError("layout", f"ends after {len(data)} bytes")  # it was cut this moment
        head = _head(data)
        _check(head, size)
        end = _SLOTS_OFFSET + 8 * head.slot_count  # rises while slots are declared, to MAX_SLOTS at most
        if len(data) >= end:
            return head, data[:end]
        data = _pread(descriptor, end, 0)


def _settled(descriptor: int, head: _Head) -> bool:
    """Whether nothing was written since `head` was read."""
    data = _pread(descriptor, _SEQUENCE_FIELD.size, _SEQUENCE_OFFSET)
    return bool(_SEQUENCE_FIELD.unpack(data)[0] == head.sequence)


def _check(head: _Head, size: int) -> None:
    if head.magic != MAGIC:
        raise RecordError("magic", "not a yoloscope record")
    if head.version != VERSION:
        raise RecordError("version", f"format version {head.version}, this yoloscope reads {VERSION}")
    header_at = _SLOTS_OFFSET + 8 * head.slot_capacity
    ring_at = header_at + head.header_capacity
    consistent = (
        head.header_offset in (header_at, header_at + head.header_capacity // 2)
        and head.ring_offset == ring_at
        and head.ring_columns == len(RING_COLUMNS)
        and size == ring_at + 8 * head.ring_columns * head.ring_rows
        and head.slot_count <= head.slot_capacity <= MAX_SLOTS
        and head.header_length <= head.header_capacity // 2
        and head.state < len(catalog.STATES)
        and math.isfinite(head.created)
        and math.isfinite(head.updated)
    )
    if not consistent:
        raise RecordError("layout", "sizes and offsets contradict each other")


def _header(data: bytes, accept: Accept) -> _Header:
    try:
        content = json.loads(data)
        identity = Identity(*(_text(content[key]) for key in ("run", "rank", "kind", "worker")))
        facts = {_text(key): _text(value) for key, value in content["facts"].items()}
        numbers: list[_Entry] = []
        histograms: list[_Entry] = []
        slots = unknown = 0
        for name, labels, bounds in content["slots"]:
            width = len(bounds) + 2 if bounds else 1
            found = _known(partial(accept, identity), name, labels, bounds)
            if found is None:
                unknown += 1
            else:
                (histograms if bounds else numbers).append(_Entry(*found, slots, width))
            slots += width
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RecordError("header", f"not a readable header: {error!r}") from error
    if identity.kind not in ("rank", "worker"):
        raise RecordError("header", f"kind is {identity.kind!r}, not rank or worker")
    return _Header(identity, facts, tuple(numbers), tuple(histograms), slots, unknown)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_LABEL_LENGTH or not value.isprintable():
        raise ValueError(f"not printable text of at most {MAX_LABEL_LENGTH} characters: {value!r:.80}")
    return value


def _known(
    accept: Callable[..., tuple[str, ...] | None], name: Any, labels: Any, bounds: Any
) -> tuple[Metric, tuple[str, ...]] | None:
    """The metric and the labels to give it; None if it is not in this version's catalogue, or not accepted."""
    values = tuple(_text(label) for label in labels)
    metric = catalog.RECORDED.get(_text(name))
    if metric is None or len(values) != len(metric.labels) or list(metric.buckets) != list(bounds):
        return None
    accepted = accept(metric, values)
    return None if accepted is None else (metric, accepted)


def _record(head: _Head, header: _Header, data: bytes, uid: int, holder: int | None) -> Record:
    values = array("d", data[_SLOTS_OFFSET:]).tolist()
    if header.slots > len(values):
        raise RecordError("layout", "the header lists more slots than there are")
    return Record(
        identity=header.identity,
        facts=header.facts,
        state=catalog.STATES[head.state],
        numbers=tuple(_numbers(header.numbers, values)),
        histograms=tuple(_histograms(header.histograms, values)),
        created=head.created,
        updated=head.updated,
        pid=head.pid,
        uid=uid,
        alive=holder is not None,
        torn=bool(head.sequence % 2),
        unknown=header.unknown,
        series=header.slots,
        holder=holder or 0,
    )


def _numbers(entries: Sequence[_Entry], values: list[float]) -> Iterator[Sample]:
    """What is set, and can be true."""
    for metric, labels, first, _ in entries:
        value = plausible(metric, values[first])
        if value is not None:
            yield Sample(metric, labels, value)


def _histograms(entries: Sequence[_Entry], values: list[float]) -> Iterator[Sample]:
    """The same of histograms."""
    for metric, labels, first, width in entries:
        part = values[first : first + width]
        value = HistogramValue(tuple(part[:-1]), part[-1])
        if plausible_histogram(metric, value):
            yield Sample(metric, labels, value)


# --- clearing up ----------------------------------------------------------------------------------------------------


class Removal(NamedTuple):
    """What `remove_dead` did with a directory."""

    removed: tuple[str, ...] = ()  # names of the files
    foreign: str = ""  # the first thing found that is no record of this run and owner: nothing was removed
    gone: bool = False  # the directory is removed, too


def remove_dead(directory: Path, *, older_than: float, now: float, uid: int | None = None) -> Removal:
    """Remove a run's directory if all in it are records of that run that nobody has written for `older_than` seconds.

    All or nothing: one thing that is anything else, or one record that is in use or too young, and all stays. Safe
    against an owner who swaps what lies there meanwhile: no link is followed, nothing is removed but names in the
    directory that was opened, and the directory itself only when it is empty. One without any record stays.

    `uid` is whose directory it has to be, None for anybody's; the records have to be its owner's.

    Raises:
        OSError: the directory cannot be opened (it is a link, it is gone), or a file cannot be removed.
    """
    with _opened(directory.parent) as parent, _opened(directory.name, parent) as descriptor:
        status = os.fstat(descriptor)
        names = os.listdir(descriptor)  # noqa: PTH208 - of the directory that was opened, wherever it is now
        if uid not in (None, status.st_uid) or len(names) > MAX_NAMES:
            return Removal(foreign=directory.name)
        dead = {}
        for name in sorted(names):  # a rank's record comes after those of its workers: it is the last to go
            try:
                dead[name] = _dead(descriptor, directory.name, name, status.st_uid, now - older_than)
            except RecordError:
                return Removal(foreign=name)
            if dead[name] is None:
                return Removal()
        removed = tuple(name for name, seen in dead.items() if seen and _unlink(descriptor, directory, name, seen))
        return Removal(removed, gone=bool(removed) and _rmdir(parent, directory, status))


def remove_workers(path: Path) -> None:
    """Remove the records that loader workers of an earlier training left beside that of their rank at `path`.

    Raises:
        OSError: as `remove_dead`.
    """
    with _opened(path.parent) as descriptor:
        for name in os.listdir(descriptor):  # noqa: PTH208
            if name.startswith(f"{path.stem}-worker-") and name.endswith(SUFFIX):
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
    if not (stat.S_ISREG(status.st_mode) and status.st_uid == owner and wanted.endswith(SUFFIX)):
        raise RecordError("type", f"{name} is no record of {owner}")
    if status.st_mtime > before:
        return None
    if temporary and status.st_size == 0:
        return status  # its writer died in the moment after making it
    try:
        file, opened = _open(Path(name), descriptor)
        try:
            blank = temporary and not os.pread(file, MAX_FILE_BYTES, 0).strip(b"\0")
            record = None if blank else Reader(Path(name))._read(file, opened)  # noqa: SLF001
        finally:
            os.close(file)
    except RecordError as error:
        if error.reason in ("busy", "missing"):
            return None
        raise
    if record is not None:
        if (record.identity.filename, _slug(record.identity.run)) != (wanted, run):
            raise RecordError("identity", f"{name} says it is {record.identity}")
        if record.alive or record.updated > before:
            return None
    return opened if os.path.samestat(opened, status) else None


def _unlink(descriptor: int, directory: Path, name: str, seen: os.stat_result) -> bool:
    """Remove `name` if it still is the file that was seen."""
    if not os.path.samestat(os.stat(name, dir_fd=descriptor, follow_symlinks=False), seen):
        return False
    os.unlink(name, dir_fd=descriptor)
    _log.info("removed the old record %s", directory / name)
    return True


def _rmdir(parent: int, directory: Path, seen: os.stat_result) -> bool:
    """Remove the directory if it still is the one that was seen, and empty."""
    with suppress(OSError):
        if os.path.samestat(os.stat(directory.name, dir_fd=parent, follow_symlinks=False), seen):
            os.rmdir(directory.name, dir_fd=parent)
            _log.info("removed the old run %s", directory)
            return True
    return False
