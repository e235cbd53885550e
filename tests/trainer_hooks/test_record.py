"""The flight recorder: what is written reads back, and nothing that lies in a file can hurt the reader."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import accumulate, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_record import clearing, paths
from yoloscope_record.file_format import MAX_LABEL_LENGTH, RING_COLUMNS, VERSION, Identity, RecordError
from yoloscope_record.reader import Reader, read_ring
from yoloscope_record.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

WHO = Identity("night run", "3")
LABELS = ("night run", "3")
BATCHES, EPOCH, WAIT = catalog.TRAIN_BATCHES_TOTAL, catalog.TRAIN_EPOCH, catalog.TRAIN_DATA_WAIT_SECONDS
SMALL = {"slots": 64, "header": 1 << 14, "ring": 16}
EACH_EXAMPLE_ITS_OWN_FILE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

names = count()


def new(directory: Path, identity: Identity = WHO, **options: object) -> Writer:
    """A small record in a directory of its own."""
    return Writer(directory / f"run{next(names)}" / identity.filename, identity, **{**SMALL, **options})


def value(path: Path, metric: catalog.Metric) -> float | HistogramValue | None:
    """What the reader finds of a metric."""
    return next((sample.value for sample in Reader(path).read().samples if sample.metric is metric), None)


# --- what is written reads back -------------------------------------------------------------------------------------

finite = st.floats(allow_nan=False, allow_infinity=False)
printable = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("gauge"), st.sampled_from(["a", "b", "c"]), finite),
        st.tuples(st.just("count"), st.sampled_from(["forward", "backward"]), st.floats(0, 1e6)),
        st.tuples(st.just("observe"), st.just(""), st.floats(0, 100)),
        st.tuples(st.just("set_state"), st.sampled_from(catalog.STATES), st.just(0.0)),
        st.tuples(st.just("fact"), st.sampled_from(["model", "data"]), finite),
        st.tuples(st.just("row"), st.just(""), finite),
    ),
    max_size=40,
)


@dataclass
class Model:
    """What a record should hold, in plain Python."""

    writer: Writer
    plain: dict[tuple[str, tuple[str, ...]], float] = field(default_factory=dict)
    observed: list[float] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    rows: list[float] = field(default_factory=list)
    state: str = catalog.STATES[0]

    def gauge(self, name: str, number: float) -> None:
        """Set a loss."""
        slot = self.writer.slot(catalog.TRAIN_LOSS, *LABELS, name)
        self.writer.begin()
        self.writer.values[slot] = number
        self.plain[catalog.TRAIN_LOSS.name, (*LABELS, name)] = number

    def count(self, name: str, number: float) -> None:
        """Add to a phase."""
        slot = self.writer.slot(catalog.TRAIN_PHASE_SECONDS_TOTAL, *LABELS, name)
        self.writer.begin()
        self.writer.values[slot] += number
        key = (catalog.TRAIN_PHASE_SECONDS_TOTAL.name, (*LABELS, name))
        self.plain[key] = self.plain.get(key, 0.0) + number

    def observe(self, _: str, number: float) -> None:
        """Count in a histogram."""
        slot = self.writer.histogram(WAIT, *LABELS)
        self.writer.begin()
        self.writer.observe(slot, WAIT.buckets, number)
        self.observed.append(number)

    def fact(self, name: str, number: float) -> None:
        """Change the header."""
        self.writer.set_facts({name: str(number)})
        self.facts[name] = str(number)

    def set_state(self, name: str, _: float) -> None:
        """Change the state."""
        self.writer.begin()
        self.writer.set_state(name)
        self.state = name

    def row(self, _: str, number: float) -> None:
        """Append to the ring."""
        self.writer.begin()
        self.writer.append([len(self.rows) + 1.0, *[number] * (len(RING_COLUMNS) - 1)])
        self.writer.count()
        self.rows.append(number)


@EACH_EXAMPLE_ITS_OWN_FILE
@given(steps=steps)
def test_any_sequence_of_writes_reads_back(tmp_path: Path, steps: list[tuple[str, str, float]]) -> None:
    """Gauges, counters, histograms, states, facts and the ring hold what a plain model says, if it can be true."""
    with closing(new(tmp_path)) as writer:
        model = Model(writer)
        for kind, name, number in steps:
            getattr(model, kind)(name, number)
            writer.end(time.time())
        found, ring = Reader(writer.path).read(), read_ring(writer.path)
    plain = {(s.metric.name, s.labels): s.value for s in found.samples if s.metric is not WAIT}
    believed = {key: catalog.plausible(catalog.BY_NAME[key[0]], number) for key, number in model.plain.items()}
    assert plain == {key: number for key, number in believed.items() if number is not None}
    assert (found.identity, found.state, found.facts) == (WHO, model.state, model.facts)
    assert [row.epoch for row in ring] == model.rows[-8:]
    for histogram in [s.value for s in found.samples if s.metric is WAIT]:
        assert histogram.sum == pytest.approx(math.fsum(model.observed))
        for bound, cumulated in zip((*WAIT.buckets, math.inf), accumulate(histogram.counts), strict=True):
            assert cumulated == sum(number <= bound for number in model.observed)


@EACH_EXAMPLE_ITS_OWN_FILE
@given(run=st.text(max_size=300), fact=st.text(max_size=300))
def test_any_text_is_made_readable(tmp_path: Path, run: str, fact: str) -> None:
    """Whatever a run and its facts are called, the record can be read, and lies where its identity says."""
    identity = Identity(run)
    path = paths.run_directory(tmp_path / str(next(names)), run) / identity.filename
    with closing(Writer(path, identity, {"data": fact}, **SMALL)):
        found = Reader(path).read()
    assert found.identity.filename == path.name
    assert paths.run_directory(path.parent.parent, found.identity.run) == path.parent
    assert len(found.facts["data"]) <= MAX_LABEL_LENGTH


@EACH_EXAMPLE_ITS_OWN_FILE
@given(one=printable, other=printable)
def test_names_that_differ_lie_apart(tmp_path: Path, one: str, other: str) -> None:
    """Two runs share a directory only if they share the name; Chinese names do not fall together."""
    assert (paths.run_directory(tmp_path, one) == paths.run_directory(tmp_path, other)) == (one == other)


def test_slots_declared_late_appear(tmp_path: Path) -> None:
    """A reader that has parsed the header sees series that are declared afterwards."""
    with closing(new(tmp_path)) as writer:
        reader = Reader(writer.path)
        assert reader.read().samples == ()
        slot = writer.slot(BATCHES, *LABELS)
        assert reader.read().samples == (Sample(BATCHES, LABELS, 0.0),)
        assert writer.slot(BATCHES, *LABELS) == slot


def test_gauges_are_absent_until_set(tmp_path: Path) -> None:
    """A gauge that nobody has set is no sample; a counter starts at 0."""
    with closing(new(tmp_path)) as writer:
        writer.slot(EPOCH, *LABELS)
        writer.slot(BATCHES, *LABELS)
        assert Reader(writer.path).read().samples == (Sample(BATCHES, LABELS, 0.0),)


def test_full_record_says_so(tmp_path: Path) -> None:
    """Slots or header without room raise `full`, and what was there stays readable."""
    with closing(new(tmp_path, slots=1)) as writer:
        writer.slot(BATCHES, *LABELS)
        with pytest.raises(RecordError, match="full"):
            writer.slot(EPOCH, *LABELS)
        assert value(writer.path, BATCHES) == 0
    with closing(new(tmp_path, header=800)) as writer, pytest.raises(RecordError, match="full"):
        writer.set_facts({f"fact{n}": "x" * 200 for n in range(9)})


def test_ring_keeps_the_newest(tmp_path: Path) -> None:
    """The last rows come in order, as many as the ring has room for but the oldest: those may be changing."""
    with closing(new(tmp_path)) as writer:
        for number in range(20):
            writer.begin()
            writer.append([float(number)] * len(RING_COLUMNS))
            writer.count()
            writer.end(0.0)
        assert [row.epoch for row in read_ring(writer.path)] == [float(n) for n in range(12, 20)]


# --- lives and deaths -----------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys, time
from pathlib import Path
from yoloscope_exporter import catalog
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
path, deed = Path(sys.argv[1]), sys.argv[2]
writer = Writer(path, Identity("night run", "3"), resume=deed == "resume", slots=64, header=1 << 14, ring=16)
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
        for batch in range(20):  # more than the ring has room for
            writer.begin(); writer.append([float(batch)] * 8); writer.count(); writer.end(time.time())
    os.pwrite = pwrite
    writer.begin(); writer.values[first] = writer.values[second] = 7.0; writer.append([20.0] * 8); writer.count()
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
    [(0, 0, 0, 0, 19), (1, 0, 1, 4, 20), (2, 1, 7, 7, 20), (3, 0, 7, 7, 20)],
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
    assert (sum(waits.counts), waits.sum) == ((1, 20.0) if writes == 1 else (0, 0.0))
    assert [row.time for row in read_ring(path)][-8:] == [float(number) for number in range(newest - 7, newest + 1)]


def test_rows_that_a_living_writer_has_not_counted(tmp_path: Path) -> None:
    """They wait until it counts them, or dies; what is older in the ring is never taken for newer."""
    writer = new(tmp_path)
    for number in range(1, 40):
        batch(writer, float(number))
    with closing(writer):
        for number in range(40, 44):
            writer.append([float(number)] * 8)
        command = [sys.executable, "-c", SEE, str(writer.path)]  # a read in this process would give up the lock
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True 39.0 {}\n"
    assert value(writer.path, BATCHES) == 39 + 4
    assert [row.time for row in read_ring(writer.path)] == [float(number) for number in range(32, 44)]


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


def test_living_record_is_not_replaced(tmp_path: Path) -> None:
    """A second writer for a record that a living process writes is told so, resumed or not."""
    path = tmp_path / "run" / WHO.filename
    with Child(path, "wait"):
        for resume in (False, True):
            with pytest.raises(RecordError, match="exists"):
                Writer(path, WHO, resume=resume, **SMALL)


def test_resumed_counters_go_on(tmp_path: Path) -> None:
    """A process that resumes continues the counters of the one before, and drops its gauges."""
    path = tmp_path / "run" / WHO.filename
    with closing(Writer(path, WHO, **SMALL)) as writer:
        slot, gauge, wait = writer.slot(BATCHES, *LABELS), writer.slot(EPOCH, *LABELS), writer.histogram(WAIT, *LABELS)
        writer.begin()
        writer.values[slot], writer.values[gauge] = 41.0, 3.0
        writer.observe(wait, WAIT.buckets, 0.01)
        writer.end(0.0)
    with Child(path, "resume"):
        found = {sample.metric.name: sample.value for sample in Reader(path).read().samples}
    assert found[BATCHES.name] == 42
    assert sum(found[WAIT.name].counts) == 1
    assert EPOCH.name not in found


# --- what may become of the file ------------------------------------------------------------------------------------


def batch(writer: Writer, number: float) -> None:
    """One batch, a second after the one before."""
    writer.begin()
    writer.values[writer.slot(BATCHES, *LABELS)] = number
    writer.append([number] * 8)
    writer.count()
    writer.end(time.time() + number)


def cut(path: Path) -> None:
    """As `: > file` does."""
    os.truncate(path, 0)


def lengthen(path: Path) -> None:
    """As `echo >> file` does."""
    with path.open("ab") as file:
        file.write(b"a line")


def cut_behind_the_head(path: Path) -> None:
    """Head and size are right, the header is not there."""
    size = path.stat().st_size
    os.truncate(path, 256)
    os.truncate(path, size)


@pytest.mark.parametrize("harm", [cut, lengthen, cut_behind_the_head])
def test_a_cut_file_is_written_anew(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """With all values and facts, and the rows since then; its writer does not die of it and says nothing."""
    with closing(new(tmp_path)) as writer:
        writer.set_facts({"model": "yolo11n"})
        for number in range(1, 4):
            batch(writer, number)
        harm(writer.path)
        for number in range(4, 7):
            batch(writer, number)
    found = Reader(writer.path).read()
    assert (found.torn, found.facts, found.samples) == (False, {"model": "yolo11n"}, (Sample(BATCHES, LABELS, 6.0),))
    assert [row.time for row in read_ring(writer.path)] == [5.0, 6.0]  # 4 was there when the damage was seen


def test_a_file_cut_in_the_end_is_written_anew(tmp_path: Path) -> None:
    """Closing looks once more."""
    with closing(new(tmp_path)) as writer:
        batch(writer, 1.0)
        cut(writer.path)
    assert value(writer.path, BATCHES) == 1.0


def delete(path: Path) -> None:
    """As `rm` does."""
    path.unlink()


def replace_by_a_directory(path: Path) -> None:
    """Something else is there now."""
    path.unlink()
    path.mkdir()


def replace_by_a_file(path: Path) -> None:
    """Somebody else's file is there now."""
    path.unlink()
    path.write_text("somebody's")


