"""Reads records, which any user of the node may have written: nothing in them is trusted."""

from __future__ import annotations

import errno
import json
import math
import stat
import time
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_record import catalog, locks
from yoloscope_record.file_format import (
    HEAD,
    HEADER_CAPACITY,
    MAGIC,
    MAX_LABEL_LENGTH,
    OWN_LABELS,
    RING_COLUMNS,
    ROW,
    ROWS_AHEAD,
    SEQUENCE_FIELD,
    SEQUENCE_OFFSET,
    SLOT_CAPACITY,
    SLOTS_OFFSET,
    VERSION,
    Identity,
    RecordError,
    Row,
)
from yoloscope_record.metrics import HistogramValue, Metric, Sample, plausible, plausible_histogram
from yoloscope_record.system import KEEPS_OPEN, os

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    Accept = Callable[[Identity, Metric, tuple[str, ...]], "tuple[str, ...] | None"]

READ_ATTEMPTS = 5
_PAUSE_SECONDS = 0.0002  # longer with every attempt; a write takes some microseconds
MAX_FILE_BYTES = 4 << 20
MAX_SLOTS = 4096
MAX_HEADER_BYTES = 1 << 16


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

    @property
    def outcome(self) -> str:
        """Its state; of a writer that is dead and has not said how it ended, that it was killed."""
        return self.state if self.alive or self.state in catalog.FINAL else catalog.KILLED


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
        self._length = SLOTS_OFFSET + 8 * SLOT_CAPACITY  # bytes to read at once
        self._last: tuple[tuple[object, ...], Record] | None = None  # what was read, and what came of it

    @property
    def keeps(self) -> bool:
        """Whether the file is open."""
        return self._kept is not None

    def read(self, inode: int = 0, *, keep: bool = False, attempts: int = READ_ATTEMPTS) -> Record:
        """Take a consistent copy.

        `inode` is that of the file at `path` now: if it is still the one that was kept open, it is not opened again.
        `keep` keeps it open until the next read, as long as its writer lives. After so many `attempts` it is given up.

        Raises:
            RecordError: with reason `missing`, `own`, `type`, `size`, `magic`, `version`, `layout`, `header`, or `busy`
                when the writer kept changing it.
        """
        if self._kept is None or self._kept[1].st_ino != inode:
            self.close()
            self._kept = open_record(self.path)
        try:
            record = self.read_opened(*self._kept, attempts)
        except BaseException:
            self.close()
            raise
        if not (keep and KEEPS_OPEN and record.alive):
            self.close()
        return record

    def close(self) -> None:
        """Let go of the file; may be called more than once."""
        kept, self._kept = self._kept, None
        if kept is not None:
            os.close(kept[0])

    __del__ = close

    def read_opened(self, descriptor: int, status: os.stat_result, attempts: int = READ_ATTEMPTS) -> Record:
        """The same of a file that is open already, with what `fstat` says of it; it is left open.

        Raises:
            RecordError: as `read`.
        """
        holder = locks.holder(descriptor)
        for attempt in range(attempts):
            if attempt:
                time.sleep(_PAUSE_SECONDS * (attempt - 1))
            data = os.pread(descriptor, self._length, 0)  # in one system call, as close in time as it can be
            content = (data, holder, status.st_ino, status.st_uid)
            if self._last is not None and self._last[0] == content:
                return self._last[1]
            record = self._parse(descriptor, data, status, holder)
            if record is not None:
                return record
        raise RecordError("busy", f"{self.path} changed during {attempts} reads")

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
        values = array("d", data[SLOTS_OFFSET:])
        if self._parsed.slots > len(values):
            raise RecordError("layout", "the header lists more slots than there are")
        if holder is None:
            _count(_uncounted(descriptor, head), self._parsed, values)
        record = _record(head, self._parsed, values.tolist(), status.st_uid, holder)
        self._length = len(data)
        self._last = ((data, holder, status.st_ino, status.st_uid), record)
        return record


def is_written(path: Path) -> bool:
    """Whether a living process writes the record, be it this one."""
    try:
        return Reader(path).read().alive
    except RecordError as error:
        return error.reason == "own"


