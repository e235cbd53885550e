"""Loader workers of every start method measure themselves; the trainer sees how far they are ahead."""

from __future__ import annotations

import contextlib
import gc
import math
import multiprocessing
import os
import subprocess
import sys
import textwrap
import time
import weakref
from pathlib import Path
from queue import SimpleQueue
from signal import SIGKILL
from types import SimpleNamespace
from typing import Any

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors import ActiveRanks, Context
from yoloscope_exporter.collectors.process import Processes
from yoloscope_exporter.collectors.runs import Runs
from yoloscope_exporter.config import defaults
from yoloscope_hooks import workers
from yoloscope_hooks.workers import Queue, trains
from yoloscope_record.file_format import Identity, RecordError
from yoloscope_record.loader_facts import slow_files
from yoloscope_record.reader import Reader, Record
from yoloscope_record.writer import Writer

from tests.trainer_hooks.loop import Workers
from tests.trainer_hooks.yoloscope_record.records import copied
from tests.training import make_dataset, start, train

ROOT = Path(__file__).resolve().parents[3]
WHO = ("run", "0")

#: A trainer with a real loader of torch: three epochs of four batches, the last one with new workers.
PROGRAM = """
import faulthandler, os, signal, sys
faulthandler.register(signal.SIGALRM, chain=True)  # who hangs says where, and ends; forked workers, too
signal.alarm(100)
os.register_at_fork(after_in_child=lambda: signal.alarm(100))
import torch.utils.data
import yoloscope_hooks
from tests.trainer_hooks.loop import Loop
from tests.trainer_hooks.yoloscope_hooks.test_workers import Images
from pathlib import Path

if __name__ == "__main__":
    method, folder = sys.argv[1:]
    loop = yoloscope_hooks.attach(Loop(Path(folder), epochs=3), run=method)
    loop.run("on_pretrain_routine_start")
    loop.run("on_train_start")
    options = {"batch_size": 2, "num_workers": 2, "multiprocessing_context": method, "persistent_workers": True}
    for loop.epoch in range(3):
        if loop.epoch != 1:
            loop.train_loader = torch.utils.data.DataLoader(Images(), **options)
        loop.run("on_train_epoch_start")
        for batch in loop.train_loader:
            loop.run("on_train_batch_start")
            loop.run("on_train_batch_end")
        loop.run("on_train_epoch_end")
    for _ in torch.utils.data.DataLoader(Images(augment=False), **options):
        pass  # a validation
    loop.run("teardown")
"""