@pytest.mark.parametrize("harm", [delete, replace_by_a_directory, replace_by_a_file])
def test_a_deleted_file_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None]
) -> None:
    """With one warning; what is there instead stays as it is."""
    with closing(new(tmp_path)) as writer:
        batch(writer, 1.0)
        harm(writer.path)
        before = content(writer.path.parent)
        for number in range(2, 6):
            batch(writer, number)
        writer.set_facts({"model": "yolo11n"})
        assert content(writer.path.parent) == before
    assert content(writer.path.parent) == before
    assert len(caplog.messages) == 1
    assert str(writer.path) in caplog.text


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, 0])
def test_a_file_that_cannot_be_written_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    """One warning, no exception, no record that looks like a hang, no descriptor left. 0: only half was written."""
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers
    writer = new(tmp_path)
    batch(writer, 1.0)

    def pwrite(_descriptor: int, data: bytes, _offset: int) -> int:
        if error:
            raise OSError(error, os.strerror(error))
        return len(data) // 2

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        batch(writer, 2.0)
    batch(writer, 3.0)
    writer.slot(EPOCH, *LABELS)
    writer.close()
    assert len(caplog.messages) == 1
    assert list(writer.path.parent.iterdir()) == []
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "ftruncate"])
def test_a_file_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """No temporary file, no descriptor."""
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RecordError, match="full"):
        Writer(tmp_path / "run" / WHO.filename, WHO, **SMALL)
    assert list((tmp_path / "run").iterdir()) == []
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_file_system_that_reserves_nothing_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is there all the same."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    with closing(new(tmp_path)) as writer:
        batch(writer, 1.0)
    assert value(writer.path, BATCHES) == 1.0


