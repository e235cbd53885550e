"""What the training learns: losses, learning rates, metrics, and what goes wrong with them.

Losses are read at most every `PERIOD` seconds and at the end of an epoch. On the CPU that is a plain read. On CUDA a
read would wait for the GPU, so the values are copied to pinned memory behind the kernels that make them, and looked at
when an event says they have arrived.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from yoloscope_record import catalog, log
from yoloscope_record.file_format import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yoloscope_record.metrics import Metric
    from yoloscope_record.writer import Writer

    Trainer = Any  # duck-typed
    Tensor = Any

PERIOD = 5.0


class Learning:
    """Stores the learning metrics of one rank."""

    def __init__(self, writer: Writer, who: tuple[str, str]) -> None:
        """`who` are run and rank."""
        self._writer = writer
        self._who = who
        self._nonfinite = writer.slot(catalog.TRAIN_NONFINITE_LOSS_TOTAL, *who)
        self._accumulated = writer.slot(catalog.TRAIN_ACCUMULATED_BATCHES, *who)
        self._since_best = writer.slot(catalog.TRAIN_EPOCHS_SINCE_BEST, *who)
        self._patience = writer.slot(catalog.TRAIN_PATIENCE_EPOCHS, *who)
        self.copies = Copies()
        self._spoilt = False  # the epoch's mean loss is no number
        self._left_out: set[str] = set()  # names for which the record has no room

    def check(self, trainer: Trainer) -> None:
        """A NaN or infinite loss of the last batch. On CUDA `sample` finds it."""
        loss = getattr(trainer, "loss", None)
        if loss is not None and not loss.is_cuda and not math.isfinite(loss.item()):
            self._writer.values[self._nonfinite] += 1
            self._spoilt = True

    def look_back(self, trainer: Trainer) -> None:
        """The training is over: batches since the last `sample`, by their mean. Nothing on CUDA."""
        _, parts = components(trainer)
        if parts and not parts[0].is_cuda:
            self._look_at_mean([part.item() for part in parts])

    def _look_at_mean(self, parts: Sequence[float]) -> None:
        """Of batches that `check` has not seen the epoch's running mean tells: once it is no number it stays so."""
        spoilt = not all(map(math.isfinite, parts))
        if spoilt and not self._spoilt:
            self._writer.values[self._nonfinite] += 1
        self._spoilt = spoilt

    def sample(self, trainer: Trainer) -> None:
        """Losses, learning rates and accumulation as they are now."""
        self._rates(trainer)
        accumulate = getattr(trainer, "accumulate", None)
        if accumulate is not None:
            self._writer.values[self._accumulated] = accumulate
        self._losses(trainer)

    def collect(self) -> None:
        """Store copies from the GPU that have arrived."""
        for names, (loss, *parts) in self.copies.arrived():
            if not math.isfinite(loss):
                self._writer.values[self._nonfinite] += 1
            self._store(catalog.TRAIN_LOSS, zip(names, parts))

    def epoch(self, trainer: Trainer) -> None:
        """Validation metrics, and how far early stopping is."""
        metrics = getattr(trainer, "metrics", None) or {}
        self._store(catalog.TRAIN_METRIC, _numbers(metrics))
        stopper = getattr(trainer, "stopper", None)
        if stopper is not None:
            values = self._writer.values
            values[self._since_best] = (
                max(trainer.epoch + 1 - stopper.best_epoch, 0) if stopper.best_epoch else math.nan
            )
            values[self._patience] = stopper.patience if math.isfinite(stopper.patience) else math.nan

    def _rates(self, trainer: Trainer) -> None:
        groups = trainer.optimizer.param_groups
        self._store(catalog.TRAIN_LEARNING_RATE, ((f"pg{index}", group["lr"]) for index, group in enumerate(groups)))

    def _losses(self, trainer: Trainer) -> None:
        names, parts = components(trainer)
        loss = getattr(trainer, "loss", None)
        if not parts or loss is None:
            return
        if parts[0].is_cuda:
            self.copies.start(names, [loss, *parts])
        else:
            numbers = [part.item() for part in parts]
            self._look_at_mean(numbers)
            self._store(catalog.TRAIN_LOSS, zip(names, numbers))

    def _store(self, metric: Metric, named: Iterable[tuple[str, float]]) -> None:
        for name, value in named:
            if name not in self._left_out:
                try:
                    self._writer.values[self._writer.slot(metric, *self._who, name)] = value
                except RecordError as error:  # hundreds of classes, say: the others are stored all the same
                    if not self._left_out:
                        log.warning("yoloscope: %s and what follows it is left out: %s", name, error)
                    self._left_out.add(name)


def components(trainer: Trainer) -> tuple[Sequence[str], Sequence[Tensor]]:
    """Names and values of the running mean loss: a dict of scalars since 8.4.110, one tensor before."""
    losses = getattr(trainer, "tloss", None)
    if losses is None:
        return (), ()
    if hasattr(losses, "items"):
        return tuple(losses), tuple(losses.values())
    names = getattr(trainer, "loss_names", ())
    names = [names] if isinstance(names, str) else list(names)
    return tuple(names), tuple(losses.reshape(-1))


def _numbers(metrics: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    """Metrics that can be read without waiting for a GPU."""
    for name, value in metrics.items():
        if not getattr(value, "is_cuda", False):
            yield str(name), float(value)


class Copies:
    """Scalars on their way from the GPU; at most one set of them. `event` is None when there is none."""

    def __init__(self) -> None:
        """Nothing is on its way."""
        self._names: Sequence[str] = ()
        self._host: Tensor = None
        self.event: Any = None

    def start(self, names: Sequence[str], scalars: Sequence[Tensor]) -> None:
        """Queue a copy behind what makes the scalars; does nothing while one is under way."""
        torch = sys.modules["torch"]
        if self.event is not None:
            return
        packed = torch.stack([scalar.detach().float().reshape(()) for scalar in scalars])
        self._host = torch.empty(len(scalars), pin_memory=True)
        self._host.copy_(packed, non_blocking=True)
        self.event = torch.cuda.Event()
        self.event.record()
        self._names = names

    def arrived(self) -> list[tuple[Sequence[str], list[float]]]:
        """The copy, if it has arrived since it was started."""
        if self.event is None or not self.event.query():
            return []
        self.event = None
        return [(self._names, self._host.tolist())]