class Images:
    """Eight images; those of odd number take 30 ms of waiting."""

    def __init__(self, *, augment: bool = True) -> None:
        """`augment` is true for training, as in Ultralytics."""
        self.augment = augment

    def __len__(self) -> int:
        """Eight."""
        return 8

    def __getitem__(self, index: int) -> int:
        """The image."""
        import time  # noqa: PLC0415 - in the worker

        time.sleep(0.03 * (index % 2))
        return index


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(one, marks=pytest.mark.long) for one in ("forkserver", "spawn"))]
)
def test_start_methods(tmp_path: Path, method: str) -> None:
    """Both workers record every training batch, new ones go on counting, validation is not counted."""
    pytest.importorskip("torch", reason="needs the extra train: make test installs it")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    environ = dict(os.environ) | {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "exporter", ROOT / "trainer_hooks")))
    }
    command = [sys.executable, str(program), method, str(tmp_path)]
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert "yoloscope" not in done.stderr
    records = {path.name: Reader(path).read() for path in Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")}
    assert set(records) == {"rank-0.rec", "rank-0-worker-0.rec", "rank-0-worker-1.rec"}
    for name in ("rank-0-worker-0.rec", "rank-0-worker-1.rec"):
        values = {s.metric.name.removeprefix("yoloscope_train_"): s.value for s in records[name].samples}
        assert values["worker_batches_total"] == 6
        assert values["worker_batch_seconds_total"] > 6 * 0.03  # type: ignore[operator]
        assert values["worker_cpu_seconds_total"] < values["worker_batch_seconds_total"]  # type: ignore[operator]
        assert values["worker_major_faults_total"] >= 0  # type: ignore[operator]
        assert sum(values["loader_batch_seconds"].counts) == 6  # type: ignore[union-attr]
    rank = {s.metric.name.removeprefix("yoloscope_train_"): s.value for s in records["rank-0.rec"].samples}
    assert (rank["worker_restarts_total"], rank["worker_deaths_total"], rank["hook_errors_total"]) == (2, 0, 0)
    assert rank["queue_capacity"] == 4


def test_forked_before_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that fills its queue before the record is there finds it with its next batch, however soon that is."""
    trainers = Writer(tmp_path / "run" / "rank-1.rec", Identity("run", "1"))
    found: list[tuple[Path, Identity] | None] = [None]
    monkeypatch.setattr(workers, "_trainers_record", lambda: found[0])
    tally = workers._Tally("0")
    for _ in range(4):  # Ultralytics' prefetch factor
        tally.add(0.5, 0.25)
    found[0] = (tmp_path / "run", Identity("run", "1"))
    tally.add(0.5, 0.25)
    trainers.close()
    seen = Reader(copied(tmp_path / "run" / "rank-1-worker-0.rec")).read()
    assert {"yoloscope_train_worker_batches_total": 5, "yoloscope_train_worker_batch_seconds_total": 2.5}.items() <= {
        sample.metric.name: sample.value for sample in seen.samples
    }.items()


def test_worker_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose parent records nothing looks for a while, not for ever, and not with every batch."""
    searches: list[str] = []
    monkeypatch.setattr(workers, "_open", lambda worker, _decoding: searches.append(worker))
    tally = workers._Tally("0")
    for _ in range(1000):
        tally.add(0.01, 0.01)
    assert len(searches) == workers.SEARCH_EAGERLY
    monkeypatch.setattr(workers, "SEARCH_PERIOD", 0.0)
    tally._next_search = 0.0
    for _ in range(1000):
        tally.add(0.01, 0.01)
    assert len(searches) == workers.SEARCH_LIMIT


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({"augment": True}, True),
        ({"augment": False}, False),
        ({"prefix": "\x1b[34mtrain: \x1b[0m"}, True),
        ({"prefix": "val: "}, False),
        ({}, True),
    ],
    ids=str,
)
def test_training_or_validation(dataset: dict[str, Any], *, expected: bool) -> None:
    """What Ultralytics' data sets say of themselves; a strange one counts as training."""
    assert trains(SimpleNamespace(**dataset)) is expected


@pytest.fixture
def queue(tmp_path: Path) -> tuple[Queue, Writer]:
    """A queue and the record it writes to."""
    writer = Writer(tmp_path / "run" / "rank-0.rec", Identity(*WHO))
    return Queue(writer, WHO), writer


def values(writer: Writer) -> dict[str, float]:
    """What is in the record; the writer is closed."""
    writer.end(0.0)
    writer.close()
    return {s.metric.name.removeprefix("yoloscope_train_"): s.value for s in Reader(writer.path).read().samples}  # type: ignore[misc]


def trainer(iterator: Any) -> Any:
    """A trainer whose loader has these workers."""
    return SimpleNamespace(train_loader=SimpleNamespace(iterator=iterator, prefetch_factor=2))


def test_depth_and_worker(queue: tuple[Queue, Writer]) -> None:
    """Depth counts what is in torch's queue and what arrived before its turn; the worker of a batch is told."""
    watch, writer = queue
    iterator = Workers()
    watch.look(trainer(iterator))
    assert math.isnan(watch.worker)
    iterator._next_data()
    assert (watch.worker, watch.depth) == (0, 16)
    iterator._rcvd_idx, iterator._tasks_outstanding = 3, 13  # three arrived, and are kept until their turn
    iterator._data_queue.qsize = lambda: 2
    iterator._next_data()
    assert (watch.worker, watch.depth) == (3, 5)
    assert watch.seconds > 0
    watch.store([(1.0, watch.depth), (2.0, math.nan)])
    seen = values(writer)
    assert (seen["queue_depth"], seen["queue_capacity"]) == (5, 16)


def test_dwell_is_the_integral_of_the_depth(queue: tuple[Queue, Writer]) -> None:
    """A full queue of 16 in front of a step of 50 ms: each batch has waited about 16 steps (Little's law)."""
    watch, writer = queue
    for first in range(0, 101, 8):
        watch.store([(10.0 + step * 0.05, 16.0) for step in range(first, min(first + 8, 101))])
    assert values(writer)["batch_dwell_seconds_total"] / 100 == pytest.approx(16 * 0.05, rel=0.05)