def read_ring(path: Path) -> list[Row]:
    """The last batches of a record, oldest first: RING_ROWS - ROWS_AHEAD at most, more of a writer that died.

    Raises:
        RecordError: as `Reader.read`.
    """
    descriptor, status = open_record(path)
    try:
        head, _ = _complete(descriptor, status.st_size, os.pread(descriptor, SLOTS_OFFSET, 0))
        if not head.ring_rows:
            return []
        last = _uncounted(descriptor, head) if locks.holder(descriptor) is None else []
        rows = _rows(descriptor, head, 0, head.ring_rows)
        after = _head(_pread(descriptor, HEAD.size, 0))
    finally:
        os.close(descriptor)
    newest = head.ring_written
    oldest = max(0, after.ring_written + ROWS_AHEAD - head.ring_rows)  # rows written meanwhile went over older ones
    return [rows[number % head.ring_rows] for number in range(oldest, newest)] + last


def _uncounted(descriptor: int, head: _Head) -> list[Row]:
    """Batches that a dead writer's counters do not contain: at its death it had written them, but not counted."""
    if head.ring_rows <= ROWS_AHEAD:
        return []
    first, last = max(head.ring_written - 1, 0), head.ring_written + ROWS_AHEAD
    begin, end = first % head.ring_rows, (last - 1) % head.ring_rows + 1
    if begin < end:
        rows = _rows(descriptor, head, begin, end)
    else:
        rows = _rows(descriptor, head, begin, head.ring_rows) + _rows(descriptor, head, 0, end)
    before = rows.pop(0).time if head.ring_written else head.created
    found = []
    for row in rows:
        if not row.time > before:  # from a round of the ring before
            break
        found.append(row)
        before = row.time
    return found


def _rows(descriptor: int, head: _Head, begin: int, end: int) -> list[Row]:
    """Rows by their places in the ring."""
    data = _pread(descriptor, ROW.size * (end - begin), head.ring_offset + ROW.size * begin)
    return [Row(*values) for values in ROW.iter_unpack(data)]


def _count(rows: Sequence[Row], header: _Header, values: array[float]) -> None:
    """Add `rows` to the counters they belong to. Where time went by phase is not in them."""
    if not rows:
        return
    places = {entry.metric: entry for entry in header.numbers + header.histograms}
    size = places.get(catalog.TRAIN_BATCH_SIZE)
    images = values[size.first] if size else math.nan
    counted, flops = (places.get(metric) for metric in (catalog.TRAIN_IMAGES_TOTAL, catalog.TRAIN_FLOPS_TOTAL))
    done = values[counted.first] if counted else 0.0
    of_each = values[flops.first] / done if flops and done else math.nan
    for metric, added in (
        (catalog.TRAIN_BATCHES_TOTAL, 1.0),
        (catalog.TRAIN_IMAGES_TOTAL, images),
        (catalog.TRAIN_FLOPS_TOTAL, images * of_each),
    ):
        if metric in places and math.isfinite(added):
            values[places[metric].first] += added * len(rows)
    if catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS in places:
        values[places[catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS].first] = rows[-1].time
    for metric, column in (
        (catalog.TRAIN_DATA_WAIT_SECONDS, "data_wait_seconds"),
        (catalog.TRAIN_STEP_SECONDS, "step_seconds"),
    ):
        known = (value for value in (getattr(row, column) for row in rows) if math.isfinite(value))
        for value in known if metric in places else ():
            first = places[metric].first
            values[first + bisect_left(metric.buckets, value)] += 1.0
            values[first + len(metric.buckets) + 1] += value


def open_record(path: Path, directory: int | None = None) -> tuple[int, os.stat_result]:
    """The descriptor of a regular file, to be closed by who asked, without following a link or blocking on a pipe.

    Raises:
        RecordError: reason `own` if this process writes it, as closing it would give up the lock; else as `read`.
    """
    if locks.is_own(path, directory):
        raise RecordError("own", f"{path} is written by this process, which must not open it")
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
    return "" if SLOTS_OFFSET <= status.st_size <= MAX_FILE_BYTES else "size"


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    try:
        data = os.pread(descriptor, length, offset)
    except OSError as error:
        raise RecordError("layout", f"cannot read: {error.strerror}") from error
    if len(data) != length:
        raise RecordError("layout", f"ends after {len(data)} of {length} bytes at {offset}")
    return data


