"""Real trainings, watched: what is in the record is what happened."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter.catalog import HistogramValue
from yoloscope_record.reader import Reader, Record, read_ring

from tests.training import TINY, VERSIONS, Finished, make_dataset, start, train

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.train


@dataclass(frozen=True)
class Watched:
    """A finished training and its records by file name."""

    done: Finished
    records: Mapping[str, Record]
    folder: Path

    def value(self, name: str, *labels: str, record: str = "rank-0.rec") -> Any:
        """Value of one series, None if it is not set."""
        for sample in self.records[record].samples:
            if sample.metric.name == f"yoloscope_{name}" and sample.labels[2:] == labels:
                return sample.value
        return None

    def phases(self, record: str = "rank-0.rec") -> dict[str, float]:
        """Seconds by phase."""
        samples = self.records[record].samples
        return {s.labels[2]: s.value for s in samples if s.metric.name == "yoloscope_train_phase_seconds_total"}  # type: ignore[misc]


def watch(data: Path, folder: Path, **options: Any) -> Watched:
    """Train, see that nothing went wrong, and read the records."""
    done = train(data, folder / "runs", **options)
    assert done.code == 0, done.output
    assert "yoloscope:" not in done.output, done.output
    base = Path(os.environ["YOLOSCOPE_DIR"])
    (run,) = base.glob("*/*")
    return Watched(done, {path.name: Reader(path).read() for path in sorted(run.glob("*.rec"))}, run)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images: at four a batch, the last batch of an epoch has two."""
    return make_dataset(tmp_path_factory.mktemp("data"), images=10)


