"""Living and dead writers are told apart, values of one write are read together, and no file can hurt the reader."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_record.file_format import VERSION, RecordError
from yoloscope_record.reader import Reader, read_ring

from tests.trainer_hooks.yoloscope_record.records import (
    BATCHES,
    EACH_EXAMPLE_ITS_OWN_FILE,
    LABELS,
    SEE,
    WAIT,
    WHO,
    Child,
    batch,
    new,
    reason,
    value,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_life_is_seen_from_another_process(tmp_path: Path) -> None:
    """`alive` and the holder's pid while the writer lives; neither after SIGKILL, and the values stay."""
    path = tmp_path / "run" / WHO.filename
    with Child(path, "wait") as child:
        found = Reader(path).read()
        assert (found.alive, found.holder, found.torn) == (True, child.process.pid, False)
    found = Reader(path).read()
    assert (found.alive, found.holder) == (False, 0)
    assert Sample(BATCHES, LABELS, 0.0) in found.samples


def test_a_living_writers_file_is_kept_open(tmp_path: Path) -> None:
    """As long as the path leads to it and its writer lives; a new file is noticed, and nothing stays open."""
    path = tmp_path / "run" / WHO.filename
    reader = Reader(path)
    with Child(path, "wait") as child:
        inode = path.stat().st_ino
        assert reader.read(inode, keep=True).holder == child.process.pid
        assert reader.keeps
        path.rename(path.with_suffix(".old"))
        assert reader.read(inode, keep=True).alive  # no look at the path: the caller says it is the same
        with pytest.raises(RecordError, match="missing"):
            reader.read(inode + 1, keep=True)
        assert not reader.keeps
        path.with_suffix(".old").rename(path)
        assert not reader.read(inode).torn
        assert not reader.keeps
        assert reader.read(inode, keep=True).alive
    assert not reader.read(inode, keep=True).alive
    assert not reader.keeps


def test_a_close_that_fails_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has taken the number back all the same, and it may be somebody else's by now."""
    path = tmp_path / "run" / WHO.filename
    with Child(path, "wait"):
        reader = Reader(path)
        reader.read(keep=True)
        with monkeypatch.context() as patch:
            original = os.close

            def failing(descriptor: int) -> None:
                original(descriptor)
                raise OSError(errno.EIO, "a broken disk")

            patch.setattr(os, "close", failing)
            with pytest.raises(OSError, match="broken"):
                reader.close()
        assert not reader.keeps


def test_a_forgotten_reader_leaves_nothing_open(tmp_path: Path) -> None:
    """The descriptor goes with the reader."""
    path = tmp_path / "run" / WHO.filename
    with Child(path, "wait"):
        before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers
        reader = Reader(path)
        reader.read(keep=True)
        assert len(os.listdir("/proc/self/fd")) == len(before) + 1  # noqa: PTH208
        del reader
        assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize(
    ("writes", "torn", "batches", "images", "newest"),
    [(0, 0, 0, 0, 99), (1, 0, 1, 4, 100), (2, 1, 7, 7, 100), (3, 0, 7, 7, 100)],
)
def test_death_in_the_middle_of_a_write(  # noqa: PLR0917 - one line of a table
    tmp_path: Path, writes: int, torn: int, batches: float, images: float, newest: int
) -> None:
    """Killed after any write of a batch: all of its values or none. A row that was not counted is by the reader."""
    path = tmp_path / "run" / WHO.filename
    with Child(path, f"killed {writes}") as child:
        assert child.process.wait(10) == -signal.SIGKILL
        found = Reader(path).read()
    assert (found.torn, found.alive) == (bool(torn), False)
    assert Sample(BATCHES, LABELS, float(batches)) in found.samples
    assert Sample(catalog.TRAIN_IMAGES_TOTAL, LABELS, float(images)) in found.samples
    (waits,) = (sample.value for sample in found.samples if sample.metric is WAIT)
    assert isinstance(waits, HistogramValue)
    assert (sum(waits.counts), waits.sum) == ((1, 100.0) if writes == 1 else (0, 0.0))
    assert [row.time for row in read_ring(path)][-8:] == [float(number) for number in range(newest - 7, newest + 1)]


def test_rows_that_a_living_writer_has_not_counted(tmp_path: Path) -> None:
    """They wait until it counts them, or dies; what is older in the ring is never taken for newer."""
    writer = new(tmp_path)
    for number in range(1, 100):
        batch(writer, float(number))
    with closing(writer):
        for number in range(100, 104):
            writer.append([float(number)] * 8)
        command = [sys.executable, "-c", SEE, str(writer.path)]  # a read in this process would give up the lock
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True 99.0 {}\n"
    assert value(writer.path, BATCHES) == 99 + 4
    assert [row.time for row in read_ring(writer.path)] == [float(number) for number in range(92, 104)]


def test_suspended_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """A living writer that stands still before its last write makes the reader give up, soon."""
    path = tmp_path / "run" / WHO.filename
    with Child(path, "stopped 2") as child:
        os.waitpid(child.process.pid, os.WUNTRACED)
        assert reason(path) == "busy"


