"""What is written reads back; a full disk, a cut or a deleted file and a fork do the training no harm."""

from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_record.file_format import RING_COLUMNS, Identity, RecordError
from yoloscope_record.reader import Reader, read_ring
from yoloscope_record.writer import Writer

from tests.trainer_hooks.yoloscope_record.records import (
    BATCHES,
    EACH_EXAMPLE_ITS_OWN_FILE,
    EPOCH,
    LABELS,
    SEE,
    SMALL,
    WAIT,
    WHO,
    Child,
    batch,
    content,
    copied,
    new,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

finite = st.floats(allow_nan=False, allow_infinity=False)

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
        path = copied(writer.path)
        found, ring = Reader(path).read(), read_ring(path)
    plain = {(s.metric.name, s.labels): s.value for s in found.samples if s.metric is not WAIT}
    believed = {key: catalog.plausible(catalog.BY_NAME[key[0]], number) for key, number in model.plain.items()}
    assert plain == {key: number for key, number in believed.items() if number is not None}
    assert (found.identity, found.state, found.facts) == (WHO, model.state, model.facts)
    assert [row.epoch for row in ring] == model.rows[-8:]
    for histogram in [s.value for s in found.samples if s.metric is WAIT]:
        assert histogram.sum == pytest.approx(math.fsum(model.observed))
        for bound, cumulated in zip((*WAIT.buckets, math.inf), accumulate(histogram.counts), strict=True):
            assert cumulated == sum(number <= bound for number in model.observed)


def test_slots_declared_late_appear(tmp_path: Path) -> None:
    """A reader that has parsed the header sees series that are declared afterwards."""
    with closing(new(tmp_path)) as writer:
        reader = Reader(copied(writer.path))
        assert reader.read().samples == ()
        slot = writer.slot(BATCHES, *LABELS)
        copied(writer.path)
        assert reader.read().samples == (Sample(BATCHES, LABELS, 0.0),)
        assert writer.slot(BATCHES, *LABELS) == slot


def test_gauges_are_absent_until_set(tmp_path: Path) -> None:
    """A gauge that nobody has set is no sample; a counter starts at 0."""
    with closing(new(tmp_path)) as writer:
        writer.slot(EPOCH, *LABELS)
        writer.slot(BATCHES, *LABELS)
        assert Reader(copied(writer.path)).read().samples == (Sample(BATCHES, LABELS, 0.0),)


def test_full_record_says_so(tmp_path: Path) -> None:
    """Slots or header without room raise `full`, and what was there stays readable."""
    with closing(new(tmp_path, slots=1)) as writer:
        writer.slot(BATCHES, *LABELS)
        with pytest.raises(RecordError, match="full"):
            writer.slot(EPOCH, *LABELS)
        assert value(copied(writer.path), BATCHES) == 0
    with closing(new(tmp_path, header=800)) as writer, pytest.raises(RecordError, match="full"):
        writer.set_facts({f"fact{n}": "x" * 200 for n in range(9)})


def test_ring_keeps_the_newest(tmp_path: Path) -> None:
    """The last rows come in order, as many as the ring has room for but the oldest: those may be changing."""
    with closing(new(tmp_path)) as writer:
        for number in range(100):
            writer.begin()
            writer.append([float(number)] * len(RING_COLUMNS))
            writer.count()
            writer.end(0.0)
        assert [row.epoch for row in read_ring(copied(writer.path))] == [float(n) for n in range(92, 100)]


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


def test_a_number_that_another_file_has_by_now(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody in this process has closed the record, and opened something else: it is neither cut, written nor closed.

    The number is one that nobody gets by chance, so it takes `dup2`.
    """
    mine = tmp_path / "weights.pt"
    mine.write_bytes(b"mine")
    writer = new(tmp_path)
    batch(writer, 1.0)
    number, other = writer._file, os.open(mine, os.O_RDWR | os.O_APPEND)
    assert number > 2 * other
    os.dup2(other, number)
    try:
        writer.begin()
        writer.end(time.time() + 5)
        writer.close()
        assert mine.read_bytes() == b"mine"
        os.write(number, b"more")
        assert mine.read_bytes() == b"minemore"
    finally:
        os.close(other)
        os.close(number)
    assert not writer.path.exists()  # it would look like a hang
    assert len(caplog.messages) == 1
    assert "somebody has closed it" in caplog.text


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


def test_directory_of_somebody_else_is_not_written_to(tmp_path: Path) -> None:
    """A link where the run's directory should be is refused: the record directory is open to all."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="directory"):
        Writer(tmp_path / "run" / WHO.filename, WHO, **SMALL)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands where the run's directory should be made."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RecordError, match="directory"):
        Writer(file / "run" / WHO.filename, WHO, **SMALL)