def test_restarts_and_deaths(queue: tuple[Queue, Writer]) -> None:
    """New workers are restarts; a worker killed for lack of memory is a death, one ended by Ultralytics is not."""
    watch, writer = queue
    first, second = Workers(), Workers()
    watch.look(trainer(first))
    for process, code in zip(first._workers, [-9, 1, -15, 0, 0, 0, 0, 0], strict=True):
        process.exitcode = code
    for process in second._workers:
        process.pid += 100
    watch.look(trainer(second))
    watch.look(trainer(second))
    seen = values(writer)
    assert (seen["worker_restarts_total"], seen["worker_deaths_total"]) == (8, 2)


def test_what_they_ended_by(queue: tuple[Queue, Writer]) -> None:
    """Deaths are counted by signal or exit code, also those of a training's end."""
    watch, writer = queue
    workers = Workers()
    watch.look(trainer(workers))
    for process, code in zip(workers._workers, [-9, -9, -7, 1, -15, 0, None, -40], strict=True):
        process.exitcode = code
    watch.end(trainer(workers))
    watch.count_deaths()
    writer.end(0.0)
    writer.close()
    seen = Reader(writer.path).read().samples
    causes = {s.labels[2]: s.value for s in seen if s.metric.name == "yoloscope_train_worker_death_signal_total"}
    assert causes == {"SIGKILL": 2, "SIGBUS": 1, "1": 1, "-40": 1}
    (total,) = [s.value for s in seen if s.metric.name == "yoloscope_train_worker_deaths_total"]
    assert total == sum(causes.values())  # type: ignore[arg-type]


def test_deaths_before_the_first_batch_and_in_validation(queue: tuple[Queue, Writer]) -> None:
    """Nobody has looked at these workers before the training ended because of them."""
    watch, writer = queue
    training, validation = Workers(), Workers()
    training._workers[0].exitcode, validation._workers[0].exitcode = -7, -9
    made = trainer(training)
    made.test_loader = SimpleNamespace(iterator=validation)
    watch.end(made)
    watch.count_deaths()
    assert values(writer)["worker_deaths_total"] == 2


@pytest.mark.parametrize(
    ("said", "deaths"),
    [
        ("DataLoader worker (pid 4242) is killed by signal: Bus error. It is possible that ...", {"SIGBUS": 1}),
        ("DataLoader worker (pid 4242) is killed by signal: Killed. ", {"SIGKILL": 1}),
        ("DataLoader worker (pid(s) 4242) exited unexpectedly", {}),
        ("CUDA out of memory", {}),
    ],
)
def test_a_death_in_set_up_is_told_by_the_exception(
    queue: tuple[Queue, Writer], said: str, deaths: dict[str, int]
) -> None:
    """Workers live before anybody looks at their loader, and one may die then."""
    watch, writer = queue
    watch.count_deaths(said)
    writer.end(0.0)
    writer.close()
    seen = Reader(writer.path).read().samples
    causes = {s.labels[2]: s.value for s in seen if s.metric.name == "yoloscope_train_worker_death_signal_total"}
    assert causes == deaths


def test_end_in_set_up(queue: tuple[Queue, Writer]) -> None:
    """A training that failed before it had a loader."""
    watch, writer = queue
    watch.end(SimpleNamespace())
    watch.count_deaths()
    assert values(writer)["worker_deaths_total"] == 0


def facts(writer: Writer) -> dict[str, str]:
    """Facts in the record; the writer is closed."""
    writer.close()
    return dict(Reader(writer.path).read().facts)


def test_pids_of_the_loaders(queue: tuple[Queue, Writer]) -> None:
    """The record tells which processes belong to which loader; those of the validation come later, and stay."""
    watch, writer = queue
    training, validation = Workers(), Workers()
    validation._workers = validation._workers[:2]
    for process in validation._workers:
        process.pid += 50
    made = trainer(training)
    made.test_loader = SimpleNamespace(iterator=None, num_workers=2)
    watch.look(made)
    training._next_data()
    assert watch._facts == {"loader_pids": "0,1,2,3,4,5,6,7", "val_loader_pids": ""}
    made.test_loader.iterator = validation
    watch.look(made)
    training._next_data()
    assert watch.depth == 16
    writer.end(0.0)
    assert facts(writer) == {"loader_pids": "0,1,2,3,4,5,6,7", "val_loader_pids": "50,51"}
    (count,) = [s.value for s in Reader(writer.path).read().samples if s.metric.name == "yoloscope_train_val_workers"]
    assert count == 2