@pytest.fixture(scope="module")
def even(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images, six a rank: no batch has a single one, which a batch norm would not take."""
    return make_dataset(tmp_path_factory.mktemp("even"), images=12)


def check_single(seen: Watched, epochs: int) -> None:
    """What holds for every training of one process, three batches an epoch and four images a batch."""
    record = seen.records["rank-0.rec"]
    result = seen.done.result()
    assert record.state == "finished"
    assert not record.alive
    assert seen.value("train_hook_errors_total") == 0
    assert seen.value("train_batches_total") == result["batches"] == 3 * epochs
    assert seen.value("train_images_total") == 10 * epochs
    assert (seen.value("train_epoch"), seen.value("train_epochs")) == (epochs, epochs)
    assert (seen.value("train_epoch_batches"), seen.value("train_batch_size")) == (3, 4)
    assert record.facts["ultralytics"] == result["version"]
    for name in ("train_data_wait_seconds", "train_step_seconds"):
        histogram = seen.value(name)
        assert isinstance(histogram, HistogramValue)
        assert sum(histogram.counts) == 3 * epochs
    assert seen.value("train_loss", "box_loss") >= 0
    assert 0 < seen.value("train_learning_rate", "pg0") < 1
    assert seen.value("train_metric", "metrics/mAP50(B)") is not None
    assert len(read_ring(seen.folder / "rank-0.rec")) == 3 * epochs
    # ten images of training, five of validation, 64 x 64 pixels, trained on at 32
    assert seen.value("train_cache_needed_bytes", "ram") == 15 * 3 * 32 * 32
    assert seen.value("train_cache_needed_bytes", "disk") == 15 * 3 * 64 * 64
    assert seen.value("train_cache_disk_available_bytes") > 0
    assert (record.facts["nbs"], record.facts["val"], record.facts["save_period"]) == ("64", "True", "-1")


def check_sum(seen: Watched, record: str = "rank-0.rec") -> None:
    """The phases add up to wall time, from start to end."""
    wall = seen.value("train_end_timestamp_seconds", record=record) - seen.value(
        "train_start_timestamp_seconds", record=record
    )
    assert sum(seen.phases(record).values()) == pytest.approx(wall, rel=0.01)


#: The whole matrix takes minutes: YOLOSCOPE_MATRIX=1. Without it each version and each way is seen at least once.
FULL = bool(os.environ.get("YOLOSCOPE_MATRIX"))
long = pytest.mark.long
full_matrix = pytest.mark.skipif(not FULL, reason="only with YOLOSCOPE_MATRIX=1")
SINGLE = [("8.3.9", "attach"), ("8.4.2", "run")]  # the newest is in nearly every other test
RANKS = [("newest", "run")]
EVERYTHING = [(version, hooks) for version in VERSIONS for hooks in ("attach", "run")]


@pytest.mark.slow
@pytest.mark.parametrize(("version", "hooks"), EVERYTHING if FULL else SINGLE)
def test_single(data: Path, tmp_path: Path, version: str, hooks: str) -> None:
    """Every batch of a training in one process is recorded, and the phases add up to its wall time."""
    seen = watch(data, tmp_path, version=version, hooks=hooks)
    check_single(seen, epochs=1)
    check_sum(seen)


#: Run in the training process: each stage of the set-up is slow by half a second or more.
SLOW_SETUP = """
import time
import cpu_trainer
import ultralytics.data.base, ultralytics.data.dataset, ultralytics.engine.trainer

def slow(owner, name, seconds):
    original = getattr(owner, name)
    def slowed(*args, **kwargs):
        time.sleep(seconds)
        return original(*args, **kwargs)
    setattr(owner, name, slowed)

slow(ultralytics.engine.trainer, "check_amp", 0.6)
slow(ultralytics.data.dataset, "verify_image_label", %s)
slow(ultralytics.data.base.BaseDataset, "cache_images_to_disk", 0.2)
slow(cpu_trainer.CpuDetectionTrainer, "get_dataloader", 0.3)
slow(cpu_trainer.CpuDetectionTrainer, "setup_model", 0.5)
"""


def stages(record: Record) -> dict[str, float]:
    """Seconds of the set-up by stage."""
    samples = record.samples
    return {s.labels[2]: s.value for s in samples if s.metric.name == "yoloscope_train_setup_seconds_total"}  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS if FULL else [pytest.param("8.3.9", marks=long), "newest"])
def test_setup_stages(tmp_path: Path, version: str) -> None:
    """What the set-up spent its time on, told by stage; the stages add up to the phase, and none is left at the end."""
    data = make_dataset(tmp_path / "data", images=10)  # of its own: nothing is scanned or cached yet
    arguments = {"amp": True, "cache": "disk"}
    seen = watch(data, tmp_path, version=version, model=TINY, script=SLOW_SETUP % 0.15, arguments=arguments)
    check_single(seen, epochs=1)
    check_sum(seen)
    spent = stages(seen.records["rank-0.rec"])
    assert sum(spent.values()) == pytest.approx(seen.phases()["setup"], abs=1e-6)
    slowed = {"amp_check": 0.6, "scan": 15 * 0.15 / 8, "cache": 15 * 0.2 / 8, "loader": 0.6, "model": 0.5}
    for stage, seconds in slowed.items():  # Ultralytics reads with as many threads as there are cores, to 8
        assert seconds <= spent[stage] < seconds * 8 + 5, (stage, spent)
    assert spent["autobatch"] == spent["ddp"] == 0
    for stage in spent:
        assert seen.value("train_setup_stage", stage) is None
    assert seen.value("train_setup_progress_ratio") is None


@pytest.mark.slow
def test_setup_under_way(tmp_path: Path) -> None:
    """A set-up that takes long is there to be seen, with its stage and how far it is."""
    data = make_dataset(tmp_path / "data", images=400)
    process = start(data, tmp_path / "runs", model=TINY, script=SLOW_SETUP % 1, log=tmp_path / "log")
    try:
        for _ in range(1200):
            found = [Reader(path).read() for path in Path(os.environ["YOLOSCOPE_DIR"]).glob("**/rank-0.rec")]
            values = {(s.metric.name, *s.labels[2:]): s.value for one in found for s in one.samples}
            ratio = values.get(("yoloscope_train_setup_progress_ratio",), 0.0)
            if isinstance(ratio, float) and ratio > 0:
                break
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        (record,) = found
        assert (record.state, record.alive) == ("setup", True)
        assert [key[1] for key in values if key[0] == "yoloscope_train_setup_stage"] == ["scan"]
        assert 0 < ratio < 1
        assert stages(record)["scan"] > 0.5
        assert values["yoloscope_train_batches_total",] == 0
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS if FULL else ["newest"])
def test_same_result(data: Path, tmp_path: Path, version: str) -> None:
    """With loader workers, two epochs and every hook in place the loss is the same to the bit as without hooks."""
    options: dict[str, Any] = {"version": version, "epochs": 2, "workers": 2}
    seen = watch(data, tmp_path, hooks="run", **options)
    check_single(seen, epochs=2)
    without = train(data, tmp_path / "plain", hooks="none", **options)
    assert without.result()["losses"] == seen.done.result()["losses"]


@pytest.mark.slow
@pytest.mark.parametrize(("version", "hooks"), EVERYTHING if FULL else RANKS)
def test_two_ranks(even: Path, tmp_path: Path, version: str, hooks: str) -> None:
    """Ultralytics starts two ranks: both record every batch under one name, and the slow one is the one that shows."""
    slow = {"workers": 1, "step_sleep": 0.4, "slow_rank": 1}
    seen = watch(even, tmp_path, version=version, hooks=hooks, model=TINY, ranks=2, batch=4, **slow)
    check_ranks(seen)
    own, waiting = seen.phases("rank-1.rec"), seen.phases("rank-0.rec")
    assert own["forward"] > waiting["forward"]
    assert waiting["backward_exposed"] > own["backward_exposed"]
    assert "backward" not in own
    for rank in "01":
        assert seen.value("train_worker_batches_total", "0", record=f"rank-{rank}-worker-0.rec") >= 3


@full_matrix
@pytest.mark.slow
def test_torchrun(even: Path, tmp_path: Path) -> None:
    """Torchrun starts the script twice: both ranks agree on the name though Ultralytics gives them two folders."""
    (tmp_path / "runs" / "test").mkdir(parents=True)
    one_folder = {"exist_ok": True}  # else rank 0 may count up, rank 1 not, and Ultralytics itself falls over that
    seen = watch(even, tmp_path, ranks=2, batch=4, torchrun=True, arguments=one_folder)
    check_ranks(seen)


def check_ranks(seen: Watched) -> None:
    """Twelve images over two ranks, two a batch: three batches each."""
    for rank in "01":
        name = f"rank-{rank}.rec"
        record = seen.records[name]
        assert (record.identity.rank, record.state, record.facts["world_size"]) == (rank, "finished", "2")
        assert seen.value("train_batches_total", record=name) == 3
        assert seen.value("train_batch_size", record=name) == 2
        assert seen.value("train_hook_errors_total", record=name) == 0
        check_sum(seen, name)
        spent = stages(record)
        assert sum(spent.values()) == pytest.approx(seen.phases(name)["setup"], abs=1e-6)
        assert spent.keys() == {"other"} or spent["model"] > 0  # ranks above 0 of newer versions are seen later
    assert seen.records["rank-0.rec"].identity.run == seen.records["rank-1.rec"].identity.run


#: Run in the training process: callbacks and parts of a trainer that take their time.
SLOW = """
import time
def nap(seconds):
    def sleep(_): time.sleep(seconds)
    return sleep
def logger(trainer):
    "A module's function would be called by its module's name."
    time.sleep(0.05)
"""
PER_BATCH = SLOW + "model.add_callback('on_train_batch_end', logger)"
PER_EPOCH = (
    SLOW
    + """
upload = nap(0.5)
upload.__qualname__ = "upload"
for event in ("on_fit_epoch_end", "on_val_end", "on_model_save"):
    model.add_callback(event, upload)
"""
)
PREPROCESS = (
    SLOW
    + """
trainer = cpu_trainer.TRAINERS["detect"]
plain = trainer.preprocess_batch
def slow(self, batch):
    batch = plain(self, batch)
    time.sleep(0.2)
    return batch
trainer.preprocess_batch = slow
"""
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "workers"),
    [("newest", 2), *(pytest.param(*one, marks=long) for one in (("newest", 0), ("8.3.9", 2), ("8.4.2", 0)))],
)
def test_slow_callback_of_each_batch(data: Path, tmp_path: Path, version: str, workers: int) -> None:
    """It is told by its name, and not taken for waiting, though the loader's queue is full meanwhile."""
    seen = watch(data, tmp_path, version=version, workers=workers, epochs=3, script=PER_BATCH)
    check_single(seen, epochs=3)
    check_sum(seen)
    phases = seen.phases()
    assert phases["callbacks"] >= 9 * 0.05
    assert phases["data_wait"] < 0.4 * phases["callbacks"]
    assert seen.value("train_callback_seconds_total", "__main__.logger") == pytest.approx(phases["callbacks"], rel=0.3)
    assert seen.value("train_callback_calls_total", "__main__.logger") == 9


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS if FULL else ["newest"])
def test_slow_callbacks_of_each_epoch(data: Path, tmp_path: Path, version: str) -> None:
    """Also where validation and saving are going on: on_val_end's argument is the validator."""
    seen = watch(data, tmp_path, version=version, model=TINY, workers=1, epochs=2, script=PER_EPOCH)
    check_single(seen, epochs=2)
    check_sum(seen)
    calls = seen.value("train_callback_calls_total", "__main__.upload")
    assert calls == 2 * 3 + 2  # the final validation is one, with its own epoch's end
    assert seen.value("train_callback_seconds_total", "__main__.upload") >= 0.5 * calls
    assert seen.phases()["callbacks"] == pytest.approx(0.5 * calls, rel=0.2)
    assert seen.phases()["validate"] < 0.5 * calls


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(0, marks=long), 1])
def test_slow_storage_is_waiting(data: Path, tmp_path: Path, workers: int) -> None:
    """The loader's own fetch is the wait; the first batch of an epoch is apart. Without workers it is all of it."""
    sleep = 0.4 if workers else 0.2  # a worker's batch takes longer than a step does, on a busy machine too
    seen = watch(data, tmp_path, model=TINY, workers=workers, epochs=2, image_sleep=sleep)
    check_sum(seen)
    phases = seen.phases()
    assert phases["loader_start"] >= 0.2
    assert phases["loader_start"] == seen.value("train_first_batch_wait_seconds_total")
    assert phases["data_wait"] >= (2 * 6 * 0.2 if workers == 0 else 0.4)
    assert phases["data_wait"] > 3 * phases["callbacks"]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS if FULL else ["newest"])
