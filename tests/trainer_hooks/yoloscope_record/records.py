"""What the tests of records share: small records, writers in processes of their own, and what a reader finds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from yoloscope_exporter import catalog
from yoloscope_record.file_format import ROWS_AHEAD, Identity, RecordError
from yoloscope_record.reader import Reader
from yoloscope_record.writer import Writer

if TYPE_CHECKING:
    from typing_extensions import Self
    from yoloscope_exporter.catalog import HistogramValue

WHO = Identity("night run", "3")
LABELS = ("night run", "3")
BATCHES, EPOCH, WAIT = catalog.TRAIN_BATCHES_TOTAL, catalog.TRAIN_EPOCH, catalog.TRAIN_DATA_WAIT_SECONDS
#: The ring has room for the rows that a writer may be ahead, and eight more.
SMALL = {"slots": 64, "header": 1 << 14, "ring": ROWS_AHEAD + 8}
EACH_EXAMPLE_ITS_OWN_FILE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

names = count()


def new(directory: Path, identity: Identity = WHO, **options: object) -> Writer:
    """A small record in a directory of its own."""
    return Writer(directory / f"run{next(names)}" / identity.filename, identity, **{**SMALL, **options})


def copied(path: Path) -> Path:
    """The record as it is now, for the process that writes it, which must not open it with a reader."""
    return Path(shutil.copy(path, path.with_suffix(".copy")))


def value(path: Path, metric: catalog.Metric) -> float | HistogramValue | None:
    """What the reader finds of a metric."""
    return next((sample.value for sample in Reader(path).read().samples if sample.metric is metric), None)


def batch(writer: Writer, number: float) -> None:
    """One batch, a second after the one before."""
    writer.begin()
    writer.values[writer.slot(BATCHES, *LABELS)] = number
    writer.append([number] * 8)
    writer.count()
    writer.end(time.time() + number)


def reason(path: Path) -> str:
    """Why the reader refuses the file."""
    with pytest.raises(RecordError) as refused:
        Reader(path).read()
    return refused.value.reason


def content(folder: Path) -> dict[str, object]:
    """All there is below a folder, byte for byte."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        inside = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, status.st_ino, inside)
    return found


CHILD = """
import os, signal, sys, time
from pathlib import Path
from yoloscope_exporter import catalog
from yoloscope_record.file_format import ROWS_AHEAD, Identity
from yoloscope_record.writer import Writer
path, deed = Path(sys.argv[1]), sys.argv[2]
sizes = {"slots": 64, "header": 1 << 14, "ring": ROWS_AHEAD + 8}
writer = Writer(path, Identity("night run", "3"), resume=deed == "resume", **sizes)
first = writer.slot(catalog.TRAIN_BATCHES_TOTAL, "night run", "3")
second = writer.slot(catalog.TRAIN_IMAGES_TOTAL, "night run", "3")
writer.values[writer.slot(catalog.TRAIN_BATCH_SIZE, "night run", "3")] = 4.0
wait = writer.histogram(catalog.TRAIN_DATA_WAIT_SECONDS, "night run", "3")
if deed.startswith(("killed", "stopped")):
    write, number = os.pwrite, 0
    end, fatal = (signal.SIGKILL if deed.startswith("killed") else signal.SIGSTOP), int(deed.split()[1])
    def pwrite(*arguments):
        global number
        if number == fatal:
            os.kill(os.getpid(), end)
        number += 1
        return write(*arguments)
    print("ready", flush=True)
    if deed.startswith("killed"):
        for batch in range(100):  # more than the ring has room for
            writer.begin(); writer.append([float(batch)] * 8); writer.count(); writer.end(time.time())
    os.pwrite = pwrite
    writer.begin(); writer.values[first] = writer.values[second] = 7.0; writer.append([100.0] * 8); writer.count()
    writer.end(time.time())
    os.kill(os.getpid(), end)
if deed == "resume":
    writer.begin(); writer.values[first] += 1; writer.end(time.time())
print("ready", flush=True)
if deed == "furious":
    number = 0
    while True:
        number += 1
        writer.begin()
        writer.values[first] = number
        writer.observe(wait, catalog.STEP_BUCKETS, 1.0)
        writer.append([float(number)] * 8)
        writer.count()
        writer.values[second] = number
        writer.end(float(number))
        if number % 5 == 0:
            time.sleep(0.0001)  # bursts of five, thousands of times a second
time.sleep(60)
"""


class Child:
    """A writer in a process of its own."""

    def __init__(self, path: Path, deed: str) -> None:
        """Return when it is ready, or dead."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), deed], stdout=subprocess.PIPE, text=True
        )
        self.said = self.process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


SEE = """
import sys
from pathlib import Path
from yoloscope_record.reader import Reader
seen = Reader(Path(sys.argv[1])).read()
print(seen.alive, seen.samples[0].value, seen.facts)
"""