def test_pids_of_loaders_without_workers(queue: tuple[Queue, Writer]) -> None:
    """That there are none is told, and nothing is told of a loader that this rank does not have."""
    watch, writer = queue
    watch.look(SimpleNamespace(train_loader=SimpleNamespace(iterator=None, num_workers=0)))
    assert facts(writer) == {"loader_pids": "none", "val_loader_pids": ""}


def test_no_room_for_pids(tmp_path: Path) -> None:
    """A header that is full costs this fact and nothing else."""
    writer = Writer(tmp_path / "run" / "rank-0.rec", Identity(*WHO), header=2200)
    watch = Queue(writer, WHO)
    with contextlib.suppress(RecordError):
        for number in range(100):
            writer.set_facts({f"fact{number}": "x" * 20})
    iterator = Workers()
    watch.look(trainer(iterator))
    iterator._next_data()
    assert watch.depth == 16
    assert "loader_pids" not in facts(writer)


def test_old_workers_are_asked_before_new_ones_come(queue: tuple[Queue, Writer]) -> None:
    """A loader that is built anew has no iterator until it is needed: the old workers' ends are not forgotten."""
    watch, writer = queue
    first, second = Workers(), Workers()
    watch.look(trainer(first))
    first._workers[0].exitcode = -9
    for process in second._workers:
        process.pid += 100
    first._next_data()
    watch.look(trainer(None))
    assert all(map(math.isnan, (watch.worker, watch.depth)))
    watch.look(trainer(second))
    seen = values(writer)
    assert (seen["worker_restarts_total"], seen["worker_deaths_total"]) == (8, 1)


class Semaphore:
    """As in a queue between processes."""

    def __init__(self, free: int) -> None:
        """So many places are free."""
        self._semlock = SimpleNamespace(_get_value=self.value)
        self.free = free

    def value(self) -> int:
        """Free places; negative where the system does not tell, as macOS."""
        if self.free < 0:
            raise NotImplementedError
        return self.free


@pytest.mark.parametrize(("free", "depth"), [(100, 0.0), (97, 3.0), (-1, math.nan)])
def test_depth_of_a_queue_between_processes(queue: tuple[Queue, Writer], free: int, depth: float) -> None:
    """Places in all, less those that are free; nothing where nobody knows."""
    watch, writer = queue
    iterator = Workers()
    iterator._data_queue = SimpleNamespace(_maxsize=100, _sem=Semaphore(free))
    watch.look(trainer(iterator))
    iterator._next_data()
    assert watch.depth == pytest.approx(depth, nan_ok=True)
    writer.close()


def test_queue_of_torch(queue: tuple[Queue, Writer]) -> None:
    """Python's own queues have what is looked at."""
    watch, writer = queue
    real: Any = multiprocessing.get_context("fork").Queue()
    try:
        for data_queue in (real, SimpleQueue()):
            iterator = Workers()
            iterator._data_queue = data_queue
            data_queue.put(1)
            watch.look(trainer(iterator))
            iterator._next_data()
            assert watch.depth == 1
    finally:
        real.close()
        real.join_thread()
    writer.close()


def test_a_loader_of_the_future(queue: tuple[Queue, Writer]) -> None:
    """What cannot be found out is told to whoever listens, and the batch is fetched."""
    watch, writer = queue
    iterator = Workers()
    told: list[Exception] = []
    watch.failed = told.append
    watch.look(trainer(iterator))
    iterator._next_data()
    del iterator._task_info
    assert iterator._next_data() == {"img": [0, 1, 2, 3]}
    assert math.isnan(watch.depth)
    assert [type(error) for error in told] == [AttributeError]
    watch.looks = False
    iterator._next_data()
    assert len(told) == 1
    writer.close()


class Iterator:
    """Torch's iterator, as far as it fetches."""

    ended = False

    def __next__(self) -> str:
        """A batch."""
        return self._next_data()

    def _next_data(self) -> str:
        time.sleep(0.01)
        if self.ended:
            raise StopIteration
        return "batch"