def test_slow_preprocessing(data: Path, tmp_path: Path, version: str) -> None:
    """What preprocess_batch does on a CPU is no copy to a device."""
    seen = watch(data, tmp_path, version=version, model=TINY, workers=1, script=PREPROCESS)
    check_sum(seen)
    phases = seen.phases()
    assert phases["preprocess"] >= 3 * 0.2
    assert phases["h2d"] == 0
    assert phases["preprocess"] < 3 * 0.2 + 0.3


@pytest.mark.slow
def test_slow_callback_in_every_rank(even: Path, tmp_path: Path) -> None:
    """A callback that was registered in the parent is timed in the ranks that Ultralytics starts."""
    seen = watch(even, tmp_path, model=TINY, ranks=2, batch=4, workers=1, script=PER_BATCH)
    for rank in "01":
        name = f"rank-{rank}.rec"
        check_sum(seen, name)
        assert seen.phases(name)["callbacks"] >= 3 * 0.05
        found = {
            s.labels[2] for s in seen.records[name].samples if s.metric.name == "yoloscope_train_callback_seconds_total"
        }
        assert any(callback.endswith(".logger") for callback in found), found


@pytest.mark.slow
def test_slow_storage_of_one_worker(data: Path, tmp_path: Path) -> None:
    """Of two workers one waits for its images: its batches take long, its CPU is idle, and the trainer waits."""
    seen = watch(data, tmp_path, model=TINY, workers=2, epochs=2, image_sleep=0.3, slow_worker=1)
    fast, slow = (worker(seen, index) for index in "01")
    assert slow["seconds"] >= 0.6 * slow["batches"]  # two images or more each, and sleep is never shorter
    assert slow["seconds"] / slow["batches"] > 2 * fast["seconds"] / fast["batches"]
    assert slow["cpu"] / slow["seconds"] < 0.5
    rows = read_ring(seen.folder / "rank-0.rec")  # who made the very first batch is not known
    assert {row.worker for row in rows[1:]} == {0, 1}
    waits = [max(row.data_wait_seconds for row in rows if row.worker == index) for index in (0, 1)]
    assert waits[1] > waits[0]
    assert seen.value("train_queue_capacity") == 8
    assert seen.value("train_worker_restarts_total") == seen.value("train_worker_deaths_total") == 0