def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    """Whatever it does with its copy, the record is its parent's, who still holds the lock."""
    writer = new(tmp_path)
    batch(writer, 1.0)
    child = os.fork()
    if child == 0:
        batch(writer, 2.0)
        writer.set_facts({"model": "yolo11n"})
        writer.discard()
        writer.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    command = [sys.executable, "-c", SEE, str(writer.path)]  # a read in this process would give up the lock
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True 1.0 {}\n"
    batch(writer, 3.0)
    writer.close()
    assert value(writer.path, BATCHES) == 3.0


SEE = """
import sys
from pathlib import Path
from yoloscope_record.reader import Reader
seen = Reader(Path(sys.argv[1])).read()
print(seen.alive, seen.samples[0].value, seen.facts)
"""


def test_what_has_no_room_is_as_if_it_was_not_asked_for(tmp_path: Path) -> None:
    """Neither a fact nor a series that does not fit keeps the next ones out."""
    with closing(new(tmp_path, header=800)) as writer:
        slot = writer.slot(BATCHES, *LABELS)
        with pytest.raises(RecordError, match="full"):
            writer.set_facts({f"a{number}": "b" * 200 for number in range(9)})
        with pytest.raises(RecordError, match="full"):
            writer.slot(catalog.TRAIN_LOSS, *LABELS, "c" * 250)
        writer.set_facts({"model": "yolo11n"})
        writer.values[slot] = 2.0
        loss = writer.slot(catalog.TRAIN_LOSS, *LABELS, "box")
        assert math.isnan(writer.values[loss])
    found = Reader(writer.path).read()
    assert (found.facts, found.samples) == ({"model": "yolo11n"}, (Sample(BATCHES, LABELS, 2.0),))