def test_no_mixture_under_a_furious_writer(tmp_path: Path) -> None:
    """Slots and histogram stored in one write are read together, however fast the writer is."""
    path = tmp_path / "run" / WHO.filename
    consistent = 0
    with Child(path, "furious"):
        reader = Reader(path)
        for _ in range(1000):
            try:
                found = {sample.metric.name: sample.value for sample in reader.read().samples}
            except RecordError as error:
                assert error.reason == "busy"  # noqa: PT017 - any other reason is the failure
                continue
            batches = found[BATCHES.name]
            histogram = found[WAIT.name]
            assert isinstance(histogram, HistogramValue)
            assert found[catalog.TRAIN_IMAGES_TOTAL.name] == batches == sum(histogram.counts) == histogram.sum
            consistent += 1
            times = [row.time for row in read_ring(path)]
            assert times == sorted(times)
    assert consistent > 100


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A good record nobody writes any more."""
    with closing(new(tmp_path)) as writer:
        slot = writer.slot(BATCHES, *LABELS)
        writer.histogram(WAIT, *LABELS)
        writer.begin()
        writer.values[slot] = 5.0
        writer.end(time.time())
    return writer.path


def patch(path: Path, offset: int, data: bytes) -> None:
    """Overwrite a part of the file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        (0, b"NOTOURS\n", "magic"),
        (8, struct.pack("I", VERSION + 1), "version"),
        (12, struct.pack("I", 99), "layout"),
        (32, struct.pack("I", 0xFFFFFFFF), "layout"),
        (36, struct.pack("I", 65), "layout"),
        (36, struct.pack("I", 1), "layout"),
        (40, struct.pack("I", 8), "layout"),
        (48, struct.pack("I", 0xFFFFFFFF), "layout"),
        (48, struct.pack("I", 3), "header"),
        (56, struct.pack("I", 0xFFFFFFFF), "layout"),
        (72, struct.pack("d", math.nan), "layout"),
    ],
)
def test_contradictions_are_refused(finished: Path, offset: int, data: bytes, expected: str) -> None:
    """A head that cannot be is refused with its reason."""
    patch(finished, offset, data)
    assert reason(finished) == expected


def header(**changes: object) -> bytes:
    """A header with something changed."""
    good = {"kind": "rank", "run": "night run", "rank": "3", "worker": "", "facts": {}, "slots": []}
    return json.dumps({**good, **changes}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[" * 8000,
        b"\xff\xfe",
        b"[]",
        header(kind="root"),
        header(run=3),
        header(run="a\nb"),
        header(run=""),
        header(run=" "),
        header(rank=""),
        header(run="x" * 257),
        header(facts=["a"]),
        header(facts={"a": 1}),
        header(slots=[["yoloscope_train_epoch", 3, []]]),
        header(slots=[["yoloscope_train_epoch"]]),
        header(slots=7),
    ],
    ids=lambda content: content[:20].decode(errors="replace"),
)
def test_bad_headers_are_refused(finished: Path, content: bytes) -> None:
    """Whatever stands where the JSON should, the reason is `header`."""
    offset = struct.unpack_from("I", finished.read_bytes(), 40)[0]
    patch(finished, offset, content)
    patch(finished, 48, struct.pack("I", len(content)))
    assert reason(finished) == "header"


def test_unknown_metrics_are_skipped_and_counted(finished: Path) -> None:
    """A record of a newer yoloscope is read as far as this one knows its metrics, and its slots stay in place."""
    offset = struct.unpack_from("I", finished.read_bytes(), 40)[0]
    content = header(slots=[["yoloscope_train_tomorrow", ["a"], [1.0]], [BATCHES.name, list(LABELS), []]])
    patch(finished, offset, content)
    patch(finished, 48, struct.pack("I", len(content)))
    patch(finished, 256, struct.pack("4d", 1.0, 2.0, 3.0, 9.0))
    found = Reader(finished).read()
    assert (found.unknown, found.samples) == (1, (Sample(BATCHES, LABELS, 9.0),))


@EACH_EXAMPLE_ITS_OWN_FILE
@given(data=st.data())
def test_damage_never_crashes_the_reader(finished: Path, data: st.DataObject) -> None:
    """Any bytes anywhere, any length: a record, or a RecordError."""
    original = finished.read_bytes()
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        offset = data.draw(st.one_of(st.integers(0, 300), st.integers(0, len(original) - 1)))
        piece = data.draw(st.binary(min_size=1, max_size=16))
        damaged[offset : offset + len(piece)] = piece
    finished.write_bytes(damaged[: data.draw(st.one_of(st.just(len(damaged)), st.integers(0, len(damaged))))])
    try:
        Reader(finished).read()
        read_ring(finished)
    except RecordError as error:
        assert error.reason in ("size", "magic", "version", "layout", "header")  # noqa: PT017 - either outcome is right
    finally:
        finished.write_bytes(original)


def test_what_is_no_regular_file_is_refused(tmp_path: Path, finished: Path) -> None:
    """Links, pipes, directories and devices are not read, and a pipe does not block."""
    link, pipe, directory = tmp_path / "link.rec", tmp_path / "pipe.rec", tmp_path / "directory.rec"
    link.symlink_to(finished)
    os.mkfifo(pipe)
    directory.mkdir()
    assert [reason(path) for path in (link, pipe, directory)] == ["type"] * 3
    assert reason(tmp_path / "nothing.rec") == "missing"


def test_oversized_file_is_refused(finished: Path) -> None:
    """A file above the limit is not read, sparse or not."""
    with finished.open("r+b") as file:
        file.truncate(1 << 40)
    assert reason(finished) == "size"