@pytest.mark.slow
def test_slow_transform(data: Path, tmp_path: Path) -> None:
    """Workers that compute for long need CPU time; mosaic closes in the last epoch and restarts them."""
    closing = {"close_mosaic": 1}
    seen = watch(data, tmp_path, model=TINY, workers=2, epochs=2, image_work=0.05, arguments=closing)
    for index in "01":
        figures = worker(seen, index)
        assert figures["seconds"] > figures["cpu"] > 0.05 * 2 * figures["batches"]  # two images or more each
    assert seen.value("train_worker_restarts_total") == 2


def worker(seen: Watched, index: str) -> dict[str, float]:
    """Batches, seconds and CPU seconds of a loader worker."""
    name = f"rank-0-worker-{index}.rec"
    metrics = {"batches": "batches", "seconds": "batch_seconds", "cpu": "cpu_seconds"}
    values = {key: seen.value(f"train_worker_{text}_total", index, record=name) for key, text in metrics.items()}
    histogram = seen.value("train_loader_batch_seconds", record=name)
    assert sum(histogram.counts) == values["batches"]
    return values


@full_matrix
@pytest.mark.slow
@pytest.mark.parametrize("task", ["segment", "classify", "pose", "obb"])
def test_other_tasks(tmp_path: Path, task: str) -> None:
    """Batches, losses and metrics of the other tasks."""
    data = make_dataset(tmp_path / "data", images=10, task=task)
    seen = watch(data, tmp_path, task=task, workers=1)
    assert seen.records["rank-0.rec"].facts["task"] == task
    assert seen.value("train_batches_total") == seen.done.result()["batches"] == 3
    assert seen.value("train_images_total") == 10
    assert worker(seen, "0")["batches"] >= 3
    names = {s.metric.name.removeprefix("yoloscope_train_") for s in seen.records["rank-0.rec"].samples}
    assert {"loss", "metric", "learning_rate"} <= names