def test_room_for_long_chinese_names(tmp_path: Path) -> None:
    """A run's name of 200 Chinese characters, in each of 150 series, and facts as long, have room."""
    run = "训练" * 100
    identity = Identity(run)
    with closing(Writer(tmp_path / "run" / identity.filename, identity, {"model": "模" * 200})) as writer:
        for number in range(150):
            writer.values[writer.slot(catalog.TRAIN_METRIC, run, "0", f"metrics/AP_class_{number:03d}(B)")] = number
        writer.end(time.time())
    found = Reader(writer.path).read()
    assert (found.identity.run, found.facts) == (run, {"model": "模" * 200})
    assert [sample.value for sample in found.samples] == list(range(150))


WRITE_TOGETHER = """
import itertools, sys, time
from pathlib import Path
from yoloscope_record import catalog
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
writer = Writer(Path(sys.argv[1]), Identity("run"), slots=900, header=1 << 17, ring=8)
first = writer.slot(catalog.TRAIN_EPOCH, "run", "0")
for number in range(800):
    writer.slot(catalog.TRAIN_METRIC, "run", "0", str(number))
counter = writer.slot(catalog.TRAIN_BATCHES_TOTAL, "run", "0")
print("ready", flush=True)
for number in itertools.count():
    writer.values[first] = number  # a gauge, before the write is opened
    time.sleep(0.001)
    writer.begin()
    writer.values[counter] = number
    writer.end(time.time())
"""


