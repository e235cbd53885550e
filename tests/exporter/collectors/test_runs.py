"""The collector of trainings: what it shows, for how long, and whom it does not believe."""

from __future__ import annotations

import dataclasses
import math
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.collectors import ActiveRanks, Trainer, run_samples, runs
from yoloscope_exporter.collectors.runs import Runs
from yoloscope_record.file_format import Identity
from yoloscope_record.loader_facts import SlowFile, slow_file_facts
from yoloscope_record.paths import run_directory
from yoloscope_record.writer import Writer

from tests.exporter import world
from tests.exporter.world import NOW, RUN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.catalog import Metric
    from yoloscope_record.reader import Record

STATE = catalog.TRAIN_STATE.name
UP, DEVICE = catalog.TRAIN_UP.name, catalog.TRAIN_DEVICE_INFO.name


def collected(collector: Runs) -> dict[tuple[str, tuple[str, ...]], object]:
    """One collection by name and labels, without the count of what is refused (`test_owners`)."""
    samples = [sample for sample in collector.collect() if sample.metric is not catalog.RECORDS_REFUSED_TOTAL]
    return {(sample.metric.name, sample.labels): sample.value for sample in samples}


def state(values: dict[tuple[str, tuple[str, ...]], object], run: str = RUN, rank: str = "0") -> list[str]:
    """The states that are 1."""
    return [
        labels[2] for (name, labels), value in values.items() if name == STATE and labels[:2] == (run, rank) and value
    ]


CHILD = """
import sys, time
from pathlib import Path
from yoloscope_exporter import catalog
from yoloscope_record.file_format import Identity
from yoloscope_record.loader_facts import SlowFile, slow_file_facts
from yoloscope_record.paths import run_directory
from yoloscope_record.writer import Writer
identity = Identity("alive", "0")
writer = Writer(run_directory(Path(sys.argv[1]), "alive") / identity.filename, identity, slots=32, ring=4)
left = writer.slot(catalog.TRAIN_REMAINING_SECONDS, "alive", "0")
writer.begin(); writer.set_state("train"); writer.values[left] = 3600.0; writer.end(time.time())
print("ready", flush=True)
time.sleep(60)
"""


def test_nothing_yet(tmp_path: Path) -> None:
    """No record directory is no error: no training has been here."""
    assert collected(Runs(world.World(tmp_path).context)) == {}


