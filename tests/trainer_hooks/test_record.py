"""The flight recorder: what is written reads back, and nothing that lies in a file can hurt the reader."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import accumulate, count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_hooks import record
from yoloscope_hooks.record import Identity, Reader, RecordError, Writer, read_ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

WHO = Identity("night run", "3")
LABELS = ("night run", "3")
BATCHES, EPOCH, WAIT = catalog.TRAIN_BATCHES_TOTAL, catalog.TRAIN_EPOCH, catalog.TRAIN_DATA_WAIT_SECONDS
SMALL = {"slots": 64, "header": 1 << 14, "ring": 8}
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
        self.writer.append([number] * len(record.RING_COLUMNS))
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
    assert [row.time for row in ring] == model.rows[-8:]
    for histogram in [s.value for s in found.samples if s.metric is WAIT]:
        assert histogram.sum == pytest.approx(math.fsum(model.observed))
        for bound, cumulated in zip((*WAIT.buckets, math.inf), accumulate(histogram.counts), strict=True):
            assert cumulated == sum(number <= bound for number in model.observed)


@EACH_EXAMPLE_ITS_OWN_FILE
@given(run=st.text(max_size=300), fact=st.text(max_size=300))
def test_any_text_is_made_readable(tmp_path: Path, run: str, fact: str) -> None:
    """Whatever a run and its facts are called, the record can be read, and lies where its identity says."""
    identity = Identity(run)
    path = record.run_directory(tmp_path / str(next(names)), run) / identity.filename
    with closing(Writer(path, identity, {"data": fact}, **SMALL)):
        found = Reader(path).read()
    assert found.identity.filename == path.name
    assert record.run_directory(path.parent.parent, found.identity.run) == path.parent
    assert len(found.facts["data"]) <= record.MAX_LABEL_LENGTH


@EACH_EXAMPLE_ITS_OWN_FILE
@given(one=printable, other=printable)
def test_names_that_differ_lie_apart(tmp_path: Path, one: str, other: str) -> None:
    """Two runs share a directory only if they share the name; Chinese names do not fall together."""
    assert (record.run_directory(tmp_path, one) == record.run_directory(tmp_path, other)) == (one == other)


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
    with closing(new(tmp_path, header=1 << 10)) as writer, pytest.raises(RecordError, match="full"):
        writer.set_facts({f"fact{n}": "x" * 200 for n in range(9)})


def test_ring_keeps_the_newest(tmp_path: Path) -> None:
    """The ring holds the last rows in order, as many as it has room for."""
    with closing(new(tmp_path)) as writer:
        for number in range(20):
            writer.begin()
            writer.append([float(number)] * len(record.RING_COLUMNS))
            writer.end(0.0)
        assert [row.epoch for row in read_ring(writer.path)] == [float(n) for n in range(12, 20)]


# --- lives and deaths -----------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys, time
from pathlib import Path
from yoloscope_exporter import catalog
from yoloscope_hooks.record import Identity, Writer
path, deed = Path(sys.argv[1]), sys.argv[2]
writer = Writer(path, Identity("night run", "3"), resume=deed == "resume", slots=64, header=1 << 14, ring=8)
first = writer.slot(catalog.TRAIN_BATCHES_TOTAL, "night run", "3")
second = writer.slot(catalog.TRAIN_IMAGES_TOTAL, "night run", "3")
wait = writer.histogram(catalog.TRAIN_DATA_WAIT_SECONDS, "night run", "3")
if deed == "torn":
    writer.begin(); writer.values[first] = 7.0
    os.kill(os.getpid(), signal.SIGKILL)
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

            patch.setattr(record.os, "close", failing)
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


def test_death_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """A record whose writer was killed between begin and end is read, and says that it is torn."""
    path = tmp_path / "run" / WHO.filename
    with Child(path, "torn") as child:
        assert child.process.wait(10) == -signal.SIGKILL
        found = Reader(path).read()
    assert (found.torn, found.alive) == (True, False)
    assert Sample(BATCHES, LABELS, 7.0) in found.samples


def test_suspended_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """A living writer that stands still between begin and end makes the reader give up, soon."""
    with closing(new(tmp_path)) as writer:
        writer.begin()
        code = (  # in another process: a read in this one would give up the lock
            "import sys; from pathlib import Path; from yoloscope_hooks.record import Reader, RecordError\n"
            "try: Reader(Path(sys.argv[1])).read()\n"
            "except RecordError as error: print(error.reason)"
        )
        command = [sys.executable, "-c", code, str(writer.path)]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert asked.stdout == "busy\n"


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
        (8, struct.pack("I", record.VERSION + 1), "version"),
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


def test_record_directory_is_open_to_all_and_sticky(tmp_path: Path) -> None:
    """It is made with mode 1777, and a link in its place is refused."""
    made = record.make_directory(tmp_path / "records")
    assert made.stat().st_mode & 0o7777 == 0o1777
    link = tmp_path / "link"
    link.symlink_to(made)
    with pytest.raises(RecordError, match="link"):
        record.make_directory(link)


def test_unwritable_directory_is_named(tmp_path: Path) -> None:
    """What cannot be made is named, with the way out."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RecordError, match="YOLOSCOPE_DIR"):
        record.make_directory(file / "records")
    with pytest.raises(RecordError, match="directory"):
        Writer(file / "run" / WHO.filename, WHO, **SMALL)


def test_chosen_directory_wins(tmp_path: Path) -> None:
    """YOLOSCOPE_DIR beats the default."""
    assert record.directory({"YOLOSCOPE_DIR": str(tmp_path)}) == tmp_path


# --- clearing up ----------------------------------------------------------------------------------------------------

DAY = 86400.0


def old_run(base: Path, *identities: Identity) -> Path:
    """The directory of a run that ended two days ago, with a dead record for each identity."""
    long_ago = time.time() - 2 * DAY
    folder = record.run_directory(base, identities[0].run)
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


def clear(folder: Path, uid: int | None = None, older_than: float = DAY) -> record.Removal:
    """Remove it if it is old."""
    return record.remove_dead(folder, older_than=older_than, now=time.time(), uid=uid)


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
    assert clear(folder, older_than=3 * DAY) == record.Removal()
    os.utime(folder / WHO.filename)
    assert clear(folder) == record.Removal()
    with Child(folder / WHO.filename, "wait"):
        age(folder)
        assert clear(folder, older_than=-1.0) == record.Removal()
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
    assert clear(empty) == record.Removal()
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
    record.remove_workers(folder / WHO.filename)
    assert {path.name for path in folder.iterdir()} == kept