def test_gauges_and_counters_of_one_moment(tmp_path: Path) -> None:
    """What was stored for a batch is seen all at once, wherever it was stored: a gauge is never ahead of a counter."""
    path = tmp_path / "run" / "rank-0.rec"
    with subprocess.Popen([sys.executable, "-c", WRITE_TOGETHER, path], stdout=subprocess.PIPE) as writing:
        assert writing.stdout is not None
        assert writing.stdout.readline() == b"ready\n"
        try:
            reader, seen = Reader(path), set()
            while len(seen) < 50:
                with suppress(RecordError):  # busy
                    found = {sample.metric: sample.value for sample in reader.read().samples}
                    assert found.get(EPOCH, 0.0) == found[BATCHES]
                    seen.add(found[BATCHES])
        finally:
            writing.kill()


# --- hostile files --------------------------------------------------------------------------------------------------


def reason(path: Path) -> str:
    """Why the reader refuses the file."""
    with pytest.raises(RecordError) as refused:
        Reader(path).read()
    return refused.value.reason


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


# --- directories ----------------------------------------------------------------------------------------------------


def test_directory_of_somebody_else_is_not_written_to(tmp_path: Path) -> None:
    """A link where the run's directory should be is refused: the record directory is open to all."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="directory"):
        Writer(tmp_path / "run" / WHO.filename, WHO, **SMALL)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_record_directory_exchanged_for_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lays a link in the place of the directory just made does not get its target opened to all."""
    private, path = tmp_path / "private", tmp_path / "records"
    private.mkdir(mode=0o700)
    mkdir = Path.mkdir

    def exchanged(self: Path, *arguments: Any, **options: Any) -> None:
        mkdir(self, *arguments, **options)
        if self == path:
            path.rmdir()
            path.symlink_to(private)

    monkeypatch.setattr(Path, "mkdir", exchanged)
    with pytest.raises(RecordError, match="records"):
        paths.make_directory(path)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_record_directory_is_open_to_all_and_sticky(tmp_path: Path) -> None:
    """It is made with mode 1777, and a link in its place is refused."""
    made = paths.make_directory(tmp_path / "records")
    assert made.stat().st_mode & 0o7777 == 0o1777
    link = tmp_path / "link"
    link.symlink_to(made)
    with pytest.raises(RecordError, match="link"):
        paths.make_directory(link)