SECOND = """
model.train(trainer=cpu_trainer.TRAINERS[options.task], data=options.data, project=options.project, name="first",
            epochs=1, batch=4, imgsz=32, **DEFAULTS)
losses.clear()
"""


@full_matrix
@pytest.mark.slow
def test_two_trainings_in_one_process(data: Path, tmp_path: Path) -> None:
    """As in a notebook: the second training of a model has a record of its own."""
    done = train(data, tmp_path / "runs", script=SECOND)
    assert done.code == 0, done.output
    runs = {path.parent.name: Reader(path).read() for path in Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")}
    assert sorted(name.split("-")[1] for name in runs) == ["first", "test"]
    assert {record.state for record in runs.values()} == {"finished"}
    for record in runs.values():
        (batches,) = (s.value for s in record.samples if s.metric.name == "yoloscope_train_batches_total")
        assert batches == 3


DIE = "model.add_callback('on_train_batch_end', lambda trainer: 1 / 0)"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["8.4.2", "newest"] if FULL else ["8.4.2"])
def test_crash(data: Path, tmp_path: Path, version: str) -> None:
    """A training that raises is `failed` with the type of its exception, also where Ultralytics says nothing."""
    done = train(data, tmp_path / "runs", model=TINY, script=DIE, version=version)
    assert done.code == 1
    (path,) = Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")
    record = Reader(path).read()
    assert (record.state, record.facts["exception"], record.alive) == ("failed", "ZeroDivisionError", False)


DROP = """
class Dropping(cpu_trainer.TRAINERS["detect"]):
    def __init__(self, cfg=ultralytics.cfg.DEFAULT_CFG, overrides=None, _callbacks=None):
        super().__init__(cfg, overrides)
cpu_trainer.TRAINERS["detect"] = Dropping
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS if FULL else ["newest"])
def test_trainer_that_drops_its_callbacks(data: Path, tmp_path: Path, version: str) -> None:
    """A trainer of the user's own that forgets the model's callbacks: one warning says that it is not watched."""
    done = train(data, tmp_path / "runs", model=TINY, script=DROP, version=version)
    assert (done.code, done.output.count("yoloscope: nothing was recorded: Dropping")) == (0, 1), done.output
    assert list(Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")) == []


STOP = """
def stop(trainer):
    raise KeyboardInterrupt
model.add_callback("on_fit_epoch_end", stop)
"""
RESUME = """
import yoloscope_hooks
again = yoloscope_hooks.attach(ultralytics.YOLO(options.project + "/test/weights/last.pt"), run="resumed")
again.train(trainer=cpu_trainer.TRAINERS[options.task], resume=True, device="cpu")
sys.exit(0)
"""


@full_matrix
@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_resume(data: Path, tmp_path: Path, version: str) -> None:
    """A training that was stopped goes on: its epochs are numbered on, its batches are those it does now."""
    options: dict[str, Any] = {"version": version, "epochs": 3, "hooks": "none"}
    assert train(data, tmp_path / "runs", script=STOP, **options).code != 0
    seen = watch(data, tmp_path, script=RESUME, **options)
    assert (seen.value("train_epoch"), seen.value("train_epochs"), seen.value("train_batches_total")) == (3, 3, 6)
    assert seen.value("train_remaining_seconds") == 0
    check_sum(seen)


TUNE = """
try:
    model.tune(data=options.data, project=options.project, iterations=1, epochs=1, batch=4, imgsz=32, **DEFAULTS)