def test_missing_directory_names_the_mount(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a directory the collector is well, and says once which mount a container lacks."""
    collector = Runs(world.World(tmp_path).context)
    with caplog.at_level("INFO"):
        for _ in range(3):
            assert list(collector.collect()) == []
    assert [record.message.count("mount the node's /dev/shm/yoloscope") for record in caplog.records] == [1]


def test_unreadable_directory_names_the_mount(tmp_path: Path) -> None:
    """A directory that cannot be listed fails the collector, with the path, the reason and the mount to check."""
    node = world.World(tmp_path)
    node.context.records.touch()
    with pytest.raises(OSError, match=r"records: Not a directory; in a container mount the node's"):
        list(Runs(node.context).collect())


def test_roster_knows_the_living(node: world.World) -> None:
    """A living rank is announced with its pid; after its death it is not, the state is killed, and no time is left."""
    left = (catalog.TRAIN_REMAINING_SECONDS.name, ("alive", "0"))
    roster = ActiveRanks()
    context = world.replace_trainers(node.context, roster)
    collector = Runs(context)
    command = [sys.executable, "-c", CHILD, str(node.records)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            values = collected(collector)
            assert (values[UP, ("alive", "0")], values[left], state(values, "alive")) == (1, 3600, ["train"])
            assert roster() == {child.pid: Trainer("alive", "0", child.pid)}
        finally:
            child.kill()
    values = collected(collector)
    assert (values[UP, ("alive", "0")], left in values, state(values, "alive")) == (0, False, ["killed"])
    assert roster() == {}


@pytest.mark.parametrize("most", [0, 512])
def test_living_records_are_kept_open_while_there_is_room(
    node: world.World, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """What is seen is the same; with the writer's death the file is let go."""
    monkeypatch.setattr(runs, "MAX_OPEN", most)
    collector = Runs(node.context)
    with subprocess.Popen([sys.executable, "-c", CHILD, node.records], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        for _ in range(2):
            assert state(collected(collector), "alive") == ["train"]
            assert (opened(node.records) != []) is (most > 0)
        child.kill()
    assert state(collected(collector), "alive") == ["killed"]
    assert not opened(node.records)


@pytest.mark.parametrize(("limit", "most"), [(1 << 20, 512), (1024, 256), (64, 16), (resource.RLIM_INFINITY, 512)])
def test_a_quarter_of_the_descriptors_is_for_records(monkeypatch: pytest.MonkeyPatch, limit: int, most: int) -> None:
    """Half is for connections."""
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (limit, limit))
    assert runs._most_open() == most


def test_no_more_are_open_than_there_is_room_for(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for the moment in which a run that was behind another comes before it."""
    monkeypatch.setattr(runs, "MAX_OPEN", 2)
    names = ["alive", "beside", "beyond", "behind"]
    collector = Runs(node.context)
    with ExitStack() as stack:
        for run in names:
            code = CHILD.replace("alive", run)
            child = subprocess.Popen([sys.executable, "-c", code, node.records], stdout=subprocess.PIPE)
            stack.enter_context(child)
            stack.callback(child.kill)
            assert child.stdout is not None
            child.stdout.readline()
        for _ in range(4):
            for number, run in enumerate(names):
                os.utime(run_directory(node.records, run), (NOW + number, NOW + number))
            names.reverse()
            assert max(len(opened(node.records)) for _ in collector.collect()) == 2


def opened(directory: Path) -> list[str]:
    """Files below a directory that this process has open."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one of this listing
            links.append(str(entry.readlink()))
    return [link for link in links if link.startswith(str(directory))]


@pytest.mark.parametrize(("ended", "keep"), [("finished", 900.0), ("failed", 900.0), ("train", 3600.0)])
def test_dead_runs_stay_for_a_while(node: world.World, ended: str, keep: float) -> None:
    """A finished run for 15 minutes, a killed one for an hour; then all its series go, its file stays."""
    world.records(node.records, "0", state=ended, ended=NOW)
    collector = Runs(node.context)
    node.now = NOW + keep
    assert state(collected(collector)) == [ended if ended != "train" else "killed"]
    node.now = NOW + keep + 1
    assert collected(collector) == {}
    assert collected(Runs(node.context)) == {}
    assert run_directory(node.records, RUN).exists()


def test_end_is_told_only_of_an_end(node: world.World) -> None:
    """`train_end` stands after a finished or failed run, never after a killed one."""
    end = (catalog.TRAIN_END_TIMESTAMP_SECONDS.name, (RUN, "0"))
    world.records(node.records, "0", state="train")
    assert end not in collected(Runs(node.context))
    shutil.rmtree(run_directory(node.records, RUN))
    world.records(node.records, "0", state="failed", ended=NOW - 9)
    assert collected(Runs(node.context))[end] == NOW - 9


def test_time_of_death_in_the_future_is_not_believed(node: world.World) -> None:
    """A record that says it was written tomorrow expires like one of now."""
    world.records(node.records, "0", ended=NOW + 1e9)
    collector = Runs(node.context)
    assert collected(collector)
    node.now = NOW + 901
    assert collected(collector) == {}


def test_old_directories_are_removed(node: world.World) -> None:
    """A day after its end our own run's directory goes, not before."""
    world.records(node.records, "0", run="old", ended=NOW)
    age_files(node.records, NOW)
    collector = Runs(node.context)
    for node.now in (NOW + 901, NOW + 80_000):
        assert collected(collector) == {}
        assert run_directory(node.records, "old").exists()
    node.now = NOW + 90_000
    collected(collector)
    assert not run_directory(node.records, "old").exists()


def age_files(base: Path, moment: float) -> None:
    """Let everything below `base` be of that time."""
    for path in sorted(base.rglob("*"), reverse=True):
        os.utime(path, (moment, moment), follow_symlinks=False)


def test_a_run_of_the_same_name_comes_back(node: world.World) -> None:
    """After a run has disappeared, a new one in the same directory is seen."""
    world.records(node.records, "0", ended=NOW)
    collector = Runs(node.context)
    node.now = NOW + 5000
    assert collected(collector) == {}
    world.records(node.records, "0", ended=NOW + 4999)
    assert state(collected(collector)) == ["finished"]


def test_workers_are_merged_into_their_rank(node: world.World) -> None:
    """Each worker has its counters, the histogram of preparation is the sum over all of them."""
    world.records(node.records, "0", ended=NOW)
    values = collected(Runs(node.context))
    assert values[catalog.TRAIN_WORKER_BATCHES_TOTAL.name, (RUN, "0", "1")] == 21
    merged = values[catalog.TRAIN_LOADER_BATCH_SECONDS.name, (RUN, "0")]
    assert isinstance(merged, HistogramValue)
    assert (sum(merged.counts), merged.sum) == (2, pytest.approx(0.06))


def slow(collector: Runs, metric: Metric) -> dict[str, object]:
    """Values by file."""
    return {labels[2]: value for (name, labels), value in collected(collector).items() if name == metric.name}


def test_slowest_files_of_a_rank(node: world.World) -> None:
    """Five of what its workers tell; a file that both had comes once, as the slower had it."""
    world.records(node.records, "0", ended=NOW)
    for worker in "01":
        identity = Identity(RUN, "0", "worker", worker)
        files = [SlowFile(number + int(worker) / 2, 1000 * number, f"/{number}") for number in range(1, 5)]
        files.append(SlowFile(0.5 + int(worker), None, f"/only-{worker}"))
        path = run_directory(node.records, RUN) / identity.filename
        with closing(Writer(path, identity, {**slow_file_facts(files), "slow_file_6": "99 1 /six"})) as writer:
            writer.end(NOW)
    collector = Runs(node.context)
    assert slow(collector, catalog.TRAIN_SLOW_FILE_SECONDS) == {
        "/4": 4.5,
        "/3": 3.5,
        "/2": 2.5,
        "/1": 1.5,
        "/only-1": 1.5,
    }
    assert slow(collector, catalog.TRAIN_SLOW_FILE_BYTES) == {"/4": 4000, "/3": 3000, "/2": 2000, "/1": 1000}


def test_slow_files_that_cannot_be_true(node: world.World) -> None:
    """A record is somebody else's file: what is no number, or no real one, is not shown; nor is a series of its own."""
    identity = Identity(RUN, "0", "worker", "0")
    world.records(node.records, "0", ended=NOW)
    told = {"slow_file_1": "1e999 5 /a", "slow_file_2": "-1 5 /b", "slow_file_3": "x", "slow_file_4": "2 1 /c\nd"}
    with closing(Writer(run_directory(node.records, RUN) / identity.filename, identity, told)) as writer:
        slot = writer.slot(catalog.TRAIN_SLOW_FILE_SECONDS, RUN, "0", "/mine")
        writer.values[slot] = 9.0
        writer.end(NOW)
    assert slow(Runs(node.context), catalog.TRAIN_SLOW_FILE_SECONDS) == {"/c?d": 2.0}


def test_merged_histogram_does_not_fall_when_a_worker_is_lost(node: world.World) -> None:
    """A worker's record that cannot be read any more keeps its share, or the counter would go backwards."""
    world.records(node.records, "0", ended=NOW)
    collector = Runs(node.context)
    collected(collector)
    path = run_directory(node.records, RUN) / Identity(RUN, "0", "worker", "1").filename
    damage(path, 0, b"DAMAGED!")
    for _ in range(5):
        merged = collected(collector)[catalog.TRAIN_LOADER_BATCH_SECONDS.name, (RUN, "0")]
        assert isinstance(merged, HistogramValue)
        assert sum(merged.counts) == 2
    assert node.rejected == [("runs", "magic")]


def damage(path: Path, offset: int, data: bytes) -> None:
    """Overwrite a part of a record, as a new file."""
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.unlink()
    path.write_bytes(content)


def test_record_unreadable_for_a_moment_is_bridged(node: world.World) -> None:
    """For three cycles the last good copy of a rank stands in; then its series are gone."""
    world.records(node.records, "0", ended=NOW)
    collector = Runs(node.context)
    collected(collector)
    damage(run_directory(node.records, RUN) / Identity(RUN).filename, 0, b"DAMAGED!")
    for _ in range(3):
        assert (UP, (RUN, "0")) in collected(collector)
    assert (UP, (RUN, "0")) not in collected(collector)


# --- who is not believed --------------------------------------------------------------------------------------------


def test_refusals_are_counted_and_said_once(node: world.World, caplog: pytest.LogCaptureFixture) -> None:
    """Links, rubbish and records of another format, each with its reason, once however often they are read."""
    world.records(node.records, "0", ended=NOW)
    folder = run_directory(node.records, RUN)
    (folder / "rank-7.rec").symlink_to("/etc/passwd")
    (folder / "rank-8.rec").write_bytes(b"rubbish" * 100)
    (folder / "rank-9.rec").write_bytes(b"")
    os.mkfifo(folder / "rank-6.rec")
    collector = Runs(node.context)
    for _ in range(3):
        assert state(collected(collector)) == ["finished"]
    assert sorted(node.rejected) == [("runs", "magic"), ("runs", "size"), ("runs", "type"), ("runs", "type")]
    assert len(caplog.records) == 4


def test_nobody_speaks_for_another_run(node: world.World) -> None:
    """A record that lies in another run's directory, or under another rank's name, is refused."""
    world.records(node.records, "0", ended=NOW)
    source = run_directory(node.records, RUN) / Identity(RUN).filename
    (node.records / "mine").mkdir()
    shutil.copy(source, node.records / "mine" / source.name)
    shutil.copy(source, source.with_name("rank-5.rec"))
    values = collected(Runs(node.context))
    assert [labels for name, labels in values if name == UP] == [(RUN, "0")]
    assert node.rejected.count(("runs", "identity")) == 2


def test_series_carry_the_records_own_run_and_rank(node: world.World) -> None:
    """Labels in the slots that claim another run, rank or worker are replaced by those of the identity."""
    for identity in (Identity("mine"), Identity("mine", "0", "worker", "3")):
        path = run_directory(node.records, "mine") / identity.filename
        with closing(Writer(path, identity, slots=64, ring=4)) as writer:
            writer.slot(catalog.TRAIN_BATCHES_TOTAL, "yours", "9")
            writer.slot(catalog.TRAIN_WORKER_BATCHES_TOTAL, "yours", "9", "8")
        world.age(path, created=NOW, updated=NOW)
    owners = {labels[:2] for _, labels in collected(Runs(node.context))}
    workers = {labels for name, labels in collected(Runs(node.context)) if "worker_batches" in name}
    assert owners == {("mine", "0")}
    assert ("mine", "0", "3") in workers


def test_only_metrics_of_trainings_are_taken(node: world.World) -> None:
    """A record cannot set what belongs to the node, to the exporter or to the diagnosis."""
    path = run_directory(node.records, "mine") / Identity("mine").filename
    with closing(Writer(path, Identity("mine"), slots=64, ring=4)) as writer:
        writer.slot(catalog.CPU_SECONDS_TOTAL, "idle")
        writer.slot(catalog.TRAIN_WASTED_GPU_SECONDS_TOTAL, "mine", "0", "stalled")
        writer.slot(catalog.TRAIN_PROCESS_CPU_SECONDS_TOTAL, "mine", "0", "main")
        up = writer.slot(catalog.TRAIN_UP, "mine", "0")
        writer.begin()
        writer.values[up] = 1.0
        writer.end(NOW)
    world.age(path, created=NOW, updated=NOW)
    values = collected(Runs(node.context))
    assert values[UP, ("mine", "0")] == 0
    assert {name for name, _ in values} == {
        metric.name
        for metric in (
            catalog.TRAIN_UP,
            catalog.TRAIN_STATE,
            catalog.TRAIN_START_TIMESTAMP_SECONDS,
            catalog.TRAIN_RUN_INFO,
        )
    }


@pytest.mark.parametrize("kind", catalog.PREDICTIONS)
def test_a_prediction_is_no_training(node: world.World, kind: str) -> None:
    """What predicts, validates or exports has series of its own, whatever its record claims, and is no trainer."""
    identity = Identity("mine", "0", kind)
    path = run_directory(node.records, "mine") / identity.filename
    with closing(Writer(path, identity, {"mode": kind, "format": "onnx"}, slots=64, ring=0)) as writer:
        images, state_ = writer.slot(catalog.PREDICT_IMAGES_TOTAL, "mine", "0"), catalog.PREDICT_STATE.name
        under_way = writer.slot(catalog.PREDICT_UNDER_WAY, "mine", "0")
        writer.slot(catalog.TRAIN_BATCHES_TOTAL, "mine", "0")
        writer.begin()
        writer.set_state(kind)
        writer.values[images], writer.values[under_way] = 7.0, 1.0
        writer.end(NOW)
    world.age(path, created=NOW, updated=NOW)
    values = collected(Runs(node.context))
    assert {name for name, _ in values if not name.startswith("yoloscope_predict_")} == set()
    assert values[catalog.PREDICT_IMAGES_TOTAL.name, ("mine", "0")] == 7
    assert values[catalog.PREDICT_UP.name, ("mine", "0")] == 0
    assert values[catalog.PREDICT_UNDER_WAY.name, ("mine", "0")] == 0  # its process is gone
    assert [labels[2] for (name, labels), value in values.items() if name == state_ and value] == ["killed"]
    (info,) = [labels for name, labels in values if name == catalog.PREDICT_RUN_INFO.name]
    assert catalog.PREDICT_RUN_INFO.labelled(info)["format"] == "onnx"


SIGTERMED = """
import os, signal, sys
from pathlib import Path
from yoloscope_hooks import stacks
stacks.leave_word(Path(sys.argv[1]), "mine", "0")
os.kill(os.getpid(), int(sys.argv[2]))
"""


@pytest.mark.parametrize(("number", "state"), [(signal.SIGTERM, "stopped"), (signal.SIGKILL, "killed")])
def test_a_prediction_that_was_told_to_end(node: world.World, number: int, state: str) -> None:
    """By SIGTERM it was stopped, by nothing else."""
    identity = Identity("mine", "0", "predict")
    path = run_directory(node.records, "mine") / identity.filename
    with closing(Writer(path, identity, {"mode": "predict"}, slots=64, ring=0)) as writer:
        writer.begin()
        writer.set_state("predict")
        writer.end(NOW)
    subprocess.run([sys.executable, "-c", SIGTERMED, str(path.parent), str(int(number))], check=False)
    world.age(path, created=NOW, updated=NOW)
    values = collected(Runs(node.context))
    assert [labels[2] for (name, labels), on in values.items() if name == catalog.PREDICT_STATE.name and on] == [state]


@pytest.mark.parametrize(
    ("daemon", "calls", "told"), [("True", 0.0, "finished"), ("True", 1.0, "killed"), ("", 0.0, "killed")]
)
def test_workers_of_a_pool_that_is_over(node: world.World, daemon: str, calls: float, told: str) -> None:
    """They are terminated by their parent: who was in no call then has done what it was asked for."""
    identity = Identity("mine", "0", "predict")
    path = run_directory(node.records, "mine") / identity.filename
    with closing(Writer(path, identity, {"mode": "predict", "daemon": daemon}, slots=64, ring=0)) as writer:
        under_way = writer.slot(catalog.PREDICT_UNDER_WAY, "mine", "0")
        writer.begin()
        writer.set_state("predict")
        writer.values[under_way] = calls
        writer.end(NOW)
    world.age(path, created=NOW, updated=NOW)
    values = collected(Runs(node.context))
    (state,) = [labels[2] for (name, labels), on in values.items() if name == catalog.PREDICT_STATE.name and on]
    assert state == told


@pytest.mark.parametrize("later", ["first", "second"])
def test_a_job_that_comes_again_is_known_at_once(node: world.World, later: str) -> None:
    """Whichever of its runs is read first: a report looks once."""
    for run, facts in (("first", {}), ("second", {"slurm_restarts": "1"})):
        path = run_directory(node.records, run) / Identity(run).filename
        with closing(Writer(path, Identity(run), {"slurm_job_id": "7", **facts}, slots=8, ring=0)) as writer:
            writer.set_state("train")
            writer.end(NOW)
        changed = NOW - 1 + (run == later)
        world.age(path, created=changed, updated=changed)
    name = catalog.TRAIN_END_INFO.name
    events = {labels[0]: labels[8] for (metric, labels) in collected(Runs(node.context)) if metric == name}
    assert catalog.TRAIN_END_INFO.labels[8] == "event"
    assert events == {"first": catalog.JOB_REQUEUED}


def test_a_training_cannot_claim_predictions(node: world.World) -> None:
    """Nor can a record be in a state that its kind does not have."""
    path = run_directory(node.records, "mine") / Identity("mine").filename
    with closing(Writer(path, Identity("mine"), slots=64, ring=4)) as writer:
        writer.slot(catalog.PREDICT_IMAGES_TOTAL, "mine", "0")
        writer.end(NOW)
    world.age(path, created=NOW, updated=NOW)
    assert {name for name, _ in collected(Runs(node.context)) if "predict" in name} == set()
    with closing(Writer(path, Identity("mine"), slots=64, ring=4)) as writer:
        writer.begin()
        writer.set_state("predict")
        writer.end(NOW)
    world.age(path, created=NOW, updated=NOW)
    assert collected(Runs(node.context)) == {}


def test_limits(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many runs, records of a run, and series of a run; the rest is counted."""
    for run in ("a", "b", "c"):
        world.records(node.records, "0", run=run, ended=NOW)
    monkeypatch.setattr(runs, "MAX_RUNS", 2)
    assert len({labels[0] for _, labels in collected(Runs(node.context))}) == 2
    monkeypatch.setattr(runs, "MAX_FILES", 2)
    assert {labels[2] for name, labels in collected(Runs(node.context)) if "worker_batches" in name} == {"0"}
    monkeypatch.setattr(runs, "MAX_SERIES", 20)  # room for the rank's, not for a worker's too
    names = {name for name, _ in collected(Runs(node.context))}
    assert catalog.TRAIN_BATCHES_TOTAL.name in names
    assert catalog.TRAIN_WORKER_BATCHES_TOTAL.name not in names
    assert {("runs", "files"), ("runs", "series")} == set(node.rejected)  # runs that are over make room for others


def test_old_runs_take_nobodys_place(node: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a tuner's many runs, a training that began before them is found, and nothing is refused for ever."""
    world.records(node.records, "0", run="long", ended=NOW + 4999)
    os.utime(run_directory(node.records, "long"), (NOW - 9000, NOW - 9000))
    for run in ("a", "b", "c"):
        world.records(node.records, "0", run=run, ended=NOW)
    monkeypatch.setattr(runs, "MAX_RUNS", 2)
    node.now = NOW + 5000
    collector = Runs(node.context)
    assert collected(collector) == {}
    assert {labels[0] for _, labels in collected(collector)} == {"long"}
    node.rejected.clear()
    collected(collector)
    assert not node.rejected


def test_links_to_directories_are_not_followed(node: world.World, tmp_path: Path) -> None:
    """A link in the record directory is nobody's run."""
    elsewhere = tmp_path / "elsewhere"
    world.records(elsewhere, "0", ended=NOW)
    run_directory(node.records, RUN).symlink_to(run_directory(elsewhere, RUN))
    assert collected(Runs(node.context)) == {}


def test_facts_and_device(node: world.World) -> None:
    """Facts stand on info metrics; the owner of the file is the user, whatever the facts say."""
    world.records(node.records, "0", ended=NOW)
    values = collected(Runs(node.context))
    (info,) = [labels for name, labels in values if name == catalog.TRAIN_RUN_INFO.name]
    facts = catalog.TRAIN_RUN_INFO.labelled(info)
    assert (facts["model"], facts["task"], facts["pid"]) == ("yolo11n.yaml", "", "42")
    assert facts["user"] != "ada"
    assert (catalog.TRAIN_DEVICE_INFO.name, (RUN, "0", "0", "GPU-9")) in values


ODD_NUMBERS = [math.nan, math.inf, 1.7e308, -1.7e308, -1.0]


@pytest.mark.parametrize("number", ODD_NUMBERS)
@pytest.mark.parametrize(
    "metric", [catalog.TRAIN_BATCHES_TOTAL, catalog.TRAIN_BATCH_SIZE, catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS]
)
def test_numbers_that_cannot_be_true_are_left_out(node: world.World, metric: Metric, number: float) -> None:
    """Counters, gauges and moments: not finite, too large for anything, or negative where nothing is."""
    values = collected(stored(node, metric, number))
    assert (metric.name, (RUN, "0")) not in values
    assert state(values) == ["finished"]


@pytest.mark.parametrize(("stored_value", "shown"), [(-3.5, -3.5), (1e-320, 0.0), (1e30, None)])
def test_a_loss_may_be_negative_but_not_beyond_everything(
    node: world.World, stored_value: float, shown: float | None
) -> None:
    """What is smaller than anything real is 0: no quotient may overflow."""
    values = collected(stored(node, catalog.TRAIN_LOSS, stored_value, "box"))
    assert values.get((catalog.TRAIN_LOSS.name, (RUN, "0", "box"))) == shown


@pytest.mark.parametrize("part", [*ODD_NUMBERS, 0.5])
@pytest.mark.parametrize("place", [0, len(catalog.STEP_BUCKETS)])
def test_histograms_hold_whole_observations(node: world.World, part: float, place: int) -> None:
    """A bucket with half of one, or with less than none, makes it no histogram."""
    path = run_directory(node.records, RUN) / Identity(RUN).filename
    with closing(Writer(path, Identity(RUN), slots=64, ring=4)) as writer:
        first = writer.histogram(catalog.TRAIN_STEP_SECONDS, RUN, "0")
        writer.begin()
        writer.observe(first, catalog.STEP_BUCKETS, 0.03)
        writer.values[first + place] = part
        writer.end(NOW)
    world.age(path, created=NOW, updated=NOW)
    assert (catalog.TRAIN_STEP_SECONDS.name, (RUN, "0")) not in collected(Runs(node.context))


def stored(node: world.World, metric: Metric, number: float, *labels: str) -> Runs:
    """A collector over a finished rank whose record holds that one number."""
    path = run_directory(node.records, RUN) / Identity(RUN).filename
    with closing(Writer(path, Identity(RUN), slots=64, ring=4)) as writer:
        slot = writer.slot(metric, RUN, "0", *labels)
        writer.begin()
        writer.set_state("finished")
        writer.values[slot] = number
        writer.end(NOW)
    world.age(path, created=NOW, updated=NOW)
    return Runs(node.context)


@pytest.mark.parametrize("moment", [-1.0, 1.7e308])
def test_moments_in_the_head_that_cannot_be_true_are_left_out(node: world.World, moment: float) -> None:
    """Neither start nor end is told; the rest of the record is."""
    world.records(node.records, "0", ended=NOW)
    world.age(run_directory(node.records, RUN) / Identity(RUN).filename, created=NOW, updated=NOW)
    path = run_directory(node.records, RUN) / Identity(RUN).filename
    damage(path, 72, struct.pack("=dd", moment, 1.7e308))
    names = {name for name, _ in collected(Runs(node.context))}
    assert catalog.TRAIN_BATCHES_TOTAL.name in names
    assert not names & {catalog.TRAIN_START_TIMESTAMP_SECONDS.name, catalog.TRAIN_END_TIMESTAMP_SECONDS.name}


def test_a_run_that_cannot_be_taken_in_leaves_the_others_theirs(
    node: world.World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it is: it is counted each time, and said once."""
    for run in ("bad", "good"):
        world.records(node.records, "0", run=run, ended=NOW)
    usual = run_samples._facts

    def fail(record: Record, *arguments: object) -> Iterator[Sample]:
        if record.identity.run == "bad":
            raise ZeroDivisionError
        return usual(record, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run_samples, "_facts", fail)
    collector = Runs(node.context)
    for _ in range(3):
        assert {labels[0] for _, labels in collected(collector)} == {"good"}
    assert node.rejected == [("runs", "error")] * 3
    assert [record.getMessage() for record in caplog.records] == [
        f"the run in {node.records / 'bad'} is not published: ZeroDivisionError: "
    ]


# --- what a run belongs to ------------------------------------------------------------------------------------------


def test_job_info(node: world.World) -> None:
    """What the hooks recorded of Slurm and Kubernetes stands on an info metric of its own, and only where it exists."""
    world.records(node.records, "0", ended=NOW)
    assert catalog.TRAIN_JOB_INFO.name not in {name for name, _ in collected(Runs(node.context))}
    path = run_directory(node.records, "job") / Identity("job").filename
    facts = {"slurm_job_id": "7", "slurm_partition": "gpu", "container": "trainer"}
    with closing(Writer(path, Identity("job"), facts, slots=8, ring=4)):
        pass
    world.age(path, created=NOW, updated=NOW)
    assert (catalog.TRAIN_JOB_INFO.name, ("job", "0", "7", "", "gpu", "", "", "trainer")) in collected(
        Runs(node.context)
    )


GPUS = [
    Sample(catalog.GPU_INFO, ("0", "GPU-a", "H100", "", "", ""), 1.0),
    Sample(catalog.GPU_INFO, ("1", "GPU-b", "H100", "", "", ""), 1.0),
    Sample(catalog.GPU_INFO, ("2", "GPU-c", "H100", "", "", ""), 1.0),
    Sample(catalog.GPU_INFO, ("2/0", "MIG-d", "H100 MIG 3g.40gb", "", "", ""), 1.0),
    Sample(catalog.GPU_INFO, ("2/1", "MIG-e", "H100 MIG 3g.40gb", "", "", ""), 1.0),
]


@pytest.mark.parametrize(
    ("facts", "processes", "expected"),
    [
        ({"gpu_uuid": "GPU-b"}, [], ("1", "GPU-b")),
        ({"gpu_uuid": "GPU-z"}, [], None),
        ({}, [("1", "42", "python", "train", "0", "li")], ("1", "GPU-b")),
        ({}, [("0", "42", "python", "train", "0", "li"), ("1", "42", "python", "train", "0", "li")], None),
        ({}, [("1", "42", "python", "train", "1", "li")], None),
        ({}, [], None),
        ({"gpu_uuid": "MIG-e"}, [], ("2/1", "MIG-e")),
        ({"gpu_uuid": "GPU-e"}, [], ("2/1", "MIG-e")),
        ({"gpu_uuid": "GPU-c"}, [], None),
        ({"gpu_uuid": "GPU-c"}, [("2/0", "42", "python", "train", "0", "li")], ("2/0", "MIG-d")),
    ],
)
def test_device_of_a_rank(
    node: world.World, facts: dict[str, str], processes: list[tuple[str, ...]], expected: tuple[str, str] | None
) -> None:
    """By UUID, else by the one GPU on which the driver has seen the rank's process; absent while uncertain.

    CUDA tells a MIG instance's UUID as if it were a GPU's, or that of its GPU, which says nothing of the instance.
    """
    path = run_directory(node.records, "train") / Identity("train").filename
    with closing(Writer(path, Identity("train"), facts, slots=8, ring=4)):
        pass
    world.age(path, created=NOW, updated=NOW)
    seen = [*GPUS, *(Sample(catalog.GPU_PROCESS_MEMORY_BYTES, labels, 1.0) for labels in processes)]
    values = collected(Runs(dataclasses.replace(node.context, latest=lambda: seen)))
    assert [labels[2:] for name, labels in values if name == catalog.TRAIN_DEVICE_INFO.name] == [expected] * bool(
        expected
    )


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ([("1", "41", "python", "theirs", "0", "li")], []),
        ([("1", "41", "python", "theirs", "0", "li"), ("1", "42", "python", "alive", "0", "li")], [("1", "GPU-b")]),
        ([("1", "41", "python", "theirs", "0", "li"), ("0", "42", "python", "alive", "0", "li")], [("0", "GPU-a")]),
        ([("1", "41", "Xorg", "", "", "root")], [("1", "GPU-b")]),
        ([], [("1", "GPU-b")]),
    ],
)
def test_a_gpu_that_others_train_on_cannot_be_claimed(
    node: world.World, processes: list[tuple[str, ...]], expected: list[tuple[str, str]]
) -> None:
    """The driver's word counts where it has one; of a rank that is dead it has none any more."""
    code = CHILD.replace("slots=32", "{'gpu': '1', 'gpu_uuid': 'GPU-b'}, slots=32")
    with subprocess.Popen([sys.executable, "-c", code, node.records], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        seen = [*GPUS, *(Sample(catalog.GPU_PROCESS_MEMORY_BYTES, labels, 1.0) for labels in processes)]
        collector = Runs(dataclasses.replace(node.context, latest=lambda: seen))
        assert [labels[2:] for name, labels in collected(collector) if name == DEVICE] == expected
        child.kill()
    assert [labels[2:] for name, labels in collected(collector) if name == DEVICE] == [("1", "GPU-b")]
