"""What the training learns, and what goes wrong with it, without waiting for a GPU."""

from __future__ import annotations

import logging
import math
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yoloscope_hooks
from yoloscope_hooks import cuda_memory
from yoloscope_hooks.learning import Learning, components
from yoloscope_record.file_format import ROWS_AHEAD, Identity
from yoloscope_record.reader import Reader
from yoloscope_record.writer import Writer

from tests.trainer_hooks.loop import Loop, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable

WHO = ("run", "0")


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A record."""
    return Writer(tmp_path / "run" / "rank-0.rec", Identity(*WHO))


def values(path: Path) -> dict[tuple[str, ...], Any]:
    """Series of a record by name and own labels."""
    return {
        (s.metric.name.removeprefix("yoloscope_train_"), *s.labels[2:]): s.value for s in Reader(path).read().samples
    }


class Watched(Loop):
    """A loop that does something before each step and each epoch."""

    before_step: Callable[[Loop], None] | None = None

    def step(self, batch: Any) -> None:
        """One batch."""
        super().step(batch)
        if self.before_step:
            self.before_step(self)

    def record(self) -> dict[tuple[str, ...], Any]:
        """Train, and read what was recorded."""
        yoloscope_hooks.attach(self).train()
        (path,) = Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")
        return values(path)


def test_losses_rates_metrics(tmp_path: Path) -> None:
    """Losses by component, learning rates by group, metrics by Ultralytics' names, early stopping's distance."""
    loop = Watched(tmp_path, epochs=4)
    loop.stopper.best_epoch = 1
    seen = loop.record()
    assert (seen["loss", "box_loss"], seen["loss", "cls_loss"]) == (0.3, 0.2)
    assert (seen["learning_rate", "pg0"], seen["learning_rate", "pg1"]) == (0.01, 0.02)
    assert seen["metric", "metrics/mAP50(B)"] == 0.5
    assert (seen["epochs_since_best",], seen["patience_epochs",]) == (3, 100)
    assert (seen["accumulated_batches",], seen["checkpoints_total",]) == (1, 4)
    assert seen["remaining_seconds",] == 0


def test_all_is_in_the_file_after_each_event(tmp_path: Path) -> None:
    """Nothing waits for a later event but batches for a few more: the next one may come after a long validation."""
    loop = yoloscope_hooks.attach(Loop(tmp_path, epochs=2))
    seen = []

    def compare(_: Loop) -> None:
        writer = loop._yoloscope._writer  # type: ignore[attr-defined]
        kept = bytes(writer.values)
        assert writer.path.read_bytes()[256 : 256 + len(kept)] == kept
        seen.append(kept)

    for event, functions in loop.callbacks.items():
        if event not in ("on_train_batch_start", "on_train_batch_end", "teardown"):
            functions.append(compare)
    loop.train()
    assert len(set(seen)) > 6


def test_patience_without_end(tmp_path: Path) -> None:
    """patience=0 means never: no series, rather than infinity."""
    loop = Watched(tmp_path)
    loop.stopper = SimpleNamespace(best_epoch=0, patience=math.inf)
    assert ("patience_epochs",) not in loop.record()


def test_nonfinite_loss(tmp_path: Path) -> None:
    """A NaN or an infinite loss that is there when it is looked at counts: every few seconds, at an epoch's end."""
    losses = iter([0.1] * (ROWS_AHEAD - 1) + [math.inf] + [0.2] * 8 + [math.nan])
    loop = Watched(tmp_path, batches=ROWS_AHEAD + 9)
    loop.before_step = lambda loop: setattr(loop, "loss", Scalar(next(losses)))
    assert loop.record()["nonfinite_loss_total",] == 2


@pytest.mark.parametrize("batches", [4, 6, 20])
def test_nonfinite_loss_between_two_looks(tmp_path: Path, batches: int) -> None:
    """It is seen once, as the last batch's or by the mean of the epoch, though the training then fails."""
    steps = iter(range(1, batches + 1))

    def step(loop: Loop) -> None:
        number = next(steps)
        loop.loss = Scalar(math.nan if number == 4 else 0.2)
        loop.tloss = {"box_loss": Scalar(0.2), "cls_loss": Scalar(math.nan if number >= 4 else 0.2)}

    def fail(_: Loop) -> None:
        raise ValueError("it went wrong")

    loop = Watched(tmp_path, batches=batches)
    loop.before_step = step
    loop.callbacks["on_train_epoch_end"] = [fail]
    with pytest.raises(ValueError, match="wrong"):
        loop.record()
    (path,) = Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")
    assert values(path)["nonfinite_loss_total",] == 1


