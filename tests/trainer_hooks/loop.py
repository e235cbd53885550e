"""Ultralytics' training loop without Ultralytics: the same events, attributes and calls in the same order.

For tests and benchmarks of what the hooks do in one process within microseconds; what real trainings do is in
`test_training.py`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Scalar(float):
    """A tensor of one number, as far as the hooks look."""

    is_cuda = False

    def item(self) -> float:
        """The number."""
        return float(self)


class Scaler:
    """GradScaler that does not scale."""

    def scale(self, loss: Any) -> Any:
        """The loss as it is."""
        return loss


class Workers:
    """What the hooks look at in torch's iterator over eight workers, two batches each."""

    def __init__(self) -> None:
        """All batches are ready."""
        self._workers = [SimpleNamespace(pid=pid, exitcode=None) for pid in range(8)]
        self._task_info = {index: (index % 8,) for index in range(16)}
        self._rcvd_idx, self._tasks_outstanding = 0, 16
        self._data_queue = SimpleNamespace(qsize=lambda: 16)

    def _next_data(self) -> dict[str, Any]:
        return {"img": [0, 1, 2, 3]}


class Loader:
    """A loader, by default without workers."""

    batch_size, prefetch_factor = 4, 2
    dataset = SimpleNamespace(cache=None)

    def __init__(self, batches: int) -> None:
        """`batches` are those of an epoch."""
        self.batches, self.num_workers = batches, 0
        self.iterator: Workers | None = None

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Batches of four images."""
        iterator = self.iterator or Workers()
        return iter(iterator._next_data() for _ in range(self.batches))


class Loop:
    """A trainer. `callbacks` is Ultralytics' dict of lists by event; `calls` counts what the loop itself did."""

    def __init__(self, folder: Path, *, epochs: int = 1, batches: int = 3) -> None:
        """A training that would save to `folder`."""
        self.callbacks: dict[str, list[Callable[[Any], None]]] = {}
        self.args = SimpleNamespace(task="detect", model="yolo11n.yaml", imgsz=32, amp=False, workers=0)
        self.save_dir, self.device = folder / "train", SimpleNamespace(type="cpu", index=None)
        self.epoch, self.epochs, self.start_epoch, self.accumulate = 0, epochs, 0, 1
        self.train_loader, self.scaler = Loader(batches), Scaler()
        self.optimizer = SimpleNamespace(param_groups=[{"lr": 0.01}, {"lr": 0.02}])
        self.stopper = SimpleNamespace(best_epoch=1, patience=100)
        self.loss: Any = None
        self.tloss: Any = None
        self.metrics: dict[str, float] = {}
        self.calls: list[str] = []
        self._oom_retries = self.nan_recovery_attempts = 0

    def run(self, event: str) -> None:
        """Call the callbacks of an event, as Ultralytics does: without a net."""
        for callback in self.callbacks.get(event, ()):
            callback(self)

    def train(self) -> None:
        """All of it."""
        try:
            self.run("on_pretrain_routine_start")
            self.run("on_pretrain_routine_end")
            self.run("on_train_start")
            for epoch in range(self.start_epoch, self.epochs):
                self.epoch = epoch
                self.train_epoch()
            self.final_eval()
            self.run("on_train_end")
        finally:
            self.run("teardown")

    def train_epoch(self) -> None:
        """Batches, validation, checkpoint."""
        self.run("on_train_epoch_start")
        for batch in self.train_loader:
            self.run("on_train_batch_start")
            self.step(batch)
            self.run("on_train_batch_end")
        self.run("on_train_epoch_end")
        self.validate()
        self.save_model()
        self.run("on_fit_epoch_end")

    def step(self, batch: Any) -> None:
        """One batch."""
        self.preprocess_batch(batch)
        self.loss = Scalar(0.5)
        self.tloss = {"box_loss": Scalar(0.3), "cls_loss": Scalar(0.2)}
        self.scaler.scale(self.loss)
        self.optimizer_step()

    def preprocess_batch(self, batch: Any) -> Any:
        """The batch as it is."""
        return batch

    def optimizer_step(self) -> None:
        """Count."""
        self.calls.append("step")

    def validate(self) -> tuple[dict[str, float], float]:
        """Some metrics."""
        self.metrics = {"metrics/mAP50(B)": 0.5}
        return self.metrics, 0.5

    def save_model(self) -> None:
        """Count."""
        self.calls.append("save")

    def final_eval(self) -> None:
        """Count."""
        self.calls.append("final")
        self.run("on_fit_epoch_end")