except ModuleNotFoundError:
    pass  # 8.3.9 plots with scipy when all is done
sys.exit(0)
"""


@full_matrix
@pytest.mark.slow
@pytest.mark.parametrize("version", ["8.3.9", "newest"])
def test_tune(data: Path, tmp_path: Path, version: str) -> None:
    """The tuner's trainings, in processes of their own, are recorded each."""
    seen = watch(data, tmp_path, script=TUNE, version=version)
    assert seen.value("train_batches_total") == 3
    assert seen.records["rank-0.rec"].state == "finished"


#: Run in the training process: the same training again and again, each time with another harm done to its record.
HARMS = """
import yoloscope_hooks
import shutil

def nothing(record): pass
def cut(record): os.truncate(record, 0)
def delete(record): record.unlink()
def replace(record):
    record.unlink()
    record.mkdir()
def remove_all(record): shutil.rmtree(record.parent)
def fill(record):
    with contextlib.suppress(OSError), (record.parent.parent / "ballast").open("wb", 0) as ballast:
        while True:
            ballast.write(bytes(4096))
def cut_and_fill(record):
    cut(record)
    fill(record)

def training(harm):
    losses = []
    def disturb(trainer):
        if len(losses) == 2:
            harm(trainer._yoloscope._writer.path)
    other = yoloscope_hooks.attach(ultralytics.YOLO(options.model), run=harm.__name__)
    other.add_callback("on_train_batch_start", disturb)
    other.add_callback("on_train_batch_end", lambda trainer: losses.append(float(trainer.loss)))
    names = ("data", "project", "epochs", "batch", "imgsz", "seed")
    arguments = {name: getattr(options, name) for name in names} | DEFAULTS
    other.train(trainer=cpu_trainer.TRAINERS["detect"], name=harm.__name__, **arguments)
    print("\\nLOSSES", json.dumps([harm.__name__, losses]))

for harm in (%s):
    training(harm)
"""


def harmed(data: Path, folder: Path, *harms: str) -> tuple[dict[str, list[float]], dict[str, Record], str]:
    """Losses and records of trainings by the harm done to them, and the output; `test` is one without hooks."""
    script = HARMS % "".join(f"{harm}, " for harm in harms)
    done = train(data, folder / "runs", model=TINY, script=script, hooks="none", epochs=2)
    assert done.code == 0, done.output
    losses = dict(json.loads(line) for line in re.findall("^LOSSES (.*)$", done.output, re.MULTILINE))
    records = {}
    for path in Path(os.environ["YOLOSCOPE_DIR"]).glob("**/rank-0.rec"):
        if path.is_file():
            records[path.parent.name] = Reader(path).read()
    return {**losses, "test": done.result()["losses"]}, records, done.output


def check_harmed(losses: Mapping[str, list[float]], records: Mapping[str, Record], kept: set[str]) -> None:
    """All learn the same to the bit, and what is left of the records is complete."""
    plain = losses["test"]
    assert len(plain) == 6
    assert losses == dict.fromkeys(losses, plain)
    assert set(records) == kept
    for record in records.values():
        (batches,) = (one.value for one in record.samples if one.metric.name == "yoloscope_train_batches_total")
        assert (record.state, record.torn, batches) == ("finished", False, 6.0)


@pytest.mark.slow
def test_harm_to_the_record_is_none_to_the_training(data: Path, tmp_path: Path) -> None:
    """Cut, deleted, replaced in the middle: the losses are to the bit those without hooks, and one warning says it."""
    harms = ("nothing", "cut", "delete", "replace", "remove_all")
    losses, records, output = harmed(data, tmp_path, *harms)
    assert set(losses) == {*harms, "test"}
    check_harmed(losses, records, {"nothing", "cut"})
    assert output.count("yoloscope:") == output.count("recording to ") == 3, output


@pytest.mark.slow
def test_a_full_file_system_is_none_to_the_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record's room is its own from the start; one that was cut cannot be written anew there, and is given up."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system to fill: {mounted.stderr.decode().strip()}")
    monkeypatch.setenv("YOLOSCOPE_DIR", str(small))
    try:
        for harm, kept, warnings in (("fill", {"fill"}, 0), ("cut_and_fill", set(), 1)):
            losses, records, output = harmed(data, tmp_path, harm)
            assert set(losses) == {harm, "test"}
            check_harmed(losses, records, kept)
            assert output.count("yoloscope:") == output.count("recording to ") == warnings, output
            for path in small.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        subprocess.run(["umount", small], check=True)