def test_old_losses() -> None:
    """Before 8.4.110 the losses are one tensor, their names a list or, for one, a text."""

    class Vector(list[Scalar]):
        def reshape(self, *_: int) -> Vector:
            return self

    three = SimpleNamespace(tloss=Vector(map(Scalar, (1, 2, 3))), loss_names=("box", "cls", "dfl"))
    one = SimpleNamespace(tloss=Vector([Scalar(4)]), loss_names="loss")
    assert components(three) == (("box", "cls", "dfl"), (1, 2, 3))
    assert components(one) == (("loss",), (4,))
    assert components(SimpleNamespace(tloss=None)) == ((), ())


def test_out_of_memory_halves_the_batch(tmp_path: Path) -> None:
    """Ultralytics breaks an epoch off, halves the batch and begins the epoch again: counted once per halving."""

    class Halving(Watched):
        def train_epoch(self) -> None:
            for size in (2, 1):
                self.run("on_train_epoch_start")
                self.run("on_train_batch_start")
                self._oom_retries += 1
                self.train_loader = type(self.train_loader)(6 // size)
                self.train_loader.batch_size = size  # type: ignore[misc]
            super().train_epoch()
            self._oom_retries = 0

    seen = Halving(tmp_path).record()
    assert seen["oom_batch_reductions_total",] == 2
    assert (seen["batch_size",], seen["epoch_batches",], seen["batches_total",]) == (1, 6, 6)


def test_nan_recovery(tmp_path: Path) -> None:
    """Ultralytics goes back to its checkpoint and does the epoch again: counted, twice for two in a row."""

    class Recovering(Watched):
        def train_epoch(self) -> None:
            for _ in range(2):
                self.run("on_train_epoch_start")
                self.run("on_train_epoch_end")
                self.nan_recovery_attempts += 1
            super().train_epoch()
            self.nan_recovery_attempts = 0

    assert Recovering(tmp_path, epochs=2).record()["nan_recoveries_total",] == 4


def test_more_metrics_than_the_record_has_room_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of too many metrics the first are stored, epoch after epoch; one warning, and the run ends as what it is."""

    class PerClass(Watched):
        def validate(self) -> tuple[dict[str, float], float]:
            self.metrics = {f"metrics/AP_class_{number:04d}(B)": self.epoch / 10 for number in range(2000)}
            if self.epoch == 4:
                raise RuntimeError("injected")
            return self.metrics, 0.5

    loop = yoloscope_hooks.attach(PerClass(tmp_path, epochs=5))
    with pytest.raises(RuntimeError, match="injected"):
        loop.train()
    (path,) = Path(os.environ["YOLOSCOPE_DIR"]).glob("**/*.rec")
    found, record = values(path), Reader(path).read()
    assert (found["metric", "metrics/AP_class_0399(B)"], found["batches_total",]) == (0.3, 15)
    assert found["hook_errors_total",] == 0
    assert (record.state, record.facts["exception"]) == ("failed", "RuntimeError")
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "is left out" in warnings[0]


# --- CUDA, on a machine without ---------------------------------------------------------------------------------------


class _CudaScalar:
    """A number on the GPU: reading it would wait, so reading it is an error here."""

    is_cuda = True

    def __init__(self, number: float) -> None:
        self.number = number

    def detach(self) -> _CudaScalar:
        return self

    float = reshape = lambda self, *_: self

    def item(self) -> float:
        raise AssertionError("waited for the GPU")

    __float__ = item


class _FakeTorch:
    """torch.stack, torch.empty and torch.cuda.Event; a copy arrives when `arrive` is called."""

    def __init__(self) -> None:
        self.arrived = False
        self.cuda = SimpleNamespace(Event=lambda: SimpleNamespace(record=lambda: None, query=lambda: self.arrived))

    def stack(self, scalars: list[_CudaScalar]) -> list[float]:
        return [scalar.number for scalar in scalars]

    def empty(self, count: int, *, pin_memory: bool) -> Any:
        assert pin_memory
        host = SimpleNamespace(content=[math.nan] * count)
        host.copy_ = lambda packed, non_blocking: setattr(host, "content", packed if non_blocking else None)
        host.tolist = lambda: host.content
        return host


def test_losses_from_the_gpu(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses on the GPU are copied behind the kernels and stored once they have arrived, never waited for."""
    torch = _FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", torch)
    learning = Learning(writer, WHO)
    losses = {"box_loss": _CudaScalar(0.25), "cls_loss": _CudaScalar(0.5)}
    group = SimpleNamespace(param_groups=[{"lr": 0.1}])
    trainer = SimpleNamespace(loss=_CudaScalar(math.nan), tloss=losses, optimizer=group)
    learning.check(trainer)
    learning.sample(trainer)
    learning.collect()
    assert learning.copies.event is not None
    torch.arrived = True
    learning.collect()
    assert learning.copies.event is None
    writer.end(0.0)
    writer.close()
    seen = values(writer.path)
    assert (seen["loss", "box_loss"], seen["loss", "cls_loss"]) == (0.25, 0.5)
    assert seen["nonfinite_loss_total",] == 1


def stats(allocated: int, peak: int, retries: int = 0, ooms: int = 0) -> dict[str, Any]:
    """The part of memory_stats_as_nested_dict that is used."""
    pool = {"current": allocated, "peak": peak}
    names = ("allocated_bytes", "reserved_bytes", "active_bytes", "inactive_split_bytes")
    return {**{name: {"all": pool} for name in names}, "num_alloc_retries": retries, "num_ooms": ooms}


#: Readings (see `stats`): what an earlier training left, those of a run's batches, and what there is to tell of them:
#: peak of the run, peak of the epoch, retries, OOMs.
READINGS = {
    "nothing before": ([(0, 0), (100, 900, 2, 1), (90, 900, 2, 1)], (900, 900, 2, 1)),
    "a larger training before": ([(0, 78_000, 12, 3), (100, 78_000, 12, 3), (110, 78_000, 12, 3)], (110, 110, 0, 0)),
    "above the one before": ([(0, 800, 12, 3), (100, 800, 12, 3), (90, 900, 13, 4)], (900, 900, 1, 1)),
    "the user resets the peak": ([(0, 800), (100, 900), (100, 150), (90, 160)], (900, 900, 0, 0)),
    "the user resets a peak of before": ([(0, 800), (100, 150), (90, 150)], (150, 150, 0, 0)),
    "the user resets the counters": ([(0, 0, 9, 9), (1, 1, 10, 9), (1, 1, 0, 0), (1, 1, 1, 2)], (1, 1, 2, 2)),
}


@pytest.mark.parametrize(("readings", "told"), READINGS.values(), ids=READINGS)
def test_cuda_memory_of_this_run(writer: Writer, readings: list[tuple[int, ...]], told: tuple[int, ...]) -> None:
    """Peaks and counters are those of the run, not of the process."""
    left = iter(readings)
    memory = cuda_memory.CudaMemory(lambda: stats(*next(left)), writer, WHO)
    for _ in readings[1:]:
        memory.batch()
    writer.end(0.0)
    writer.close()
    seen = values(writer.path)
    kinds = ("peak_allocated", "epoch_peak_allocated", "peak_reserved", "epoch_peak_reserved")
    peaks = [seen["cuda_memory_bytes", kind] for kind in kinds]
    assert (*peaks[:2], seen["cuda_alloc_retries_total",], seen["cuda_ooms_total",]) == told
    assert peaks[2:] == peaks[:2]


def test_cuda_memory_of_each_epoch(writer: Writer) -> None:
    """Its peak is the allocator's where that rose, else what was seen at the end of a batch; the run's is the most."""
    readings = iter([stats(0, 0), stats(100, 900), stats(100, 900), stats(150, 900), stats(140, 900)])
    memory = cuda_memory.CudaMemory(lambda: next(readings), writer, WHO)
    memory.batch()
    memory.epoch()
    memory.batch()
    memory.epoch()
    writer.end(0.0)
    writer.close()
    seen = values(writer.path)
    assert (seen["cuda_memory_bytes", "peak_allocated"], seen["cuda_memory_bytes", "epoch_peak_allocated"]) == (
        900,
        150,
    )


def test_cuda_memory(writer: Writer) -> None:
    """Current values, our own maximum that outlives a reset of the allocator's, growth from epoch to epoch."""
    first = stats(0, 0)
    readings = iter([first, stats(100, 900), stats(150, 160), stats(120, 160), stats(180, 200)])
    memory = cuda_memory.CudaMemory(lambda: next(readings), writer, WHO)
    assert memory.batch() == (100, 100)
    memory.epoch()
    assert "cuda_memory_growth_bytes" not in {name for name, *_ in values_of(writer)}
    memory.batch()
    memory.epoch()
    writer.end(0.0)
    writer.close()
    seen = values(writer.path)
    assert seen["cuda_memory_bytes", "allocated"] == 180
    assert seen["cuda_memory_bytes", "peak_allocated"] == 900
    assert seen["cuda_memory_growth_bytes",] == 180 - 150


def values_of(writer: Writer) -> set[tuple[str, ...]]:
    """Which series are set, seen from the writing side."""
    return {
        (metric.name.removeprefix("yoloscope_train_"), *labels)
        for index, (metric, labels) in enumerate(writer._entries)
        if not math.isnan(writer.values[index])
    }


def test_no_cuda() -> None:
    """A training on the CPU has no CUDA memory, and torch is not imported to find out."""
    assert cuda_memory.watch(SimpleNamespace(type="cpu"), None, WHO) is None  # type: ignore[arg-type]
