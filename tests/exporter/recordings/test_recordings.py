"""Recordings: written crash-safely, read whatever their order, loadable by promtool."""

from __future__ import annotations

import gzip
import os
import random
import re
import resource
import signal
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.measures.series import Store
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.recordings.timestamps import stamped
from yoloscope_exporter.recordings.writer import Writer
from yoloscope_exporter.sampling.exposition import Form, Renderer

from tests.conftest import require_binary
from tests.recordings.model import Plan, moments

PLAN = Plan(epochs=1, batches=30, workers=2, after=4)


@pytest.fixture(params=["a.om", "a.om.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A place for a recording, plain and compressed."""
    return tmp_path / str(request.param)


def write(path: Path, plan: Plan = PLAN, start: float = 1000.0) -> Store:
    """Record a plan; return what should be read back."""
    store, writer = Store(), Writer(path)
    for time, samples in moments(plan, 2.0, start):
        writer.samples(time, samples)
        store.add(time, samples)
    writer.close()
    return store


def content(store: Store) -> dict[tuple[str, tuple[str, ...]], list[object]]:
    """Everything in a store, comparable."""
    return {
        (name, labels): [list(series.times), list(series.values), list(series.histograms)]
        for name, family in store.series.items()
        for labels, series in family.items()
    }


def test_what_is_written_is_read(path: Path) -> None:
    """Every series, every point, histograms included, the births too."""
    written = write(path)
    (read,) = reader.read(path)
    assert content(read) == content(written)
    assert not read.skipped
    born = {key: series.born for key, series in written.series[catalog.TRAIN_BATCHES_TOTAL.name].items()}
    assert {key: series.born for key, series in read.series[catalog.TRAIN_BATCHES_TOTAL.name].items()} == born


def test_a_recording_is_continued(path: Path) -> None:
    """A second writer goes on where the first one ended, and declares no family twice."""
    write(path)
    write(path, start=5000.0)
    (read,) = reader.read(path)
    assert read.first == pytest.approx(998)
    assert read.last > 5000
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    types = [line for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(types) == len(set(types))


@pytest.mark.parametrize("lost", [1, 7, 200, 900])
def test_a_torn_end_costs_the_last_moments_only(path: Path, lost: int) -> None:
    """Cut off anywhere, as by a crash, the rest is read; and a writer mends the file."""
    whole = content(write(path))
    path.write_bytes(path.read_bytes()[:-lost])
    (read,) = reader.read(path)
    for key, (times, _, _) in content(read).items():
        assert times == whole[key][0][: len(times)]  # type: ignore[index]
    assert read.last >= 1006
    write(path, start=9000.0)
    (mended,) = reader.read(path)
    assert mended.skipped.total() <= 1  # a histogram of which some parts were lost
    assert mended.last > 9000


@pytest.mark.parametrize("kept", [0, 3])
def test_what_was_compressed_as_one_and_cut_off_is_left_alone(tmp_path: Path, kept: int) -> None:
    """By gunzip and gzip, and a copy that had no room: all would be taken for an append that a crash has cut off."""
    path = tmp_path / "a.om.gz"
    write(path)
    data = path.read_bytes()
    members = [match.start() for match in re.finditer(b"\x1f\x8b\x08", data)]
    again = data[: members[kept]] + gzip.compress(gzip.decompress(data[members[kept] :]))
    path.write_bytes(again)
    Writer(path).close()  # whole
    path.write_bytes(again[:-9])
    with pytest.raises(ValueError, match=f"from byte {members[kept]} on, is cut off and holds several snapshots"):
        Writer(path)
    assert path.read_bytes() == again[:-9]


def test_a_long_recording_takes_no_memory(tmp_path: Path) -> None:
    """To continue it; half a megabyte may hold half a gigabyte."""
    path = tmp_path / "a.om.gz"
    line = b'yoloscope_train_batches_total{run="r",rank="0"} 1 1000.0\n'
    path.write_bytes(gzip.compress(b"# TYPE yoloscope_train_batches counter\n" + line * 200_000))
    tracemalloc.start()
    try:
        Writer(path).close()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_short_write_is_taken_back(path: Path) -> None:
    """A disk that is full in the middle of a block: what was before is complete, and can be continued."""
    before = content(write(path))
    old, now = resource.getrlimit(resource.RLIMIT_FSIZE), path.stat().st_size
    writer = Writer(path)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (now + 100, old[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.samples(5000.0, next(iter(moments(PLAN, 2.0, 5000.0)))[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
        writer.close()
    assert path.stat().st_size == now
    (read,) = reader.read(path)
    assert content(read) == before
    if path.suffix != ".gz":
        assert path.read_bytes().endswith(b"\n# EOF\n")


def test_a_second_writer_is_refused(path: Path) -> None:
    """Two would write over each other."""
    first = Writer(path)
    with pytest.raises(ValueError, match="another process is recording to it"):
        Writer(path)
    first.close()
    Writer(path).close()


def test_only_regular_files_are_written(tmp_path: Path) -> None:
    """Nobody waits for the reader of a pipe, and no device is truncated."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/full"), Path("/dev/null")):
        with pytest.raises(ValueError, match="not a regular file"):
            Writer(path)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.om", b"milk"),
        ("a.om", b"milk\n"),
        ("a.om", b"#!/bin/bash\nexport A=1\nyolo train"),
        ("a.om", b"# my settings\nlr0: 0.01"),
        ("a.om.gz", b"milk\n"),
        ("a.om.gz", gzip.compress(b"milk\n")),
        ("a.om.gz", gzip.compress(b"# TYPE x gauge\n") + b"milk"),
    ],
    ids=["no line", "a line", "a script", "settings", "not packed", "packed", "packed and more"],
)
def test_what_is_no_recording_stays_as_it_is(tmp_path: Path, name: str, found: bytes) -> None:
    """A slip of the finger must not cost a file."""
    path = tmp_path / name
    path.write_bytes(found)
    with pytest.raises(ValueError, match=r"does not begin like a recording|not gzip after byte"):
        Writer(path)
    assert path.read_bytes() == found


def test_a_damaged_part_is_counted(tmp_path: Path) -> None:
    """What stands before it is read, and that something is missing is said."""
    path = tmp_path / "a.om.gz"
    write(path)
    data = bytearray(path.read_bytes())
    second = data.index(b"\x1f\x8b", 2)
    data[second : second + 4] = b"milk"
    path.write_bytes(data)
    (read,) = reader.read(path)
    assert read.first == read.last == 998
    assert read.skipped["the rest of a damaged gzip file"] == 1


def test_much_in_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    """1.5 MB of gzip can hold gigabytes: one line without an end, and lines of nothing."""
    path = tmp_path / "a.om.gz"
    good = b'yoloscope_train_up{run="r",rank="0"} 1 1000\n'
    path.write_bytes(gzip.compress(good + b"0" * 100_000_000 + b"\n" + b"\n" * 50_000 + good))
    tracemalloc.start()
    (read,) = reader.read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6
    assert len(read.series[catalog.TRAIN_UP.name]["r", "0"].times) == 1
    assert read.skipped == {"repeated": 1, "not a line of a sample with a timestamp": 1}


def test_any_order_of_lines_is_read(tmp_path: Path) -> None:
    """Sorted by family instead of by time, as OpenMetrics wants it, it says the same."""
    path = tmp_path / "a.om"
    written = write(path)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    families = sorted(lines, key=lambda line: re.split("[{ ]", line)[0])
    (read,) = reader.parse(families)
    assert content(read) == content(written)


def test_lines_that_are_no_samples_are_counted() -> None:
    """Noise costs itself only, and is said."""
    noise = random.Random(1)
    garbage = ["", "# HELP x y", "yoloscope_train_up 1", "node_load1 3 1000", "yoloscope_new_thing 1 1000", "\x00\x01"]
    good = ['yoloscope_train_up{run="r",rank="0"} 1 1000', 'yoloscope_train_up{rank="0",run="r"} 1 1001']
    lines = garbage + good
    noise.shuffle(lines)
    (store,) = reader.parse(sorted(lines, key=lambda line: line.endswith("1001")))
    assert list(store.series[catalog.TRAIN_UP.name]["r", "0"].times) == [1000, 1001]
    assert store.skipped == {
        "not a line of a sample with a timestamp": 2,
        "not a metric of yoloscope": 1,
        "unknown metric yoloscope_new_thing": 1,
    }


def test_instances_are_kept_apart() -> None:
    """GPU 0 of one node is not GPU 0 of another."""
    line = 'yoloscope_gpu_utilization_ratio{{gpu="0",instance="{}"}} {} 1000'
    stores = reader.parse([line.format("a", 0.1), line.format("b", 0.9)])
    values = [store.series[catalog.GPU_UTILIZATION_RATIO.name]["0",].values[0] for store in stores]
    assert values == [0.1, 0.9]


def test_clusters_are_kept_apart() -> None:
    """Federated series of two clusters whose nodes have the same addresses, scraped in turn."""
    line = 'yoloscope_train_batches_total{{run="r",rank="0",instance="x",cluster="{}",job="{}"}} {} {}'
    lines = [line.format(*who, base + 10 * i, 1000 + 5 * i) for i in range(3) for who, base in TARGETS.items()]
    stores = reader.parse(lines)
    assert [(store.cluster, store.job, store.name, store.skipped.total()) for store in stores] == [
        (*who, "x", 0) for who in TARGETS
    ]
    grown = [store.series["yoloscope_train_batches_total"]["r", "0"] for store in stores]
    assert [(series.values[-1] - series.values[0], series.resets) for series in grown] == [(20, 0)] * len(TARGETS)


TARGETS = {("east", "a"): 100, ("west", "a"): 50_000, ("west", "b"): 7}


def test_labels_are_unescaped() -> None:
    """Quotes and backslashes in labels survive; a new line would draw over what stands below."""
    sample = Sample(catalog.TRAIN_UP, ('a"b\\c\nd', "0"), 1.0)
    text = Renderer().render([sample]).get(Form(openmetrics=True)).decode()
    (store,) = reader.parse(stamped(text, 5.0, set()).splitlines())
    assert list(store.series[catalog.TRAIN_UP.name]) == [('a"b\\c?d', "0")]


def test_histograms_of_other_bounds_are_left_out() -> None:
    """A bucket that is missing makes the whole histogram unknown, not wrong."""
    lines = [f'yoloscope_train_step_seconds_bucket{{run="r",rank="0",le="{le}"}} 1 10' for le in ("0.5", "+Inf")]
    (store,) = reader.parse([*lines, 'yoloscope_train_step_seconds_sum{run="r",rank="0"} 1 10'])
    assert catalog.TRAIN_STEP_SECONDS.name not in store.series
    assert store.skipped == {"histogram with other buckets or parts missing": 1}


@pytest.mark.parametrize("data", [b"", b"hello\n", b"\x1f\x8bnot gzip at all"])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    """A file without a sample of ours is an error in one line."""
    path = tmp_path / "x.om"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"gzip|no samples of yoloscope"):
        reader.read(path)


def test_a_foreign_file_is_not_appended_to(tmp_path: Path) -> None:
    """Nobody's notes are overwritten."""
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk\n")
    with pytest.raises(ValueError, match="recording"):
        Writer(path)
    assert path.read_text() == "remember the milk\n"


def test_promtool_loads_it(tmp_path: Path) -> None:
    """`promtool tsdb create-blocks-from openmetrics` makes blocks of a recording."""
    promtool = require_binary("promtool")
    path, data = tmp_path / "a.om", tmp_path / "data"
    write(path, start=1_790_000_000.0)
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(path), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run([promtool, "tsdb", "list", str(data)], capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) >= 2, listed