def test_fetch_is_timed(queue: tuple[Queue, Writer]) -> None:
    """The loader's own fetch, on this iterator alone, as long as it is the loader's."""
    watch, writer = queue
    first, second = Iterator(), Iterator()
    assert watch.fetched is None
    watch.look(trainer(first))
    assert [next(first), next(first), next(second)] == ["batch"] * 3
    assert 0.02 <= (watch.fetched or 0.0) < 0.03
    watch.fetched = 0.0
    watch.look(trainer(first))  # with the next epoch
    next(first)
    assert 0.01 <= watch.fetched < 0.02
    watch.look(trainer(second))  # after close_mosaic
    assert watch.fetched == 0.0
    second.ended = True
    with pytest.raises(StopIteration):
        next(second)
    watch.let_go()
    assert "_next_data" not in vars(second)
    assert watch.fetched is None
    writer.close()


def test_strange_loader_is_not_timed(queue: tuple[Queue, Writer]) -> None:
    """Without an iterator of torch's kind, or where somebody else sits, the wait is what is left of the gap."""
    watch, writer = queue
    taken = Iterator()
    taken._next_data = lambda: "theirs"  # type: ignore[method-assign]
    for iterator in (iter([1]), None, taken):
        watch.look(trainer(iterator))
        assert watch.fetched is None
    assert next(taken) == "theirs"
    writer.close()


@pytest.mark.parametrize(
    ("made", "fetch"), [(Workers, lambda iterator: iterator._next_data()), (Iterator, next)], ids=["fetch", "next"]
)
def test_iterator_is_let_go(queue: tuple[Queue, Writer], made: type, fetch: Any) -> None:
    """At once, without the garbage collector: letting it go is how Ultralytics ends its workers."""
    watch, writer = queue
    iterator = made()
    watch.look(trainer(iterator))
    fetch(iterator)
    gone = weakref.ref(iterator)
    gc.disable()
    try:
        del iterator
        assert gone() is None
    finally:
        gc.enable()
    writer.close()


def test_no_workers(queue: tuple[Queue, Writer]) -> None:
    """Without workers there is no queue, and no series of one."""
    watch, writer = queue
    watch.look(trainer(None))
    assert all(map(math.isnan, (watch.worker, watch.depth)))
    assert not {"queue_depth", "queue_capacity"} & set(values(writer))


# --- real trainings ---------------------------------------------------------------------------------------------------


def records_of() -> dict[str, Record]:
    """What a training has left, by file."""
    return {path.name: Reader(path).read() for path in Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")}


def number(record: Record, name: str, *labels: str) -> Any:
    """One value of a record."""
    found = {(s.metric.name.removeprefix("yoloscope_train_"), s.labels[2:]): s.value for s in record.samples}
    return found.get((name, labels))


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "version", "method"),
    [
        ("detect", "newest", "fork"),
        pytest.param("detect", "newest", "spawn", marks=pytest.mark.long),
        pytest.param("classify", "newest", "fork", marks=pytest.mark.long),
        ("segment", "8.3.9", ""),
    ],
)
def test_decoding_in_a_real_training(tmp_path: Path, task: str, version: str, method: str) -> None:
    """Transforms of 100 ms an image are not decoding; the one big image is the slowest file, with its size."""
    data = make_dataset(tmp_path / "data", images=12, task=task)
    (big,) = [path for path in (tmp_path / "data").rglob("0005.jpg") if "train" in path.parts]
    enlarge(big)
    options: dict[str, Any] = {"workers": 2, "epochs": 4, "image_sleep": 0.1, "start_method": method}
    done = train(data, tmp_path / "runs", task=task, version=version, **options)  # longer than FACTS_PERIOD
    assert done.code == 0, done.output
    assert "yoloscope:" not in done.output
    records = records_of()
    assert number(records["rank-0.rec"], "hook_errors_total") == 0
    told = []
    for worker in "01":
        record = records[f"rank-0-worker-{worker}.rec"]
        decoding, all_of_it = (number(record, f"worker_{name}_seconds_total", worker) for name in ("decode", "batch"))
        images = 4 * number(record, "worker_batches_total", worker)
        assert 0 < decoding < all_of_it - 0.1 * images
        told += slow_files(record.facts)
    slowest = max(told)
    assert (Path(slowest.path), slowest.size) == (big, big.stat().st_size)
    assert slowest.seconds > 0.02