def test_unwritable_directory_is_named(tmp_path: Path) -> None:
    """What cannot be made is named, with the way out."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RecordError, match="YOLOSCOPE_DIR"):
        paths.make_directory(file / "records")
    with pytest.raises(RecordError, match="directory"):
        Writer(file / "run" / WHO.filename, WHO, **SMALL)


def test_chosen_directory_wins(tmp_path: Path) -> None:
    """YOLOSCOPE_DIR beats the default."""
    assert paths.directory({"YOLOSCOPE_DIR": str(tmp_path)}) == tmp_path


# --- clearing up ----------------------------------------------------------------------------------------------------

DAY = 86400.0


def old_run(base: Path, *identities: Identity) -> Path:
    """The directory of a run that ended two days ago, with a dead record for each identity."""
    long_ago = time.time() - 2 * DAY
    folder = paths.run_directory(base, identities[0].run)
    for identity in identities:
        with closing(Writer(folder / identity.filename, identity, **SMALL)) as writer:
            writer.begin()
            writer.end(long_ago)
    age(folder)
    return folder


def age(folder: Path) -> None:
    """Make all below two days old, the folder last."""
    long_ago = time.time() - 2 * DAY
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)


def content(folder: Path) -> dict[str, object]:
    """All there is below a folder, byte for byte."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        inside = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, status.st_ino, inside)
    return found


def clear(folder: Path, uid: int | None = None, older_than: float = DAY) -> clearing.Removal:
    """Remove it if it is old."""
    return clearing.remove_dead(folder, older_than=older_than, now=time.time(), uid=uid)


def test_an_old_run_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """File by file, its stale temporaries too, then the directory; each deletion is logged."""
    worker = Identity(WHO.run, WHO.rank, "worker", "0")
    folder = old_run(tmp_path, WHO, worker)
    (folder / f"{WHO.filename}.abcd_123.new").write_bytes(bytes(5000))
    (folder / f"{WHO.filename}.abcd_124.new").touch()
    (folder / f"{WHO.filename}.abcd_125.new").write_bytes((folder / WHO.filename).read_bytes())
    age(folder)
    caplog.set_level("INFO", "yoloscope")
    done = clear(folder, os.geteuid())
    assert (len(done.removed), done.foreign, done.gone) == (5, "", True)
    assert {WHO.filename, worker.filename} < set(done.removed)
    assert not folder.exists()
    assert len(caplog.messages) == 6
    assert str(folder / WHO.filename) in caplog.text


def test_what_is_in_use_or_young_stays(tmp_path: Path) -> None:
    """A living writer, a value stored lately, or a file changed lately: nothing of the run goes."""
    folder = old_run(tmp_path, WHO, Identity(WHO.run, "4"))
    assert clear(folder, older_than=3 * DAY) == clearing.Removal()
    os.utime(folder / WHO.filename)
    assert clear(folder) == clearing.Removal()
    with Child(folder / WHO.filename, "wait"):
        age(folder)
        assert clear(folder, older_than=-1.0) == clearing.Removal()
    assert len(list(folder.iterdir())) == 2


def _result(folder: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "best.pt").write_text("a week of training")


def _temporary(folder: Path) -> None:
    (folder / "results.tmp").write_text("somebody's")


def _strange_new(folder: Path) -> None:
    (folder / "notes.new").write_text("somebody's")


def _filled_new(folder: Path) -> None:
    (folder / f"{WHO.filename}.abcd_123.new").write_text("somebody's")


def _named_like_one(folder: Path) -> None:
    (folder / "rank-9.rec").write_text("a recording of something else" * 100)


def _another_runs(folder: Path) -> None:
    (folder / "rank-5.rec").write_bytes((folder / WHO.filename).read_bytes())


def _link_to_a_directory(folder: Path) -> None:
    (folder / "dataset").symlink_to(folder.parent)


def _link_to_a_record(folder: Path) -> None:
    (folder / "rank-9.rec").symlink_to(folder / WHO.filename)


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "rank-9.rec")


def _folder_named_like_one(folder: Path) -> None:
    (folder / "rank-9.rec").mkdir()


