"""Loader workers of every start method measure themselves; the trainer sees how far they are ahead."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import textwrap
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from yoloscope_hooks import workers
from yoloscope_hooks.workers import Queue, trains
from yoloscope_record.file_format import Identity
from yoloscope_record.reader import Reader
from yoloscope_record.writer import Writer

from tests.trainer_hooks.loop import Workers

ROOT = Path(__file__).resolve().parents[2]
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
from tests.trainer_hooks.test_workers import Images
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
@pytest.mark.parametrize("method", ["fork", "forkserver", *(["spawn"] if os.environ.get("YOLOSCOPE_MATRIX") else [])])
def test_start_methods(tmp_path: Path, method: str) -> None:
    """Both workers record every training batch, new ones go on counting, validation is not counted."""
    pytest.importorskip("torch", reason="needs the extra train: pip install 'yoloscope[train]'")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    environ = dict(os.environ) | {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "exporter", ROOT / "trainer_hooks")))
    }
    command = [sys.executable, str(program), method, str(tmp_path)]
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert "yoloscope" not in done.stderr
    records = {path.name: Reader(path).read() for path in Path(os.environ["YOLOSCOPE_DIR"]).glob("*/*.rec")}
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
    seen = Reader(tmp_path / "run" / "rank-1-worker-0.rec").read()
    assert {"yoloscope_train_worker_batches_total": 5, "yoloscope_train_worker_batch_seconds_total": 2.5}.items() <= {
        sample.metric.name: sample.value for sample in seen.samples
    }.items()


def test_worker_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose parent records nothing looks for a while, not for ever, and not with every batch."""
    searches: list[str] = []
    monkeypatch.setattr(workers, "_open", searches.append)
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
    assert math.isnan(watch.batch(1.0)[0])
    iterator._rcvd_idx, iterator._tasks_outstanding = 3, 13  # three arrived, and are kept until their turn
    iterator._data_queue.qsize = lambda: 2
    assert watch.batch(2.0) == (0, 5)
    assert watch.batch(3.0) == (3, 5)
    watch.store()
    seen = values(writer)
    assert (seen["queue_depth"], seen["queue_capacity"]) == (5, 16)


def test_dwell_is_the_integral_of_the_depth(queue: tuple[Queue, Writer]) -> None:
    """A full queue of 16 in front of a step of 50 ms: each batch has waited about 16 steps (Little's law)."""
    watch, writer = queue
    iterator = Workers()
    watch.look(trainer(iterator))
    for step in range(101):
        watch.batch(10.0 + step * 0.05)
        if step % 8 == 0:
            watch.store()
    watch.store()
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


def test_iterator_is_let_go(queue: tuple[Queue, Writer]) -> None:
    """We keep no iterator alive: letting it go is how Ultralytics ends its workers."""
    watch, writer = queue
    iterator = Workers()
    watch.look(trainer(iterator))
    del iterator
    assert all(map(math.isnan, watch.batch(1.0)))
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
    watch.batch(1.0)
    assert watch.fetched == 0.0
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


def test_timed_iterator_is_let_go(queue: tuple[Queue, Writer]) -> None:
    """At once, without the garbage collector: its end is the end of its workers."""
    watch, writer = queue
    iterator = Iterator()
    watch.look(trainer(iterator))
    next(iterator)
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
    assert all(map(math.isnan, watch.batch(1.0)))
    assert not {"queue_depth", "queue_capacity"} & set(values(writer))