def enlarge(path: Path) -> None:
    """Make an image one that takes long to decode."""
    import cv2  # noqa: PLC0415 - comes with ultralytics, which not every test run has
    import numpy as np  # noqa: PLC0415

    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (2500, 2500, 3), np.uint8))


@pytest.mark.train
@pytest.mark.slow
def test_decoding_that_is_not_seen(tmp_path: Path) -> None:
    """Classification before `imread` was a method: no series, and everything else as ever."""
    data = make_dataset(tmp_path / "data", images=8, task="classify")
    done = train(data, tmp_path / "runs", task="classify", version="8.4.2", workers=2)
    assert done.code == 0, done.output
    record = records_of()["rank-0-worker-0.rec"]
    assert number(record, "worker_batches_total", "0") >= 1
    assert number(record, "worker_decode_seconds_total", "0") is None
    assert not slow_files(record.facts)


#: A worker of the training (or of the validation) that is killed at its first image.
KILL = """
import os, signal
from torch.utils.data import get_worker_info
from ultralytics.data.base import BaseDataset
plain = BaseDataset.load_image
def load_image(self, *args, **kwargs):
    worker = get_worker_info()
    if worker and worker.id == 1 and self.augment == {training}:
        os.kill(os.getpid(), signal.{signal})
    return plain(self, *args, **kwargs)
BaseDataset.load_image = load_image
"""


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "training", "signal"),
    [
        ("newest", True, "SIGKILL"),
        ("newest", False, "SIGBUS"),
        pytest.param("8.4.2", True, "SIGBUS", marks=pytest.mark.long),
    ],
)
def test_killed_worker_in_a_real_training(tmp_path: Path, version: str, *, training: bool, signal: str) -> None:
    """The training fails with it; the record says by which signal, even if not one batch was done."""
    data = make_dataset(tmp_path / "data", images=24)
    script = KILL.format(training=training, signal=signal)
    done = train(data, tmp_path / "runs", version=version, workers=2, script=script)
    assert "DataLoader worker" in done.output
    record = records_of()["rank-0.rec"]
    assert (record.state, record.facts["exception"]) == ("failed", "RuntimeError")
    assert number(record, "worker_deaths_total") == 1
    assert number(record, "worker_death_signal_total", signal) == 1
    assert number(record, "hook_errors_total") == 0


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "method"),
    [
        ("newest", "fork"),
        pytest.param("newest", "spawn", marks=pytest.mark.long),
        pytest.param("8.4.2", "fork", marks=pytest.mark.long),
    ],
)
def test_roles_in_a_real_training(tmp_path: Path, version: str, method: str) -> None:
    """While it trains, the exporter tells the training loader's processes from those that the validation left."""
    data = make_dataset(tmp_path / "data", images=24)
    options: dict[str, Any] = {"workers": 2, "epochs": 50, "step_sleep": 0.1, "start_method": method}
    training = start(data, tmp_path / "runs", version=version, log=tmp_path / "log", **options)
    try:
        seen = roles_after_validation(tmp_path)
    finally:
        os.killpg(training.pid, SIGKILL)
        training.wait()
    assert seen["worker"] == 2, (tmp_path / "log").read_text()
    assert seen["val_worker"] == seen["told"] >= 2
    assert seen["main"] >= 1


def roles_after_validation(folder: Path) -> dict[str, float]:
    """Processes by role, once the record tells of validation workers; `told` is what the training says of them."""
    (folder / "proc").symlink_to("/proc")
    alive, clock = ActiveRanks(), time.monotonic
    context = Context(
        procfs=folder / "proc",
        sysfs=folder / "sys",
        records=Path(os.environ["YOLOSCOPE_DIR"]),
        clock=clock,
        wall=time.time,
        reject=lambda _collector, _reason: None,
        trainers=alive,
        config=defaults,
    )
    reading, processes = Runs(context), Processes(context)
    end = clock() + 120
    while clock() < end:
        told = [sample.value for sample in reading.collect() if sample.metric is catalog.TRAIN_VAL_WORKERS]
        found = {s.labels[2]: s.value for s in processes.collect() if s.metric is catalog.TRAIN_PROCESSES}
        if told and told[0]:
            return {**found, "told": told[0]}  # type: ignore[dict-item]
        time.sleep(0.2)
    pytest.fail("no validation workers")