def _head(data: bytes) -> _Head:
    return _Head(*HEAD.unpack_from(data))


def _complete(descriptor: int, size: int, data: bytes) -> tuple[_Head, bytes]:
    """The head, and head and slots whole, of a file that begins with `data`."""
    while True:
        if len(data) < SLOTS_OFFSET:
            raise RecordError("layout", f"ends after {len(data)} bytes")  # it was cut this moment
        head = _head(data)
        _check(head, size)
        end = SLOTS_OFFSET + 8 * head.slot_count  # rises while slots are declared, to MAX_SLOTS at most
        if len(data) >= end:
            return head, data[:end]
        data = _pread(descriptor, end, 0)


def _settled(descriptor: int, head: _Head) -> bool:
    """Whether nothing was written since `head` was read."""
    data = _pread(descriptor, SEQUENCE_FIELD.size, SEQUENCE_OFFSET)
    return bool(SEQUENCE_FIELD.unpack(data)[0] == head.sequence)


def _check(head: _Head, size: int) -> None:
    if head.magic != MAGIC:
        raise RecordError("magic", "not a yoloscope record")
    if head.version != VERSION:
        raise RecordError("version", f"format version {head.version}, this yoloscope reads {VERSION}")
    header_at = SLOTS_OFFSET + 8 * head.slot_capacity
    ring_at = header_at + head.header_capacity
    consistent = (
        head.header_offset in (header_at, header_at + head.header_capacity // 2)
        and head.ring_offset == ring_at
        and head.ring_columns == len(RING_COLUMNS)
        and size == ring_at + 8 * head.ring_columns * head.ring_rows
        and head.slot_count <= head.slot_capacity <= MAX_SLOTS
        and head.header_length <= head.header_capacity // 2
        and head.state < len(catalog.RECORD_STATES)
        and math.isfinite(head.created)
        and math.isfinite(head.updated)
    )
    if not consistent:
        raise RecordError("layout", "sizes and offsets contradict each other")
    if head.header_length > MAX_HEADER_BYTES:
        raise RecordError("header", f"{head.header_length} bytes long, {MAX_HEADER_BYTES} at most")


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
            found = _known(identity, partial(accept, identity), name, labels, bounds)
            if found is None:
                unknown += 1
            else:
                (histograms if bounds else numbers).append(_Entry(*found, slots, width))
            slots += width
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RecordError("header", f"not a readable header: {error!r}") from error
    if not identity.run.strip() or not identity.rank.strip():  # an empty label is none, and the node's own
        raise RecordError("header", "no name of a run, or of a rank")
    if identity.kind not in HEADER_CAPACITY:
        raise RecordError("header", f"kind is {identity.kind!r}, not one of {', '.join(HEADER_CAPACITY)}")
    return _Header(identity, facts, tuple(numbers), tuple(histograms), slots, unknown)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_LABEL_LENGTH or not value.isprintable():
        shown = repr(value[:80]) if isinstance(value, str) else type(value).__name__
        raise ValueError(f"not printable text of at most {MAX_LABEL_LENGTH} characters: {shown}")
    return value


def _known(
    who: Identity, accept: Callable[..., tuple[str, ...] | None], name: Any, labels: Any, bounds: Any
) -> tuple[Metric, tuple[str, ...]] | None:
    """The metric and the labels to give it; None if it is not in this version's catalogue, or not accepted."""
    values = tuple(_text(label) for label in labels)
    if values[:2] == OWN_LABELS:
        values = (who.run, who.rank, *values[2:])
    metric = catalog.RECORDED.get(_text(name))
    if metric is None or len(values) != len(metric.labels) or list(metric.buckets) != list(bounds):
        return None
    accepted = accept(metric, values)
    return None if accepted is None else (metric, accepted)


def _record(head: _Head, header: _Header, values: list[float], uid: int, holder: int | None) -> Record:
    state, kind = catalog.RECORD_STATES[head.state], header.identity.kind
    if state not in (catalog.PREDICT_STATES if kind in catalog.PREDICTIONS else catalog.STATES):
        raise RecordError("layout", f"a record of the kind {kind} cannot be in the state {state}")
    return Record(
        identity=header.identity,
        facts=header.facts,
        state=state,
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