def _another_owners(folder: Path) -> None:
    path = folder / Identity(WHO.run, "6").filename
    with closing(Writer(path, Identity(WHO.run, "6"), **SMALL)):
        pass
    os.chown(path, 12345, -1)


OTHERS = [
    _result,
    _temporary,
    _strange_new,
    _filled_new,
    _named_like_one,
    _another_runs,
    _link_to_a_directory,
    _link_to_a_record,
    _pipe,
    _folder_named_like_one,
    pytest.param(_another_owners, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")),
]


@pytest.mark.parametrize("put", OTHERS)
def test_a_run_beside_anything_else_is_left_alone(tmp_path: Path, put: Callable[[Path], None]) -> None:
    """One thing that is no record of this run: nothing goes, not even the records."""
    folder = old_run(tmp_path, WHO)
    put(folder)
    age(folder)
    before = content(folder)
    for uid in (os.geteuid(), None):
        done = clear(folder, uid)
        assert (done.removed, done.gone) == ((), False)
        assert done.foreign in before
    assert content(folder) == before


def test_a_directory_without_records_is_left_alone(tmp_path: Path) -> None:
    """Empty ones, another owner's, one moved elsewhere and links are not ours to remove."""
    empty = tmp_path / "empty"
    empty.mkdir()
    age(empty)
    assert clear(empty) == clearing.Removal()
    assert empty.is_dir()
    folder = old_run(tmp_path, WHO)
    assert clear(folder, uid=12345).foreign == folder.name
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(OSError, match="link"):
        clear(link)
    with pytest.raises(OSError, match="link"):
        clear(Path(link, "..", "link"))
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(OSError, match="elsewhere"):
        clear(tmp_path / "elsewhere" / folder.name)
    moved = folder.rename(tmp_path / "moved")
    assert clear(moved).foreign == WHO.filename
    assert (moved / WHO.filename).exists()


def test_a_swapping_owner_loses_only_his_own(tmp_path: Path) -> None:
    """While an owner swaps directory and record for links to others' things, those stay."""
    victim = old_run(tmp_path / "victim", WHO)
    (victim / "results.csv").write_text("precious")
    before = content(victim)
    base = tmp_path / "base"
    code = (
        "import os, sys\n"
        "folder, victim, name = sys.argv[1:]\n"
        "print(flush=True)\n"
        "while True:\n"
        "    try:\n"
        "        os.rename(folder, folder + '-kept'); os.symlink(victim, folder)\n"
        "        os.unlink(folder); os.rename(folder + '-kept', folder)\n"
        "        record = f'{folder}/{name}'\n"
        "        os.rename(record, folder + '-record'); os.symlink(f'{victim}/{name}', record)\n"
        "        os.rename(folder + '-record', record)\n"
        "    except OSError:\n"
        "        break\n"
    )
    removed = 0
    for _ in range(20):
        folder = old_run(base, WHO)
        command = [sys.executable, "-c", code, str(folder), str(victim), WHO.filename]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as swapper:
            assert swapper.stdout
            swapper.stdout.readline()
            for _ in range(200):
                with suppress(OSError):
                    removed += len(clear(folder).removed)
            swapper.kill()
        assert content(victim) == before
        for rest in base.iterdir():
            if rest.is_symlink():
                rest.unlink()
            else:
                shutil.rmtree(rest, ignore_errors=True)
    assert removed


def test_only_dead_workers_records_are_removed(tmp_path: Path) -> None:
    """What workers of an earlier training left goes; what only has such a name stays, as do records in use."""
    workers = [Identity(WHO.run, WHO.rank, "worker", str(number)) for number in range(2)]
    folder = old_run(tmp_path, WHO, *workers, Identity(WHO.run, "33", "worker", "0"))
    (folder / "rank-3-worker-notes.rec").write_text("somebody's")
    (folder / "rank-3-worker-7.rec").symlink_to(folder / WHO.filename)
    kept = {WHO.filename, "rank-33-worker-0.rec", "rank-3-worker-notes.rec", "rank-3-worker-7.rec"}
    clearing.remove_workers(folder / WHO.filename)
    assert {path.name for path in folder.iterdir()} == kept
