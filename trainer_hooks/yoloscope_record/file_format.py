r"""The format of records: one file per writer (a rank, a loader worker, a process that predicts), read by the exporter.

Each batch is one row, written with one `pwrite`. The other numbers are kept in the writer's memory and copied into the
file every few batches: no thread, no socket, and what was written outlives the process. The file is not mapped: whoever
cut it short would kill the training with a SIGBUS. A file that can be written no more costs the record, never the
training.

Format, version 1, in the machine's own byte order (a record never leaves its machine):

    offset  type      content
    0       8 bytes   magic `YOLOSCP\n`
    8       u32       format version
    12      u32       state: index into catalog.RECORD_STATES
    16      u64       sequence: odd while a write is under way
    24      u64       generation of the JSON header: rises with every change of it
    32      u32       slot capacity        36  u32  slots in use
    40      u32       header offset        44  u32  header capacity       48  u32  header length in use
    52      u32       ring offset          56  u32  ring rows             60  u32  ring columns
    64      u64       rows of the ring that are in the counters, of all that were ever written
    72      f64       Unix time of creation
    80      f64       Unix time of the last write
    88      u32       pid of the writer, in its own PID namespace
    256               slots: f64 each, NaN = not set
    header offset     JSON in UTF-8:
                      {"kind", "run", "rank", "worker", "facts", "slots": [[name, label values, bounds], ...]}
    ring offset       rows of f64, columns as in RING_COLUMNS, the newest at (rows written - 1) modulo ring rows,
                      and up to ROWS_AHEAD more that are not in the counters yet

The first two label values of an entry are empty where they are the record's own run and rank (version 0.1 wrote them
out), so a header stays short whatever the run is called; readers take no more than 64 kB of it.

Each entry of "slots" takes one f64, or for a histogram (bounds not empty) one per bound, one for +Inf and one for the
sum. Entries are only ever appended. The header's room is two halves: a new header goes into the half not in use, and
the header offset then changes over, so a death in the middle leaves the old one.

Consistency: one write brings an odd sequence, head and slots, in this order, a second one the even sequence. A row of
the ring is there before it is counted, and the oldest rows of a full ring may be on their way to become the newest, so
readers leave them out. What a writer that died had not counted yet, readers add to the counters of batches, images,
waits and steps: such rows are younger than the last that was counted. A reader that finds the sequence odd or changed
tries again, and after `READ_ATTEMPTS` gives up for this time. A writer that died in the middle leaves it odd for ever:
then the values are read as they are, each of them whole, because nobody changes them any more. (Stores become visible
in order on x86-64. A weakly ordered CPU could show a reader a mixture of two neighbouring batches, never a broken
value.)

Liveness: the writer holds a lock for writing on the file for its lifetime (`locks`), from before anybody else may open
it. The kernel drops it at death, whatever the death was, and tells it across PID namespaces. A process cannot read a
record that it writes.

The reader takes a file for hostile input: it never maps it (a truncation would be a SIGBUS), follows no link, opens
nothing but regular files, and bounds everything it reads.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from yoloscope_record.catalog import PREDICTIONS

MAGIC = b"YOLOSCP\n"
VERSION = 1
SUFFIX = ".rec"

HEAD = struct.Struct("=8sIIQQIIIIIIIIQddI")
SLOTS_OFFSET = 256
SEQUENCE_FIELD = struct.Struct("=Q")
SEQUENCE_OFFSET = 16
#: Indexes into the head seen as u32.
STATE, SLOT_COUNT, HEADER_OFFSET, HEADER_CAPACITY_FIELD, HEADER_LENGTH = 3, 9, 10, 11, 12
SEQUENCE, GENERATION, RING_WRITTEN = 2, 3, 8  # indexes into the head seen as u64
UPDATED = 10  # index into the head seen as f64

ROWS_AHEAD = 64  # rows that are written but not counted, at most
RING_ROWS = 4096 + ROWS_AHEAD  # those to be read, and those that may be changing
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
TIME, DATA_WAIT, STEP, ALLOCATED, RESERVED, WORKER, QUEUE_DEPTH, EPOCH = range(len(RING_COLUMNS))  # indexes into a row
ROW = struct.Struct(f"={len(RING_COLUMNS)}d")
ROW_SIZE = ROW.size

SLOT_CAPACITY = 1024
#: Two halves; a worker has a dozen series, a rank hundreds, of some sixty bytes each.
HEADER_CAPACITY = {"rank": 1 << 17, "worker": 1 << 16, **dict.fromkeys(PREDICTIONS, 1 << 17)}
#: The labels run and rank in a header, where they are those of the identity: that is said once.
OWN_LABELS = ("", "")
MAX_LABEL_LENGTH = 256


#: Names that are devices on Windows, with any ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\.|$)", re.IGNORECASE)


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
    """Who writes a record: `kind` is `rank`, `worker` or one of PREDICTIONS; only a worker has a `worker`."""

    run: str
    rank: str = "0"
    kind: str = "rank"
    worker: str = ""

    @property
    def filename(self) -> str:
        """Name of the record's file inside its run's directory."""
        if self.kind in PREDICTIONS:
            return slug(f"{self.kind}-{self.rank}") + SUFFIX
        suffix = f"-worker-{self.worker}" if self.kind == "worker" else ""
        return slug(f"rank-{self.rank}{suffix}") + SUFFIX


def slug(text: str) -> str:
    """A file name for `text`; where that loses something (a slash, Chinese), a checksum keeps two names apart.

    So it does for `con` and `nul`, which are no files on Windows.
    """
    text = clean(text)  # as it will stand in the header
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:200]
    if slug and slug == text and not _DEVICES.match(slug):
        return slug
    return f"{slug}-{zlib.crc32(text.encode(errors='replace')):08x}".lstrip("-")


def clean(text: str) -> str:
    """`text` as the reader accepts it."""
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_LABEL_LENGTH])
